//! The steps of one round of work, and what it asked once for all owners.
//!
//! Invariant: the ledger has the owner before anything else is done, and goes with the database; each step may be done again, by anyone, after a
//! death anywhere; one owner whose vectors do not go, or a store that does not answer, holds up no other for long.
//! Absent: whose turn it is (`shredder`).

use core::time::Duration;
use std::{sync::Arc, time::UNIX_EPOCH};

use tokio::time::timeout;

use super::{
    builder::ShredderError,
    guard::follow,
    record::{Residue, Shred, ShredStep},
    shares::SecondShares,
    shredder::{Inner, micros},
    tombstones::tombstone,
};
use crate::{owner::CanonicalId, store::StoreError, vectors::VectorStoreError};

/// Rows in one statement.
const BATCH: u32 = 1000;
/// After a failure, doubled from the first to the last.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));
/// Calls of one vector store that delete nothing and leave something, in one attempt, and how long all of them may take.
const CALLS: u32 = 3;
const VECTORS_WITHIN: Duration = Duration::from_secs(60);
/// What vacuums waits for whoever reads a page, and the next shreds wait for it.
const VACUUM_WITHIN: Duration = Duration::from_secs(30);
/// An owner of whom nothing was found rests at most so many times as long as after the first sweep.
const MOST_RESTS: u32 = 32;

/// One call of a shredder.
pub(super) struct Round<'a> {
    inner: &'a Inner,
    shares: SecondShares<'a>,
    /// Whose ledger it is, or why it is not used in this round: that is about no owner, and each would wait for it.
    ledger: Option<Result<[u8; 16], ShredderError>>,
}

impl<'a> Round<'a> {
    pub(super) fn of(inner: &'a Inner) -> Self {
        Self {
            inner,
            shares: SecondShares::of_round(inner.shares.as_deref()),
            ledger: None,
        }
    }

    pub(super) async fn append(&mut self, shred: &Shred) -> Result<(), ShredderError> {
        let installation = self.verified().await?;
        let inner = self.inner;
        let mut view = inner.view.lock().await;
        let added = view.add_shred(&*inner.ledger, &installation, shred).await;
        let entry = added.map_err(ShredderError::from).inspect_err(|error| {
            if matches!(error, ShredderError::Ledger(_)) {
                self.ledger = Some(Err(error.clone()));
            }
        })?;
        let head = view.head;
        drop(view);
        let step = ShredStep::Appended { entry, head };
        Ok(inner.store.note(&shred.owner, step).await?)
    }

    /// All steps behind the ledger's that concern this owner alone.
    pub(super) async fn finish(&mut self, shred: &Shred) -> Result<(), ShredderError> {
        let (inner, owner) = (self.inner, &shred.owner);
        // Their store says what was done there. No other step waits for it, and no receipt is whole without it.
        let destroyed = self.shares.destroy(owner).await;
        // It waits for transactions of the application; vectors do not.
        let tombstoned = if shred.tombstoned_at.is_none() {
            tombstone(&inner.rows, owner).await
        } else {
            Ok(())
        };
        if shred.tombstoned_at.is_none() && tombstoned.is_ok() {
            inner.store.note(owner, ShredStep::Tombstoned).await?;
        }
        if shred.emptied_at.is_none() {
            inner.empty(owner).await?;
            inner.store.note(owner, ShredStep::Emptied).await?;
        }
        tombstoned?;
        Ok(destroyed?)
    }

    /// Counts rows as they go. Whether there were any, or vectors.
    pub(super) async fn sweep(
        &mut self,
        shred: &Shred,
        deleted: &mut u64,
    ) -> Result<bool, ShredderError> {
        let (inner, owner, before) = (self.inner, &shred.owner, *deleted);
        self.must_know(owner).await?;
        // A store that was put back has them again. No row waits for one that is out of reach.
        let destroyed = self.shares.destroy(owner).await;
        for rows in &inner.rows {
            rows.bury(owner).await?;
            for table in rows.models().deleted_tables() {
                loop {
                    let some = rows.sweep(owner, table, BATCH).await?;
                    *deleted = deleted.saturating_add(some);
                    if some == 0 {
                        break;
                    }
                }
            }
        }
        let vectors = inner.empty(owner).await?; // those too may come late
        destroyed?;
        Ok(vectors > 0 || *deleted > before)
    }

    pub(super) async fn destroy_shares(
        &mut self,
        owner: &CanonicalId,
    ) -> Result<(), ShredderError> {
        self.must_know(owner).await?;
        Ok(self.shares.destroy(owner).await?)
    }

