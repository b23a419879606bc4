//! Sealing and opening one value: where codec, binding, key and envelope meet.
//!
//! Invariant: a value is returned only if its tag vouches for owner, table, column, codec and row.
//! Absent: whose keys these are and for how long (`session`), the ORM (`adapter`).

use core::marker::PhantomData;

use zeroize::Zeroizing;

use crate::{
    binding::Binding,
    blind_index::{Fingerprint, IndexKeys},
    column::{ColumnRef, IndexColumn},
    envelope::{self, Envelope, Form, HEADER_LEN},
    error::{Error, FingerprintError, OpenError, SealError},
    hazmat::{
        NoRandomness,
        aead::{AeadKey, Nonce},
        data_key::{DataKey, KeyId},
    },
    model::IndexedColumn,
    owner::CanonicalId,
    plaintext::{Codec, PlainBuf, Plaintext},
};

/// The longest plaintext that is sealed, in bytes: 512 MiB, half of what SQLite and PostgreSQL take as
/// one value at their default settings.
pub const MAX_PLAINTEXT_LEN: usize = 512 << 20;

/// Seals values of one column, all under one header and one binding.
pub(crate) struct Sealer<'a, T> {
    key: &'a AeadKey,
    header: &'a [u8; HEADER_LEN],
    aad: &'a [u8],
    column: ColumnRef,
    of: PhantomData<fn(&T)>,
}

impl<T: Plaintext> Sealer<'_, T> {
    /// What is to be sealed, as its codec writes it. Codecs are the application's code: nonces are drawn after.
    pub(crate) fn encode(&self, value: &T) -> Result<PlainBuf, SealError> {
        let column = self.column;
        let padding = column.padding().map_or(0, usize::from);
        let expect = value.size_hint().saturating_add(padding);
        if expect > MAX_PLAINTEXT_LEN.saturating_add(padding) {
            return Err(SealError::TooLong { column });
        }

        let mut buf = envelope::start(self.header, expect);
        value
            .encode(&mut buf)
            .map_err(|reason| SealError::Codec { column, reason })?;
        if envelope::body_len(&buf) > MAX_PLAINTEXT_LEN {
            return Err(SealError::TooLong { column });
        }
        if let Some(bucket) = column.padding() {
            envelope::pad(&mut buf, bucket);
        }
        Ok(buf)
    }

    /// Seals what was encoded under the nonce given.
    pub(crate) fn seal(
        &self,
        encoded: PlainBuf,
        nonce: Result<Nonce, NoRandomness>,
    ) -> Result<Vec<u8>, SealError> {
        let column = self.column;
        let nonce = nonce.map_err(|NoRandomness| SealError::Randomness { column })?;
        envelope::finish(encoded, self.key, nonce, self.aad)
            .map_err(|_| SealError::TooLong { column })
    }
}

/// One owner's keys, unwrapped.
pub(crate) struct OwnerKeys {
    pub(crate) owner: CanonicalId,
    /// What is sealed now, is sealed under it.
    pub(crate) sealing: DataKey,
    /// Other generations, which open only.
    pub(crate) others: Vec<DataKey>,
    pub(crate) index: IndexKeys,
}

