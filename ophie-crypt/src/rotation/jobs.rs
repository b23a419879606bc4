//! All owners whose turn it is.
//!
//! Invariant: an owner who fails stops nobody else, and is counted. Absent: what is done with one owner (the parent).

use core::time::Duration;

use super::{Progress, Rotation, RotationError};
use crate::{
    hazmat::fill_random,
    owner::CanonicalId,
    store::{RotationPolicy, Which},
};

/// Owners that are read at a time.
const OWNERS: u32 = 100;

/// What a job did with the owners that it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Found.
    pub owners: u64,
    /// With whom it is done.
    pub done: u64,
    /// Of whom something is left for the next call.
    pub waiting: u64,
    /// Whom an error stopped; it was logged, and the next call tries again.
    pub failed: u64,
}

impl Rotation {
    /// [Begins](Self::begin) for every owner who is due by this policy: by age, by budget, or after a restore.
    ///
    /// Run it each day, say. A rotation that is under way is not begun again.
    ///
    /// # Errors
    ///
    /// [`RotationError`] if owners cannot be listed. What stops one owner is counted.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does.
    pub async fn begin_due(&self, policy: &RotationPolicy) -> Result<Tally, RotationError> {
        let which = Which::Due(*policy);
        self.each(&which, async |owner| {
            self.begin(owner).await?;
            Ok(Progress::default())
        })
        .await
    }

    /// [Advances](Self::advance) every owner whose rotation is under way. Run it every few minutes; several processes
    /// may.
    ///
    /// # Errors
    ///
    /// [`RotationError`] if owners cannot be listed. What stops one owner is counted.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does.
    pub async fn advance_all(&self) -> Result<Tally, RotationError> {
        self.each(&Which::Rotating, async |owner| self.advance(owner).await)
            .await
    }

    /// [Destroys](Self::destroy) the keys of every generation that has been retired for this long.
    ///
    /// # Errors
    ///
    /// [`RotationError`] if owners cannot be listed, or it was not said where sidecars are. What stops one owner is counted.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does.
    ///
    /// # Security
    ///
    /// As for [`destroy`](Self::destroy).
    pub async fn destroy_all(&self, retired_for: Duration) -> Result<Tally, RotationError> {
        self.knows_sidecars()?;
        let which = Which::Retired { since: retired_for };
        self.each(&which, async |owner| self.destroy(owner, retired_for).await)
            .await
    }

    /// Destroys what the KMS keeps elsewhere of every owner's destroyed generations, again: the second shares of a
    /// [`TwoShareKms`](crate::TwoShareKms). [`destroy_all`](Self::destroy_all) does not find an owner again whose key it
    /// destroyed and then died, or did not reach the share store. Call this after an outage, after the share store was put
    /// back, and now and then, for what nobody noticed.
    ///
    /// # Errors
    ///
    /// [`RotationError`] if owners cannot be listed. What stops one owner is counted.
    pub async fn destroy_shares_again(&self) -> Result<Tally, RotationError> {
        // Every owner who lives: no KEK has an empty name.
        let which = Which::WrappedElsewhere { kek: String::new() };
        self.each(&which, async |owner| {
            let record = self.load(owner).await?;
            self.keyring.forget_destroyed(owner, &record).await?;
            Ok(Progress::default())
        })
        .await
    }

    /// [Rewraps](Self::rewrap) the newest DEK of every owner that is wrapped under another KEK than this, which is
    /// the present one of the keyring's KMS.
    ///
    /// # Errors
    ///
    /// [`RotationError`] if owners cannot be listed. What stops one owner is counted.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does.
    pub async fn rewrap_all(&self, kek: &str) -> Result<Tally, RotationError> {
        let kek = kek.to_owned();
        self.each(&Which::WrappedElsewhere { kek }, async |owner| {
            self.rewrap(owner).await?;
            Ok(Progress::default())
        })
        .await
    }

