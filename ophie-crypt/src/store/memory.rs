//! A key store in memory, for tests and examples.
//!
//! Absent: persistence; every value is unreadable once it is dropped.

mod index;
mod shreds;

use core::{fmt, time::Duration};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::Notify;

use self::shreds::Graves;
use super::{
    ANNOUNCED_FOR, Announcement, DekBlob, DekRecord, DekState, IndexAnnouncement, IndexKeyRecord,
    IndexStep, KeyStore, LEASES_OVER_FOR, Lease, LeaseError, LeaseRequest, MAX_INVOCATIONS,
    OwnerRecord, RotationStore, Step, StepError, StepTo, StoreError, Which,
};
use crate::shred::ShredId;
use crate::{
    clock::{Clock, Moment},
    kms::WrappedDek,
    owner::CanonicalId,
};

/// Keeps wrapped keys in memory. For tests: what it held is lost with it.
///
/// ```
/// use ophie_crypt::{CanonicalId, KeyStore, MemoryKeyStore};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryKeyStore::new();
/// assert!(store.load(&CanonicalId::text("nobody")).await?.is_none());
/// # Ok(()) }
/// ```
#[derive(Default)]
pub struct MemoryKeyStore {
    owners: Mutex<HashMap<CanonicalId, Kept>>,
    graves: Mutex<Graves>,
    changed: Notify,
    clock: Clock,
    /// How long a question about shreds takes, and of how many owners each was.
    #[cfg(test)]
    pub(crate) looks: Mutex<(Duration, Vec<usize>)>,
}

struct Kept {
    record: OwnerRecord,
    generations: HashMap<u32, Generation>,
    /// When each index key came into its state.
    index_stated: HashMap<u8, Moment>,
}

/// What is known of a generation beside its key.
struct Generation {
    /// Invocations granted.
    granted: u64,
    /// The lease that ends last, and when it began.
    leased: Option<(Moment, Duration)>,
    /// When it came into its state.
    stated: Moment,
}

impl Generation {
    const fn new(granted: u64, stated: Moment) -> Self {
        Self {
            granted,
            leased: None,
            stated,
        }
    }

    /// For how long its last lease will be held, and then some.
    fn is_leased(&self, now: &Moment, and: Duration) -> bool {
        self.leased
            .is_some_and(|(at, life)| now.since(&at) <= life.saturating_add(and))
    }
}

impl Kept {
    /// Of an owner who never had keys here.
    fn none() -> Self {
        Self {
            record: OwnerRecord::living(1, [], []),
            generations: HashMap::new(),
            index_stated: HashMap::new(),
        }
    }
}

