//! Notifications of PostgreSQL, over a connection of their own.
//!
//! Invariant: each (re)connection counts as a notification, because something may have been missed.
//! A lost connection is mended with pauses, and never reported: without it, keys are only re-checked
//! later. Absent: what a notification means; its payload is empty.

use core::{fmt, hash::BuildHasher, time::Duration};
use std::{
    collections::hash_map::RandomState,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::watch;

/// What the triggers of the library's tables notify.
pub const CHANNEL: &str = "ophie_crypt";

/// Between attempts to connect, doubled from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A driver's way to listen.
#[async_trait]
pub trait Listen: Send + Sync + 'static {
    /// A connection that runs nothing else.
    type Connection: Send;

    /// Connects and begins to listen; `None` if that failed.
    async fn connect(&self) -> Option<Self::Connection>;

    /// Waits for a notification; `false` once the connection is lost.
    async fn next(connection: &mut Self::Connection) -> bool;
}

/// Tells all who wait in this process of each notification.
pub struct Notifications<L> {
    listen: Arc<L>,
    /// What was returned for; the other end is held by the task, if it runs.
    seen: Mutex<Option<watch::Receiver<()>>>,
}

impl<L> fmt::Debug for Notifications<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifications").finish_non_exhaustive()
    }
}

impl<L: Listen> Notifications<L> {
    /// By this way. Nothing is connected yet.
    pub fn new(listen: L) -> Self {
        Self {
            listen: Arc::new(listen),
            seen: Mutex::new(None),
        }
    }

    /// Waits for what came after the last return of anyone. Every waiter of that moment returns.
    pub async fn next(&self) {
        loop {
            let mut changes = self.changes();
            if changes.changed().await.is_ok() {
                *self.seen() = Some(changes);
                return;
            } // else the task's runtime has ended; begin another
        }
    }

    /// The running task's end, and a task if none runs.
    fn changes(&self) -> watch::Receiver<()> {
        let mut seen = self.seen();
        match &*seen {
            Some(running) if running.has_changed().is_ok() => running.clone(),
            _ => {
                let (tell, changes) = watch::channel(());
                tokio::spawn(run(Arc::clone(&self.listen), tell));
                seen.insert(changes).clone()
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Option<watch::Receiver<()>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until nobody can wait any more: the store is gone.
async fn run<L: Listen>(listen: Arc<L>, tell: watch::Sender<()>) {
    let work = async {
        let mut pause = PAUSES.0;
        loop {
            if let Some(mut connection) = listen.connect().await {
                pause = PAUSES.0;
                tell.send_replace(());
                while L::next(&mut connection).await {
                    tell.send_replace(());
                }
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = pause.saturating_mul(2).min(PAUSES.1);
        }
    };
    tokio::select! {
        () = tell.closed() => {}
        () = work => {}
    }
}

/// Between half of the pause and all of it, so that a fleet does not come back as one.
fn jittered(pause: Duration) -> Duration {
    let [random, ..] = RandomState::new().hash_one(()).to_le_bytes();
    pause.mul_f32(0.5 + f32::from(random) / 510.0)
}
