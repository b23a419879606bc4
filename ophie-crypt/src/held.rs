//! One owner's unwrapped keys in this process, and who holds them.
//!
//! Invariant: key material is taken out, never zeroed in place: who pinned it finishes with a whole key,
//! who comes after gets none. With the last holder it goes, unless it may linger. Who held keys that were
//! revoked gets none again, whatever comes later. Absent: what the keys are, where they come from (`keyring`).

use crate::{
    error::NoSession,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Keys of type `K`, or why there are none.
pub(crate) struct Held<K> {
    state: Mutex<State<K>>,
}

struct State<K> {
    keys: Result<Arc<K>, NoSession>,
    /// Holders of the present term.
    holders: usize,
    term: Term,
    /// How the last term ended.
    ended: NoSession,
}

/// The stretch up to a revocation; keys come and go within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Term(u64);

impl<K> Held<K> {
    pub(crate) fn empty() -> Self {
        Self {
            state: Mutex::new(State {
                keys: Err(NoSession::Expired),
                holders: 0,
                term: Term(0),
                ended: NoSession::Revoked,
            }),
        }
    }

    /// The keys of now, for the keyring.
    pub(crate) fn pin(&self) -> Result<Arc<K>, NoSession> {
        self.state().keys.clone()
    }

    /// The keys for a holder's call or poll.
    pub(crate) fn pin_for(&self, term: Term) -> Result<Arc<K>, NoSession> {
        let state = self.state();
        if state.term == term {
            state.keys.clone()
        } else {
            Err(state.ended)
        }
    }

    /// One more holder, if there are keys that pass `fit`.
    pub(crate) fn join(&self, fit: impl FnOnce(&K) -> bool) -> Option<Term> {
        let mut state = self.state();
        state.keys.as_ref().is_ok_and(|keys| fit(keys)).then(|| {
            state.holders = state.holders.saturating_add(1);
            state.term
        })
    }

    /// One more holder beside one that there is.
    pub(crate) fn join_beside(&self, term: Term) {
        let mut state = self.state();
        if state.term == term {
            state.holders = state.holders.saturating_add(1);
        }
    }

    /// One holder fewer. The last takes the keys along, unless they may linger.
    pub(crate) fn leave(&self, term: Term, may_linger: bool) {
        let mut state = self.state();
        if state.term != term {
            return; // counted no longer
        }
        state.holders = state.holders.saturating_sub(1);
        if state.holders == 0 && !may_linger {
            take(state, NoSession::Expired);
        }
    }

    /// New keys in place of the old, and one more holder.
    pub(crate) fn install(&self, keys: Arc<K>) -> Term {
        let mut state = self.state();
        state.holders = state.holders.saturating_add(1);
        let term = state.term;
        let old = core::mem::replace(&mut state.keys, Ok(keys));
        drop(state);
        drop(old); // wiping needs no lock
        term
    }

    /// Ends keys that are not `fit` to stay; new ones may come for the same holders. Judged under the lock:
    /// they may have come since somebody looked.
    pub(crate) fn expire(&self, fit: impl FnOnce(&K) -> bool) {
        let state = self.state();
        if state.keys.as_ref().is_ok_and(|keys| !fit(keys)) {
            take(state, NoSession::Expired);
        }
    }

    /// Ends keys that nobody holds and that are not `fit` to stay.
    pub(crate) fn expire_idle(&self, fit: impl FnOnce(&K) -> bool) {
        let state = self.state();
        if state.holders == 0 && state.keys.as_ref().is_ok_and(|keys| !fit(keys)) {
            take(state, NoSession::Expired);
        }
    }

    /// No keys, and never again for those who held them.
    pub(crate) fn revoke(&self, reason: NoSession) {
        let mut state = self.state();
        state.term = Term(state.term.0.saturating_add(1));
        state.holders = 0;
        state.ended = reason;
        take(state, reason);
    }

    pub(crate) fn holders(&self) -> usize {
        self.state().holders
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take<K>(mut state: MutexGuard<'_, State<K>>, reason: NoSession) {
    let taken = core::mem::replace(&mut state.keys, Err(reason));
    drop(state); // wiping needs no lock
    drop(taken);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_holder_takes_the_keys_along() {
        let held = Held::empty();
        let term = held.install(Arc::new(1));
        held.join_beside(term);
        assert_eq!(held.join(|keys| *keys == 2), None);
        held.leave(term, false);
        assert!(held.pin_for(term).is_ok());
        held.leave(term, false);
        assert_eq!(held.pin_for(term), Err(NoSession::Expired));
    }

    #[test]
    fn keys_that_linger_go_when_they_are_idle_and_not_before() {
        let held = Held::empty();
        let term = held.install(Arc::new(1));
        held.expire_idle(|_| false);
        assert!(held.pin().is_ok(), "somebody holds them");
        held.leave(term, true);
        assert!(held.pin().is_ok());
        held.expire_idle(|_| true);
        assert!(held.pin().is_ok());
        held.expire_idle(|_| false);
        assert!(held.pin().is_err());
    }

    #[test]
    fn who_was_revoked_stays_revoked_and_is_counted_no_longer() {
        let held = Held::empty();
        let before = held.install(Arc::new(1));
        held.expire(|keys| *keys == 1);
        assert!(held.pin().is_ok());
        held.expire(|_| false);
        held.leave(held.install(Arc::new(2)), false);
        assert_eq!(held.pin_for(before).as_deref(), Ok(&2), "expiry is mended");

        held.revoke(NoSession::Shredded);
        let after = held.install(Arc::new(3));
        assert_eq!(held.pin_for(before), Err(NoSession::Shredded));
        assert_eq!(held.pin_for(after).as_deref(), Ok(&3));
        held.join_beside(before);
        held.leave(after, false);
        assert!(held.pin().is_err(), "a revoked holder kept the keys");
        held.leave(before, false);
        assert_eq!(held.holders(), 0);
    }
}
