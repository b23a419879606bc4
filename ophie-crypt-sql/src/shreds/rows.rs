//! From rows of shreds to what the core knows.
//!
//! Invariant: what no release wrote is an error that names no owner. Absent: the statements (`sql`).

use ophie_crypt::{CanonicalId, Installation, LedgerHead, Shred, ShredId, StoreError};

use crate::{Cells, Failure, Record, driver::there};

/// Bytes in the column `id`.
pub(super) struct Id(pub(super) Vec<u8>);

impl Record for Id {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self(there(cells.bytes("id")?)?))
    }
}

pub(super) fn id(bytes: Vec<u8>) -> Result<ShredId, StoreError> {
    let bytes = bytes.try_into();
    bytes
        .map(ShredId::from_bytes)
        .map_err(|_| StoreError::corrupt("a shred's id that is not 16 bytes"))
}

/// The only column of a row.
pub(super) struct Number(pub(super) i64);

impl Record for Number {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self(there(cells.int("number")?)?))
    }
}

/// A row of [`SHREDS`](super::sql::SHREDS).
pub(super) struct ShredRow {
    id: Vec<u8>,
    owner: Vec<u8>,
    numbers: [Option<i64>; 9],
    failure: Option<String>,
}

impl Record for ShredRow {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        let columns = [
            "requested_at",
            "entry",
            "appended_at",
            "tombstoned_at",
            "emptied_at",
            "vacuumed_at",
            "done_at",
            "swept_at",
            "attempts",
        ];
        let mut numbers = [None; 9];
        for (number, column) in numbers.iter_mut().zip(columns) {
            *number = cells.int(column)?;
        }
        Ok(Self {
            id: there(cells.bytes("id")?)?,
            owner: there(cells.bytes("owner")?)?,
            numbers,
            failure: cells.text("failure")?,
        })
    }
}

impl ShredRow {
    pub(super) fn shred(self) -> Result<Shred, StoreError> {
        let [
            requested_at,
            entry,
            appended_at,
            tombstoned_at,
            emptied_at,
            vacuumed_at,
            done_at,
            swept_at,
            attempts,
        ] = self.numbers;
        let corrupt = |_| StoreError::corrupt("a shred's number out of range");
        Ok(Shred {
            owner: CanonicalId::from_bytes(&self.owner),
            id: id(self.id)?,
            requested_at: requested_at.unwrap_or_default(), // never NULL
            entry: entry.map(u64::try_from).transpose().map_err(corrupt)?,
            appended_at,
            tombstoned_at,
            emptied_at,
            vacuumed_at,
            done_at,
            swept_at,
            attempts: attempts.unwrap_or_default().try_into().map_err(corrupt)?,
            failure: self.failure,
        })
    }
}

/// A row of [`INSTALLATION`](super::sql::INSTALLATION).
pub(super) struct InstallationRow {
    id: Vec<u8>,
    epoch: i64,
    position: i64,
    hash: Vec<u8>,
}

impl Record for InstallationRow {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self {
            id: there(cells.bytes("id")?)?,
            epoch: there(cells.int("epoch")?)?,
            position: there(cells.int("ledger_position")?)?,
            hash: there(cells.bytes("ledger_hash")?)?,
        })
    }
}

impl InstallationRow {
    pub(super) fn installation(self) -> Result<Installation, StoreError> {
        let corrupt = || StoreError::corrupt("the installation");
        let position = u64::try_from(self.position).map_err(|_| corrupt())?;
        let hash = self.hash.try_into().map_err(|_| corrupt())?;
        Ok(Installation {
            id: self.id.try_into().map_err(|_| corrupt())?,
            epoch: self.epoch.try_into().map_err(|_| corrupt())?,
            ledger: LedgerHead::new(position, hash),
        })
    }
}
