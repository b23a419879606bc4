//! Takes owners' DEKs and index keys through their generations, and seals and fingerprints values anew on the way.
//!
//! Invariant: a generation is retired only when nobody can seal under it, no transaction that wrote under it is open,
//! and no registered column holds a value of it; its key is destroyed by a call of its own, and while a sidecar is under it by
//! none. Absent: SQL, ciphers, the
//! states themselves (`store`).

mod error;
mod index;
mod jobs;
mod parts;
mod progress;
mod reindex;
mod reseal;
mod rewrap;
mod sidecars;
#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "counts of rows, far from any limit"
)]
mod tests;

use core::{fmt, time::Duration};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

#[cfg(feature = "sidecar")]
pub(crate) use self::sidecars::PREFIX;
pub use self::{
    error::RotationError,
    jobs::Tally,
    progress::{Progress, WaitsFor},
    sidecars::{SidecarStore, SidecarStoreError, sidecar_beginnings},
};
use crate::{
    keyring::{Keyring, SessionError},
    owner::{CanonicalId, OwnerId},
    store::{DekRecord, DekState, ModelStore, OwnerRecord, RotationStore, Step, StepError, StepTo},
};

/// How often an owner's keys that others change meanwhile are read again.
const TRIES: u32 = 4;
/// Rows of a page.
const PAGE: u32 = 200;

/// Gives owners new data encryption keys and index keys while the application runs, and rids their rows of the old ones.
///
/// Each call does what can be done now and says what it waits for, so a job calls it again until it waits for nothing.
/// It may be dropped or killed anywhere, and several processes may work on one owner: what is done is in the database,
/// and a value is replaced only where the one that was read still stands.
///
/// 1. [`begin`](Self::begin) announces a new generation. Every process loads it within the next
///    [two minutes](crate::ANNOUNCED_FOR).
/// 2. [`advance`](Self::advance) then lets it seal, seals all rows of all models anew under it, and retires the old
///    generation when the last lease under that has expired and no row is left.
/// 3. [`destroy`](Self::destroy), a call of its own, erases the key of a generation that was retired long ago: after
///    it, what is still sealed under that, in a backup say, cannot be read. It asks where [sidecars](Self::sidecars) are.
///
/// ```
/// use ophie_crypt::{ANNOUNCED_FOR, EncryptedModel, Models, ModelStore, Rotation, WaitsFor};
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
/// assert_eq!(rotation.begin("ada").await?, 2);
/// let progress = rotation.advance("ada").await?;
/// assert_eq!(progress.waits_for, Some(WaitsFor::Announcement)); // call again in two minutes
/// # Ok(()) }
/// ```
///
/// An owner's index key is replaced in the same way, by [`begin_index`](Self::begin_index) in place of `begin`.
///
/// # Security
///
/// Name every model, and every table that holds envelopes as bytes of its own: what is not named is not sealed anew,
/// and is unreadable once the key is destroyed. Sidecars, and values that are bound to their rows, are counted, not sealed
/// anew: write the former with `Sidecar::reseal`; open each of the latter with `open_row`, and write it with `seal_row`.
pub struct Rotation {
    keyring: Keyring,
    keys: Arc<dyn RotationStore>,
    models: Arc<dyn ModelStore>,
    page: u32,
    watch: Option<Watch>,
    sidecars: sidecars::Sidecars,
    /// When each generation was first found idle here: what was uncommitted then must be over.
    moments: Mutex<HashMap<(CanonicalId, Generation), u64>>,
}

/// Of which key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Generation {
    Dek(u32),
    Index(u8),
}

type Watch = Box<dyn Fn(&CanonicalId, &Progress) + Send + Sync>;

impl Rotation {
    /// Over these keys and tables. `keys` is the keyring's own key store, or the same tables as another role.
    pub fn new(keyring: Keyring, keys: impl RotationStore, models: impl ModelStore) -> Self {
        Self {
            keyring,
            keys: Arc::new(keys),
            models: Arc::new(models),
            page: PAGE,
            watch: None,
            sidecars: None,
            moments: Mutex::default(),
        }
    }

    /// How many rows are read and written at a time: 200 by default. Fewer where values are large.
    #[must_use]
    pub fn page(mut self, rows: u32) -> Self {
        self.page = rows.clamp(1, MOST_ROWS);
        self
    }

    /// Calls this after each page.
    #[must_use]
    pub fn watch(
        mut self,
        watch: impl Fn(&CanonicalId, &Progress) + Send + Sync + 'static,
    ) -> Self {
        self.watch = Some(Box::new(watch));
        self
    }

