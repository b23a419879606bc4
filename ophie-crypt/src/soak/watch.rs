//! What a process knows of the states, and what it says of itself.
//!
//! Invariant: a state is applied before it is acknowledged, and is not gone by longer than the heartbeat lives in the
//! database; a watch that was stopped says nothing any more. Absent: SQL (`store`), what was read (`known`), what is done by a
//! state (`hooks`).

use core::{fmt, time::Duration};
use std::sync::{Arc, Weak};

use tokio::{
    sync::Mutex,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    Beat, Finding, SoakError, SoakJobError, SoakProcess, SoakRow, SoakState, SoakStore,
    known::{LastRead, Seen, SoakCounts},
};
use crate::{
    clock::Clock,
    column::{ColumnRef, Kind},
    hazmat::fill_random,
    store::ModelError,
};

/// How often a process says that it lives.
const BEAT: Duration = Duration::from_secs(10);

/// Of a soak that has not begun: those of soaks are above.
const UNBEGUN: i64 = 0;

/// The states of an application's columns, read every ten seconds, and the heartbeat that says so.
///
/// Give it to the keyring; the hooks of columns in a soak find it through their session. A release that no longer has the
/// attribute `soak` keeps the watch until the plaintext column is dropped: its heartbeat is the proof that it does not need
/// the column.
///
/// ```no_run
/// use ophie_crypt::{Keyring, LocalKms, MemoryKeyStore, soak::{SoakStore, SoakWatch}};
///
/// # async fn example(models: impl SoakStore) -> Result<(), Box<dyn std::error::Error>> {
/// let watch = SoakWatch::start(models).await?;
/// let keyring = Keyring::builder()
///     .kms(LocalKms::ephemeral()?) // testing only
///     .key_store(MemoryKeyStore::new()) // testing only
///     .soak_watch(watch.clone())
///     .build()?;
/// # let _ = keyring;
/// watch.stop().await?; // at the end of the process
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct SoakWatch(Arc<Inner>);

struct Inner {
    store: Arc<dyn SoakStore>,
    process: SoakProcess,
    columns: Vec<Watched>,
    clock: Clock,
    read: LastRead,
    /// One reads the states at a time: another's older answer would come after.
    turn: Mutex<()>,
}

/// A column that holds envelopes.
struct Watched {
    column: ColumnRef,
    knows_twin: bool,
    floor: SoakState,
    seen: Seen,
}

impl SoakWatch {
    /// Reads the states, says so, and goes on doing both every ten seconds until the last clone is gone.
    ///
    /// # Errors
    ///
    /// [`SoakJobError`] if the database did not answer, or has no tables for soaks. [`SoakJobError::Early`] in a release that
    /// knows no plaintext of a column whose plaintext counts yet: it would read NULL beside it.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does.
    pub async fn start(store: impl SoakStore) -> Result<Self, SoakJobError> {
        let watch = Self::new(store)?;
        watch.beat().await?;
        let mut columns = watch.0.columns.iter();
        if let Err(early) = columns.try_for_each(|watched| watch.writes_alone(&watched.column)) {
            watch.stop().await.ok(); // or its heartbeat expires
            return Err(SoakJobError::Early(early));
        }
        tokio::spawn(keep_beating(Arc::downgrade(&watch.0)));
        Ok(watch)
    }

    /// Without a task: whoever has it calls [`beat`](Self::beat).
    ///
    /// # Errors
    ///
    /// [`SoakJobError`] if the operating system gave no random bytes.
    pub fn new(store: impl SoakStore) -> Result<Self, SoakJobError> {
        let mut process = [0; 16];
        fill_random(&mut process).map_err(ModelError::unavailable)?;
        let models = store.models();
        let infos = models.iter().flat_map(|model| model.columns());
        let mut columns: Vec<Watched> = Vec::new();
        for info in infos.filter(|info| matches!(info.kind(), Kind::Encrypted | Kind::Sealed)) {
            let column = info.column();
            let known = |watched: &&mut Watched| {
                watched.column.table() == column.table() && watched.column.name() == column.name()
            };
            match columns.iter_mut().find(known) {
                Some(watched) => watched.knows_twin |= info.twin().is_some(),
                None => columns.push(Watched {
                    column,
                    knows_twin: info.twin().is_some(),
                    floor: info.floor(),
                    seen: Seen::nothing(),
                }),
            }
        }
        Ok(Self(Arc::new(Inner {
            store: Arc::new(store),
            process: SoakProcess(process),
            columns,
            clock: Clock::default(),
            read: LastRead::never(),
            turn: Mutex::default(),
        })))
    }

    /// Reads the states now, and says so; once it was [stopped](Self::stop), nothing.
    ///
    /// # Errors
    ///
    /// [`SoakJobError`]; what was read before counts on until it is too old.
    pub async fn beat(&self) -> Result<(), SoakJobError> {
        self.0.beat().await
    }

    /// Takes the heartbeat away, once the one that may be under way has ended, so that no tool waits for this process. From
    /// the call on, values of columns in a soak are neither read nor written here.
    ///
    /// # Errors
    ///
    /// [`SoakJobError`]; the heartbeat expires by itself then.
    pub async fn stop(&self) -> Result<(), SoakJobError> {
        self.0.read.stop();
        let _turn = self.0.turn.lock().await;
        // What it has counted since the last time.
        let said = self.0.say().await;
        self.0.store.leave(self.0.process).await?;
        said
    }

