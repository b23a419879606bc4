//! One owner's unwrapped keys in this process, and who holds them.
//!
//! Invariant: key material is taken out, never zeroed in place: who pinned it finishes with a whole key,
//! who comes after gets none. With the last holder it goes, unless it may linger.
//! Absent: what the keys are, where they come from (`keyring`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::NoSession;

/// Keys of type `K`, or why there are none.
pub(crate) struct Held<K> {
    state: Mutex<State<K>>,
}

struct State<K> {
    keys: Result<Arc<K>, NoSession>,
    holders: usize,
}

impl<K> Held<K> {
    pub(crate) const fn empty() -> Self {
        Self {
            state: Mutex::new(State {
                keys: Err(NoSession::Expired),
                holders: 0,
            }),
        }
    }

    /// The keys, for one call or one poll.
    pub(crate) fn pin(&self) -> Result<Arc<K>, NoSession> {
        self.state().keys.clone()
    }

    /// One more holder, if there are keys that pass `fit`.
    pub(crate) fn join(&self, fit: impl FnOnce(&K) -> bool) -> bool {
        let mut state = self.state();
        let joins = state.keys.as_ref().is_ok_and(|keys| fit(keys));
        if joins {
            state.holders = state.holders.saturating_add(1);
        }
        joins
    }

    /// One more holder beside one that there is.
    pub(crate) fn join_beside(&self) {
        let mut state = self.state();
        state.holders = state.holders.saturating_add(1);
    }

    /// One holder fewer. The last takes the keys along, unless they may linger.
    pub(crate) fn leave(&self, may_linger: bool) {
        let mut state = self.state();
        state.holders = state.holders.saturating_sub(1);
        if state.holders == 0 && !may_linger {
            let taken = take(&mut state, NoSession::Expired);
            drop(state); // wiping needs no lock
            drop(taken);
        }
    }

    /// New keys in place of the old, and one more holder.
    pub(crate) fn install(&self, keys: Arc<K>) {
        let mut state = self.state();
        state.holders = state.holders.saturating_add(1);
        let old = core::mem::replace(&mut state.keys, Ok(keys));
        drop(state);
        drop(old);
    }

    /// No keys any more, for this reason.
    pub(crate) fn end(&self, reason: NoSession) {
        let mut state = self.state();
        let taken = take(&mut state, reason);
        drop(state);
        drop(taken);
    }

    /// Ends keys that nobody holds and that are not `fit` to stay.
    pub(crate) fn end_idle(&self, fit: impl FnOnce(&K) -> bool) {
        let mut state = self.state();
        if state.holders == 0 && state.keys.as_ref().is_ok_and(|keys| !fit(keys)) {
            let taken = take(&mut state, NoSession::Expired);
            drop(state);
            drop(taken);
        }
    }

    pub(crate) fn holders(&self) -> usize {
        self.state().holders
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A later reason than that the keys were gone anyway replaces it.
fn take<K>(state: &mut State<K>, reason: NoSession) -> Result<Arc<K>, NoSession> {
    core::mem::replace(&mut state.keys, Err(reason))
}
