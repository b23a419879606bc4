//! The life of a generation, as a key store keeps it: announced, sealing, draining, retired, destroyed.
//!
//! Invariant: a generation seals only after every process had time to load it, is retired only when nobody can seal
//! under it any more, and its key goes only by a step of its own. Absent: KMS and keys in clear (`keyring`), whether
//! values are left (`rotation`).

use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;

use super::{DekRecord, IndexAnnouncement, IndexKeyRecord, IndexStep, KeyStore, StoreError};
use crate::{kms::WrappedDek, owner::CanonicalId};

/// How long a generation is announced before it seals: the 30 seconds within which each process asks for changes,
/// and as much again and more for one that is slow, or whose clock is.
pub const ANNOUNCED_FOR: Duration = Duration::from_secs(120);

/// How long the last lease of a generation has been over before it may be retired: for clocks that run slow.
pub const LEASES_OVER_FOR: Duration = Duration::from_secs(30);

/// A key store that changes generations. The adapters' key stores do; [`MemoryKeyStore`](super::MemoryKeyStore) too.
///
/// It is a trait of its own because its role in the database is: an application that only seals and reads needs
/// none of these rights. Each operation locks the owner's row, so that two of them follow one another.
///
/// ```
/// use ophie_crypt::{Keyring, LocalKms, MemoryKeyStore, RotationPolicy, RotationStore, Which};
/// use std::{sync::Arc, time::Duration};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Arc::new(MemoryKeyStore::new()); // testing only
/// # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(Arc::clone(&store)).build()?;
/// keyring.provision("ada").await?;
/// let yearly = Which::Due(RotationPolicy::default());
/// assert!(store.owners(&yearly, None, 100).await?.is_empty());
/// let at_once = Which::Due(RotationPolicy::default().older_than(Duration::ZERO));
/// assert_eq!(store.owners(&at_once, None, 100).await?.len(), 1);
/// # Ok(()) }
/// ```
#[async_trait]
pub trait RotationStore: KeyStore {
    /// Writes an owner's next generation, and its other keys as they are sealed under it; all of them or nothing.
    ///
    /// # Errors
    ///
    /// [`StepError::Changed`] if the owner's version is another by now, or it was shredded.
    async fn announce(
        &self,
        owner: &CanonicalId,
        announcement: &Announcement,
    ) -> Result<(), StepError>;

    /// Moves a generation on. The first attempt to let an announced one seal only notes the time: it was committed
    /// by then, whenever it was written.
    ///
    /// # Errors
    ///
    /// [`StepError`]; nothing is changed then but that note.
    async fn step(&self, step: &Step) -> Result<(), StepError>;

    /// Whether nobody can seal under this generation any more: it is draining or retired, and its last lease has been
    /// over for [`LEASES_OVER_FOR`]. Once it is so, it stays so.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    async fn is_idle(&self, owner: &CanonicalId, generation: u32) -> Result<bool, StoreError>;

    /// Puts the same key, wrapped anew, in place of the old blob if that is the one that is stored.
    ///
    /// # Errors
    ///
    /// [`StepError::Changed`] if another one is.
    async fn rewrap(
        &self,
        owner: &CanonicalId,
        generation: u32,
        old: &WrappedDek,
        new: &WrappedDek,
    ) -> Result<(), StepError>;

    /// Owners for a job, at most `limit`, in the order of their bytes, behind `after`. Shredded ones are left out.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    async fn owners(
        &self,
        which: &Which,
        after: Option<&CanonicalId>,
        limit: u32,
    ) -> Result<Vec<CanonicalId>, StoreError>;

    /// Writes an owner's next index key, and counts its invocation of the DEK.
    ///
    /// # Errors
    ///
    /// [`StepError::Changed`] if the owner's version is another by now, if it was shredded, or if an index key is
    /// announced or draining: two at most are in use. [`StepError::Spent`] if the DEK may seal nothing more.
    async fn announce_index(
        &self,
        owner: &CanonicalId,
        announcement: &IndexAnnouncement,
    ) -> Result<(), StepError>;

    /// Moves an index key's generation on. The first attempt to let an announced one be written, or to retire one that
    /// drains, only notes the time.
    ///
    /// # Errors
    ///
    /// [`StepError`]; nothing is changed then but that note.
    async fn step_index(&self, step: &IndexStep) -> Result<(), StepError>;

    /// Whether nobody can write under this generation any more: it has been draining for
    /// [`WRITERS_OVER_FOR`](super::WRITERS_OVER_FOR), or is retired. Once it is so, it stays so. The time of one that drains
    /// runs from the first call: only then is it known to be committed.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    async fn is_index_idle(&self, owner: &CanonicalId, generation: u8) -> Result<bool, StoreError>;
}

/// An owner's next generation, and all that is sealed under it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Announcement {
    /// The owner's version that it was made from.
    pub version: u64,
    /// The new newest, wrapped.
    pub dek: DekRecord,
    /// All others whose keys are there, sealed under it.
    pub older: Vec<DekRecord>,
    /// All index keys, sealed under it.
    pub index_keys: Vec<IndexKeyRecord>,
}

impl Announcement {
    /// Made from the owner's keys at this version.
    ///
    /// ```
    /// use ophie_crypt::{Announcement, DekBlob, DekRecord, DekState, KeyId, WrappedDek};
    ///
    /// let blob = DekBlob::Wrapped(WrappedDek::new("local:..", [1]));
    /// let dek = DekRecord::new(2, DekState::Announced, KeyId::from_bytes([7; 16]), blob);
    /// let announcement = Announcement::new(1, dek, [], []);
    /// assert_eq!((announcement.version, announcement.invocations()), (1, 0));
    /// ```
    #[must_use]
    pub fn new(
        version: u64,
        dek: DekRecord,
        older: impl Into<Vec<DekRecord>>,
        index_keys: impl Into<Vec<IndexKeyRecord>>,
    ) -> Self {
        Self {
            version,
            dek,
            older: older.into(),
            index_keys: index_keys.into(),
        }
    }

