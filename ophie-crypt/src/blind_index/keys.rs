//! An owner's index keys, and fingerprints under them.
//!
//! Invariant: rows are written under one of them, and may stand under either, or be seen to by a reader who is behind. Absent: how keys come into use (`store`).

use zeroize::Zeroizing;

use super::{Fingerprint, Normalizer};
use crate::{binding, hazmat::data_key::IndexKey, model::IndexedColumn, plaintext::CodecError};

/// One, or two while the index key is being rotated.
pub(crate) struct IndexKeys {
    /// What is written now, is written under it.
    pub(crate) writing: IndexKey,
    /// Announced or draining; else the last that was retired, for look-ups by who is behind: an open snapshot, a replica.
    pub(crate) other: Option<IndexKey>,
    /// Whether rows may stand under both, so that one fingerprint alone would miss some.
    pub(crate) several: bool,
}

type Bytes = [u8; Fingerprint::LEN];

impl IndexKeys {
    /// The newest generation.
    pub(super) fn newest(&self) -> u8 {
        let other = self.other.as_ref().map_or(0, IndexKey::generation);
        self.writing.generation().max(other)
    }

    /// Whether rows may stand under this generation.
    pub(super) fn knows(&self, generation: u8) -> bool {
        let is_it = |key: &IndexKey| key.generation() == generation;
        is_it(&self.writing) || (self.several && self.other.as_ref().is_some_and(is_it))
    }

    /// Of a value as its codec writes it: to be written, and under the other key.
    pub(crate) fn fingerprints(
        &self,
        indexed: &IndexedColumn,
        plain: &[u8],
    ) -> Result<(Bytes, Option<Bytes>), CodecError> {
        let both = |normalized: &[u8]| {
            binding::with_fingerprint(
                &indexed.of(),
                &indexed.index(),
                indexed.normalizer().id(),
                normalized,
                |message| {
                    let other = self.other.as_ref().map(|key| under(key, message));
                    (under(&self.writing, message), other)
                },
            )
        };
        match indexed.normalizer() {
            Normalizer::Exact => Ok(both(plain)),
            normalizer => {
                let text = core::str::from_utf8(plain).map_err(|_| {
                    CodecError::new("a normaliser for text on a value that is no text")
                })?;
                Ok(both(Zeroizing::new(normalizer.apply(text)).as_bytes()))
            }
        }
    }

    /// Of a value as its codec writes it, to be written.
    pub(crate) fn anew(&self, indexed: &IndexedColumn, plain: &[u8]) -> Result<Bytes, CodecError> {
        self.fingerprints(indexed, plain).map(|(anew, _)| anew)
    }
}

fn under(key: &IndexKey, message: &[u8]) -> Bytes {
    let mut bytes = [key.generation(); Fingerprint::LEN];
    let (_, rest) = bytes.split_at_mut(1);
    let tag = key.prf().tag(message);
    rest.iter_mut().zip(tag).for_each(|(byte, tag)| *byte = tag);
    bytes
}
