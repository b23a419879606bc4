//! Generations of index keys in memory.

use core::time::Duration;

use super::{Kept, MemoryKeyStore};
use crate::{
    clock::Moment,
    owner::CanonicalId,
    store::{
        IndexAnnouncement, IndexKeyRecord, IndexKeyState, IndexStep, IndexStepTo, MAX_INVOCATIONS,
        StepError, WRITERS_OVER_FOR,
    },
};

impl MemoryKeyStore {
    pub(super) fn announce_index_key(
        &self,
        owner: &CanonicalId,
        announcement: &IndexAnnouncement,
    ) -> Result<(), StepError> {
        let now = self.clock.now();
        self.change(owner, |kept| {
            if kept.record.version() != announcement.version || kept.rotates_index_key() {
                return Err(StepError::Changed);
            }
            let dek = kept.generations.get_mut(&announcement.sealed_under);
            let dek = dek.ok_or(StepError::Changed)?;
            if dek.granted >= MAX_INVOCATIONS {
                return Err(StepError::Spent);
            }
            dek.granted = dek.granted.saturating_add(1);
            let mut keys = kept.record.index_keys().to_vec();
            keys.push(announcement.key.clone());
            let generation = announcement.key.generation();
            kept.index_stated.insert(generation, now);
            Ok((kept.record.deks().to_vec(), keys))
        })
    }

    pub(super) fn step_index_key(&self, step: &IndexStep) -> Result<(), StepError> {
        use IndexKeyState::{Announced, Draining, Retired, Writing};

        let now = self.clock.now();
        self.change(&step.owner, |kept| {
            let (from, to, after) = match step.to {
                IndexStepTo::Writing => (Announced, Some(Writing), WRITERS_OVER_FOR),
                IndexStepTo::Retired => (Draining, Some(Retired), WRITERS_OVER_FOR),
                IndexStepTo::Destroyed { after } => (Retired, None, after),
            };
            match kept.index_since(step.generation, from, &now) {
                None => return Err(StepError::Changed),
                Some(since) if since < after => return Err(StepError::TooEarly),
                Some(_) => {}
            }
            let mut keys = Vec::new();
            for key in kept.record.index_keys() {
                let state = match key.state() {
                    _ if key.generation() == step.generation => to,
                    Writing if to == Some(Writing) => Some(Draining),
                    state => Some(state),
                };
                let Some(state) = state else {
                    continue; // it is gone
                };
                if state != key.state() {
                    kept.index_stated.insert(key.generation(), now);
                }
                keys.push(key.clone().in_state(state));
            }
            Ok((kept.record.deks().to_vec(), keys))
        })
    }

    pub(super) fn is_index_key_idle(&self, owner: &CanonicalId, generation: u8) -> bool {
        let (owners, now) = (self.owners(), self.clock.now());
        owners.get(owner).is_some_and(|kept| {
            let draining = kept.index_since(generation, IndexKeyState::Draining, &now);
            let retired = kept.index_since(generation, IndexKeyState::Retired, &now);
            retired.is_some() || draining.is_some_and(|since| since >= WRITERS_OVER_FOR)
        })
    }
}

impl Kept {
    /// For how long this generation has been in this state; `None` if it is in another.
    fn index_since(&self, generation: u8, state: IndexKeyState, now: &Moment) -> Option<Duration> {
        let is_it = |key: &&IndexKeyRecord| key.generation() == generation && key.state() == state;
        self.record.index_keys().iter().find(is_it)?;
        let stated = self.index_stated.get(&generation)?;
        Some(now.since(stated))
    }

    pub(super) fn rotates_index_key(&self) -> bool {
        let rotates = [IndexKeyState::Announced, IndexKeyState::Draining];
        let keys = self.record.index_keys().iter();
        keys.map(IndexKeyRecord::state)
            .any(|state| rotates.contains(&state))
    }

    pub(super) fn has_retired_index_key(&self, now: &Moment, since: Duration) -> bool {
        self.record.index_keys().iter().any(|key| {
            let retired = self.index_since(key.generation(), IndexKeyState::Retired, now);
            retired.is_some_and(|retired| retired >= since)
        })
    }
}