    /// Announces the owner's next generation, and says which. If one is announced already, that one.
    ///
    /// # Errors
    ///
    /// [`RotationError`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does.
    pub async fn begin(&self, owner: &(impl OwnerId + ?Sized)) -> Result<u32, RotationError> {
        let owner = owner.canonical();
        for _ in 0..TRIES {
            let record = self.load(&owner).await?;
            if let Some(generation) = announced(&record) {
                match self.step(&owner, generation, StepTo::Sealing).await {
                    Ok(()) | Err(StepError::TooEarly) => return Ok(generation),
                    Err(StepError::Store(error)) => return Err(error.into()),
                    // Another's step; or it was announced before a restore, and must never seal.
                    Err(StepError::Changed | StepError::Spent) => {
                        if self.load(&owner).await?.version() != record.version() {
                            continue;
                        }
                    }
                }
            }
            let next = self.keyring.next_generation(&owner, record).await?;
            let generation = next.dek.generation();
            match self.keys.announce(&owner, &next).await {
                Ok(()) => {
                    // Its time begins to run when it is known to be committed.
                    match self.step(&owner, generation, StepTo::Sealing).await {
                        Err(StepError::Store(error)) => return Err(error.into()),
                        _ => return Ok(generation),
                    }
                }
                Err(StepError::Store(error)) => return Err(error.into()),
                Err(_) => {}
            }
        }
        Err(RotationError::Interrupted)
    }

    /// Takes the owner's generations as far as they can go now.
    ///
    /// # Errors
    ///
    /// [`RotationError`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does.
    pub async fn advance(
        &self,
        owner: &(impl OwnerId + ?Sized),
    ) -> Result<Progress, RotationError> {
        let owner = owner.canonical();
        let mut progress = Progress::default();
        let mut record = self.load(&owner).await?;
        if let Some(generation) = announced(&record) {
            match self.step(&owner, generation, StepTo::Sealing).await {
                Err(StepError::TooEarly) => {}
                Err(StepError::Store(error)) => return Err(error.into()),
                Ok(()) | Err(_) => record = self.load(&owner).await?,
            }
            if announced(&record).is_some() {
                progress.wait_for(WaitsFor::Announcement);
            }
        }
        for old in in_state(&record, DekState::Draining) {
            if self.is_empty(&owner, &record, old, &mut progress).await? {
                match self.step(&owner, old.generation(), StepTo::Retired).await {
                    Ok(()) | Err(StepError::Changed | StepError::Spent) => {
                        self.forget(&owner, Generation::Dek(old.generation()))
                    }
                    Err(StepError::TooEarly) => progress.wait_for(WaitsFor::Leases),
                    Err(StepError::Store(error)) => return Err(error.into()),
                }
            }
        }
        self.advance_index(&owner, record, &mut progress).await?;
        Ok(progress)
    }

    /// Destroys the keys of the owner's generations that have been retired for this long, if no row and no sidecar is left
    /// under them. Rows that came late, from a queue say, are sealed anew first.
    ///
    /// # Errors
    ///
    /// [`RotationError`]; [`Sidecars`](RotationError::Sidecars) unless [`sidecars`](Self::sidecars) or
    /// [`without_sidecars`](Self::without_sidecars) was called.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does.
    ///
    /// # Security
    ///
    /// There is no way back: let `retired_for` be longer than your backups are kept, than anything may lie in a
    /// queue, and than any transaction lasts: one whose snapshot is from before the key was retired, and that has written
    /// nothing yet, is waited for by no count, and passes the write fence. All rows of each table are looked through, not the owner's alone; an index on `substr(column, 2, 16)` makes
    /// that quick.
    pub async fn destroy(
        &self,
        owner: &(impl OwnerId + ?Sized),
        retired_for: Duration,
    ) -> Result<Progress, RotationError> {
        self.knows_sidecars()?;
        let owner = owner.canonical();
        let mut progress = Progress::default();
        let record = self.load(&owner).await?;
        for old in in_state(&record, DekState::Retired) {
            let (key_id, others) = (old.key_id(), progress.waits_for.take());
            if self.is_empty(&owner, &record, old, &mut progress).await?
                && self.is_nowhere(&owner, old, &mut progress).await?
                && self.has_no_sidecars(&owner, key_id, &mut progress).await?
            {
                let to = StepTo::Destroyed { after: retired_for };
                match self.step(&owner, old.generation(), to).await {
                    Ok(()) => progress.destroyed = progress.destroyed.saturating_add(1),
                    Err(StepError::Changed | StepError::Spent) => {}
                    Err(StepError::TooEarly) => progress.wait_for(WaitsFor::Horizon),
                    Err(StepError::Store(error)) => return Err(error.into()),
                }
            }
            // A transaction that began since may hold a copy of what was found: the next call waits for that one, too.
            // One that waits for transactions waits for the same ones again.
            if progress.waits_for != Some(WaitsFor::Transactions) {
                self.forget(&owner, Generation::Dek(old.generation()));
            }
            progress.waits_for = others.or(progress.waits_for);
        }
        self.destroy_index(&owner, &record, retired_for, &mut progress)
            .await?;
        // Each time: a call before this may have died in between.
        let left = self.load(&owner).await?;
        self.keyring.forget_destroyed(&owner, &left).await?;
        Ok(progress)
    }

