//! Every request at the KMS was audited before, under faults and kills.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::future::join_all;
use ophie_crypt_tests::strict_kms::Fault;

use crate::{busy, journal::join, tell, workers::Place};

/// In turn, and whether the fault keeps the request's id from the caller.
fn faults() -> Vec<(Option<Fault>, bool)> {
    let quick = [
        (None, false),
        (Some(Fault::THROTTLE), false),
        (None, false),
        (Some(Fault::Reset), true),
        (Some(Fault::Error("KMSInternalException", 500)), false),
        (None, false),
        (Some(Fault::LostAnswer), true),
        (Some(Fault::CorruptBody), false),
        (Some(Fault::Delay(Duration::from_millis(50))), false),
        (Some(Fault::Page(503)), true),
        (None, false),
        (Some(Fault::ShortBody), false),
    ];
    let mut faults = vec![quick; 4].concat();
    // Each takes an attempt's two seconds.
    faults.push((Some(Fault::Delay(Duration::from_secs(3))), true));
    faults.push((Some(Fault::Hang), true));
    faults
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_has_its_intent_and_only_a_killed_process_owes_an_outcome() {
    const OWNERS: i64 = 24;
    let _busy = busy().await;
    let place = Place::with_kms().await;
    let hidden = Arc::new(AtomicUsize::new(0));
    let (mut turns, counter) = (faults().into_iter().cycle(), Arc::clone(&hidden));
    place.kms().plan(move |arrival| {
        if arrival.actor.starts_with("killed") {
            return Some(Fault::Hang);
        }
        let (fault, hides) = turns.next()?;
        counter.fetch_add(usize::from(hides), SeqCst);
        fault
    });
    let mut workers = Vec::new();
    for n in 0..3 {
        let mut worker = place.worker("serve", &format!("lives-{n}"), &[]);
        worker.answers("ready").await;
        workers.push(worker);
    }
    // All three at once, for the same owners; what fails they try again.
    let work = workers.iter_mut().map(|worker| async {
        for owner in 0..OWNERS {
            for verb in ["provision", "open"] {
                let mut left = 100;
                while worker.ask(&format!("{verb} {owner}")).await != "ok" {
                    left -= 1;
                    assert!(left > 0, "{verb} {owner} fails again and again");
                }
            }
        }
    });
    join_all(work).await;
    assert!(
        place.kms().kms.log().len() > faults().len(),
        "some faults did not strike"
    );

    // Killed with a request under way.
    let mut killed = HashSet::new();
    for n in 0..3 {
        let name = format!("killed-{n}");
        let mut worker = place.worker("serve", &name, &[]);
        worker.answers("ready").await;
        worker.order(&format!("provision {}", 1_000 + n)).await;
        while !place
            .kms()
            .kms
            .log()
            .iter()
            .any(|entry| entry.principal == name)
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        worker.kill().await;
        killed.insert(name);
    }

    let joined = join(&place);
    assert_eq!(joined.cut_short, killed, "an outcome is missing");
    let failed = ["unavailable", "timed-out"];
    assert!(
        joined
            .without_id
            .iter()
            .all(|result| failed.contains(&&**result))
    );
    assert_eq!(joined.without_id.len(), hidden.load(SeqCst));
    assert_eq!(joined.requests, joined.intents);
    tell(format_args!(
        "{} KMS requests, {} intents, {} outcomes without a request id, as scripted, {} without an outcome, killed",
        joined.requests,
        joined.intents,
        joined.without_id.len(),
        killed.len()
    ));
}
