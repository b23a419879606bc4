//! The end of an owner's keys, from the application's side.
//!
//! Invariant: once it returns, this process holds no key of the owner and fetches none. Absent: what is deleted besides
//! (`crate::shred`).

use std::sync::Arc;

use super::{Inner, Keyring, fill::in_time, slots::Entry};
use crate::{
    error::NoSession,
    owner::{CanonicalId, OwnerId},
    session::Purpose,
    shred::ShredId,
    store::StoreError,
};

use super::error::SessionError;

/// An owner was not shredded. Shred again: an owner who is shredded already stays as it is.
///
/// ```
/// assert!(ophie_crypt::ShredError::UnknownOwner.to_string().contains("database"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShredError {
    /// The task ended without an answer: the runtime is shutting down, or the key store panicked.
    #[error("the shred was interrupted; shred again: it does nothing if it is done")]
    Interrupted,
    /// The key store failed. Where the connection broke while it committed, the keys are perhaps destroyed.
    #[error(
        "the owner's keys were perhaps not destroyed; see the key store's error, then shred again: it does nothing if they are"
    )]
    Store(#[from] StoreError),
    /// No keys were ever made for this owner, in this key store; nothing was destroyed.
    #[error(
        "the owner has no key in this key store, so nothing was destroyed; check the type of the id, and that this is the right database"
    )]
    UnknownOwner,
}

impl Keyring {
    /// Destroys the owner's keys: nothing that was sealed under them opens again. Sessions of this process end at once,
    /// those of others when they are notified, at their next re-check at the latest.
    ///
    /// It is the first of several steps: what else is to be deleted, and the memory that outlives a restore, is the work
    /// of a [`Shredder`](crate::Shredder). To shred in a transaction of the application's own, use `shred_in` of the
    /// adapter's key store.
    ///
    /// ```
    /// # use ophie_crypt::{Keyring, LocalKms, MemoryKeyStore, Purpose, SessionError};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(MemoryKeyStore::new()).build()?;
    /// keyring.provision("ada").await?;
    /// keyring.shred("ada").await?;
    /// let opened = keyring.open("ada", Purpose::new("docs")).await;
    /// assert!(matches!(opened, Err(SessionError::Shredded)));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ShredError`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does.
    pub async fn shred(&self, owner: &(impl OwnerId + ?Sized)) -> Result<ShredId, ShredError> {
        let (inner, owner) = (Arc::clone(&self.0), owner.canonical());
        // A task of its own: a caller that goes away must not leave the keys in memory.
        let shredded = tokio::spawn(async move { inner.shred(&owner).await }).await;
        shredded.unwrap_or(Err(ShredError::Interrupted))
    }
}

impl Inner {
    async fn shred(self: &Arc<Self>, owner: &CanonicalId) -> Result<ShredId, ShredError> {
        let shredded = in_time::<_, StoreError>(self.store.shred(owner)).await?;
        let id = shredded.ok_or(ShredError::UnknownOwner)?;
        if let Some(entry) = self.owners.find(owner) {
            self.evict(&entry).await;
        }
        Ok(id)
    }

    /// What is there goes at once. A fetch that is under way may have looked before the shred: what it brings goes by
    /// the fetch after it.
    async fn evict(self: &Arc<Self>, entry: &Arc<Entry>) {
        entry.slot.held.revoke(NoSession::Shredded);
        for _ in 0..2 {
            let fetched = self.refetch(entry, Purpose::new("shred"), false).await;
            if matches!(fetched, Err(SessionError::Shredded)) {
                return;
            }
        }
        entry.slot.held.revoke(NoSession::Shredded);
    }
}