impl MemoryKeyStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A store whose time the tests let pass.
    #[cfg(test)]
    pub(crate) fn with_clock(clock: Clock) -> Self {
        Self {
            clock,
            ..Self::default()
        }
    }

    /// Puts other keys in place of an owner's.
    #[cfg(test)]
    pub(crate) fn replace(&self, owner: &CanonicalId, record: OwnerRecord) {
        if let Some(kept) = self.owners().get_mut(owner) {
            kept.record = record;
        }
        self.changed.notify_waiters();
    }

    /// Forgets an owner, as a restore from before its sign-up would.
    #[cfg(test)]
    pub(crate) fn forget(&self, owner: &CanonicalId) {
        self.owners().remove(owner);
    }

    fn graves(&self) -> MutexGuard<'_, Graves> {
        self.graves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<CanonicalId, Kept>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl KeyStore for MemoryKeyStore {
    async fn load(&self, owner: &CanonicalId) -> Result<Option<OwnerRecord>, StoreError> {
        Ok(self.owners().get(owner).map(|kept| kept.record.clone()))
    }

    async fn insert_if_absent(
        &self,
        owner: &CanonicalId,
        dek: &DekRecord,
        index_key: &IndexKeyRecord,
    ) -> Result<(), StoreError> {
        let first = Generation::new(1, self.clock.now());
        self.owners().entry(owner.clone()).or_insert_with(|| Kept {
            record: OwnerRecord::living(1, [dek.clone()], [index_key.clone()]),
            generations: HashMap::from([(dek.generation(), first)]),
            index_stated: HashMap::new(),
        });
        Ok(())
    }

    async fn version(&self, owner: &CanonicalId) -> Result<Option<u64>, StoreError> {
        Ok(self.owners().get(owner).map(|kept| kept.record.version()))
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Lease, LeaseError> {
        let mut owners = self.owners();
        let Some(kept) = owners.get_mut(&request.owner) else {
            return Err(LeaseError::NotSealing);
        };
        let seals =
            kept.record.deks().iter().any(|dek| {
                dek.generation() == request.generation && dek.state() == DekState::Sealing
            });
        if !seals {
            return Err(LeaseError::NotSealing);
        }
        let now = self.clock.now();
        let generation = kept.generations.entry(request.generation);
        let generation = generation.or_insert_with(|| Generation::new(0, now));
        let after = generation.granted.saturating_add(request.count.into());
        if after > request.limit.min(MAX_INVOCATIONS) {
            return Err(LeaseError::Exhausted);
        }
        generation.granted = after;
        let left = |(at, life): (Moment, Duration)| life.saturating_sub(now.since(&at));
        if generation.leased.map(left).unwrap_or_default() < request.life {
            generation.leased = Some((now, request.life));
        }
        Ok(Lease::new(request.count, after, kept.record.version()))
    }

    async fn changes(&self, _: Duration) -> Result<Vec<(CanonicalId, u64)>, StoreError> {
        let owners = self.owners();
        let changed = owners
            .iter()
            .filter(|(_, kept)| kept.record.version() > 1)
            .map(|(owner, kept)| (owner.clone(), kept.record.version()));
        Ok(changed.collect())
    }

    async fn shred(&self, owner: &CanonicalId) -> Result<Option<ShredId>, StoreError> {
        self.shred_known(owner)
    }

    async fn notified(&self) {
        self.changed.notified().await;
    }
}

#[async_trait]
impl RotationStore for MemoryKeyStore {
    async fn announce(
        &self,
        owner: &CanonicalId,
        announcement: &Announcement,
    ) -> Result<(), StepError> {
        let now = self.clock.now();
        self.change(owner, |kept| {
            if kept.record.version() != announcement.version {
                return Err(StepError::Changed);
            }
            let mut deks = announcement.older.clone();
            deks.push(announcement.dek.clone());
            let new = Generation::new(announcement.invocations().into(), now);
            let generation = announcement.dek.generation();
            kept.generations.insert(generation, new);
            Ok((deks, announcement.index_keys.clone()))
        })
    }

    async fn step(&self, step: &Step) -> Result<(), StepError> {
        let now = self.clock.now();
        self.change(&step.owner, |kept| {
            let (from, to) = match step.to {
                StepTo::Sealing => (DekState::Announced, DekState::Sealing),
                StepTo::Retired => (DekState::Draining, DekState::Retired),
                StepTo::Destroyed { .. } => (DekState::Retired, DekState::Destroyed),
            };
            let mut deks = kept.record.deks().to_vec();
            let moves = |dek: &&DekRecord| dek.generation() == step.generation;
            let moving = deks.iter().find(moves).ok_or(StepError::Changed)?;
            let generation = kept.generations.get(&step.generation);
            let generation = generation.ok_or(StepError::Changed)?;
            let index_keys = kept.record.index_keys();
            let is_ready = match step.to {
                StepTo::Sealing => now.since(&generation.stated) >= ANNOUNCED_FOR,
                StepTo::Retired => {
                    let under = |key: &IndexKeyRecord| key.key_id() == moving.key_id();
                    !generation.is_leased(&now, LEASES_OVER_FOR) && !index_keys.iter().any(under)
                }
                StepTo::Destroyed { after } => now.since(&generation.stated) >= after,
            };
            match (moving.state() == from, is_ready) {
                (false, _) => return Err(StepError::Changed),
                (true, false) => return Err(StepError::TooEarly),
                (true, true) => {}
            }
            for dek in &mut deks {
                let state = match dek.state() {
                    _ if dek.generation() == step.generation => to,
                    DekState::Sealing if to == DekState::Sealing => DekState::Draining,
                    _ => continue,
                };
                *dek = dek.clone().in_state(state);
                let generation = kept.generations.get_mut(&dek.generation());
                generation
                    .into_iter()
                    .for_each(|generation| generation.stated = now);
            }
            deks.retain(|dek| dek.state() != DekState::Destroyed);
            Ok((deks, index_keys.to_vec()))
        })
    }

    async fn is_idle(&self, owner: &CanonicalId, generation: u32) -> Result<bool, StoreError> {
        let owners = self.owners();
        let Some(kept) = owners.get(owner) else {
            return Ok(false);
        };
        let rests = kept.record.deks().iter().any(|dek| {
            dek.generation() == generation
                && matches!(dek.state(), DekState::Draining | DekState::Retired)
        });
        let now = self.clock.now();
        let leased = |generation: &Generation| generation.is_leased(&now, LEASES_OVER_FOR);
        Ok(rests && !kept.generations.get(&generation).is_some_and(leased))
    }

    async fn rewrap(
        &self,
        owner: &CanonicalId,
        generation: u32,
        old: &WrappedDek,
        new: &WrappedDek,
    ) -> Result<(), StepError> {
        self.change(owner, |kept| {
            let mut deks = kept.record.deks().to_vec();
            let stored = DekBlob::Wrapped(old.clone());
            let here =
                |dek: &&mut DekRecord| dek.generation() == generation && *dek.blob() == stored;
            let dek = deks.iter_mut().find(here).ok_or(StepError::Changed)?;
            *dek = dek.clone().with_blob(DekBlob::Wrapped(new.clone()));
            Ok((deks, kept.record.index_keys().to_vec()))
        })
    }

    async fn owners(
        &self,
        which: &Which,
        after: Option<&CanonicalId>,
        limit: u32,
    ) -> Result<Vec<CanonicalId>, StoreError> {
        let (owners, now) = (self.owners(), self.clock.now());
        let mut found: Vec<_> = owners
            .iter()
            .filter(|(owner, kept)| {
                after.is_none_or(|after| owner.as_bytes() > after.as_bytes())
                    && kept.is_one_of(which, &now)
            })
            .map(|(owner, _)| owner.clone())
            .collect();
        found.sort_by(|left, right| left.as_bytes().cmp(right.as_bytes()));
        found.truncate(limit.try_into().unwrap_or(usize::MAX));
        Ok(found)
    }

    async fn announce_index(
        &self,
        owner: &CanonicalId,
        announcement: &IndexAnnouncement,
    ) -> Result<(), StepError> {
        self.announce_index_key(owner, announcement)
    }

    async fn step_index(&self, step: &IndexStep) -> Result<(), StepError> {
        self.step_index_key(step)
    }

    async fn is_index_idle(&self, owner: &CanonicalId, generation: u8) -> Result<bool, StoreError> {
        Ok(self.is_index_key_idle(owner, generation))
    }
}

type Keys = (Vec<DekRecord>, Vec<IndexKeyRecord>);

impl MemoryKeyStore {
    /// Puts a living owner's keys in place of those that it has.
    fn change(
        &self,
        owner: &CanonicalId,
        change: impl FnOnce(&mut Kept) -> Result<Keys, StepError>,
    ) -> Result<(), StepError> {
        let mut owners = self.owners();
        let kept = owners.get_mut(owner).ok_or(StepError::Changed)?;
        if kept.record.is_shredded() {
            return Err(StepError::Changed);
        }
        let (deks, index_keys) = change(kept)?;
        let version = kept.record.version().saturating_add(1);
        kept.record = OwnerRecord::living(version, deks, index_keys);
        drop(owners);
        self.changed.notify_waiters();
        Ok(())
    }
}

impl Kept {
    fn is_one_of(&self, which: &Which, now: &Moment) -> bool {
        let in_state = |states: &[DekState]| {
            let deks = self.record.deks().iter();
            deks.filter(|dek| states.contains(&dek.state()))
                .filter_map(|dek| self.generations.get(&dek.generation()))
                .collect::<Vec<_>>()
        };
        match which {
            Which::Due(policy) => {
                let due = |generation: &&Generation| {
                    now.since(&generation.stated) >= policy.age()
                        || generation.granted >= policy.granted()
                };
                in_state(&[DekState::Announced]).is_empty()
                    && in_state(&[DekState::Sealing]).iter().any(due)
            }
            Which::Rotating => {
                !in_state(&[DekState::Announced, DekState::Draining]).is_empty()
                    || self.rotates_index_key()
            }
            Which::Retired { since } => {
                let long = |generation: &&Generation| now.since(&generation.stated) >= *since;
                in_state(&[DekState::Retired]).iter().any(long)
                    || self.has_retired_index_key(now, *since)
            }
            Which::WrappedElsewhere { kek } => {
                self.record.deks().iter().any(
                    |dek| matches!(dek.blob(), DekBlob::Wrapped(wrapped) if wrapped.kek() != kek),
                )
            }
        }
    }
}

impl fmt::Debug for MemoryKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryKeyStore").finish_non_exhaustive()
    }
}
