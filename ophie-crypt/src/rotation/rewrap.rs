//! The newest DEK under another KEK.
//!
//! Invariant: the KMS has unwrapped the new blob before the old one is dropped. Absent: which owners, and when (`jobs`).

use super::{Rotation, RotationError, TRIES};
use crate::{
    keyring::SessionError,
    owner::OwnerId,
    store::{DekBlob, StepError},
};

impl Rotation {
    /// Wraps the owner's newest DEK anew, under the present KEK of the keyring's KMS. The KMS unwrapped the new blob
    /// before the old one is dropped. Values stay as they are.
    ///
    /// # Errors
    ///
    /// [`RotationError`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does.
    pub async fn rewrap(&self, owner: &(impl OwnerId + ?Sized)) -> Result<(), RotationError> {
        let owner = owner.canonical();
        for _ in 0..TRIES {
            let record = self.load(&owner).await?;
            let newest = record.newest().ok_or(SessionError::WrongKey)?;
            let DekBlob::Wrapped(old) = newest.blob() else {
                return Err(SessionError::WrongKey.into());
            };
            let rewrapped = self.keyring.rewrap(&owner, newest.clone(), old.clone());
            let new = rewrapped.await?;
            let stored = self.keys.rewrap(&owner, newest.generation(), old, &new);
            match stored.await {
                Ok(()) => return Ok(()),
                Err(StepError::Store(error)) => return Err(error.into()),
                Err(_) => {}
            }
        }
        Err(RotationError::Interrupted)
    }
}
