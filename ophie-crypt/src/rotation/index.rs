//! Takes owners' index keys through their generations.
//!
//! Invariant: a generation is retired only when nobody can write under it, no transaction that wrote under it is open,
//! and no row of the owner holds a fingerprint of it. Absent: how rows get new ones (`reindex`).

use core::time::Duration;

use super::{Generation, Progress, Rotation, RotationError, TRIES, WaitsFor};
use crate::{
    keyring::SessionError,
    owner::{CanonicalId, OwnerId},
    store::{IndexKeyRecord, IndexKeyState, IndexStep, IndexStepTo, OwnerRecord, StepError},
};

impl Rotation {
    /// Announces the owner's next index key, and says which generation it is. If a rotation of the index key is under
    /// way, that one.
    ///
    /// From then on until the old key is retired, look-ups must ask for both fingerprints of a value and writes must say
    /// that they are (`candidates` and `for_write` of `BlindIndex`), or they are refused. Rewrite your statements first:
    /// they work all the same while there is one key.
    ///
    /// [`advance`](Self::advance) does the rest: it lets the new key be written ten and a half minutes later, when every
    /// session looks up by it; makes all fingerprints anew, page after page, from the values beside them; and retires the old
    /// key when no session can write under it any more and no row is left. [`destroy`](Self::destroy) erases it.
    ///
    /// ```
    /// use ophie_crypt::{EncryptedModel, Models, ModelStore, Rotation, WaitsFor};
    /// # use ophie_crypt::{CanonicalId, ColumnRef, IndexedColumn, IndexedRow, KeyId, Keyring, LocalKms, MemoryKeyStore};
    /// # use ophie_crypt::{ModelError, Purpose, Reindex, Reseal};
    /// # use std::sync::Arc;
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
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = Arc::new(MemoryKeyStore::new());
    /// # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(Arc::clone(&store)).build()?;
    /// # keyring.provision("ada").await?;
    /// # let models = NoTables::default();
    /// let rotation = Rotation::new(keyring, store, models);
    /// assert_eq!(rotation.begin_index("ada").await?, 2);
    /// let progress = rotation.advance("ada").await?;
    /// assert_eq!(progress.waits_for, Some(WaitsFor::Announcement)); // call again in ten
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RotationError`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does.
    ///
    /// # Security
    ///
    /// Until the old key is retired, a join of two rows by their fingerprints, `GROUP BY` one, and a unique index on it
    /// know rows of one key only. A fingerprint that stands in a column of no named model, or without the value that it
    /// was made of, is not made anew, and is found no more once the old key is destroyed, or the next is announced. Values that are bound to their
    /// rows cannot be opened here: write their fingerprints anew; they keep the old key until then.
    pub async fn begin_index(&self, owner: &(impl OwnerId + ?Sized)) -> Result<u8, RotationError> {
        let owner = owner.canonical();
        for _ in 0..TRIES {
            let record = self.load(&owner).await?;
            let newest = record.index_keys().first();
            let newest = newest.ok_or(SessionError::WrongKey)?;
            if let Some(announced) = in_state(&record, IndexKeyState::Announced) {
                match self
                    .step_index(&owner, announced, IndexStepTo::Writing)
                    .await
                {
                    Err(StepError::Store(error)) => return Err(error.into()),
                    Ok(()) | Err(_) => return Ok(announced),
                }
            }
            if in_state(&record, IndexKeyState::Draining).is_some() {
                return Ok(newest.generation());
            }
            let announcement = self.keyring.next_index_key(&owner, record).await?;
            let generation = announcement.key.generation();
            match self.keys.announce_index(&owner, &announcement).await {
                Ok(()) => return Ok(generation),
                Err(StepError::Spent) => return Err(RotationError::Spent),
                Err(StepError::Store(error)) => return Err(error.into()),
                Err(StepError::Changed | StepError::TooEarly) => {}
            }
        }
        Err(RotationError::Interrupted)
    }

    /// Takes the owner's index keys as far as they can go now.
    pub(super) async fn advance_index(
        &self,
        owner: &CanonicalId,
        mut record: OwnerRecord,
        progress: &mut Progress,
    ) -> Result<(), RotationError> {
        if let Some(announced) = in_state(&record, IndexKeyState::Announced) {
            match self
                .step_index(owner, announced, IndexStepTo::Writing)
                .await
            {
                Err(StepError::Store(error)) => return Err(error.into()),
                Err(StepError::TooEarly) => progress.wait_for(WaitsFor::Announcement),
                Ok(()) | Err(_) => record = self.load(owner).await?,
            }
        }
        let Some(old) = in_state(&record, IndexKeyState::Draining) else {
            return Ok(());
        };
        if self.is_index_empty(owner, &record, old, progress).await? {
            match self.step_index(owner, old, IndexStepTo::Retired).await {
                Err(StepError::Store(error)) => return Err(error.into()),
                Err(StepError::TooEarly) => progress.wait_for(WaitsFor::Writers),
                Ok(()) | Err(_) => self.forget(owner, Generation::Index(old)),
            }
        }
        Ok(())
    }

    /// Destroys the owner's index keys that have been retired for this long. Rows that came late are found by the new
    /// key from then on.
    pub(super) async fn destroy_index(
        &self,
        owner: &CanonicalId,
        record: &OwnerRecord,
        retired_for: Duration,
        progress: &mut Progress,
    ) -> Result<(), RotationError> {
        let retired = record.index_keys().iter();
        for old in retired.filter(|key| key.state() == IndexKeyState::Retired) {
            let old = old.generation();
            if !self.is_index_empty(owner, record, old, progress).await? {
                continue;
            }
            let to = IndexStepTo::Destroyed { after: retired_for };
            match self.step_index(owner, old, to).await {
                Ok(()) => progress.destroyed = progress.destroyed.saturating_add(1),
                Err(StepError::Store(error)) => return Err(error.into()),
                Err(StepError::TooEarly) => progress.wait_for(WaitsFor::Horizon),
                Err(_) => {}
            }
            self.forget(owner, Generation::Index(old));
        }
        Ok(())
    }

    /// Whether no row of an old generation is left, and none can come; after giving new fingerprints to what there is.
    async fn is_index_empty(
        &self,
        owner: &CanonicalId,
        record: &OwnerRecord,
        old: u8,
        progress: &mut Progress,
    ) -> Result<bool, RotationError> {
        let new = in_state(record, IndexKeyState::Writing).ok_or(SessionError::WrongKey)?;
        // Before rows are read: what is uncommitted now must be over when they are counted.
        let moment = match self.keys.is_index_idle(owner, old).await? {
            true => Some(self.moment(owner, Generation::Index(old)).await?),
            false => None,
        };
        if !self.reindex(owner, (old, new), progress).await? {
            progress.wait_for(WaitsFor::Transactions);
            return Ok(false);
        }
        let Some(moment) = moment else {
            progress.wait_for(WaitsFor::Writers);
            return Ok(false);
        };
        let mut left: u64 = 0;
        for indexed in self.models.models().indexed_columns() {
            let index = indexed.index();
            let counting = self.models.count_indexed(owner, &index, old, moment);
            let Some(count) = counting.await? else {
                progress.wait_for(WaitsFor::Transactions);
                return Ok(false);
            };
            left = left.saturating_add(count);
        }
        progress.left = progress.left.saturating_add(left);
        if left > 0 {
            progress.wait_for(WaitsFor::Values);
        }
        Ok(left == 0)
    }

    async fn step_index(
        &self,
        owner: &CanonicalId,
        generation: u8,
        to: IndexStepTo,
    ) -> Result<(), StepError> {
        let step = IndexStep::new(owner.clone(), generation, to);
        self.keys.step_index(&step).await
    }
}

/// The newest generation in this state.
fn in_state(record: &OwnerRecord, state: IndexKeyState) -> Option<u8> {
    let mut keys = record.index_keys().iter();
    let key = keys.find(|key| key.state() == state);
    key.map(IndexKeyRecord::generation)
}
