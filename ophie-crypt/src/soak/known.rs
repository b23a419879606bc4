//! What a watch has read, and what its hooks count.
//!
//! Invariant: what is counted by who saw a state is not lost while that state lasts; once a watch was stopped, nothing it
//! reads counts. Absent: the database and the heartbeat (`watch`).

use core::time::Duration;

use crate::{
    clock::Moment,
    soak::{Finding, SoakState},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// How long a process goes by what it has read: less than the 30 seconds for which its heartbeat counts in the database.
const FRESH: Duration = Duration::from_secs(20);

/// When the states were read last.
pub(crate) struct LastRead(RwLock<Read>);

#[derive(Clone, Copy)]
enum Read {
    Never,
    At(Moment),
    /// For good: a heartbeat that was under way changes nothing.
    Stopped,
}

impl LastRead {
    pub(crate) fn never() -> Self {
        Self(RwLock::new(Read::Never))
    }

    /// Unless it was stopped meanwhile.
    pub(crate) fn note(&self, now: Moment) {
        let mut read = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*read, Read::Stopped) {
            *read = Read::At(now);
        }
    }

    pub(crate) fn stop(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Read::Stopped;
    }

    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self.read(), Read::Stopped)
    }

    pub(crate) fn is_fresh(&self, now: &Moment) -> bool {
        matches!(self.read(), Read::At(then) if now.since(&then) < FRESH)
    }

    fn read(&self) -> Read {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of one column, and what was served while it lasts.
pub(crate) struct Seen {
    /// State and version; `None` where the database knows no soak.
    state: RwLock<Option<(SoakState, i64)>>,
    pending: AtomicU64,
    mismatched: AtomicU64,
    failed: AtomicU64,
}

/// What this process has served of a column since its present state began.
///
/// ```
/// assert_eq!(ophie_crypt::soak::SoakCounts::default().pending, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SoakCounts {
    /// Values of pending rows.
    pub pending: u64,
    /// Values whose ciphertext said something else.
    pub mismatched: u64,
    /// Values whose ciphertext did not open.
    pub failed: u64,
}

impl Seen {
    pub(crate) fn nothing() -> Self {
        Self {
            state: RwLock::new(None),
            pending: AtomicU64::new(0),
            mismatched: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    pub(crate) fn state(&self) -> Option<(SoakState, i64)> {
        *self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was moved.
    pub(crate) fn apply(&self, now: Option<(SoakState, i64)>) -> bool {
        let mut seen = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let state = |of: Option<(SoakState, i64)>| of.map(|(state, _)| state);
        // Behind the lock: nobody sees the new state before the counts are its own.
        if state(*seen) != state(now) {
            for counter in [&self.pending, &self.mismatched, &self.failed] {
                counter.store(0, Relaxed);
            }
        }
        let moved = *seen != now;
        *seen = now;
        moved
    }

    pub(crate) fn count(&self, finding: Finding) {
        let counter = match finding {
            Finding::Failed => &self.failed,
            Finding::Mismatch => &self.mismatched,
            Finding::Pending => &self.pending,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn counts(&self) -> SoakCounts {
        SoakCounts {
            pending: self.pending.load(Relaxed),
            mismatched: self.mismatched.load(Relaxed),
            failed: self.failed.load(Relaxed),
        }
    }
}
