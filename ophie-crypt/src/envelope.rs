//! The stored bytes of one sealed value.
//!
//! Invariant: the form byte never occurs in UTF-8, so no text passes for an envelope; nothing is
//! returned that the tag does not vouch for. Absent: who may seal (`session`), what is bound (`binding`).

use core::fmt;

use zeroize::Zeroizing;

use crate::{
    hazmat::{
        aead::{AeadKey, NONCE_LEN, Nonce, Rejected, TAG_LEN},
        data_key::KeyId,
    },
    plaintext::PlainBuf,
};

pub(crate) const HEADER_LEN: usize = 1 + KeyId::LEN;
const BODY_AT: usize = HEADER_LEN + NONCE_LEN;

/// A view of the stored bytes of one sealed value, read without any key.
///
/// ```text
/// offset size
///  0      1   form: 0xFA plain, 0xFB row-bound, 0xFC padded, 0xFD padded and row-bound
///  1     16   key id
/// 17     12   nonce
/// 29      n   AES-256-GCM ciphertext
/// 29+n   16   tag
/// ```
///
/// ```
/// use ophie_crypt::Envelope;
///
/// assert!(Envelope::parse(b"any text, which no envelope can be").is_err());
/// let bytes = [&[0xFA][..], &[7; 44]].concat();
/// assert_eq!(Envelope::parse(&bytes)?.plaintext_len(), 0);
/// # Ok::<(), ophie_crypt::NotAnEnvelope>(())
/// ```
#[derive(Clone, Copy)]
pub struct Envelope<'a> {
    form: Form,
    header: &'a [u8; HEADER_LEN],
    nonce: &'a [u8; NONCE_LEN],
    ciphertext: &'a [u8],
    tag: &'a [u8; TAG_LEN],
}

/// The bytes are no envelope of a version that this release knows.
///
/// ```
/// let error = ophie_crypt::Envelope::parse(&[]).unwrap_err();
/// assert_eq!(error.len(), 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{len} bytes that are no envelope of a version known to this release")]
pub struct NotAnEnvelope {
    len: usize,
}

impl NotAnEnvelope {
    /// Of so many bytes.
    #[cfg(feature = "sidecar")]
    pub(crate) const fn of_len(len: usize) -> Self {
        Self { len }
    }

    /// How many bytes there were.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a length, not a container")]
    pub const fn len(&self) -> usize {
        self.len
    }
}

impl<'a> Envelope<'a> {
    /// Bytes that an envelope adds to the (padded) plaintext: 45.
    pub const OVERHEAD: usize = BODY_AT + TAG_LEN;

    /// Splits stored bytes into their parts; nothing is decrypted or authenticated.
    ///
    /// # Errors
    ///
    /// [`NotAnEnvelope`] if there are fewer than 45 bytes or the first one is no known form.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, NotAnEnvelope> {
        Self::split(bytes).ok_or(NotAnEnvelope { len: bytes.len() })
    }

    fn split(bytes: &'a [u8]) -> Option<Self> {
        let form = Form::from_byte(*bytes.first()?)?;
        let (header, rest) = bytes.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (ciphertext, tag) = rest.split_last_chunk()?;
        Some(Self {
            form,
            header,
            nonce,
            ciphertext,
            tag,
        })
    }

    /// Names the DEK that sealed the value, if nobody changed the byte.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        let [_, id @ ..] = self.header;
        KeyId::from_bytes(*id)
    }

    /// Whether the value is padded.
    #[must_use]
    pub const fn is_padded(&self) -> bool {
        self.form.padded
    }

    /// Whether the value is bound to its row as well.
    #[must_use]
    pub const fn is_row_bound(&self) -> bool {
        self.form.row_bound
    }

    /// Length of the plaintext in bytes, padding included.
    #[must_use]
    pub const fn plaintext_len(&self) -> usize {
        self.ciphertext.len()
    }

    pub(crate) fn header(&self) -> &'a [u8; HEADER_LEN] {
        self.header
    }

    /// Checks and decrypts; padding is taken off. `aad` must cover [`Self::header`].
    pub(crate) fn open(&self, key: &AeadKey, aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, Rejected> {
        let mut plain = key.open(self.nonce, aad, self.ciphertext, self.tag)?;
        if self.form.padded {
            let end = plain.iter().rposition(|byte| *byte != 0).ok_or(Rejected)?;
            if plain.get(end) != Some(&PAD_START) {
                return Err(Rejected);
            }
            plain.truncate(end);
        }
        Ok(plain)
    }
}

