//! From rows of the library's tables to what the keyring knows.
//!
//! Invariant: what no release writes is an error that names no owner and no byte.
//! Absent: the statements (`sql`).

use core::time::Duration;

use ophie_crypt::{
    CanonicalId, DekBlob, DekRecord, DekState, IndexKeyRecord, IndexKeyState, KeyId, LeaseError,
    OwnerRecord, StoreError, WrappedDek,
};

use crate::{Cells, Failure, Record, driver::there};

/// A row of [`LOAD`](super::sql::LOAD).
pub(super) struct Part {
    version: i64,
    owner_state: String,
    kind: Option<String>,
    generation: Option<i64>,
    state: Option<String>,
    key_id: Option<Vec<u8>>,
    kek: Option<String>,
    wrapped: Option<Vec<u8>>,
    sealed: Option<Vec<u8>>,
}

impl Record for Part {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self {
            version: there(cells.int("version")?)?,
            owner_state: there(cells.text("owner_state")?)?,
            kind: cells.text("kind")?,
            generation: cells.int("generation")?,
            state: cells.text("state")?,
            key_id: cells.bytes("key_id")?,
            kek: cells.text("kek")?,
            wrapped: cells.bytes("wrapped")?,
            sealed: cells.bytes("sealed")?,
        })
    }
}

/// A row of the statements for changes.
pub(super) struct Change {
    owner: Option<Vec<u8>>,
    version: Option<i64>,
    read_only: bool,
}

impl Record for Change {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self {
            owner: cells.bytes("owner")?,
            version: cells.int("version")?,
            read_only: there(cells.int("read_only")?)? != 0,
        })
    }
}

/// The only column of a row.
pub(super) struct Number(pub(super) i64);

impl Record for Number {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self(there(cells.int("number")?)?))
    }
}

/// An owner's canonical bytes.
pub(super) struct Owner(pub(super) Vec<u8>);

impl Record for Owner {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self(there(cells.bytes("owner")?)?))
    }
}

/// A row of [`GRANT`](super::sql::GRANT).
pub(super) struct Grant {
    pub(super) granted: i64,
    pub(super) version: i64,
}

impl Record for Grant {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self {
            granted: there(cells.int("granted")?)?,
            version: there(cells.int("version")?)?,
        })
    }
}

/// A row of [`GRANTED`](super::sql::GRANTED).
pub(super) struct Granted {
    granted: Option<i64>,
    /// Whether the generation is of an epoch before this one.
    old: bool,
}

impl Record for Granted {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self {
            granted: cells.int("granted")?,
            old: cells.int("epoch")? != cells.int("epoch_now")?,
        })
    }
}

/// A DEK's columns.
#[derive(Default)]
pub(super) struct Blob<'a> {
    pub(super) kek: Option<&'a str>,
    pub(super) wrapped: Option<&'a [u8]>,
    pub(super) sealed: Option<&'a [u8]>,
}

impl<'a> Blob<'a> {
    pub(super) fn of(dek: &'a DekRecord) -> Result<Self, StoreError> {
        match dek.blob() {
            DekBlob::Sealed(sealed) => Ok(Self {
                sealed: Some(sealed),
                ..Self::default()
            }),
            DekBlob::Wrapped(wrapped) => Ok(Self {
                kek: Some(wrapped.kek()),
                wrapped: Some(wrapped.as_bytes()),
                ..Self::default()
            }),
            _ => Err(StoreError::corrupt("a key in an unknown form")),
        }
    }
}

