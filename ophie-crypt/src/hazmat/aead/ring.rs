//! The back end of feature `ring`.
//!
//! Invariant: `ring` wipes no key, so dropping one here overwrites it with that of zeros.
//! Absent: nonces, buffers.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::{Cipher, NONCE_LEN, Rejected, TAG_LEN};

pub(crate) struct Ring(LessSafeKey);

impl Ring {
    fn expand(key: &[u8; 32]) -> LessSafeKey {
        let key =
            UnboundKey::new(&AES_256_GCM, key).expect("the key is as long as the cipher asks");
        LessSafeKey::new(key)
    }
}

/// A `LessSafeKey` holds round keys and the table of H in place, without pointers: writing another one
/// over it leaves nothing of it.
impl Drop for Ring {
    fn drop(&mut self) {
        self.0 = Self::expand(&[0; 32]);
        zeroize::optimization_barrier(&self.0); // or the write to memory about to be freed is dropped
    }
}

impl Cipher for Ring {
    fn new(key: &[u8; 32]) -> Self {
        Self(Self::expand(key))
    }

    fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buf: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Rejected> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0
            .seal_in_place_separate_tag(nonce, Aad::from(aad), buf)
            .map_err(|_| Rejected)?
            .as_ref()
            .try_into()
            .map_err(|_| Rejected)
    }

    fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Rejected> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0
            .open_in_place_separate_tag(nonce, Aad::from(aad), (*tag).into(), buf, 0..)
            .map_err(|_| Rejected)?;
        Ok(())
    }
}