    /// Once for all owners who are finished but for this, and in the one store also if the other has nothing to do.
    pub(super) async fn vacuum(&self) -> Residue {
        let of_shares = self.shares.vacuum().await;
        // What it fails for is about no owner, and passes.
        let of_keys = timeout(VACUUM_WITHIN, self.inner.store.vacuum()).await;
        let of_keys = of_keys.ok().and_then(Result::ok);
        of_keys.unwrap_or(Residue::Held).and(of_shares)
    }

    /// The database says so of itself; the ledger must too.
    async fn must_know(&mut self, owner: &CanonicalId) -> Result<(), ShredderError> {
        let installation = self.verified().await?;
        let inner = self.inner;
        let mut view = inner.view.lock().await;
        if view.shred(owner).is_none() {
            view.follow(&*inner.ledger).await?; // another worker's, since
        }
        if !view.is_of(&installation) {
            return Err(ShredderError::Foreign);
        }
        match view.shred(owner) {
            Some(_) => Ok(()),
            None => Err(ShredderError::NotInLedger),
        }
    }

    /// This installation's id, if the ledger goes with the database. A copy that shares its original's ledger would add
    /// owners who live there, and delete rows by what the original says.
    async fn verified(&mut self) -> Result<[u8; 16], ShredderError> {
        if let Some(verified) = &self.ledger {
            return verified.clone();
        }
        let verified = self.inner.verify().await;
        self.ledger = Some(verified.clone());
        verified
    }
}

impl Inner {
    async fn verify(&self) -> Result<[u8; 16], ShredderError> {
        let mut now = self.store.installation().await?;
        let mut view = self.view.lock().await;
        follow(&*self.store, &*self.ledger, &mut view, &mut now).await?;
        match view.epoch() > now.epoch {
            true => Err(ShredderError::Epoch),
            false => Ok(now.id),
        }
    }

    /// How many vectors went, as far as their stores count.
    async fn empty(&self, owner: &CanonicalId) -> Result<u64, ShredderError> {
        let mut count = 0_u64;
        for (name, vectors) in &self.vectors {
            let emptied = async {
                let mut idle = 0;
                while idle < CALLS {
                    let deleted = vectors.delete_owner(owner).await?;
                    if deleted.verified_empty() {
                        count = count.saturating_add(deleted.count().unwrap_or_default());
                        return Ok::<_, VectorStoreError>(true);
                    }
                    match deleted.count() {
                        None | Some(0) => idle = u32::saturating_add(idle, 1),
                        Some(some) => count = count.saturating_add(some),
                    }
                }
                Ok(false)
            };
            let slow = |_| Err(VectorStoreError::unavailable("not done within a minute"));
            let emptied = timeout(VECTORS_WITHIN, emptied).await;
            if !emptied.unwrap_or_else(slow)? {
                return Err(ShredderError::NotEmpty {
                    name: Arc::clone(name),
                });
            }
        }
        Ok(count)
    }

    /// After a sweep. Of an owner of whom nothing was left, twice as long as between this one and the one before.
    pub(super) fn rest(&self, shred: &Shred, found: bool) -> Duration {
        let (Some(before), false) = (shred.swept_at, found) else {
            return self.again;
        };
        let now = self.clock.now().wall().duration_since(UNIX_EPOCH);
        let since = micros(now.unwrap_or_default())
            .saturating_sub(before)
            .max(0);
        let doubled = Duration::from_micros(since.unsigned_abs()).saturating_mul(2);
        doubled.clamp(self.again, self.again.saturating_mul(MOST_RESTS))
    }

    pub(super) async fn postpone(
        &self,
        shred: &Shred,
        error: &ShredderError,
    ) -> Result<(), StoreError> {
        let doubled = 1_u32.checked_shl(shred.attempts).unwrap_or(u32::MAX);
        let pause = PAUSES.0.saturating_mul(doubled).min(PAUSES.1);
        let why = reason(error);
        warn(shred, &why);
        self.store.postpone(&shred.owner, pause, &why).await
    }
}

pub(super) fn warn(shred: &Shred, why: &str) {
    tracing::warn!(
        target: "ophie_crypt::shred",
        shred = %shred.id,
        attempts = shred.attempts.saturating_add(1),
        why,
        "a shred did not go forward"
    );
}

/// The error and its causes, in a line.
pub(super) fn reason(error: &ShredderError) -> String {
    const MOST: usize = 1000;
    let mut text = error.to_string();
    let mut cause = core::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.chars().take(MOST).collect()
}
