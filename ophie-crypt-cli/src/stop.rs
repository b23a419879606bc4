//! Ctrl-C: the first one stops between two batches, the second one at once.
//!
//! Invariant: what was under way when it came is done or was not begun. Absent: what a batch is (`commands`).

use core::{
    future::Future as _,
    task::{Context, Waker},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;

use crate::error::Exit;

/// Between two looks.
const STEP: core::time::Duration = core::time::Duration::from_millis(200);

/// Whether to stop.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<Inner>);

#[derive(Default)]
struct Inner {
    asked: AtomicBool,
    between: Notify,
}

impl Stop {
    /// Listens from now on.
    pub(crate) fn listen() -> Self {
        let stop = Self::default();
        let told = stop.clone();
        // Polled once it is heard, also before the task runs. An answer at once is that nobody can listen.
        let mut first = Box::pin(interrupted());
        let is_deaf = first
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready();
        tokio::spawn(async move {
            if !is_deaf && first.await.is_ok() {
                told.0.asked.store(true, Ordering::SeqCst);
            }
            if interrupted().await.is_ok() {
                std::process::exit(Exit::Interrupted.code().into());
            }
        });
        stop
    }

    /// Whether the next batch is not to begin.
    pub(crate) fn is_asked(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// Says that a batch is done: [`unless_asked`](Self::unless_asked) ends here.
    pub(crate) fn batch_is_done(&self) {
        if self.is_asked() {
            self.0.between.notify_one();
        }
    }

    /// What the work gives; `None` if it was left between two batches, which it says with
    /// [`batch_is_done`](Self::batch_is_done).
    pub(crate) async fn unless_asked<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        if self.is_asked() {
            return None;
        }
        tokio::select! {
            biased;
            () = self.0.between.notified() => None,
            done = work => Some(done),
        }
    }

    /// Ends when the next batch is not to begin.
    pub(crate) async fn asked(&self) {
        while !self.is_asked() {
            tokio::time::sleep(STEP).await;
        }
    }

    /// Waits, or not to the end.
    pub(crate) async fn sleep(&self, time: core::time::Duration) {
        let mut left = time;
        while !left.is_zero() && !self.is_asked() {
            tokio::time::sleep(STEP.min(left)).await;
            left = left.saturating_sub(STEP);
        }
    }
}

async fn interrupted() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
