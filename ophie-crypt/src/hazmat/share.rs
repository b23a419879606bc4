//! The second share of a DEK, and how two shares make one key.
//!
//! Invariant: a DEK takes both of its shares, and either one alone says nothing of it. Absent: where the second share is
//! kept (`shares`), how the first is wrapped (`kms`).

use core::fmt;

use zeroize::Zeroizing;

use super::{
    KEY_STACK, NoRandomness,
    data_key::{Dek, InvalidDek},
    prf::derive,
    with_stack_wiped,
};

/// The second share of a DEK: 32 random bytes, wiped on drop, never printed.
///
/// Only a [`ShareStore`](crate::ShareStore) needs to touch one.
///
/// ```
/// let share = ophie_crypt::Share::from_slice(&[7; 32])?;
/// assert_eq!(format!("{share:?}"), "Share([REDACTED])");
/// assert!(ophie_crypt::Share::from_slice(&[7; 31]).is_err());
/// # Ok::<(), ophie_crypt::InvalidShare>(())
/// ```
pub struct Share(Dek);

/// These bytes are no share: not 32 of them, or all zero.
///
/// ```
/// let error = ophie_crypt::Share::from_slice(&[0; 32]).unwrap_err();
/// assert!(error.to_string().contains("32 bytes"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a share is 32 bytes and not all zero; restore it from where the share store has a copy")]
#[non_exhaustive]
pub struct InvalidShare;

impl Share {
    /// Copies 32 bytes; the caller wipes the original.
    ///
    /// # Errors
    ///
    /// [`InvalidShare`] if there are not 32 bytes, or if all are zero.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, InvalidShare> {
        Dek::from_slice(bytes)
            .map(Self)
            .map_err(|InvalidDek| InvalidShare)
    }

    /// 32 random bytes from the operating system.
    pub(crate) fn make() -> Result<Self, NoRandomness> {
        Dek::make().map(Self)
    }

    /// The bytes, for the store that keeps them.
    ///
    /// # Security
    ///
    /// Alone they open nothing. Whoever also has the first share, which the KMS wraps, has the key.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8; 32] {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Share([REDACTED])")
    }
}

/// The DEK of two shares: HKDF-SHA-256(ikm = `first` || `second`, salt = empty, `info`).
pub(crate) fn join(first: &Dek, second: &Share, info: &[u8]) -> Result<Dek, InvalidDek> {
    with_stack_wiped::<KEY_STACK, _>(|| {
        let mut both = Box::new(Zeroizing::new([0; 64]));
        let (front, back) = both.split_at_mut(32);
        front.copy_from_slice(first.expose_secret());
        back.copy_from_slice(second.expose_secret());
        Dek::from_slice(derive::<32>(both.as_slice(), info).as_slice())
    })
}