    async fn load(&self, owner: &CanonicalId) -> Result<OwnerRecord, RotationError> {
        let record = self.keys.load(owner).await?;
        let record = record.ok_or(SessionError::UnknownOwner)?;
        if record.is_shredded() {
            return Err(SessionError::Shredded.into());
        }
        Ok(record)
    }

    async fn step(
        &self,
        owner: &CanonicalId,
        generation: u32,
        to: StepTo,
    ) -> Result<(), StepError> {
        self.keys
            .step(&Step::new(owner.clone(), generation, to))
            .await
    }

    /// Whether no value of an old generation is left, and none can come; after sealing anew what there is.
    async fn is_empty(
        &self,
        owner: &CanonicalId,
        record: &OwnerRecord,
        old: &DekRecord,
        progress: &mut Progress,
    ) -> Result<bool, RotationError> {
        let mut sealing = in_state(record, DekState::Sealing);
        let new = sealing.next().ok_or(SessionError::WrongKey)?.key_id();
        let moment = match self.keys.is_idle(owner, old.generation()).await? {
            true => Some(
                self.moment(owner, Generation::Dek(old.generation()))
                    .await?,
            ),
            false => None,
        };
        let keys = (old.key_id(), new);
        self.reseal(owner, keys, progress).await?;
        let Some(moment) = moment else {
            progress.wait_for(WaitsFor::Leases);
            return Ok(false);
        };
        if progress.waits_for == Some(WaitsFor::Transactions) {
            return Ok(false);
        }
        let mut left: u64 = 0;
        for column in self.models.models().sealed_columns() {
            let counting = self
                .models
                .count_under(Some(owner), &column, old.key_id(), moment);
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

    /// Whether no row of any owner holds a value of an old generation: what stands in a row whose owner is written in
    /// another way than the keyring knows it, would be lost with the key.
    async fn is_nowhere(
        &self,
        owner: &CanonicalId,
        old: &DekRecord,
        progress: &mut Progress,
    ) -> Result<bool, RotationError> {
        let moment = self
            .moment(owner, Generation::Dek(old.generation()))
            .await?;
        for column in self.models.models().sealed_columns() {
            let counting = self.models.count_under(None, &column, old.key_id(), moment);
            let Some(left) = counting.await? else {
                progress.wait_for(WaitsFor::Transactions);
                return Ok(false);
            };
            if left > 0 {
                progress.left = progress.left.saturating_add(left);
                progress.wait_for(WaitsFor::Values);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A moment at which the generation was idle; the first that this process took.
    async fn moment(
        &self,
        owner: &CanonicalId,
        generation: Generation,
    ) -> Result<u64, RotationError> {
        let key = (owner.clone(), generation);
        let known = self.moments().get(&key).copied();
        match known {
            Some(moment) => Ok(moment),
            None => {
                let moment = self.models.moment().await?;
                Ok(*self.moments().entry(key).or_insert(moment))
            }
        }
    }

    fn forget(&self, owner: &CanonicalId, generation: Generation) {
        self.moments().remove(&(owner.clone(), generation));
    }

    fn moments(&self) -> std::sync::MutexGuard<'_, HashMap<(CanonicalId, Generation), u64>> {
        self.moments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest generation, if it is announced.
fn announced(record: &OwnerRecord) -> Option<u32> {
    let newest = record.newest()?;
    (newest.state() == DekState::Announced).then_some(newest.generation())
}

fn in_state(record: &OwnerRecord, state: DekState) -> impl Iterator<Item = &DekRecord> {
    let deks = record.deks().iter();
    deks.filter(move |dek| dek.state() == state)
}

/// What every database takes as parameters of one statement.
const MOST_ROWS: u32 = 10_000;

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation")
            .field("keyring", &self.keyring)
            .field("page", &self.page)
            .finish_non_exhaustive()
    }
}
