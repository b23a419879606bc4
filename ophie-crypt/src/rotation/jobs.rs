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
    /// [`RotationError`] if owners cannot be listed. What stops one owner is counted.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does.
    ///
    /// # Security
    ///
    /// As for [`destroy`](Self::destroy).
    pub async fn destroy_all(&self, retired_for: Duration) -> Result<Tally, RotationError> {
        let which = Which::Retired { since: retired_for };
        self.each(&which, async |owner| self.destroy(owner, retired_for).await)
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