impl fmt::Debug for Envelope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("key_id", &self.key_id())
            .field("plaintext_len", &self.plaintext_len())
            .finish_non_exhaustive()
    }
}

/// ISO/IEC 7816-4: a padded plaintext ends in 0x80 and any number of zeros.
const PAD_START: u8 = 0x80;

/// What the first byte says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) padded: bool,
    pub(crate) row_bound: bool,
}

impl Form {
    pub(crate) const ALL: [Self; 4] = [
        Self {
            padded: false,
            row_bound: false,
        },
        Self {
            padded: false,
            row_bound: true,
        },
        Self {
            padded: true,
            row_bound: false,
        },
        Self {
            padded: true,
            row_bound: true,
        },
    ];

    const fn from_byte(byte: u8) -> Option<Self> {
        let (padded, row_bound) = match byte {
            0xFA => (false, false),
            0xFB => (false, true),
            0xFC => (true, false),
            0xFD => (true, true),
            _ => return None,
        };
        Some(Self { padded, row_bound })
    }

    const fn byte(self) -> u8 {
        match (self.padded, self.row_bound) {
            (false, false) => 0xFA,
            (false, true) => 0xFB,
            (true, false) => 0xFC,
            (true, true) => 0xFD,
        }
    }

    /// The header of an envelope under the DEK of this id.
    pub(crate) fn header(self, key: &KeyId) -> [u8; HEADER_LEN] {
        let mut header = [self.byte(); HEADER_LEN];
        let (_, id) = header.split_at_mut(1);
        id.copy_from_slice(key.as_bytes());
        header
    }
}

/// Starts an envelope for a plaintext of about `expect` bytes, with room for the nonce; the caller appends it.
pub(crate) fn start(header: &[u8; HEADER_LEN], expect: usize) -> PlainBuf {
    let mut buf = PlainBuf::with_capacity(expect.saturating_add(Envelope::OVERHEAD));
    buf.extend(header);
    buf.extend(&[0; NONCE_LEN]);
    buf
}

/// Appends padding up to the next multiple of `bucket` bytes; the start mark always takes one.
pub(crate) fn pad(buf: &mut PlainBuf, bucket: u16) {
    buf.extend(&[PAD_START]);
    let len = buf.len().saturating_sub(BODY_AT);
    let missing = len
        .next_multiple_of(usize::from(bucket.max(1)))
        .saturating_sub(len);
    buf.extend_zeros(missing);
}

/// Length of what was appended since [`start`].
pub(crate) fn body_len(buf: &PlainBuf) -> usize {
    buf.len().saturating_sub(BODY_AT)
}

