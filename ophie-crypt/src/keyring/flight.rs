//! The one fetch of an owner's keys that all who need them share.
//!
//! Invariant: who finds neither keys nor a fetch has missed none, and is the only one to start the next. To
//! join, to start and to end are under one lock. Absent: what a fetch does and what runs it (`slots`).

use crate::{
    error::NoSession,
    held::{Held, Term},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What one waits with for the end of a fetch.
pub(crate) trait Wait: Clone {
    /// Whether the end may still come; of a fetch that panicked it does not.
    fn is_open(&self) -> bool;
}

/// The fetch under way, if there is one.
pub(crate) struct Flight<W>(Mutex<Option<W>>);

impl<W: Wait> Flight<W> {
    pub(crate) fn none() -> Self {
        Self(Mutex::new(None))
    }

    /// Joins the keys if they are `fit`; else the fetch under way, or one that `start` starts.
    pub(crate) fn join_or_start<K>(
        &self,
        held: &Held<K>,
        fit: impl FnOnce(&K) -> bool,
        start: impl FnOnce() -> W,
    ) -> Result<Term, W> {
        let under_way = self.under_way();
        match held.join(fit) {
            Some(term) => Ok(term),
            None => Err(join_under(under_way, start)),
        }
    }

    /// The fetch under way, or one that `start` starts.
    pub(crate) fn start(&self, start: impl FnOnce() -> W) -> W {
        join_under(self.under_way(), start)
    }

    /// The fetch brought keys; they have a holder. Who needs some from now on finds them.
    pub(crate) fn bring<K>(&self, held: &Held<K>, keys: Arc<K>) -> Term {
        let mut under_way = self.under_way();
        *under_way = None;
        held.install(keys)
    }

    /// The fetch brought none, perhaps with a reason to revoke those that there are. Who needs some from now
    /// on starts another.
    pub(crate) fn fail<K>(&self, held: &Held<K>, revoked: Option<NoSession>) {
        let mut under_way = self.under_way();
        *under_way = None;
        if let Some(reason) = revoked {
            held.revoke(reason);
        }
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way().as_ref().is_some_and(W::is_open)
    }

    fn under_way(&self) -> MutexGuard<'_, Option<W>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn join_under<W: Wait>(mut under_way: MutexGuard<'_, Option<W>>, start: impl FnOnce() -> W) -> W {
    match under_way.as_ref().filter(|wait| wait.is_open()) {
        Some(wait) => wait.clone(),
        None => under_way.insert(start()).clone(),
    }
}
