//! A process that starts, and is asked for everything at once.

use crate::{busy, journal::join, tell, workers::Place};

const OWNERS: usize = 500;
const TASKS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_tasks_for_each_of_five_hundred_owners_are_five_hundred_decrypts_at_most_twenty_at_once()
 {
    let _busy = busy().await;
    let place = Place::with_kms().await;
    let mut before = place.worker("serve", "before", &[]);
    before.answers("ready").await;
    for owner in 0..OWNERS {
        before.told(&format!("provision {owner}"), "ok").await;
    }
    assert_eq!(place.kms().most_in_flight(), 1);

    // The first are held back for long enough that a twenty-first would be seen.
    place.kms().gather(21);
    let mut cold = place.worker("serve", "cold", &[]);
    cold.answers("ready").await;
    let opened = cold.ask(&format!("open-all {OWNERS} {TASKS}")).await;
    assert_eq!(opened, format!("open {}", OWNERS * TASKS));
    assert_eq!(place.kms().kms.log_of("Decrypt").len(), OWNERS);
    let most = place.kms().most_in_flight();
    assert!((2..=20).contains(&most), "{most} in flight"); // how near to 20 is the machine's
    let joined = join(&place);
    assert!(joined.cut_short.is_empty() && joined.without_id.is_empty());
    tell(format_args!(
        "{OWNERS} owners x {TASKS} tasks: {OWNERS} Decrypts, at most {most} in flight"
    ));
}
