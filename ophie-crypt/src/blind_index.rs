//! Fingerprints for equality look-up, and the normalisers that decide what is equal.
//!
//! Invariant: a normaliser's result for a given text never changes under its id; a golden digest over
//! all code points holds the Unicode tables to it. Absent: sessions, column types.

use core::fmt;
use std::borrow::Cow;

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::{CodePointSetData, props::DefaultIgnorableCodePoint};
use zeroize::Zeroizing;

use crate::{
    binding,
    column::{ColumnRef, IndexColumn},
    error::FingerprintError,
    hazmat::data_key::IndexKey,
    owner::CanonicalId,
    plaintext::{PlainBuf, Plaintext},
};

/// What makes two values equal for a blind index. Named and versioned: it never changes silently.
///
/// ```
/// use ophie_crypt::Normalizer;
///
/// assert_eq!(Normalizer::Name.apply("  MÜLLER\u{a0}  anna "), "müller anna");
/// assert_eq!(Normalizer::Email.apply("Anna@Example.org "), "anna@example.org");
/// assert_eq!(Normalizer::Exact.apply(" Mom "), " Mom ");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Normalizer {
    /// For addresses, among those of one owner: to find an account by its address there is no session yet, and
    /// without one no fingerprint. NFKC, full case fold, default-ignorables and white space dropped, NFC. Dots and
    /// `+tags` count.
    Email,
    /// No change: equal bytes are equal. Of floats, 0.0 and -0.0 are not.
    Exact,
    /// For people's names: NFKC, full case fold, default-ignorables dropped, NFC, white space trimmed and collapsed.
    Name,
}

impl Normalizer {
    /// Its id in the fingerprint's message.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Email => "email/1",
            Self::Exact => "exact/1",
            Self::Name => "name/1",
        }
    }

    /// The normal form of a text.
    ///
    /// # Security
    ///
    /// The result is plaintext; wipe it.
    #[must_use]
    pub fn apply(self, text: &str) -> String {
        match self {
            Self::Exact => text.to_owned(),
            Self::Email => core::mem::take(&mut *fold(text, char::is_whitespace)),
            Self::Name => {
                let folded = fold(text, |_| false);
                let mut out = String::with_capacity(folded.len());
                for word in folded.split_whitespace() {
                    if !out.is_empty() {
                        out.push(' ');
                    }
                    out.push_str(word);
                }
                out
            }
        }
    }
}

/// NFKC, full case fold, default-ignorable code points and what `drops` says dropped, NFC.
fn fold(text: &str, drops: fn(char) -> bool) -> Zeroizing<String> {
    if text.is_ascii() {
        let mut folded = Zeroizing::new(String::with_capacity(text.len()));
        let kept = text.chars().filter(|c| !drops(*c));
        folded.extend(kept.map(|c| c.to_ascii_lowercase()));
        return folded;
    }
    let folded = owned(CaseMapper::new().fold_string(&nfkc(text)));
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let mut kept = Zeroizing::new(String::with_capacity(folded.len()));
    kept.extend(
        folded
            .chars()
            .filter(|c| !ignorable.contains(*c) && !drops(*c)),
    );
    nfc(&kept) // last: what was dropped may have stood between two marks
}

fn nfkc(text: &str) -> Zeroizing<String> {
    owned(ComposingNormalizerBorrowed::new_nfkc().normalize(text))
}

fn nfc(text: &str) -> Zeroizing<String> {
    owned(ComposingNormalizerBorrowed::new_nfc().normalize(text))
}

fn owned(text: Cow<'_, str>) -> Zeroizing<String> {
    Zeroizing::new(text.into_owned())
}

/// The stored bytes of a blind index: the index key's generation, then 16 bytes of HMAC-SHA-256.
///
/// It remembers whose session made it, so that it cannot be written in another's.
#[derive(Clone, Eq)]
pub struct Fingerprint {
    bytes: [u8; Self::LEN],
    owner: Option<CanonicalId>,
}

impl Fingerprint {
    /// Its length in bytes.
    pub const LEN: usize = 17;

    /// As stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.bytes
    }

    /// From stored bytes; whose it is, is not known then.
    pub(crate) fn load(index: ColumnRef, bytes: &[u8]) -> Result<Self, FingerprintError> {
        let bytes = bytes
            .try_into()
            .map_err(|_| FingerprintError::NotAFingerprint {
                index,
                len: bytes.len(),
            })?;
        Ok(Self { bytes, owner: None })
    }

    /// Of a value, under an owner's index key.
    pub(crate) fn derive<T: Plaintext, C: IndexColumn>(
        key: &IndexKey,
        owner: &CanonicalId,
        value: &T,
    ) -> Result<Self, FingerprintError> {
        let fail = |reason| FingerprintError::Codec {
            index: C::COLUMN,
            reason,
        };
        let mut plain = PlainBuf::with_capacity(value.size_hint());
        value.encode(&mut plain).map_err(fail)?;
        let of = (C::OF, C::COLUMN, C::NORMALIZER);
        Self::derive_of(key, owner, of, plain.as_slice())
    }

    /// Of what a codec wrote: of the encrypted column, for the index's column.
    pub(crate) fn derive_of(
        key: &IndexKey,
        owner: &CanonicalId,
        (of, index, normalizer): (ColumnRef, ColumnRef, Normalizer),
        plain: &[u8],
    ) -> Result<Self, FingerprintError> {
        let tag = |normalized: &[u8]| {
            binding::with_fingerprint(&of, &index, normalizer.id(), normalized, |message| {
                key.prf().tag(message)
            })
        };
        let tag = match normalizer {
            Normalizer::Exact => tag(plain),
            normalizer => {
                let text = core::str::from_utf8(plain).map_err(|_| FingerprintError::Codec {
                    index,
                    reason: crate::CodecError::new(
                        "a normaliser for text on a value that is no text",
                    ),
                })?;
                tag(Zeroizing::new(normalizer.apply(text)).as_bytes())
            }
        };
        let mut bytes = [key.generation(); Self::LEN];
        let (_, rest) = bytes.split_at_mut(1);
        rest.iter_mut().zip(tag).for_each(|(byte, tag)| *byte = tag);
        Ok(Self {
            bytes,
            owner: Some(owner.clone()),
        })
    }

    /// Whether `owner` may write it: it was not made in another owner's session.
    pub(crate) fn may_be_written_by(&self, owner: &CanonicalId) -> bool {
        self.owner.as_ref().is_none_or(|made_by| made_by == owner)
    }
}

/// Equal bytes: equal values of one owner, to the normaliser.
impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl core::hash::Hash for Fingerprint {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    reason = "counts of cases, far from any limit"
)]
mod tests;
