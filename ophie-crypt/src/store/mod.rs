//! Where wrapped keys are kept, and how many values may still be sealed under them.
//!
//! Invariant: an owner has one set of keys, and the first one written stays; no more invocations are
//! granted under a DEK than [`MAX_INVOCATIONS`]. Absent: SQL (the adapters' stores), key bytes in clear.

mod error;
mod fence;
mod index;
mod memory;
mod models;
mod record;
mod rotation;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod unasked;

use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;

pub use self::{
    error::{LeaseError, StoreError},
    fence::WriteFence,
    index::{IndexAnnouncement, IndexKeyState, IndexStep, IndexStepTo, WRITERS_OVER_FOR},
    memory::MemoryKeyStore,
    models::{IndexedRow, ModelError, ModelStore, Reindex, Reseal},
    record::{DekBlob, DekRecord, DekState, IndexKeyRecord, OwnerRecord},
    rotation::{
        ANNOUNCED_FOR, Announcement, LEASES_OVER_FOR, RotationPolicy, RotationStore, Step,
        StepError, StepTo, Which,
    },
};
use crate::{owner::CanonicalId, shred::ShredId};

/// The most invocations of AES-GCM under one DEK: 2^32, for random 96-bit nonces.
///
/// Source: NIST SP 800-38D, section 8.3.
pub const MAX_INVOCATIONS: u64 = 1 << 32;

/// Keeps owners' wrapped keys. The adapters bring stores for their databases; [`MemoryKeyStore`] is
/// for tests.
///
/// Every change of an owner's keys raises that owner's version, whoever makes it.
#[async_trait]
pub trait KeyStore: Send + Sync + 'static {
    /// The owner's keys; `None` if it was never provisioned.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read, or holds what no release wrote.
    async fn load(&self, owner: &CanonicalId) -> Result<Option<OwnerRecord>, StoreError>;

    /// Writes an owner's first keys if it has none, all of them or nothing, and counts one invocation for
    /// the index key. The loser of a race changes nothing and is no error.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be written.
    async fn insert_if_absent(
        &self,
        owner: &CanonicalId,
        dek: &DekRecord,
        index_key: &IndexKeyRecord,
    ) -> Result<(), StoreError>;

    /// The owner's version now; `None` if it was never provisioned.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    async fn version(&self, owner: &CanonicalId) -> Result<Option<u64>, StoreError>;

    /// Grants invocations under a DEK to this process, for good: what is not used is lost. On a connection
    /// of its own, outside any transaction of the application.
    ///
    /// # Errors
    ///
    /// [`LeaseError`]; nothing is granted then.
    async fn lease(&self, request: &LeaseRequest) -> Result<Lease, LeaseError>;

    /// Owners whose keys were changed within the time given, and their versions now. First provisioning
    /// is no change.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read, or is a replica that may be behind.
    async fn changes(&self, within: Duration) -> Result<Vec<(CanonicalId, u64)>, StoreError>;

    /// Destroys the owner's keys, for good, and remembers that: one small transaction. What is to be deleted besides is
    /// work for a [`Shredder`](crate::Shredder). A second time changes nothing. `None`, and nothing is written, if the
    /// owner was never provisioned.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be written.
    async fn shred(&self, owner: &CanonicalId) -> Result<Option<ShredId>, StoreError>;

    /// Waits until something may have changed. It only makes the keyring look earlier than it would
    /// anyway, so a store without notifications waits for ever, and one that lost its connection returns
    /// once it has a new one. Cancelling it loses nothing that matters.
    async fn notified(&self) {
        core::future::pending().await
    }
}

/// A request for invocations under a DEK.
///
/// ```
/// use ophie_crypt::{CanonicalId, LeaseRequest, MAX_INVOCATIONS};
/// use std::time::Duration;
///
/// let ada = CanonicalId::text("ada");
/// let request = LeaseRequest::new(ada, 1, 4096, MAX_INVOCATIONS, Duration::from_secs(600));
/// assert_eq!((request.generation, request.count), (1, 4096));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LeaseRequest {
    /// Whose.
    pub owner: CanonicalId,
    /// Which generation.
    pub generation: u32,
    /// How many. None at all only extends the expiry.
    pub count: u32,
    /// How many may be granted in all; at most [`MAX_INVOCATIONS`].
    pub limit: u64,
    /// For how long this process may go on sealing: what rotation waits for.
    pub life: Duration,
}

impl LeaseRequest {
    /// A request.
    #[must_use]
    pub const fn new(
        owner: CanonicalId,
        generation: u32,
        count: u32,
        limit: u64,
        life: Duration,
    ) -> Self {
        Self {
            owner,
            generation,
            count,
            limit,
            life,
        }
    }
}

/// Invocations that were granted.
///
/// ```
/// let lease = ophie_crypt::Lease::new(4096, 4097, 1);
/// assert_eq!((lease.count(), lease.granted(), lease.version()), (4096, 4097, 1));
/// ```
#[derive(Debug)]
pub struct Lease {
    count: u32,
    granted: u64,
    version: u64,
}

impl Lease {
    /// So many invocations, so many in all, at this version of the owner.
    #[must_use]
    pub const fn new(count: u32, granted: u64, version: u64) -> Self {
        Self {
            count,
            granted,
            version,
        }
    }

    /// Granted by this request.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Granted in all, to every process.
    #[must_use]
    pub const fn granted(&self) -> u64 {
        self.granted
    }

    /// The owner's version at that moment.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }
}

#[async_trait]
impl<S: KeyStore + ?Sized> KeyStore for Arc<S> {
    async fn load(&self, owner: &CanonicalId) -> Result<Option<OwnerRecord>, StoreError> {
        (**self).load(owner).await
    }

    async fn insert_if_absent(
        &self,
        owner: &CanonicalId,
        dek: &DekRecord,
        index_key: &IndexKeyRecord,
    ) -> Result<(), StoreError> {
        (**self).insert_if_absent(owner, dek, index_key).await
    }

    async fn version(&self, owner: &CanonicalId) -> Result<Option<u64>, StoreError> {
        (**self).version(owner).await
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Lease, LeaseError> {
        (**self).lease(request).await
    }

    async fn changes(&self, within: Duration) -> Result<Vec<(CanonicalId, u64)>, StoreError> {
        (**self).changes(within).await
    }

    async fn shred(&self, owner: &CanonicalId) -> Result<Option<ShredId>, StoreError> {
        (**self).shred(owner).await
    }

    async fn notified(&self) {
        (**self).notified().await
    }
}
