//! The second shares of DEKs, in a store of their own.
//!
//! Invariant: what is destroyed here comes back from no backup of the key store. Absent: how two shares make a key
//! (`hazmat`), who asks for them (`kms`).

mod memory;
#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "small numbers, far from any limit"
)]
pub(crate) mod tests;

use core::fmt::{self, Debug};
use std::sync::Arc;

use async_trait::async_trait;

pub use self::memory::MemoryShares;
use crate::{
    hazmat::{
        NoRandomness, fill_random,
        share::{InvalidShare, Share},
    },
    owner::CanonicalId,
    shred::Residue,
};

/// Keeps the second shares of DEKs for a [`TwoShareKms`](crate::TwoShareKms), in another place than the key store: the
/// adapters bring tables for a second database.
///
/// A share that is lost takes all values with it that were sealed under its key, and a share that comes back from a
/// backup undoes its destruction. [`manual::two_shares`](crate::manual::two_shares) says what must be true of such a store.
///
/// ```
/// use ophie_crypt::{CanonicalId, MemoryShares, Share, ShareId, ShareStore, ShareStoreError};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (shares, ada) = (MemoryShares::new(), CanonicalId::text("ada")); // testing only
/// let (id, share) = (ShareId::from_bytes([1; 16]), Share::from_slice(&[7; 32])?);
/// shares.put(&ada, 1, id, &share).await?;
/// assert!(shares.get(&ada, 1, id).await?.is_some());
///
/// shares.destroy_all(&ada).await?;
/// assert!(shares.get(&ada, 1, id).await?.is_none());
/// let late = shares.put(&ada, 2, ShareId::from_bytes([2; 16]), &share).await;
/// assert!(matches!(late, Err(ShareStoreError::Destroyed)));
/// # Ok(()) }
/// ```
///
/// # Security
///
/// One key store, one share store: owners are all that these calls name. The adapters' tables keep several apart by a name
/// that each is given. A copy of a database, for staging say, that had the original's name would destroy the original's
/// shares with its own. Give it another name, or no shares.
#[async_trait]
pub trait ShareStore: Debug + Send + Sync + 'static {
    /// Keeps a share, and returns once it outlives a crash: only then is what goes with it stored.
    ///
    /// # Errors
    ///
    /// [`ShareStoreError::Destroyed`] of an owner whose shares were destroyed.
    async fn put(
        &self,
        owner: &CanonicalId,
        generation: u32,
        id: ShareId,
        share: &Share,
    ) -> Result<(), ShareStoreError>;

    /// The share; `None` if it is not there (any more).
    ///
    /// # Errors
    ///
    /// [`ShareStoreError`]; of a store that cannot be reached too, which must never look as if the share were gone.
    async fn get(
        &self,
        owner: &CanonicalId,
        generation: u32,
        id: ShareId,
    ) -> Result<Option<Share>, ShareStoreError>;

    /// Destroys the owner's shares of all generations before the last of these, but for these. Later ones may just be in
    /// the making.
    ///
    /// # Errors
    ///
    /// [`ShareStoreError`].
    async fn destroy_all_but(
        &self,
        owner: &CanonicalId,
        generations: &[u32],
    ) -> Result<(), ShareStoreError>;

    /// Destroys all of the owner's shares, and takes no more. Any number of times; the last that found a share counts.
    ///
    /// # Errors
    ///
    /// [`ShareStoreError`].
    async fn destroy_all(&self, owner: &CanonicalId) -> Result<(), ShareStoreError>;

    /// When the owner's shares were destroyed, in microseconds since 1970 by the store's clock. `None` if they were not,
    /// or if one is there all the same.
    ///
    /// # Errors
    ///
    /// [`ShareStoreError`].
    async fn destroyed_at(&self, owner: &CanonicalId) -> Result<Option<i64>, ShareStoreError>;

    /// Takes old versions of the shares' rows out of their table's file.
    ///
    /// # Errors
    ///
    /// [`ShareStoreError`].
    async fn vacuum(&self) -> Result<Residue, ShareStoreError> {
        Ok(Residue::Unknown)
    }
}

#[async_trait]
impl<S: ShareStore + ?Sized> ShareStore for Arc<S> {
    async fn put(
        &self,
        owner: &CanonicalId,
        generation: u32,
        id: ShareId,
        share: &Share,
    ) -> Result<(), ShareStoreError> {
        (**self).put(owner, generation, id, share).await
    }

    async fn get(
        &self,
        owner: &CanonicalId,
        generation: u32,
        id: ShareId,
    ) -> Result<Option<Share>, ShareStoreError> {
        (**self).get(owner, generation, id).await
    }

    async fn destroy_all_but(
        &self,
        owner: &CanonicalId,
        generations: &[u32],
    ) -> Result<(), ShareStoreError> {
        (**self).destroy_all_but(owner, generations).await
    }

    async fn destroy_all(&self, owner: &CanonicalId) -> Result<(), ShareStoreError> {
        (**self).destroy_all(owner).await
    }

    async fn destroyed_at(&self, owner: &CanonicalId) -> Result<Option<i64>, ShareStoreError> {
        (**self).destroyed_at(owner).await
    }

    async fn vacuum(&self) -> Result<Residue, ShareStoreError> {
        (**self).vacuum().await
    }
}

/// Names one share: 16 random bytes. It stands in clear beside the first share.
///
/// ```
/// let id = ophie_crypt::ShareId::from_bytes([0xab; 16]);
/// assert_eq!(id.to_string(), "ab".repeat(16));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShareId([u8; Self::LEN]);

impl ShareId {
    /// Its length in bytes.
    pub const LEN: usize = 16;

    /// From stored bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// As stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    pub(crate) fn make() -> Result<Self, NoRandomness> {
        let mut bytes = [0; Self::LEN];
        fill_random(&mut bytes)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for ShareId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::hex::write_hex(f, &self.0)
    }
}

impl Debug for ShareId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShareId({self})")
    }
}

/// A share store did not do its work.
///
/// ```
/// let error = ophie_crypt::ShareStoreError::unavailable("connection refused");
/// assert!(error.to_string().contains("share store"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShareStoreError {
    /// What stands there is no share.
    #[error("the share store holds what is no share; find out who wrote there")]
    Corrupt(#[from] InvalidShare),
    /// The owner's shares were destroyed, and it gets no new ones.
    #[error(
        "the owner's second shares were destroyed, and it gets no new ones; use a new id for a new account"
    )]
    Destroyed,
    /// It cannot be reached, written or read. That says nothing of the shares.
    #[error("the share store is unavailable; mend what its error names, or try again")]
    Unavailable {
        /// What happened.
        #[source]
        source: Arc<dyn core::error::Error + Send + Sync>,
    },
}

impl ShareStoreError {
    /// A store that cannot be reached.
    #[must_use]
    pub fn unavailable(source: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable {
            source: source.into().into(),
        }
    }
}
