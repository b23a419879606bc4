//! A key store in memory, for tests and examples.
//!
//! Absent: persistence; every value is unreadable once it is dropped.

use core::fmt;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{KeyStore, OwnerRecord, StoreError};
use crate::owner::CanonicalId;

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
pub struct MemoryKeyStore(Mutex<HashMap<CanonicalId, OwnerRecord>>);

impl MemoryKeyStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<CanonicalId, OwnerRecord>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl KeyStore for MemoryKeyStore {
    async fn load(&self, owner: &CanonicalId) -> Result<Option<OwnerRecord>, StoreError> {
        Ok(self.owners().get(owner).cloned())
    }

    async fn insert_if_absent(
        &self,
        owner: &CanonicalId,
        record: &OwnerRecord,
    ) -> Result<(), StoreError> {
        self.owners()
            .entry(owner.clone())
            .or_insert_with(|| record.clone());
        Ok(())
    }
}

impl fmt::Debug for MemoryKeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryKeyStore").finish_non_exhaustive()
    }
}
