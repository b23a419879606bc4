//! The owners of whom this process knows something.
//!
//! Invariant: who was given an owner's entry has the one that everybody else finds: none is forgotten while
//! somebody has it. Otherwise keys could be fetched into an entry that upkeep no longer sees.
//! Absent: what is known (`slots`).

use std::collections::{HashMap, hash_map};

use crate::{
    owner::CanonicalId,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Entries of type `T`.
pub(crate) struct Owners<T> {
    entries: Mutex<HashMap<CanonicalId, Arc<T>>>,
    most: usize,
}

impl<T> Owners<T> {
    /// Room for `most` owners.
    pub(crate) fn with_room_for(most: usize) -> Self {
        Self {
            entries: Mutex::new(HashMap::new()),
            most,
        }
    }

    /// The owner's entry; a new one if there is room, or will be when those that nobody has and that are
    /// `idle` are forgotten.
    pub(crate) fn entry(
        &self,
        owner: CanonicalId,
        idle: impl Fn(&T) -> bool,
        make: impl FnOnce(CanonicalId) -> Arc<T>,
    ) -> Option<Arc<T>> {
        let mut entries = self.entries();
        if entries.len() >= self.most && !entries.contains_key(&owner) {
            // Whoever has one got it under this lock, or from somebody who has it still.
            entries.retain(|_, entry| Arc::strong_count(entry) > 1 || !idle(entry));
            if entries.len() >= self.most {
                return None;
            }
        }
        Some(match entries.entry(owner) {
            hash_map::Entry::Occupied(found) => Arc::clone(found.get()),
            hash_map::Entry::Vacant(vacant) => {
                let entry = make(vacant.key().clone());
                Arc::clone(vacant.insert(entry))
            }
        })
    }

    pub(crate) fn find(&self, owner: &CanonicalId) -> Option<Arc<T>> {
        self.entries().get(owner).cloned()
    }

    /// Who they are now. Not their entries: to have all at once would keep each from being forgotten.
    pub(crate) fn ids(&self) -> Vec<CanonicalId> {
        self.entries().keys().cloned().collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<CanonicalId, Arc<T>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
