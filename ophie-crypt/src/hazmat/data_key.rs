//! Data keys: the 32 bytes that a KMS wraps, and what is derived from them.
//!
//! Invariant: key bytes live in a box that is wiped on drop; a DEK is used only through keys derived from it.
//! Absent: KMS calls, the key store.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    KEY_STACK, NoRandomness,
    aead::AeadKey,
    fill_random,
    prf::{PrfKey, derive, label},
    with_stack_wiped,
};

/// An owner's data encryption key as a KMS returns it: 32 bytes, wiped on drop, never printed.
///
/// Only a [`Kms`](crate::Kms) implementation needs to touch one.
///
/// ```
/// let dek = ophie_crypt::Dek::from_slice(&[7; 32])?;
/// assert_eq!(format!("{dek:?}"), "Dek([REDACTED])");
/// assert!(ophie_crypt::Dek::from_slice(&[7; 31]).is_err());
/// # Ok::<(), ophie_crypt::InvalidDek>(())
/// ```
///
/// # Security
///
/// The bytes are boxed, so that moving a `Dek` copies a pointer and leaves no second copy behind.
pub struct Dek(Box<Zeroizing<[u8; 32]>>);

/// These bytes cannot be a data key: not 32 of them, or all zero.
///
/// ```
/// let error = ophie_crypt::Dek::from_slice(&[0; 32]).unwrap_err();
/// assert!(error.to_string().contains("32 bytes"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a data key is 32 bytes and not all zero; check what the KMS returned")]
#[non_exhaustive]
pub struct InvalidDek;

impl Dek {
    /// Copies 32 key bytes; the caller wipes the original.
    ///
    /// # Errors
    ///
    /// [`InvalidDek`] if there are not 32 bytes, or if all are zero.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, InvalidDek> {
        let mut key = Box::new(Zeroizing::new([0; 32]));
        if bytes.len() != key.len() || bytes.ct_eq(key.as_slice()).into() {
            return Err(InvalidDek);
        }
        key.copy_from_slice(bytes);
        Ok(Self(key))
    }

    /// 32 random bytes from the operating system.
    pub(crate) fn make() -> Result<Self, NoRandomness> {
        let mut key = Box::new(Zeroizing::new([0; 32]));
        fill_random(key.as_mut_slice())?;
        Ok(Self(key))
    }

    /// The key bytes, for the KMS implementation that wraps them.
    ///
    /// # Security
    ///
    /// Whoever holds these bytes reads everything of the owner. Do not copy them into a type that
    /// is not wiped.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Dek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dek([REDACTED])")
    }
}

/// Names a DEK and commits to it: HKDF-SHA-256(DEK, "ophie-crypt/v1/key-id"), 16 bytes.
///
/// It stands in clear in every envelope. It is a pseudonym of the owner: treat it as personal data.
///
/// ```
/// let id = ophie_crypt::KeyId::from_bytes([0xab; 16]);
/// assert_eq!(id.to_string(), "ab".repeat(16));
/// ```
#[derive(Clone, Copy, Eq)]
pub struct KeyId([u8; Self::LEN]);

impl KeyId {
    /// Its length in bytes.
    pub const LEN: usize = 16;

    /// From stored bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// As stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// Compares in constant time.
impl PartialEq for KeyId {
    fn eq(&self, other: &Self) -> bool {
        // As one integer: `subtle` goes through slices byte by byte.
        u128::from_ne_bytes(self.0)
            .ct_eq(&u128::from_ne_bytes(other.0))
            .into()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::hex::write_hex(f, &self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A DEK made ready: its id and its sealing key.
pub(crate) struct DataKey {
    id: KeyId,
    aead: AeadKey,
}

impl DataKey {
    pub(crate) fn derive(dek: &Dek) -> Self {
        with_stack_wiped::<KEY_STACK, _>(|| Self {
            id: KeyId(**derive(dek.expose_secret(), label::KEY_ID)),
            aead: AeadKey::new(&derive(dek.expose_secret(), label::SEAL)),
        })
    }

    pub(crate) fn id(&self) -> &KeyId {
        &self.id
    }

    pub(crate) fn aead(&self) -> &AeadKey {
        &self.aead
    }
}

/// An owner's index key of one generation: the key of its fingerprints.
pub(crate) struct IndexKey {
    generation: u8,
    prf: PrfKey,
}

impl IndexKey {
    pub(crate) const LEN: usize = 32;

    pub(crate) fn new(generation: u8, bytes: &[u8]) -> Self {
        with_stack_wiped::<KEY_STACK, _>(|| Self {
            generation,
            prf: PrfKey::new(bytes),
        })
    }

    pub(crate) fn generation(&self) -> u8 {
        self.generation
    }

    pub(crate) fn prf(&self) -> &PrfKey {
        &self.prf
    }
}
