//! Fingerprints for equality look-up, and the normalisers that decide what is equal.
//!
//! Invariant: a normaliser's result for a given text never changes under its id; a golden digest over
//! all code points holds the Unicode tables to it. Absent: sessions, column types.

mod keys;

use core::fmt;
use std::borrow::Cow;

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::{CodePointSetData, props::DefaultIgnorableCodePoint};
use zeroize::Zeroizing;

pub(crate) use self::keys::IndexKeys;
use crate::{
    column::{ColumnRef, IndexColumn},
    error::FingerprintError,
    model::IndexedColumn,
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
/// It remembers whose session made it, so that it cannot be written in another's; and, while the owner has two index
/// keys, what it is under the other.
#[derive(Clone, Eq)]
pub struct Fingerprint {
    bytes: [u8; Self::LEN],
    /// Under the other index key that was there when it was made.
    other: Option<[u8; Self::LEN]>,
    /// Whether rows stood under both then.
    several: bool,
    /// The newest generation that was known then.
    newest: u8,
    usage: Usage,
    owner: Option<CanonicalId>,
}

/// What a fingerprint is bound for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Usage {
    /// Nobody said.
    Any,
    /// A look-up that asks for the other one too.
    LookUp,
    Write,
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
        Ok(Self {
            bytes,
            other: None,
            several: false,
            newest: 0,
            usage: Usage::Any,
            owner: None,
        })
    }

    /// Of a value, under an owner's index keys.
    pub(crate) fn derive<T: Plaintext, C: IndexColumn>(
        keys: &IndexKeys,
        owner: &CanonicalId,
        value: &T,
    ) -> Result<Self, FingerprintError> {
        let fail = |reason| FingerprintError::Codec {
            index: C::COLUMN,
            reason,
        };
        let mut plain = PlainBuf::with_capacity(value.size_hint());
        value.encode(&mut plain).map_err(fail)?;
        let indexed = IndexedColumn::new(C::COLUMN, C::OF, C::NORMALIZER);
        let (bytes, other) = keys
            .fingerprints(&indexed, plain.as_slice())
            .map_err(fail)?;
        Ok(Self {
            bytes,
            other,
            several: keys.several,
            newest: keys.newest(),
            usage: Usage::Any,
            owner: Some(owner.clone()),
        })
    }

    /// It under each index key in use, for a look-up, and under one that is retired and not destroyed yet, which a snapshot
    /// or a replica may still show; the same twice where there is one. Of one that was loaded, only it
    /// is known.
    #[must_use]
    pub fn candidates(&self) -> [Self; 2] {
        let is_loaded = self.owner.is_none();
        let candidate = |bytes| Self {
            bytes,
            usage: if is_loaded { self.usage } else { Usage::LookUp },
            ..self.clone()
        };
        [self.bytes, self.other.unwrap_or(self.bytes)].map(candidate)
    }

    /// For a row that is written. One that was loaded from a row may be of a key that goes: it is refused, make it anew.
    #[must_use]
    pub fn for_write(mut self) -> Self {
        self.usage = Usage::Write;
        self
    }

    /// Whether `stored` is it, under either index key.
    #[must_use]
    pub fn matches(&self, stored: &Self) -> bool {
        self.bytes == stored.bytes || self.other == Some(stored.bytes)
    }

    const fn generation(&self) -> u8 {
        let [generation, ..] = self.bytes;
        generation
    }

    /// Whether it may go to the database, in the session of this owner with these keys, or in none: not another owner's,
    /// not under a key that is no longer in use, and not alone where rows stand under two.
    pub(crate) fn check(
        &self,
        index: ColumnRef,
        session: Option<(&CanonicalId, &IndexKeys)>,
    ) -> Result<(), FingerprintError> {
        let mut several = self.several;
        if let Some((owner, keys)) = session {
            if self.owner.as_ref().is_some_and(|made_by| made_by != owner) {
                return Err(FingerprintError::OtherOwner { index });
            }
            several |= keys.several;
            let is_known = match self.usage {
                Usage::LookUp => self.newest >= keys.writing.generation(),
                Usage::Any => keys.knows(self.generation()),
                // One that was loaded stands under a key that may be retired before this is committed.
                Usage::Write => {
                    keys.knows(self.generation()) && self.generation() >= keys.writing.generation()
                }
            };
            if !is_known {
                return Err(FingerprintError::OldKey { index });
            }
        }
        match self.usage {
            Usage::Any if several => Err(FingerprintError::TwoKeys { index }),
            _ => Ok(()),
        }
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