    /// [Begins](Self::begin) for every owner whose newest DEK is wrapped under another KEK than this, where wrapping it
    /// anew is not enough: to move keys into two shares. Call it until it finds nobody, and [advance](Self::advance_all)
    /// meanwhile; owners read and write all the time.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use ophie_crypt::{Keyring, LocalKms, MemoryKeyStore, MemoryShares, MovingKms, TwoShareKms};
    /// # use ophie_crypt::{CanonicalId, ColumnRef, IndexedColumn, IndexedRow, KeyId, ModelError, Models, ModelStore};
    /// # use ophie_crypt::{Reindex, Reseal, Rotation};
    /// # #[derive(Debug, Default)] struct NoTables(Models);
    /// # #[async_trait::async_trait]
    /// # impl ModelStore for NoTables {
    /// #     fn models(&self) -> &Models { &self.0 }
    /// #     async fn sealed_under(&self, _: &CanonicalId, _: &ColumnRef, _: KeyId, _: Option<&[u8]>, _: u32)
    /// #         -> Result<Vec<Vec<u8>>, ModelError> { Ok(vec![]) }
    /// #     async fn replace(&self, _: &CanonicalId, _: &ColumnRef, _: &[Reseal]) -> Result<u64, ModelError> { Ok(0) }
    /// #     async fn moment(&self) -> Result<u64, ModelError> { Ok(0) }
    /// #     async fn count_under(&self, _: Option<&CanonicalId>, _: &ColumnRef, _: KeyId, _: u64)
    /// #         -> Result<Option<u64>, ModelError> { Ok(Some(0)) }
    /// #     async fn indexed_under(&self, _: &CanonicalId, _: &IndexedColumn, _: u8, _: Option<&IndexedRow>, _: u32)
    /// #         -> Result<Vec<IndexedRow>, ModelError> { Ok(vec![]) }
    /// #     async fn reindex(&self, _: &CanonicalId, _: &IndexedColumn, _: &[Reindex])
    /// #         -> Result<u64, ModelError> { Ok(0) }
    /// #     async fn count_indexed(&self, _: &CanonicalId, _: &ColumnRef, _: u8, _: u64)
    /// #         -> Result<Option<u64>, ModelError> { Ok(Some(0)) }
    /// # }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (store, models) = (Arc::new(MemoryKeyStore::new()), NoTables::default());
    /// # let (kms, shares) = (Arc::new(LocalKms::ephemeral()?), MemoryShares::new());
    /// # let before = Keyring::builder().kms(Arc::clone(&kms)).key_store(Arc::clone(&store)).build()?;
    /// # before.provision("ada").await?;
    /// // Every process has this one before the first key moves; a `TwoShareKms` alone once all have moved.
    /// let both = MovingKms::new(Arc::clone(&kms), TwoShareKms::new(Arc::clone(&kms), shares));
    /// let keyring = Keyring::builder().kms(both).key_store(Arc::clone(&store)).build()?;
    /// let rotation = Rotation::new(keyring, store, models);
    /// let two_shares = TwoShareKms::kek(&kms.kek());
    /// assert_eq!(rotation.begin_wrapped_elsewhere(&two_shares).await?.owners, 1);
    /// assert_eq!(rotation.begin_wrapped_elsewhere(&two_shares).await?.owners, 0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RotationError`] if owners cannot be listed. What stops one owner is counted.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does.
    pub async fn begin_wrapped_elsewhere(&self, kek: &str) -> Result<Tally, RotationError> {
        let kek = kek.to_owned();
        self.each(&Which::WrappedElsewhere { kek }, async |owner| {
            self.begin(owner).await?;
            Ok(Progress::default())
        })
        .await
    }

    async fn each(
        &self,
        which: &Which,
        job: impl AsyncFn(&CanonicalId) -> Result<Progress, RotationError>,
    ) -> Result<Tally, RotationError> {
        let mut tally = Tally::default();
        let mut after = None;
        loop {
            let mut owners = self.keys.owners(which, after.as_ref(), OWNERS).await?;
            let Some(last) = owners.last().cloned() else {
                return Ok(tally);
            };
            after = Some(last);
            // Several processes begin at several places, and seldom meet.
            let at = random_below(owners.len());
            owners.rotate_left(at);
            for owner in &owners {
                tally.owners = tally.owners.saturating_add(1);
                let count = match job(owner).await {
                    Ok(progress) if progress.waits_for.is_none() => &mut tally.done,
                    Ok(_) => &mut tally.waiting,
                    Err(error) => {
                        tracing::warn!(
                            target: "ophie_crypt::rotation",
                            owner = owner.to_hex(),
                            %error,
                            "an owner's rotation did not go on"
                        );
                        &mut tally.failed
                    }
                };
                *count = count.saturating_add(1);
            }
        }
    }
}

fn random_below(len: usize) -> usize {
    let mut random = [0];
    let _ = fill_random(&mut random); // without it, all begin at the first
    usize::from(random[0]).checked_rem(len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of several who do the same at once, each is ahead of the others somewhere.
    #[test]
    fn a_job_begins_anywhere_in_its_list() {
        assert_eq!((random_below(0), random_below(1)), (0, 0));
        let begins: Vec<_> = (0..64).map(|_| random_below(7)).collect();
        assert!(begins.iter().any(|at| *at != begins[0]));
        assert!(begins.iter().all(|at| *at < 7));
    }
}
