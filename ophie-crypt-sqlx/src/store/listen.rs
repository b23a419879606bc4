//! Notifications of PostgreSQL, over a connection of their own.
//!
//! Invariant: each (re)connection counts as a notification, because something may have been missed.
//! A lost connection is mended with pauses, and never reported: without it, keys are only re-checked
//! later. Absent: what a notification means; its payload is empty.

use core::{hash::BuildHasher, time::Duration};
use std::{
    collections::hash_map::RandomState,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::sync::watch;

/// What the triggers of the library's tables notify.
const CHANNEL: &str = "ophie_crypt";

/// Between attempts to connect, doubled from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

pub(super) struct Notifications {
    options: PgConnectOptions,
    /// What was returned for; the other end is held by the task, if it runs.
    seen: Mutex<Option<watch::Receiver<()>>>,
}

impl Notifications {
    pub(super) const fn new(options: PgConnectOptions) -> Self {
        Self {
            options,
            seen: Mutex::new(None),
        }
    }

    /// Waits for what came after the last return of anyone. Every waiter of that moment returns.
    pub(super) async fn next(&self) {
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
                tokio::spawn(listen(self.options.clone(), tell));
                seen.insert(changes).clone()
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Option<watch::Receiver<()>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until nobody can wait any more: the store is gone.
async fn listen(options: PgConnectOptions, tell: watch::Sender<()>) {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with(options);
    let work = async {
        let mut pause = PAUSES.0;
        loop {
            if let Ok(mut listener) = connect(&pool).await {
                pause = PAUSES.0;
                tell.send_replace(());
                while let Ok(Some(_)) = listener.try_recv().await {
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

async fn connect(pool: &PgPool) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// Between half of the pause and all of it, so that a fleet does not come back as one.
fn jittered(pause: Duration) -> Duration {
    let [random, ..] = RandomState::new().hash_one(()).to_le_bytes();
    pause.mul_f32(0.5 + f32::from(random) / 510.0)
}
