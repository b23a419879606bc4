//! Where wrapped keys are kept.
//!
//! Invariant: an owner has one record; the first one written stays.
//! Absent: SQL (the adapters' stores), key bytes in clear.

mod memory;

use core::fmt;
use std::sync::Arc;

use async_trait::async_trait;

pub use self::memory::MemoryKeyStore;
use crate::{hazmat::data_key::KeyId, kms::WrappedDek, owner::CanonicalId};

/// Keeps owners' wrapped keys. The adapters bring stores for their databases; [`MemoryKeyStore`] is
/// for tests.
#[async_trait]
pub trait KeyStore: Send + Sync + 'static {
    /// The owner's keys; `None` if it was never provisioned.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read, or holds what no release wrote.
    async fn load(&self, owner: &CanonicalId) -> Result<Option<OwnerRecord>, StoreError>;

    /// Writes the record if the owner has none, all of it or nothing. The loser of a race changes
    /// nothing and is no error.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be written.
    async fn insert_if_absent(
        &self,
        owner: &CanonicalId,
        record: &OwnerRecord,
    ) -> Result<(), StoreError>;
}

/// What a key store keeps of an owner: the wrapped DEK, and the index key sealed under it.
///
/// ```
/// use ophie_crypt::{KeyId, OwnerRecord, WrappedDek};
///
/// let record = OwnerRecord::new(1, KeyId::from_bytes([7; 16]), WrappedDek::new("local:..", [1]), 1, [2]);
/// assert_eq!((record.generation(), record.index_generation()), (1, 1));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct OwnerRecord {
    generation: u32,
    key_id: KeyId,
    wrapped: WrappedDek,
    index_generation: u8,
    sealed_index_key: Vec<u8>,
}

impl OwnerRecord {
    /// From its parts.
    #[must_use]
    pub fn new(
        generation: u32,
        key_id: KeyId,
        wrapped: WrappedDek,
        index_generation: u8,
        sealed_index_key: impl Into<Vec<u8>>,
    ) -> Self {
        Self {
            generation,
            key_id,
            wrapped,
            index_generation,
            sealed_index_key: sealed_index_key.into(),
        }
    }

    /// The DEK's generation, from 1.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// The DEK's id, which commits to it.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The wrapped DEK.
    #[must_use]
    pub const fn wrapped(&self) -> &WrappedDek {
        &self.wrapped
    }

    /// The index key's generation, from 1.
    #[must_use]
    pub const fn index_generation(&self) -> u8 {
        self.index_generation
    }

    /// The index key, sealed under the DEK.
    #[must_use]
    pub fn sealed_index_key(&self) -> &[u8] {
        &self.sealed_index_key
    }
}

impl fmt::Debug for OwnerRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerRecord")
            .field("generation", &self.generation)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// A key store could not do its work.
///
/// ```
/// let error = ophie_crypt::StoreError::corrupt("a key id of 3 bytes");
/// assert!(error.to_string().contains("a key id of 3 bytes"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A record that no release wrote.
    #[error("the key store holds a damaged record ({reason}); restore it from a backup")]
    Corrupt {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The tables are missing.
    #[error(
        "the key store has no tables; run its migrations first, for example `store.migrate().await?`"
    )]
    NotMigrated,
    /// It could not be reached.
    #[error("the key store is unavailable; try again")]
    Unavailable {
        /// What happened.
        #[source]
        source: Arc<dyn core::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// A damaged record. The reason is a constant, so that no data slips into it.
    #[must_use]
    pub const fn corrupt(reason: &'static str) -> Self {
        Self::Corrupt { reason }
    }

    /// A store that cannot be reached.
    #[must_use]
    pub fn unavailable(source: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable {
            source: source.into().into(),
        }
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
        record: &OwnerRecord,
    ) -> Result<(), StoreError> {
        (**self).insert_if_absent(owner, record).await
    }
}
