//! Every request at the KMS was audited before, under faults and kills.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use ophie_crypt_tests::strict_kms::Fault;

use crate::{busy, journal::join, tell, workers::Place};

/// In turn; of the second half, no request id reaches the caller.
fn faults() -> (Vec<Option<Fault>>, usize) {
    let with_id = [
        None,
        Some(Fault::THROTTLE),
        Some(Fault::CutBody),
        Some(Fault::Error("KMSInternalException", 500)),
        Some(Fault::CorruptBody),
        Some(Fault::Delay(Duration::from_millis(50))),
    ];
    let without = [
        Some(Fault::Reset),
        Some(Fault::LostAnswer),
        Some(Fault::Page(503)),
        Some(Fault::Delay(Duration::from_secs(3))), // longer than an attempt
        Some(Fault::Hang),
    ];
    (with_id.iter().chain(&without).cloned().collect(), with_id.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_has_its_intent_and_only_a_killed_process_owes_an_outcome() {
    const OWNERS: i64 = 24;
    let _busy = busy().await;
    let place = Place::with_kms().await;
    let hidden = Arc::new(AtomicUsize::new(0));
    let ((faults, with_id), counter) = (faults(), Arc::clone(&hidden));
    let mut turns = (0..faults.len()).cycle();
    place.kms().plan(move |arrival| {
        if arrival.actor.starts_with("killed") {
            return Some(Fault::Hang);
        }
        let turn = turns.next()?;
        if turn >= with_id {
            counter.fetch_add(1, SeqCst);
        }
        faults[turn].clone()
    });
    let mut workers = Vec::new();
    for n in 0..3 {
        let mut worker = place.worker("serve", &format!("lives-{n}"), &[]);
        worker.answers("ready").await;
        workers.push(worker);
    }
    let mut opened = 0;
    for verb in ["provision", "open", "open"] {
        for owner in 0..OWNERS {
            // All at once, so that faults of one are in the middle of another's calls.
            for (worker, n) in workers.iter_mut().zip(0..) {
                worker.order(&format!("provision {}", owner * 3 + n)).await;
            }
            for worker in &mut workers {
                let _ = worker.answer().await; // some fail, as they must
            }
            for (worker, n) in workers.iter_mut().zip(0..) {
                worker.order(&format!("{verb} {}", owner * 3 + n)).await;
            }
            for worker in &mut workers {
                let answer = worker.answer().await;
                opened += usize::from(answer == "ok");
            }
        }
    }
    assert!(opened > 100, "{opened}: nothing went well");

    // Killed with a request under way.
    let mut killed = HashSet::new();
    for n in 0..3 {
        let name = format!("killed-{n}");
        let mut worker = place.worker("serve", &name, &[]);
        worker.answers("ready").await;
        worker.order(&format!("provision {}", 1_000 + n)).await;
        while !place.kms().kms.log().iter().any(|entry| entry.principal == name) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        worker.kill().await;
        killed.insert(name);
    }

    let joined = join(&place);
    assert_eq!(joined.cut_short, killed, "an outcome is missing");
    let failed = ["unavailable", "timed-out"];
    assert!(joined.without_id.iter().all(|result| failed.contains(&&**result)));
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