    /// How many values were sealed under the new generation to make it.
    #[must_use]
    pub fn invocations(&self) -> u32 {
        let sealed = self.older.len().saturating_add(self.index_keys.len());
        sealed.try_into().unwrap_or(u32::MAX)
    }
}

/// A step of a generation.
///
/// ```
/// use ophie_crypt::{CanonicalId, Step, StepTo};
///
/// let step = Step::new(CanonicalId::text("ada"), 2, StepTo::Sealing);
/// assert_eq!(step.generation, 2);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Step {
    /// Whose.
    pub owner: CanonicalId,
    /// Which generation.
    pub generation: u32,
    /// Where to.
    pub to: StepTo,
}

impl Step {
    /// A step.
    #[must_use]
    pub const fn new(owner: CanonicalId, generation: u32, to: StepTo) -> Self {
        Self {
            owner,
            generation,
            to,
        }
    }
}

/// Where a generation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StepTo {
    /// From announced, [`ANNOUNCED_FOR`] after it was known to be. The one that sealed is draining from then on.
    Sealing,
    /// From draining, when it [is idle](RotationStore::is_idle) and no index key is sealed under it. That no value
    /// is left under it, the caller knows.
    Retired,
    /// From retired, so long after that: its key is gone then.
    Destroyed {
        /// How long it was retired. Until backups that hold values under it are gone.
        after: Duration,
    },
}

/// Owners that a job asks for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Which {
    /// Whose newest generation seals and is due to be replaced.
    Due(RotationPolicy),
    /// Who have a generation, of DEK or index key, that is announced or draining.
    Rotating,
    /// Who have a generation, of DEK or index key, that has been retired for so long.
    Retired {
        /// How long.
        since: Duration,
    },
    /// Whose newest generation is wrapped under another KEK than this.
    WrappedElsewhere {
        /// The KEK's name.
        kek: String,
    },
}

/// When an owner's DEK is due to be replaced. One of an earlier epoch always is.
///
/// ```
/// use ophie_crypt::{BudgetStatus, RotationPolicy};
/// use std::time::Duration;
///
/// let policy = RotationPolicy::default().older_than(Duration::from_secs(90 * 24 * 3600));
/// assert_eq!(policy.granted(), BudgetStatus::ROTATE_AT);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RotationPolicy {
    age: Duration,
    granted: u64,
}

impl Default for RotationPolicy {
    /// After a year, or when half of its budget was granted.
    fn default() -> Self {
        Self {
            age: Duration::from_secs(365 * 24 * 3600),
            granted: crate::session::BudgetStatus::ROTATE_AT,
        }
    }
}

impl RotationPolicy {
    /// When it has sealed for longer than this.
    #[must_use]
    pub const fn older_than(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// When so many invocations were granted under it; at most, and by default, 2^31.
    #[must_use]
    pub fn at_granted(mut self, granted: u64) -> Self {
        self.granted = granted.min(crate::session::BudgetStatus::ROTATE_AT);
        self
    }

    /// The age.
    #[must_use]
    pub const fn age(&self) -> Duration {
        self.age
    }

    /// The number of invocations.
    #[must_use]
    pub const fn granted(&self) -> u64 {
        self.granted
    }
}

/// A generation was not moved on.
///
/// ```
/// assert!(ophie_crypt::StepError::TooEarly.to_string().contains("again"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The owner's keys are not what they were, or the generation is in another state.
    #[error("the owner's keys were changed meanwhile; read them again")]
    Changed,
    /// What the step waits for has not come.
    #[error("it is too early for this step of the generation; try again later")]
    TooEarly,
    /// The owner's newest DEK may seal nothing more, not even a key.
    #[error(
        "the owner's newest DEK may seal nothing more; give the owner a new one first, by `Rotation::begin`"
    )]
    Spent,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[async_trait]
impl<S: RotationStore + ?Sized> RotationStore for Arc<S> {
    async fn announce(
        &self,
        owner: &CanonicalId,
        announcement: &Announcement,
    ) -> Result<(), StepError> {
        (**self).announce(owner, announcement).await
    }

    async fn step(&self, step: &Step) -> Result<(), StepError> {
        (**self).step(step).await
    }

    async fn is_idle(&self, owner: &CanonicalId, generation: u32) -> Result<bool, StoreError> {
        (**self).is_idle(owner, generation).await
    }

    async fn rewrap(
        &self,
        owner: &CanonicalId,
        generation: u32,
        old: &WrappedDek,
        new: &WrappedDek,
    ) -> Result<(), StepError> {
        (**self).rewrap(owner, generation, old, new).await
    }

    async fn owners(
        &self,
        which: &Which,
        after: Option<&CanonicalId>,
        limit: u32,
    ) -> Result<Vec<CanonicalId>, StoreError> {
        (**self).owners(which, after, limit).await
    }

    async fn announce_index(
        &self,
        owner: &CanonicalId,
        announcement: &IndexAnnouncement,
    ) -> Result<(), StepError> {
        (**self).announce_index(owner, announcement).await
    }

    async fn step_index(&self, step: &IndexStep) -> Result<(), StepError> {
        (**self).step_index(step).await
    }

    async fn is_index_idle(&self, owner: &CanonicalId, generation: u8) -> Result<bool, StoreError> {
        (**self).is_index_idle(owner, generation).await
    }
}
