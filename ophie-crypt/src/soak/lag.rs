//! Replicas that are behind, and jobs that wait for them.
//!
//! Invariant: a job is stopped also while it waits, and an answer that does not come holds nobody up: the next batch meets
//! the same database. Absent: how a database tells (`store`).

use core::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use std::sync::{Mutex, PoisonError};

use tokio::time::sleep;

use super::SoakStop;
use crate::{
    clock::{Clock, Moment},
    store::ModelError,
};

/// Waits between batches. All clones of a tool share it.
#[derive(Default)]
pub(super) struct Lag {
    clock: Clock,
    asked: Mutex<Option<Moment>>,
    waited: AtomicU64,
}

impl Lag {
    /// Waits while what `ask` answers is above `most`. It is asked once a second at most.
    pub(super) async fn wait<F>(&self, most: Duration, stop: &SoakStop, ask: impl Fn() -> F)
    where
        F: Future<Output = Result<Option<Duration>, ModelError>>,
    {
        if !self.is_due() {
            return;
        }
        let mut told = TELL;
        while !stop.is_stopped() {
            let lag = match ask().await {
                Ok(lag) => lag.unwrap_or_default(),
                Err(error) => {
                    tracing::warn!(target: "ophie_crypt::soak", %error, "it is not known how far replicas are behind");
                    Duration::ZERO
                }
            };
            if lag <= most {
                return;
            }
            if told >= TELL {
                told = Duration::ZERO;
                tracing::info!(target: "ophie_crypt::soak", ?lag, ?most, "waiting for a replica that is behind");
            }
            let mut left = EVERY;
            while !left.is_zero() && !stop.is_stopped() {
                sleep(STEP).await;
                left = left.saturating_sub(STEP);
                told = told.saturating_add(STEP);
                let step = u64::try_from(STEP.as_millis()).unwrap_or(u64::MAX);
                self.waited.fetch_add(step, Relaxed);
            }
        }
    }

    /// How long all of that took.
    pub(super) fn waited(&self) -> Duration {
        Duration::from_millis(self.waited.load(Relaxed))
    }

    fn is_due(&self) -> bool {
        let now = self.clock.now();
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let due = asked.is_none_or(|then| now.since(&then) >= EVERY);
        if due {
            *asked = Some(now);
        }
        due
    }
}

/// Between two questions.
const EVERY: Duration = Duration::from_secs(1);
/// Between two looks at whether to stop.
const STEP: Duration = Duration::from_millis(100);
/// Between two lines in the log.
const TELL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use core::{cell::Cell, future::ready};

    use super::*;

    const MOST: Duration = Duration::from_secs(2);

    /// Answers these, and then that it does not know; how many it gave.
    async fn answered(lag: &Lag, stop: &SoakStop, answers: &[Option<u64>]) -> usize {
        let given = Cell::new(0_usize);
        let ask = || {
            let answer = answers.get(given.get()).copied().flatten();
            given.set(given.get().saturating_add(1));
            ready(Ok(answer.map(Duration::from_millis)))
        };
        lag.wait(MOST, stop, ask).await;
        given.get()
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_waits_while_a_replica_is_behind() {
        let (lag, stop) = (Lag::default(), SoakStop::default());
        let answers = [Some(2001), Some(60_000), Some(2000)];
        assert_eq!(answered(&lag, &stop, &answers).await, 3);
        assert_eq!(lag.waited(), EVERY * 2);
        // Not before a second is over.
        assert_eq!(answered(&lag, &stop, &answers).await, 0);
        lag.clock.pass(EVERY);
        assert_eq!(answered(&lag, &stop, &[None]).await, 1);
        assert_eq!(lag.waited(), EVERY * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_stopped_waits_no_longer() {
        let (lag, stop) = (Lag::default(), SoakStop::default());
        let for_ever = [Some(60_000); 600];
        let stopped = async {
            sleep(STEP / 2).await;
            stop.stop();
        };
        let (asked, ()) = tokio::join!(answered(&lag, &stop, &for_ever), stopped);
        assert_eq!((asked, lag.waited()), (1, STEP));
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_does_not_answer_holds_nobody_up() {
        let lag = Lag::default();
        let busy = || ready(Err(ModelError::Busy));
        lag.wait(MOST, &SoakStop::default(), busy).await;
        assert_eq!(lag.waited(), Duration::ZERO);
    }
}