impl OwnerKeys {
    /// Lends what seals values of one column: header and associated data are the same for each of them.
    pub(crate) fn sealing<T: Plaintext, R>(
        &self,
        column: ColumnRef,
        row: Option<&CanonicalId>,
        seal: impl FnOnce(&Sealer<'_, T>) -> R,
    ) -> R {
        let form = Form {
            padded: column.padding().is_some(),
            row_bound: row.is_some(),
        };
        let header = form.header(self.sealing.id());
        let binding = Binding {
            owner: &self.owner,
            column: &column,
            codec: T::CODEC,
            row,
        };
        binding.with_value(&header, |aad| {
            seal(&Sealer {
                key: self.sealing.aead(),
                header: &header,
                aad,
                column,
                of: PhantomData,
            })
        })
    }

    /// Whether this is the key that seals.
    pub(crate) fn seals_under(&self, id: KeyId) -> bool {
        *self.sealing.id() == id
    }

    /// The generation of this id; compared in constant time each.
    fn key(&self, id: KeyId) -> Option<&DataKey> {
        core::iter::once(&self.sealing)
            .chain(&self.others)
            .find(|key| *key.id() == id)
    }

    /// Opens a stored value.
    pub(crate) fn open<T: Plaintext>(
        &self,
        column: ColumnRef,
        row: Option<&CanonicalId>,
        bytes: &[u8],
    ) -> Result<T, OpenError> {
        let plain = self.open_bytes(&column, T::CODEC, row, bytes)?;
        T::decode(plain).map_err(|reason| OpenError::Codec { column, reason })
    }

    /// What the codec wrote: all of [`open`](Self::open) that does not depend on the type.
    pub(crate) fn open_bytes(
        &self,
        column: &ColumnRef,
        codec: Codec,
        row: Option<&CanonicalId>,
        bytes: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let envelope = Envelope::parse(bytes).map_err(|reason| OpenError::NotAnEnvelope {
            column: *column,
            reason,
        })?;
        if envelope.is_row_bound() != row.is_some() {
            return Err(OpenError::RowBinding { column: *column });
        }
        let key = self
            .key(envelope.key_id())
            .ok_or(OpenError::UnknownKey { column: *column })?;
        let binding = Binding {
            owner: &self.owner,
            column,
            codec,
            row,
        };
        binding
            .with_value(envelope.header(), |aad| envelope.open(key.aead(), aad))
            .map_err(|_| OpenError::Rejected { column: *column })
    }

    /// The id of the key that seals.
    pub(crate) fn sealing_id(&self) -> KeyId {
        *self.sealing.id()
    }

    /// Seals anew what an older generation sealed, whatever its type: the codec's bytes stay, padding follows the
    /// column's setting. The invocation was counted before.
    pub(crate) fn reseal(
        &self,
        column: &ColumnRef,
        codec: Codec,
        sealed: &[u8],
        nonce: Result<Nonce, NoRandomness>,
    ) -> Result<Vec<u8>, Error> {
        let plain = self.open_bytes(column, codec, None, sealed)?;
        self.seal_bytes(column, codec, &plain, nonce)
    }

    /// Seals what a codec wrote, whatever its type. The invocation was counted before.
    pub(crate) fn seal_bytes(
        &self,
        column: &ColumnRef,
        codec: Codec,
        plain: &[u8],
        nonce: Result<Nonce, NoRandomness>,
    ) -> Result<Vec<u8>, Error> {
        let form = Form {
            padded: column.padding().is_some(),
            row_bound: false,
        };
        let header = form.header(self.sealing.id());
        let padding = column.padding().map_or(0, usize::from);
        let mut buf = envelope::start(&header, plain.len().saturating_add(padding));
        buf.extend(plain);
        if let Some(bucket) = column.padding() {
            envelope::pad(&mut buf, bucket);
        }
        let column = *column;
        let nonce = nonce.map_err(|NoRandomness| SealError::Randomness { column })?;
        let binding = Binding {
            owner: &self.owner,
            column: &column,
            codec,
            row: None,
        };
        let finished = binding.with_value(&header, |aad| {
            envelope::finish(buf, self.sealing.aead(), nonce, aad)
        });
        Ok(finished.map_err(|_| SealError::TooLong { column })?)
    }

    /// The fingerprint of a value.
    pub(crate) fn fingerprint<T: Plaintext, C: IndexColumn>(
        &self,
        value: &T,
    ) -> Result<Fingerprint, FingerprintError> {
        Fingerprint::derive::<T, C>(&self.index, &self.owner, value)
    }

    /// The fingerprint of what a codec wrote: for writing, and under the other key in use.
    pub(crate) fn fingerprints_of(
        &self,
        indexed: &IndexedColumn,
        plain: &[u8],
    ) -> Result<([u8; Fingerprint::LEN], Option<[u8; Fingerprint::LEN]>), Error> {
        let index = indexed.index();
        let both = self.index.fingerprints(indexed, plain);
        Ok(both.map_err(|reason| FingerprintError::Codec { index, reason })?)
    }

    /// The fingerprint that a sealed value has now, whatever its type.
    pub(crate) fn reindex(
        &self,
        indexed: &IndexedColumn,
        codec: Codec,
        sealed: &[u8],
    ) -> Result<[u8; Fingerprint::LEN], Error> {
        let plain = self.open_bytes(&indexed.of(), codec, None, sealed)?;
        let index = indexed.index();
        let anew = self.index.anew(indexed, &plain);
        Ok(anew.map_err(|reason| FingerprintError::Codec { index, reason })?)
    }
}
