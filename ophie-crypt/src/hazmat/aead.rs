//! AES-256-GCM (NIST SP 800-38D) with 96-bit random nonces and 128-bit tags.
//!
//! Invariant: a nonce comes from [`Nonces`] only, is used once and cannot be chosen by a caller.
//! Absent: what the associated data means (`binding`), where the bytes lie (`envelope`).

use core::fmt;

use aes_gcm::{
    Aes256Gcm,
    aead::{AeadInOut, KeyInit},
};
use zeroize::Zeroizing;

use super::{NoRandomness, fill_random};

pub(crate) const NONCE_LEN: usize = 12;
pub(crate) const TAG_LEN: usize = 16;

/// The tag did not fit: opaque on purpose, so that nothing can be learned from the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rejected;

/// An expanded AES-256-GCM key; the `zeroize` feature of `aes-gcm` wipes it on drop.
pub(crate) struct AeadKey(Box<Aes256Gcm>);

impl AeadKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Box::new(Aes256Gcm::new(key.into())))
    }

    /// Encrypts `buf` in place and returns the tag.
    ///
    /// Fails only beyond 2^36 bytes of plaintext; callers bound that long before.
    pub(crate) fn seal(
        &self,
        nonce: Nonce,
        aad: &[u8],
        buf: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Rejected> {
        self.0
            .encrypt_inout_detached(&nonce.0.into(), aad, buf.into())
            .map(Into::into)
            .map_err(|_| Rejected)
    }

    /// Checks the tag, then decrypts `ciphertext` into a buffer of its own.
    pub(crate) fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<Zeroizing<Vec<u8>>, Rejected> {
        let mut plain = Zeroizing::new(ciphertext.to_vec());
        self.0
            .decrypt_inout_detached(nonce.into(), aad, plain.as_mut_slice().into(), tag.into())
            .map_err(|_| Rejected)?;
        Ok(plain)
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AeadKey([REDACTED])")
    }
}

/// One unused nonce. Neither `Clone` nor `Copy`: sealing consumes it.
#[derive(Debug)]
pub(crate) struct Nonce([u8; NONCE_LEN]);

impl Nonce {
    /// One draw from the operating system.
    pub(crate) fn make() -> Result<Self, NoRandomness> {
        let mut bytes = [0; NONCE_LEN];
        fill_random(&mut bytes)?;
        Ok(Self(bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; NONCE_LEN] {
        &self.0
    }

    /// The nonce of a test vector.
    #[cfg(test)]
    pub(crate) fn from_vector(bytes: [u8; NONCE_LEN]) -> Self {
        Self(bytes)
    }
}

/// A block of nonces for one library call that does no I/O and ends with it.
///
/// A block that lived across I/O would be repeated by a fork, a VM snapshot or a clone, so this type
/// must not be stored. At most [`Nonces::BLOCK`] nonces are drawn at a time.
pub(crate) struct Nonces {
    block: Vec<[u8; NONCE_LEN]>,
    left: usize,
}

impl Nonces {
    const BLOCK: usize = 256;

    /// For `count` values.
    pub(crate) fn for_values(count: usize) -> Self {
        Self {
            block: Vec::new(),
            left: count,
        }
    }

    /// The next nonce; draws a block when the present one is used up.
    pub(crate) fn next(&mut self) -> Result<Nonce, NoRandomness> {
        if self.block.is_empty() {
            let count = self.left.clamp(1, Self::BLOCK);
            self.block.resize(count, [0; NONCE_LEN]);
            if let Err(error) = fill_random(self.block.as_flattened_mut()) {
                self.block.clear(); // half-filled nonces must not be used
                return Err(error);
            }
        }
        self.left = self.left.saturating_sub(1);
        self.block.pop().map(Nonce).ok_or(NoRandomness)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn blocks_of_nonces_never_repeat_one() {
        let mut nonces = Nonces::for_values(1000);
        let drawn: HashSet<_> = (0..1001)
            .map(|_| *nonces.next().unwrap().as_bytes())
            .collect();
        assert_eq!(drawn.len(), 1001);
        assert!(!drawn.contains(&[0; NONCE_LEN]));
    }

    #[test]
    fn a_rejected_ciphertext_gives_no_bytes() {
        let key = AeadKey::new(&[7; 32]);
        let nonce = Nonce::make().unwrap();
        let bytes = *nonce.as_bytes();
        let mut buf = *b"plaintext";
        let tag = key.seal(nonce, b"aad", &mut buf).unwrap();
        assert_eq!(*key.open(&bytes, b"aad", &buf, &tag).unwrap(), b"plaintext");
        assert!(key.open(&bytes, b"AAD", &buf, &tag).is_err());
    }
}
