//! What can be encrypted: types and their canonical bytes.
//!
//! Invariant: encoding writes into memory that is wiped; what one codec wrote, no other codec reads.
//! Absent: keys, columns.

mod base;
#[cfg(feature = "chrono")]
mod chrono;
#[cfg(any(feature = "chrono", feature = "time"))]
mod instant;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "time")]
mod time;

use core::fmt;

use zeroize::{Zeroize, Zeroizing};

#[cfg(feature = "json")]
pub use self::json::Json;

/// A type whose values can be sealed.
///
/// Implemented for `String`, `Vec<u8>`, `i16`, `i32`, `i64`, `f64`, `bool`, with features for `Uuid`,
/// the types of `time` and `chrono`, and `Json<T>`. For a type of your own, pass on to one of these:
///
/// ```
/// use ophie_crypt::{Codec, CodecError, PlainBuf, Plaintext};
/// use zeroize::Zeroizing;
///
/// struct Diagnosis(String);
///
/// impl Plaintext for Diagnosis {
///     const CODEC: Codec = String::CODEC;
///     fn size_hint(&self) -> usize {
///         self.0.len()
///     }
///     fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
///         self.0.encode(out)
///     }
///     fn decode(bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
///         String::decode(bytes).map(Diagnosis)
///     }
///     fn wipe(&mut self) {
///         self.0.wipe();
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be encrypted",
    label = "not a `Plaintext`",
    note = "plaintexts are `String`, `Vec<u8>`, `i16`, `i32`, `i64`, `f64`, `bool`, and with features `Uuid`, chrono's and time's types and `Json<T>`",
    note = "a nullable column is `Option<Encrypted<T, C>>`, not `Encrypted<Option<T>, C>`"
)]
pub trait Plaintext: Sized {
    /// Names the encoding; part of the AAD.
    const CODEC: Codec;

    /// About how many bytes [`encode`](Self::encode) will write: saves an allocation, no more.
    fn size_hint(&self) -> usize {
        0
    }

    /// Appends the canonical bytes.
    ///
    /// # Errors
    ///
    /// [`CodecError`] if the value has no encoding; nothing is sealed then.
    fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError>;

    /// Reads what [`encode`](Self::encode) wrote. The bytes are authentic.
    ///
    /// # Errors
    ///
    /// [`CodecError`] if they are no value of this type.
    fn decode(bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError>;

    /// Overwrites the value in memory, as far as the type lets one reach it.
    ///
    /// `Uuid` and the types of `time` and `chrono` let nobody at their bytes: they are overwritten by an
    /// ordinary write, which the optimiser may drop. A `Json<T>` is not overwritten at all.
    fn wipe(&mut self);
}

/// The name of an encoding. It is part of the AAD: text never opens as an integer or as JSON.
///
/// ```
/// use ophie_crypt::{Codec, Plaintext};
///
/// assert_eq!(i16::CODEC, i64::CODEC); // a column may be widened
/// assert_ne!(String::CODEC, Vec::<u8>::CODEC);
/// assert_eq!(Codec::new("my-app/point").id(), "my-app/point");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Codec(&'static str);

impl Codec {
    /// UTF-8.
    pub const TEXT: Self = Self("text");

    /// JSON text.
    pub(crate) const JSON: Self = Self("json");

    /// A codec of your own; put your application's name before it. It must never change.
    #[must_use]
    pub const fn new(id: &'static str) -> Self {
        Self(id)
    }