/// Encrypts what was appended since [`start`] under a nonce, puts that in its place and appends the tag.
pub(crate) fn finish(
    mut buf: PlainBuf,
    key: &AeadKey,
    nonce: Nonce,
    aad: &[u8],
) -> Result<Vec<u8>, Rejected> {
    let (_, rest) = buf
        .as_mut_slice()
        .split_at_mut_checked(HEADER_LEN)
        .ok_or(Rejected)?;
    let (place, body) = rest.split_first_chunk_mut().ok_or(Rejected)?;
    *place = *nonce.as_bytes();
    let tag = key.seal(nonce, aad, body)?;
    buf.extend(&tag);
    Ok(buf.into_ciphertext())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hazmat::data_key::{DataKey, Dek};

    #[test]
    fn forms_are_four_and_never_utf8() {
        let forms: Vec<u8> = (0..=255)
            .filter(|byte| Form::from_byte(*byte).is_some())
            .collect();
        assert_eq!(forms, [0xFA, 0xFB, 0xFC, 0xFD]);
        for byte in forms {
            assert_eq!(Form::from_byte(byte).unwrap().byte(), byte);
            assert!(core::str::from_utf8(&[byte]).is_err());
        }
    }

    #[test]
    fn too_short_is_no_envelope() {
        for len in 0..Envelope::OVERHEAD {
            let error = Envelope::parse(&vec![0xFA; len]).unwrap_err();
            assert_eq!(error.len(), len);
        }
        assert!(Envelope::parse(&[0xFA; Envelope::OVERHEAD]).is_ok());
    }

    #[test]
    fn a_view_shows_whose_key_and_how_long() {
        let bytes = [&[0xFD][..], &[7; 16], &[9; 30]].concat();
        let envelope = Envelope::parse(&bytes).unwrap();
        let id = KeyId::from_bytes([7; 16]);
        let shown = format!("Envelope {{ key_id: {id:?}, plaintext_len: 2, .. }}");
        assert_eq!(format!("{envelope:?}"), shown);
        assert_eq!((envelope.key_id(), envelope.plaintext_len()), (id, 2));
        for (form, padded, row_bound) in [
            (0xFA, false, false),
            (0xFB, false, true),
            (0xFC, true, false),
            (0xFD, true, true),
        ] {
            let bytes = [&[form][..], &[7; 16], &[9; 30]].concat();
            let envelope = Envelope::parse(&bytes).unwrap();
            assert_eq!(envelope.header()[0], form);
            let found = (envelope.is_padded(), envelope.is_row_bound());
            assert_eq!(found, (padded, row_bound));
        }
    }

    /// Sealed with any padding, by a writer who may have it wrong.
    #[test]
    fn only_padding_that_ends_in_its_mark_and_zeros_is_taken_off() {
        let dek = Dek::from_slice(&[7; 32]).unwrap();
        let key = DataKey::derive(&dek);
        for (plain, expected) in [
            (&b"abc\x80\0\0"[..], Some(&b"abc"[..])),
            (b"\x80", Some(b"")),
            (b"abc\x80\0\x80", Some(b"abc\x80\0")),
            (b"abc", None),
            (b"abc\x80\0\x01", None),
            (b"\0\0", None),
            (b"", None),
        ] {
            for (padded, expected) in [(true, expected), (false, Some(plain))] {
                let form = Form {
                    padded,
                    row_bound: false,
                };
                let mut buf = start(&form.header(key.id()), plain.len());
                buf.extend(plain);
                let sealed = finish(buf, key.aead(), Nonce::make().unwrap(), b"here").unwrap();
                let envelope = Envelope::parse(&sealed).unwrap();
                assert_eq!(
                    (envelope.key_id(), envelope.is_padded()),
                    (*key.id(), padded)
                );
                let opened = envelope.open(key.aead(), b"here");
                assert_eq!(opened.ok().as_deref().map(Vec::as_slice), expected);
                assert!(envelope.open(key.aead(), b"elsewhere").is_err());
            }
        }
    }

    #[test]
    fn padding_fills_buckets() {
        for (len, bucket, padded) in [
            (0, 16, 16),
            (15, 16, 16),
            (16, 16, 32),
            (3, 1, 4),
            (3, 0, 4),
        ] {
            let mut buf = start(&[0xFC; HEADER_LEN], len);
            buf.extend(&vec![b'x'; len]);
            pad(&mut buf, bucket);
            assert_eq!(body_len(&buf), padded);
            let body = buf.as_mut_slice()[BODY_AT..].to_vec();
            let zeros = vec![0; padded - len - 1];
            assert_eq!(body, [vec![b'x'; len], vec![PAD_START], zeros].concat());
        }
    }
}
