//! Two master keys, while wrapped keys move from one to the other.
//!
//! Invariant: new keys are wrapped under the new master key only; each wrapped key goes to the KMS that says it holds
//! its KEK. Absent: which keys move, and in what order (`rotation`).

use core::fmt;

use async_trait::async_trait;

use super::{GeneratedDek, Kms, KmsCall, KmsError, WrappedDek, two_share};
use crate::hazmat::data_key::Dek;

/// A KMS that takes over from another: from a local key file to AWS, say. Both can be opened meanwhile.
///
/// Every process of the application has it before the first key moves; then a job calls
/// [`Rotation::rewrap_all`](crate::Rotation::rewrap_all). When no key is left under the old master key, the old one is
/// left out again.
///
/// ```
/// use ophie_crypt::{Keyring, LocalKms, MemoryKeyStore, MovingKms, Purpose};
/// # use std::sync::Arc;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = Arc::new(MemoryKeyStore::new());
/// let (old, new) = (Arc::new(LocalKms::ephemeral()?), LocalKms::ephemeral()?);
/// let before = Keyring::builder().kms(Arc::clone(&old)).key_store(Arc::clone(&store)).build()?;
/// before.provision("ada").await?;
///
/// let both = Keyring::builder().kms(MovingKms::new(old, new)).key_store(store).build()?;
/// both.open("ada", Purpose::new("docs")).await?;
/// # Ok(()) }
/// ```
///
/// It refuses to take a key in two shares to another KMS: a [`TwoShareKms`](crate::TwoShareKms) goes around it, as
/// `TwoShareKms::new(MovingKms::new(old, new), shares)`.
///
/// # Security
///
/// Where the two are not of one kind, the DEK comes into this process for a moment and is wrapped there: on AWS the
/// role that moves needs `kms:Encrypt`, which no other role should have, and only while it moves.
pub struct MovingKms {
    from: Box<dyn Kms>,
    to: Box<dyn Kms>,
}

impl MovingKms {
    /// From the first to the second.
    pub fn new(from: impl Kms, to: impl Kms) -> Self {
        Self {
            from: Box::new(from),
            to: Box::new(to),
        }
    }

    fn holder(&self, wrapped: &WrappedDek) -> &dyn Kms {
        if self.to.holds(wrapped.kek()) {
            &*self.to
        } else {
            &*self.from
        }
    }
}

#[async_trait]
impl Kms for MovingKms {
    async fn make_dek(&self, call: &KmsCall) -> Result<GeneratedDek, KmsError> {
        self.to.make_dek(call).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, call: &KmsCall) -> Result<Dek, KmsError> {
        self.holder(wrapped).unwrap_dek(wrapped, call).await
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        call: &KmsCall,
    ) -> Result<WrappedDek, KmsError> {
        if self.to.holds(wrapped.kek()) {
            return self.to.rewrap_dek(wrapped, call).await;
        }
        if two_share::is_kek(wrapped.kek()) {
            // In one piece it would come back with any backup, and nobody would be told.
            return Err(KmsError::refused(
                "a key in two shares is not taken to another KMS whole; to wrap its first share under another master key, nest them as `TwoShareKms::new(MovingKms::new(old, new), shares)`",
            ));
        }
        let dek = self.from.unwrap_dek(wrapped, call).await?;
        self.to.wrap_dek(&dek, call).await
    }

    async fn wrap_dek(&self, dek: &Dek, call: &KmsCall) -> Result<WrappedDek, KmsError> {
        self.to.wrap_dek(dek, call).await
    }

    async fn forget_all_but(&self, generations: &[u32], call: &KmsCall) -> Result<(), KmsError> {
        self.from.forget_all_but(generations, call).await?;
        self.to.forget_all_but(generations, call).await
    }

    fn holds(&self, kek: &str) -> bool {
        self.to.holds(kek) || self.from.holds(kek)
    }
}

impl fmt::Debug for MovingKms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MovingKms").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kms::{EncryptionContext, LocalKms},
        owner::CanonicalId,
    };

    #[tokio::test]
    async fn keys_move_and_open_on_both_sides() {
        let (old, new) = (
            std::sync::Arc::new(LocalKms::ephemeral().unwrap()),
            std::sync::Arc::new(LocalKms::ephemeral().unwrap()),
        );
        let moving = MovingKms::new(old.clone(), new.clone());
        let call = |owner| {
            let owner = CanonicalId::text(owner);
            KmsCall::new(EncryptionContext::new("app", &owner, 1))
        };
        let made = old.make_dek(&call("ada")).await.unwrap();
        let same = |dek: &Dek| dek.expose_secret() == made.dek.expose_secret();
        let unwrapped = moving.unwrap_dek(&made.wrapped, &call("ada")).await;
        assert!(same(&unwrapped.unwrap()));

        let moved = moving
            .rewrap_dek(&made.wrapped, &call("ada"))
            .await
            .unwrap();
        assert_eq!(moved.kek(), new.kek());
        assert!(same(&new.unwrap_dek(&moved, &call("ada")).await.unwrap()));
        assert!(same(
            &moving.unwrap_dek(&moved, &call("ada")).await.unwrap()
        ));
        old.unwrap_dek(&moved, &call("ada")).await.unwrap_err();
        let again = moving.rewrap_dek(&moved, &call("ada")).await.unwrap();
        assert!(same(&new.unwrap_dek(&again, &call("ada")).await.unwrap()));
        // Nor does it move under another context.
        moving
            .rewrap_dek(&made.wrapped, &call("ben"))
            .await
            .unwrap_err();

        let made = moving.make_dek(&call("ada")).await.unwrap();
        assert_eq!(made.wrapped.kek(), new.kek());
        assert!(moving.holds(&old.kek()) && moving.holds(&new.kek()));
        assert!(!moving.holds("local:another"));
    }
}