    /// Its name.
    #[must_use]
    pub const fn id(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A value that its codec cannot write or read. It names the reason, never the value.
///
/// ```
/// use ophie_crypt::CodecError;
///
/// assert_eq!(CodecError::new("not UTF-8").to_string(), "not UTF-8");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct CodecError {
    reason: &'static str,
}

impl CodecError {
    /// The reason as a constant, so that no plaintext can slip into it.
    #[must_use]
    pub const fn new(reason: &'static str) -> Self {
        Self { reason }
    }
}

/// A growing buffer for plaintext: what it outgrows and what it is dropped with is wiped.
///
/// ```
/// use ophie_crypt::PlainBuf;
/// use std::io::Write;
///
/// let mut buf = PlainBuf::with_capacity(8);
/// buf.extend(b"Mo");
/// buf.write_all(b"m")?;
/// assert_eq!((buf.len(), buf.is_empty()), (3, false));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Default)]
pub struct PlainBuf(Vec<u8>);

impl PlainBuf {
    /// With room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// Appends bytes.
    #[inline]
    pub fn extend(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn extend_zeros(&mut self, count: usize) {
        self.make_room(count);
        let len = self.0.len().saturating_add(count);
        self.0.resize(len, 0);
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Hands the bytes over unwiped: only once they are ciphertext.
    pub(crate) fn into_ciphertext(mut self) -> Vec<u8> {
        core::mem::take(&mut self.0)
    }

    #[inline]
    fn make_room(&mut self, more: usize) {
        if self.0.capacity().saturating_sub(self.0.len()) < more {
            self.grow(more);
        }
    }

    /// A `Vec` that grows by itself frees its old block unwiped, so this moves to a larger one by hand.
    #[cold]
    fn grow(&mut self, more: usize) {
        let need = self.0.len().saturating_add(more);
        let mut larger = Vec::with_capacity(need.max(self.0.capacity().saturating_mul(2)));
        larger.extend_from_slice(&self.0);
        wipe(&mut self.0);
        self.0 = larger;
    }
}

impl Drop for PlainBuf {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl std::io::Write for PlainBuf {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for PlainBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainBuf([REDACTED])")
    }
}

/// Wipes bytes at once, and empties them: `Vec`'s own `zeroize` takes one after the other, which for a long text lasts as
/// long as to open it.
fn wipe(bytes: &mut Vec<u8>) {
    bytes.as_mut_slice().zeroize();
    bytes.spare_capacity_mut().zeroize();
    bytes.clear();
}

/// Wipes a value when it goes, also on unwinding.
pub(crate) struct Wiped<T: Plaintext>(pub(crate) T);

impl<T: Plaintext> Drop for Wiped<T> {
    fn drop(&mut self) {
        self.0.wipe();
    }
}

#[cfg(test)]
mod codecs;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::{fs::File, os::unix::fs::FileExt};

    use super::*;

    const SECRET: [u8; 256] = [0xa5; 256];

    /// What lies there now, whoever has it.
    fn memory(at: *const u8) -> [u8; SECRET.len()] {
        let mut bytes = [0; SECRET.len()];
        let memory = File::open("/proc/self/mem").unwrap();
        let at = u64::try_from(at.addr()).unwrap();
        memory.read_exact_at(&mut bytes, at).ok(); // of what was given back, nothing may be there
        bytes
    }

    #[test]
    fn bytes_are_wiped_with_those_behind_their_end() {
        let mut bytes = SECRET.to_vec();
        let at = bytes.as_ptr();
        bytes.truncate(100);
        assert_eq!(memory(at), SECRET);
        wipe(&mut bytes);
        assert_eq!(memory(at), [0; SECRET.len()]);
        assert_eq!((bytes.len(), bytes.as_ptr()), (0, at));
    }

    /// Its block is free then, and another's soon.
    #[test]
    fn a_block_that_is_given_back_holds_no_plaintext() {
        let is_left = |at| memory(at).windows(32).any(|part| part == &SECRET[..32]);
        let mut bytes = SECRET.to_vec();
        let at = bytes.as_ptr();
        Plaintext::wipe(&mut bytes);
        drop(bytes);
        assert!(!is_left(at), "a Vec");

        let mut text = "\u{965}".repeat(100); // e0 a5 a5
        let at = text.as_ptr();
        let is_there = |at| {
            memory(at)
                .windows(32)
                .any(|part| part.starts_with("\u{965}\u{965}".as_bytes()))
        };
        assert!(is_there(at));
        Plaintext::wipe(&mut text);
        assert!(!is_there(at) && text.is_empty(), "a String");

        for first in [&SECRET[..], &SECRET[..200]] {
            let mut buf = PlainBuf::with_capacity(SECRET.len());
            buf.extend(first);
            let at = buf.as_slice().as_ptr();
            buf.extend(&SECRET);
            assert!(!is_left(at), "a buffer that grew");
        }
        let mut buf = PlainBuf::with_capacity(SECRET.len());
        buf.extend(&SECRET);
        let at = buf.as_slice().as_ptr();
        drop(buf);
        assert!(!is_left(at), "a buffer");

        let at = {
            let bytes = Zeroizing::new(SECRET.to_vec());
            let at = bytes.as_ptr();
            assert!(String::decode(bytes).is_err());
            at
        };
        assert!(!is_left(at), "what is not UTF-8");
    }
}
