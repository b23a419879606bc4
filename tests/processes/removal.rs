//! A key that is removed, and the processes that still hold it.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::{
    tell,
    workers::{Place, Worker},
};

const OWNER: i64 = 1;
/// Less than until the next re-check: only a notification comes so early.
const BEFORE_A_RECHECK: Duration = Duration::from_secs(20);

impl Place {
    /// A worker that holds an open session of the owner.
    async fn holder(&self, name: &str, settings: &[(&str, String)]) -> Worker {
        let mut worker = self.worker("serve", name, settings);
        worker.answers("ready").await;
        worker.told(&format!("provision {OWNER}"), "ok").await;
        worker.told(&format!("open {OWNER}"), "ok").await;
        worker.told(&format!("read {OWNER}"), "ok").await;
        worker
    }

    fn notified(&self) -> [(&'static str, String); 1] {
        [("notifications", self.database.url().to_owned())]
    }
}

/// Reads until it is refused because the key is gone.
async fn refused(worker: &mut Worker, within: Duration) -> Duration {
    let begun = Instant::now();
    let answer = timeout(within, worker.answer()).await;
    let answer = answer.unwrap_or_else(|_| panic!("it still reads after {within:?}"));
    assert!(answer.starts_with("Shredded "), "{answer}");
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_are_notified_refuse_at_once() {
    let place = Place::new().await;
    let mut workers = Vec::new();
    for n in 0..4 {
        workers.push(place.holder(&format!("told-{n}"), &place.notified()).await);
    }
    for worker in &mut workers {
        worker.order(&format!("read-until-refused {OWNER}")).await;
    }
    place.remove(OWNER).await;
    let begun = Instant::now();
    for worker in &mut workers {
        refused(worker, BEFORE_A_RECHECK).await;
    }
    tell(format_args!(
        "4 processes refused {} ms after a removal that they were notified of",
        begun.elapsed().as_millis()
    ));
}

/// The period as it is by default, in real time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_not_notified_refuses_at_its_next_recheck() {
    let place = Place::new().await;
    let mut worker = place.holder("untold", &[]).await;
    worker.order(&format!("read-until-refused {OWNER}")).await;
    place.remove(OWNER).await;
    // 30 s between re-checks; what is beyond is the machine's. The time to live is twenty times that.
    let after = refused(&mut worker, Duration::from_secs(45)).await;
    tell(format_args!(
        "not notified, it refused {} ms after the removal",
        after.as_millis()
    ));
}

/// The first reading after it, before anything could be re-checked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_slept_past_its_time_to_live_reads_nothing() {
    let ttl = Duration::from_secs(3);
    let place = Place::new().await;
    let settings = [("ttl", ttl.as_millis().to_string())];
    let mut worker = place.holder("sleeper", &settings).await;
    let reads = format!("read-after-a-stop {OWNER}");
    worker.told(&reads, "reading").await;
    worker.stop();
    place.remove(OWNER).await;
    sleep(ttl).await; // it was opened before
    worker.go_on();
    let answer = worker.answer().await;
    assert!(["Expired", "Shredded"].contains(&&*answer), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_slept_through_a_removal_refuses_once_it_wakes() {
    let place = Place::new().await;
    let mut worker = place.holder("sleeper", &place.notified()).await;
    worker.order(&format!("read-until-refused {OWNER}")).await;
    worker.stop();
    place.remove(OWNER).await;
    sleep(Duration::from_secs(1)).await;
    worker.go_on();
    let after = refused(&mut worker, BEFORE_A_RECHECK).await;
    tell(format_args!(
        "a process that slept refused {} ms after it woke",
        after.as_millis()
    ));
}
