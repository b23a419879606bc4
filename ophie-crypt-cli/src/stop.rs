//! Ctrl-C: the first one stops between two batches, and at once where nothing is written; the second one at once.
//!
//! Invariant: what was written when it came is written whole. Absent: what a batch is (`commands`).

use core::{
    future::Future,
    task::{Context, Waker},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;

use crate::error::{Error, Exit};

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

    /// What the work gives, which may be left anywhere: it is, as soon as that is asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Interrupted`], and those of the work.
    pub(crate) async fn or_left<T, E: Into<Error>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            done = work => done.map_err(Into::into),
            () = self.asked() => Err(Error::Interrupted),
        }
    }

    /// The same of a part of the work that [`unless_asked`](Self::unless_asked) was given: all of that ends then.
    pub(crate) async fn reading<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = work => done,
            () = self.asked() => {
                self.0.between.notify_one();
                core::future::pending().await
            }
        }
    }

    /// Before something that is done whole.
    ///
    /// # Errors
    ///
    /// [`Error::Interrupted`] if it is not to begin.
    pub(crate) fn unless_stopped(&self) -> Result<(), Error> {
        match self.is_asked() {
            true => Err(Error::Interrupted),
            false => Ok(()),
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