    /// Who this process is, among the heartbeats.
    #[must_use]
    pub fn process(&self) -> SoakProcess {
        self.0.process
    }

    /// The state by which this process reads and writes a column; `None` if it was read too long ago.
    #[must_use]
    pub fn state(&self, column: &ColumnRef) -> Option<SoakState> {
        self.0.is_fresh().then(|| {
            let watched = self.0.watched(column);
            let seen = watched.and_then(|watched| watched.seen.state());
            seen.map_or(SoakState::Plain, |(state, _)| state)
        })
    }

    /// What this process has served of a column since its present state began.
    #[must_use]
    pub fn counts(&self, column: &ColumnRef) -> SoakCounts {
        let watched = self.0.watched(column);
        watched.map_or_else(SoakCounts::default, |watched| watched.seen.counts())
    }

    /// Whether this process may write ciphertext of a column whose plaintext it does not know: where the database says that
    /// it soaks, only while it is known that plaintext counts no more.
    pub(crate) fn writes_alone(&self, column: &ColumnRef) -> Result<(), SoakError> {
        let watched = self.0.watched(column);
        let Some(watched) = watched.filter(|watched| !watched.knows_twin) else {
            return Ok(()); // no soak, or the hooks of its own type look
        };
        match watched.seen.state().map(|(state, _)| state) {
            None | Some(SoakState::Dropped) => Ok(()),
            Some(_) if !self.0.is_fresh() => Err(SoakError::Stale { column: *column }),
            Some(state) if state < SoakState::Sealed => Err(SoakError::BelowFloor {
                column: *column,
                state,
                floor: SoakState::Sealed,
            }),
            Some(_) => Ok(()),
        }
    }

    /// By which it is told how old a state is.
    #[cfg(test)]
    pub(super) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Counts what a reader found.
    pub(crate) fn count(&self, column: &ColumnRef, finding: Finding) {
        let Some(watched) = self.0.watched(column) else {
            return;
        };
        watched.seen.count(finding);
        let what = match finding {
            Finding::Failed => "does not open",
            Finding::Mismatch => "differs from its plaintext",
            Finding::Pending => return, // each pending row is one, and no news
        };
        tracing::warn!(target: "ophie_crypt::soak", %column, "a value {what}");
    }
}

impl fmt::Debug for SoakWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoakWatch")
            .field("process", &self.0.process)
            .finish_non_exhaustive()
    }
}

impl Inner {
    async fn beat(&self) -> Result<(), SoakJobError> {
        let _turn = self.turn.lock().await;
        while !self.read.is_stopped() {
            // Before the database is asked: the answer may take its time.
            let now = self.clock.now();
            // What was applied before. From here on, whoever steps waits for this heartbeat.
            self.say().await?;
            if !self.apply(&self.store.soaks().await?) {
                self.read.note(now);
                break;
            }
        }
        Ok(())
    }

    /// Whether any column was moved.
    fn apply(&self, rows: &[SoakRow]) -> bool {
        let mut moved = false;
        for watched in &self.columns {
            moved |= watched.apply(rows.iter().find(|row| row.is_of(&watched.column)));
        }
        moved
    }

    async fn say(&self) -> Result<(), SoakJobError> {
        let beats: Vec<Beat> = self.columns.iter().filter_map(Watched::beat).collect();
        Ok(self.store.beat(self.process, &beats).await?)
    }

    fn is_fresh(&self) -> bool {
        self.read.is_fresh(&self.clock.now())
    }

    fn watched(&self, column: &ColumnRef) -> Option<&Watched> {
        self.columns.iter().find(|watched| {
            watched.column.table() == column.table() && watched.column.name() == column.name()
        })
    }
}

impl Watched {
    /// Whether it was moved.
    fn apply(&self, row: Option<&SoakRow>) -> bool {
        self.seen.apply(row.map(|row| (row.state, row.version)))
    }

    /// Also of a column whose soak has not begun, so that the second step waits for it. What knows no plaintext has nothing to
    /// say of such a one: there is one for each encrypted column.
    fn beat(&self) -> Option<Beat> {
        let version = match self.seen.state() {
            Some((_, version)) => version,
            None if self.knows_twin => UNBEGUN,
            None => return None,
        };
        let counts = self.seen.counts();
        Some(Beat {
            column: self.column,
            version,
            knows_twin: self.knows_twin,
            floor: self.floor,
            pending: counts.pending,
            odd: counts.mismatched.saturating_add(counts.failed),
        })
    }
}

async fn keep_beating(watch: Weak<Inner>) {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await; // at once; `start` did this one
    loop {
        ticks.tick().await;
        let Some(watch) = watch.upgrade() else { return };
        if watch.read.is_stopped() {
            return;
        }
        // A connection that went away without a word answers nothing; the next may be another.
        match timeout(BEAT, watch.beat()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(target: "ophie_crypt::soak", %error, "a heartbeat was not written");
            }
            Err(_) => {
                tracing::warn!(target: "ophie_crypt::soak", "the database answered no heartbeat");
            }
        }
    }
}

#[cfg(test)]
mod tests;