pub(super) fn record(parts: Vec<Part>) -> Result<Option<OwnerRecord>, StoreError> {
    let Some(first) = parts.first() else {
        return Ok(None);
    };
    let version = version(first.version)?;
    match first.owner_state.as_str() {
        "living" => {}
        "shredded" => return Ok(Some(OwnerRecord::shredded(version))),
        _ => return Err(StoreError::corrupt("an owner's state")),
    }
    let (mut deks, mut index_keys, mut removed) = (Vec::new(), Vec::new(), false);
    for part in parts {
        match part.kind.as_deref() {
            Some("dek") => match dek(part)? {
                Some(dek) => deks.push(dek),
                None => removed = true,
            },
            Some(_) => index_keys.push(index_key(part)?),
            None => {}
        }
    }
    match (deks.is_empty(), removed, index_keys.is_empty()) {
        (true, true, _) => Err(StoreError::corrupt("an owner whose keys were removed")),
        (true, false, _) => Err(StoreError::corrupt("an owner without keys")),
        (false, _, true) => Err(StoreError::corrupt("an owner without an index key")),
        (false, _, false) => Ok(Some(OwnerRecord::living(version, deks, index_keys))),
    }
}

/// `None` if its key is gone.
fn dek(part: Part) -> Result<Option<DekRecord>, StoreError> {
    let blob = match (part.kek, part.wrapped, part.sealed) {
        (Some(kek), Some(wrapped), None) => DekBlob::Wrapped(WrappedDek::new(kek, wrapped)),
        (None, None, Some(sealed)) => DekBlob::Sealed(sealed),
        (None, None, None) => return Ok(None),
        _ => return Err(StoreError::corrupt("a key that is both wrapped and sealed")),
    };
    let generation = part.generation.and_then(|number| number.try_into().ok());
    let state = part.state.as_deref().and_then(DekState::of);
    match (generation, state) {
        (Some(generation), Some(state)) => {
            let key_id = key_id(part.key_id)?;
            Ok(Some(DekRecord::new(generation, state, key_id, blob)))
        }
        (None, _) => Err(StoreError::corrupt("a generation out of range")),
        (_, None) => Err(StoreError::corrupt("a key's state")),
    }
}

fn index_key(part: Part) -> Result<IndexKeyRecord, StoreError> {
    let generation = part
        .generation
        .and_then(|number| number.try_into().ok())
        .ok_or(StoreError::corrupt("an index generation out of range"))?;
    let state = part.state.as_deref().and_then(IndexKeyState::of);
    let state = state.ok_or(StoreError::corrupt("an index key's state"))?;
    let sealed = part
        .sealed
        .ok_or(StoreError::corrupt("an index key of no bytes"))?;
    let record = IndexKeyRecord::new(generation, key_id(part.key_id)?, sealed);
    Ok(record.in_state(state))
}

fn key_id(bytes: Option<Vec<u8>>) -> Result<KeyId, StoreError> {
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .map(KeyId::from_bytes)
        .ok_or(StoreError::corrupt("a key id that is not 16 bytes"))
}

pub(super) fn version(number: i64) -> Result<u64, StoreError> {
    number
        .try_into()
        .map_err(|_| StoreError::corrupt("a version out of range"))
}

pub(super) fn changes(rows: Vec<Change>) -> Result<Vec<(CanonicalId, u64)>, StoreError> {
    let mut changes = Vec::with_capacity(rows.len());
    for row in rows {
        if row.read_only {
            return Err(StoreError::ReadOnly);
        }
        if let (Some(owner), Some(number)) = (row.owner, row.version) {
            changes.push((CanonicalId::from_bytes(&owner), version(number)?));
        }
    }
    Ok(changes)
}

/// Why nothing was granted.
pub(super) fn refusal(granted: Option<&Granted>, count: u32, limit: i64) -> LeaseError {
    match granted {
        None => LeaseError::NotSealing,
        Some(Granted { old: true, .. }) => LeaseError::OldEpoch,
        Some(Granted { granted: None, .. }) => {
            StoreError::corrupt("a generation without a budget").into()
        }
        Some(Granted {
            granted: Some(granted),
            ..
        }) if granted.saturating_add(count.into()) > limit => LeaseError::Exhausted,
        Some(_) => LeaseError::NotSealing, // it did not seal yet when the lease was tried
    }
}

/// Microseconds, as every database adds them to a time; at most a hundred years, or the sum had no meaning.
pub(super) fn micros(duration: Duration) -> i64 {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    i64::try_from(duration.min(CENTURY).as_micros()).unwrap_or(i64::MAX)
}
