//! AES-256-GCM (NIST SP 800-38D) with 96-bit random nonces and 128-bit tags.
//!
//! Invariant: a nonce comes from [`Nonces`] only, is used once and cannot be chosen by a caller; every
//! back end gives the same bytes. Absent: what the associated data means (`binding`), where the bytes
//! lie (`envelope`).

#[cfg(feature = "aws-lc-rs")]
pub(super) mod aws_lc;
#[cfg(all(feature = "ring", any(test, not(feature = "aws-lc-rs"))))]
pub(super) mod ring;
#[cfg(any(test, not(any(feature = "aws-lc-rs", feature = "ring"))))]
pub(super) mod rustcrypto;

use core::fmt;

use zeroize::Zeroizing;

use super::{KEY_STACK, NoRandomness, fill_random, with_stack_wiped, with_value_stack_wiped};

pub(crate) const NONCE_LEN: usize = 12;
pub(crate) const TAG_LEN: usize = 16;

/// The tag did not fit: opaque on purpose, so that nothing can be learned from the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rejected;

/// What a back end does: AES-256-GCM in place, under an expanded key that it wipes when dropped.
pub(crate) trait Cipher: Sized {
    fn new(key: &[u8; 32]) -> Self;

    /// Encrypts `buf` and returns the tag.
    fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buf: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Rejected>;

    /// Decrypts `buf`; where the tag does not fit, what is left in it is to be wiped.
    fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Rejected>;
}

/// The back end in use. Of two, the one that also wipes its key by itself; all are compiled into tests.
#[cfg(feature = "aws-lc-rs")]
type Chosen = aws_lc::AwsLc;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
type Chosen = ring::Ring;
#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
type Chosen = rustcrypto::RustCrypto;

/// An expanded AES-256-GCM key, boxed so that moving it leaves no copy behind.
pub(crate) struct AeadKey<C: Cipher = Chosen>(Box<C>);

impl AeadKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self::expand(key)
    }
}

impl<C: Cipher> AeadKey<C> {
    /// Under any back end; tests take each in turn.
    pub(super) fn expand(key: &[u8; 32]) -> Self {
        // On its way into the box the key is moved over the stack.
        with_stack_wiped::<KEY_STACK, _>(|| Self(Box::new(C::new(key))))
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
        // Opening was seen to leave its last blocks there, both a part of the key where vectors are wide.
        with_value_stack_wiped(|| self.0.seal(&nonce.0, aad, buf))
    }

    /// Checks the tag and decrypts `ciphertext` into a buffer of its own.
    pub(crate) fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<Zeroizing<Vec<u8>>, Rejected> {
        let mut plain = Zeroizing::new(ciphertext.to_vec());
        with_value_stack_wiped(|| self.0.open(nonce, aad, &mut plain, tag))?;
        Ok(plain)
    }
}

impl<C: Cipher> fmt::Debug for AeadKey<C> {
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
#[allow(
    clippy::arithmetic_side_effects,
    reason = "counts of cases and offsets in a file, far from any limit"
)]
mod tests;
