//! A key store in memory, for tests and examples.
//!
//! Absent: persistence; every value is unreadable once it is dropped.

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
    DekRecord, DekState, IndexKeyRecord, KeyStore, Lease, LeaseError, LeaseRequest,
    MAX_INVOCATIONS, OwnerRecord, StoreError,
};
use crate::{owner::CanonicalId, shred::ShredId};

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
}

struct Kept {
    record: OwnerRecord,
    /// Invocations granted, by generation.
    granted: HashMap<u32, u64>,
}

impl Kept {
    /// Of an owner who never had keys here.
    fn none() -> Self {
        Self {
            record: OwnerRecord::living(1, [], []),
            granted: HashMap::new(),
        }
    }
}

impl MemoryKeyStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
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
        self.owners().entry(owner.clone()).or_insert_with(|| Kept {
            record: OwnerRecord::living(1, [dek.clone()], [index_key.clone()]),
            granted: HashMap::from([(dek.generation(), 1)]),
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
        let granted = kept.granted.entry(request.generation).or_default();
        let after = granted.saturating_add(request.count.into());
        if after > request.limit.min(MAX_INVOCATIONS) {
            return Err(LeaseError::Exhausted);
        }
        *granted = after;
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

impl fmt::Debug for MemoryKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryKeyStore").finish_non_exhaustive()
    }
}
