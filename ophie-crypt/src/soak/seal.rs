//! A row of a soak under its owner's keys: sealed, looked at, and given back.
//!
//! Invariant: what seals rows within a transaction does no I/O. Absent: where the keys come from (`sessions`), which rows
//! (`backfill`, `verify`, `jobs`).

use core::time::Duration;

use super::{
    Decrypted, PlainRow, SealedRow, Sealing, SoakColumn, SoakIndex, SoakJobError, SoakedRow,
    hooks::same_bytes,
    sessions::{Keys, Open, Sessions},
    verify::Wrong,
};
use crate::{
    IndexedColumn,
    error::{Error, NoSession, OpenError, SealError},
    hazmat::aead::{Nonce, Nonces},
    session::Session,
    value::OwnerKeys,
};

impl Sessions {
    /// What is wrong with a row.
    pub(super) fn look(&self, soak: &SoakColumn, row: &SoakedRow) -> Result<Looked, SoakJobError> {
        let plain = match (&row.plain, &row.sealed) {
            (None, None) => {
                let stray = row.fingerprints.iter().any(Option::is_some);
                return Ok(Looked::of(stray.then_some(Wrong::Fingerprint)));
            }
            (None, Some(_)) => return Ok(Looked::of(Some(Wrong::NoPlaintext))),
            (Some(_), None) => return Ok(Looked::Pending),
            (Some(plain), Some(_)) => plain,
        };
        let session = match self.keys(&row.owner) {
            Some(Keys::Open(session)) => session,
            Some(Keys::Shredded) => return Ok(Looked::of(Some(Wrong::Shredded))),
            Some(Keys::None) | None => return Ok(Looked::of(Some(Wrong::NoKeys))),
        };
        let sealed = row.sealed.as_deref().unwrap_or_default();
        let pinned = match session.pin() {
            Ok(pinned) => pinned,
            Err(NoSession::Shredded) => return Ok(Looked::of(Some(Wrong::Shredded))),
            Err(reason) => {
                let column = soak.column();
                return Err(SoakJobError::Value(
                    OpenError::NoSession { column, reason }.into(),
                ));
            }
        };
        let keys = pinned.keys();
        let Ok(opened) = keys.open_bytes(&soak.column(), soak.codec(), None, sealed) else {
            return Ok(Looked::of(Some(Wrong::DoesNotOpen)));
        };
        if !same_bytes(soak.codec(), plain, &opened) {
            return Ok(Looked::of(Some(Wrong::Differs)));
        }
        let mut pending = false;
        for (index, found) in soak.indexes().iter().zip(&row.fingerprints) {
            match found {
                None => pending = true,
                Some(found) => {
                    let of = indexed(soak, index);
                    let (newest, other) = keys
                        .fingerprints_of(&of, plain)
                        .map_err(SoakJobError::Value)?;
                    // While an index key is rotated, rows stand under either.
                    let right = core::iter::once(newest).chain(other);
                    if !right
                        .into_iter()
                        .any(|right| right.as_slice() == found.as_slice())
                    {
                        return Ok(Looked::of(Some(Wrong::Fingerprint)));
                    }
                }
            }
        }
        Ok(if pending {
            Looked::Pending
        } else {
            Looked::Right
        })
    }

    /// A row with its plaintext, and an envelope of its own for it; `None` if it does not open.
    pub(super) fn again(
        &self,
        soak: &SoakColumn,
        row: SoakedRow,
    ) -> Result<Option<Decrypted>, SoakJobError> {
        let (Some(Keys::Open(session)), Some(sealed)) = (self.keys(&row.owner), &row.sealed) else {
            return Ok(None);
        };
        let column = soak.column();
        let value = |error: Error| SoakJobError::Value(error);
        let no_session = |reason| value(SealError::NoSession { column, reason }.into());
        let pinned = session.pin().map_err(no_session)?;
        let keys = pinned.keys();
        let Ok(plain) = keys.open_bytes(&column, soak.codec(), None, sealed) else {
            return Ok(None);
        };
        let spent = pinned.spend(1, column);
        spent.map_err(|error| value(error.into()))?;
        let anew = keys.seal_bytes(&column, soak.codec(), &plain, Nonce::make());
        let sealed = anew.map_err(value)?;
        let fingerprints = fingerprints(soak, keys, &plain).map_err(value)?;
        let anew = SealedRow {
            sealed,
            fingerprints,
        };
        Ok(Some(Decrypted { row, plain, anew }))
    }
}

/// What a look at a row said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    Pending,
    Right,
    Wrong(Wrong),
}

impl Looked {
    const fn of(wrong: Option<Wrong>) -> Self {
        match wrong {
            Some(wrong) => Self::Wrong(wrong),
            None => Self::Right,
        }
    }
}

/// Seals rows within a transaction: no code of the application, either.
pub(super) fn seal_rows(soak: &SoakColumn, sessions: &Open, rows: &[PlainRow]) -> Vec<Sealing> {
    let mut nonces = Nonces::for_values(rows.len());
    let mut stopped = false;
    let seal = |row: &PlainRow| {
        if stopped {
            return Sealing::Stop;
        }
        let sealing = match sessions.get(&row.owner) {
            None => Sealing::Stop,
            Some(Keys::None | Keys::Shredded) => Sealing::Skip,
            Some(Keys::Open(session)) => seal_row(soak, session, row, &mut nonces),
        };
        stopped = matches!(sealing, Sealing::Stop);
        sealing
    };
    rows.iter().map(seal).collect()
}

fn indexed(soak: &SoakColumn, index: &SoakIndex) -> IndexedColumn {
    IndexedColumn::new(index.column(), soak.column(), index.normalizer())
}

/// Of each index, under its newest key.
fn fingerprints(soak: &SoakColumn, keys: &OwnerKeys, plain: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let of = |index| keys.fingerprints_of(&indexed(soak, index), plain);
    let all = soak.indexes().iter().map(of);
    all.map(|made| made.map(|(newest, _)| newest.to_vec()))
        .collect()
}

fn seal_row(soak: &SoakColumn, session: &Session, row: &PlainRow, nonces: &mut Nonces) -> Sealing {
    let Ok(pinned) = session.pin() else {
        return Sealing::Stop;
    };
    let (column, keys) = (soak.column(), pinned.keys());
    if soak.codec().id() == "uuid" && row.plain.len() != 16 {
        return Sealing::Skip; // a text that is none
    }
    let Ok(fingerprints) = fingerprints(soak, keys, &row.plain) else {
        return Sealing::Skip; // no text
    };
    if pinned.spend(1, column).is_err() {
        return Sealing::Stop;
    }
    match keys.seal_bytes(&column, soak.codec(), &row.plain, nonces.next()) {
        Ok(sealed) => Sealing::Sealed(SealedRow {
            sealed,
            fingerprints,
        }),
        Err(Error::Seal(SealError::TooLong { .. })) => Sealing::Skip,
        Err(_) => Sealing::Stop,
    }
}

/// Between two tries of what others hold.
pub(super) const RETRY: Duration = Duration::from_millis(200);
