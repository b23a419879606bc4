//! What a key store keeps of an owner.
//!
//! Invariant: nothing here opens a value without the KMS. Absent: how it is stored, what it unwraps to.

use core::fmt;

use super::IndexKeyState;
use crate::{hazmat::data_key::KeyId, kms::WrappedDek};

/// An owner's keys as stored: every generation of its DEK, every index key, and a version that each
/// change raises.
///
/// ```
/// use ophie_crypt::{DekBlob, DekRecord, DekState, IndexKeyRecord, KeyId, OwnerRecord, WrappedDek};
///
/// let id = KeyId::from_bytes([7; 16]);
/// let dek = DekRecord::new(1, DekState::Sealing, id, DekBlob::Wrapped(WrappedDek::new("local:..", [1])));
/// let record = OwnerRecord::living(1, [dek], [IndexKeyRecord::new(1, id, [2])]);
/// assert_eq!(record.newest().map(DekRecord::generation), Some(1));
/// assert!(!record.is_shredded());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerRecord {
    version: u64,
    shredded: bool,
    deks: Vec<DekRecord>,
    index_keys: Vec<IndexKeyRecord>,
}

impl OwnerRecord {
    /// Of an owner who has keys.
    #[must_use]
    pub fn living(
        version: u64,
        deks: impl Into<Vec<DekRecord>>,
        index_keys: impl Into<Vec<IndexKeyRecord>>,
    ) -> Self {
        let (mut deks, mut index_keys) = (deks.into(), index_keys.into());
        deks.sort_by_key(|dek| core::cmp::Reverse(dek.generation));
        index_keys.sort_by_key(|key| core::cmp::Reverse(key.generation));
        Self {
            version,
            shredded: false,
            deks,
            index_keys,
        }
    }

    /// Of an owner whose keys were destroyed.
    #[must_use]
    pub const fn shredded(version: u64) -> Self {
        Self {
            version,
            shredded: true,
            deks: Vec::new(),
            index_keys: Vec::new(),
        }
    }

    /// Raised by every change of the owner's keys.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Whether its keys were destroyed.
    #[must_use]
    pub const fn is_shredded(&self) -> bool {
        self.shredded
    }

    /// Its DEKs, newest first.
    #[must_use]
    pub fn deks(&self) -> &[DekRecord] {
        &self.deks
    }

    /// The newest DEK: the one that the KMS unwraps, and under which the others are sealed.
    #[must_use]
    pub fn newest(&self) -> Option<&DekRecord> {
        self.deks.first()
    }

    /// Its index keys, newest first.
    #[must_use]
    pub fn index_keys(&self) -> &[IndexKeyRecord] {
        &self.index_keys
    }
}

/// One generation of an owner's DEK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DekRecord {
    generation: u32,
    state: DekState,
    key_id: KeyId,
    blob: DekBlob,
}

impl DekRecord {
    /// A generation, from 1.
    #[must_use]
    pub const fn new(generation: u32, state: DekState, key_id: KeyId, blob: DekBlob) -> Self {
        Self {
            generation,
            state,
            key_id,
            blob,
        }
    }

    /// Its number, from 1.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// Where it is in its life.
    #[must_use]
    pub const fn state(&self) -> DekState {
        self.state
    }

    /// Its id, which commits to it.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The key, not in clear.
    #[must_use]
    pub const fn blob(&self) -> &DekBlob {
        &self.blob
    }

    /// The same generation in another form.
    pub(crate) fn with_blob(mut self, blob: DekBlob) -> Self {
        self.blob = blob;
        self
    }

    pub(crate) const fn in_state(mut self, state: DekState) -> Self {
        self.state = state;
        self
    }
}

/// A DEK as stored.
///
/// ```
/// use ophie_crypt::{DekBlob, WrappedDek};
///
/// let newest = DekBlob::Wrapped(WrappedDek::new("alias/ophie", [1, 2, 3]));
/// assert!(!format!("{newest:?}").contains("1, 2, 3"));
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DekBlob {
    /// Sealed under the owner's newest DEK: an envelope.
    Sealed(Vec<u8>),
    /// Wrapped by the KMS.
    Wrapped(WrappedDek),
}

impl fmt::Debug for DekBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sealed(bytes) => write!(f, "Sealed({} bytes)", bytes.len()),
            Self::Wrapped(wrapped) => wrapped.fmt(f),
        }
    }
}

/// The life of a DEK's generation. It opens values in every state but the last.
///
/// ```
/// use ophie_crypt::DekState;
///
/// assert_eq!(DekState::of("draining"), Some(DekState::Draining));
/// assert_eq!(DekState::Draining.as_str(), "draining");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DekState {
    /// Loaded by every process, and sealing nothing yet.
    Announced,
    /// Its key is gone.
    Destroyed,
    /// Values under it are being sealed anew.
    Draining,
    /// No value is left under it.
    Retired,
    /// What is sealed now, is sealed under it.
    Sealing,
}

impl DekState {
    const ALL: [Self; 5] = [
        Self::Announced,
        Self::Destroyed,
        Self::Draining,
        Self::Retired,
        Self::Sealing,
    ];

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Destroyed => "destroyed",
            Self::Draining => "draining",
            Self::Retired => "retired",
            Self::Sealing => "sealing",
        }
    }

    /// From what is stored.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// One generation of an owner's index key.
#[derive(Clone, PartialEq, Eq)]
pub struct IndexKeyRecord {
    generation: u8,
    state: IndexKeyState,
    key_id: KeyId,
    sealed: Vec<u8>,
}

impl IndexKeyRecord {
    /// A generation, from 1, that is written, sealed under the DEK of this id.
    #[must_use]
    pub fn new(generation: u8, key_id: KeyId, sealed: impl Into<Vec<u8>>) -> Self {
        Self {
            generation,
            state: IndexKeyState::Writing,
            key_id,
            sealed: sealed.into(),
        }
    }

    /// The same generation in another state.
    #[must_use]
    pub const fn in_state(mut self, state: IndexKeyState) -> Self {
        self.state = state;
        self
    }

    /// Where it is in its life.
    #[must_use]
    pub const fn state(&self) -> IndexKeyState {
        self.state
    }

    /// Its number, from 1.
    #[must_use]
    pub const fn generation(&self) -> u8 {
        self.generation
    }

    /// The id of the DEK that sealed it.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The key, an envelope.
    #[must_use]
    pub fn sealed(&self) -> &[u8] {
        &self.sealed
    }
}

impl fmt::Debug for IndexKeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexKeyRecord")
            .field("generation", &self.generation)
            .field("state", &self.state)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}
