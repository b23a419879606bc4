//! The KMS's own log joined with what the workers audited.
//!
//! Invariant: the journal is one file that all append to, so that the order of its lines is the order of
//! what happened. Absent: the audit table and its chain.

use std::collections::{HashMap, HashSet};

use ophie_crypt_tests::strict_kms::Entry;

use crate::{kms::Arrival, workers::Place};

/// One attempt, as audited.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Attempt {
    call: String,
    number: String,
    /// As its request must look like at the KMS.
    request: Arrival,
}

#[derive(Debug)]
struct Outcome {
    result: String,
    request_id: Option<String>,
}

/// What the join came to.
#[derive(Debug)]
pub(crate) struct Joined {
    /// Requests that the KMS logged.
    pub(crate) requests: usize,
    /// Attempts that were audited before them.
    pub(crate) intents: usize,
    /// Names of the workers with an intent that has no outcome.
    pub(crate) cut_short: HashSet<String>,
    /// Of each outcome without the request's id, how it ended.
    pub(crate) without_id: Vec<String>,
}

/// Joins, and asserts what holds whatever happened: each request has an intent of its own, written before it
/// arrived; each outcome has an intent; where an outcome names a request, the KMS's log has it under the
/// same context, once.
pub(crate) fn join(place: &Place) -> Joined {
    let text = std::fs::read_to_string(place.path("journal")).unwrap();
    let mut open: HashMap<Arrival, i64> = HashMap::new();
    let mut attempts: HashMap<Attempt, Option<Outcome>> = HashMap::new();
    let mut arrivals = 0;
    for line in text.lines() {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["intent", actor, call, number, operation, owner, generation] => {
                let attempt = attempt(actor, call, number, operation, owner, generation);
                *open.entry(attempt.request.clone()).or_default() += 1;
                let before = attempts.insert(attempt, None);
                assert!(before.is_none(), "two intents of one attempt: {line}");
            }
            [
                "outcome",
                actor,
                call,
                number,
                operation,
                owner,
                generation,
                result,
                id,
            ] => {
                let attempt = attempt(actor, call, number, operation, owner, generation);
                let outcome = Outcome {
                    result: result.to_owned(),
                    request_id: (id != "-").then(|| id.to_owned()),
                };
                let slot = attempts.get_mut(&attempt);
                let slot = slot.unwrap_or_else(|| panic!("no intent of: {line}"));
                assert!(slot.replace(outcome).is_none(), "two outcomes: {line}");
            }
            ["arrival", actor, operation, owner, generation] => {
                arrivals += 1;
                let request = request(actor, operation, owner, generation);
                let left = open.entry(request).or_default();
                *left -= 1;
                assert!(*left >= 0, "no intent before the request: {line}");
            }
            _ => panic!("not a line of the journal: {line}"),
        }
    }

    let log: Vec<Entry> = place.kms().kms.log().into_iter().skip(1).collect(); // after CreateKey
    assert_eq!(log.len(), arrivals, "a request went another way");
    let by_id: HashMap<_, _> = log.iter().map(|entry| (&entry.request_id, entry)).collect();
    assert_eq!(by_id.len(), log.len());
    let mut named = HashSet::new();
    let (mut cut_short, mut without_id) = (HashSet::new(), Vec::new());
    for (attempt, outcome) in &attempts {
        let Some(outcome) = outcome else {
            cut_short.insert(attempt.request.actor.clone());
            continue;
        };
        let Some(id) = &outcome.request_id else {
            without_id.push(outcome.result.clone());
            continue;
        };
        assert!(named.insert(id), "two outcomes of request {id}");
        let entry = by_id.get(id).unwrap_or_else(|| panic!("KMS saw no {id}"));
        assert_eq!(of_entry(entry), attempt.request, "another context");
        assert_eq!(entry.context.len(), 3, "{:?}", entry.context);
        assert_eq!(entry.context["app"], "ophie-crypt");
        assert!(
            outcome.result != "done" || entry.outcome.is_ok(),
            "done, though the KMS refused: {entry:?}"
        );
    }
    Joined {
        requests: log.len(),
        intents: attempts.len(),
        cut_short,
        without_id,
    }
}

fn attempt(
    actor: &str,
    call: &str,
    number: &str,
    operation: &str,
    owner: &str,
    generation: &str,
) -> Attempt {
    let operation = match operation {
        "make" => "GenerateDataKey",
        "renew" | "unwrap" => "Decrypt",
        other => panic!("an operation of no worker: {other}"),
    };
    Attempt {
        call: call.to_owned(),
        number: number.to_owned(),
        request: request(actor, operation, owner, generation),
    }
}

fn request(actor: &str, operation: &str, owner: &str, generation: &str) -> Arrival {
    Arrival {
        actor: actor.to_owned(),
        operation: operation.to_owned(),
        owner: owner.to_owned(),
        generation: generation.to_owned(),
    }
}

fn of_entry(entry: &Entry) -> Arrival {
    let context = &entry.context;
    request(
        &entry.principal,
        &entry.operation,
        &context["owner"],
        &context["generation"],
    )
}
