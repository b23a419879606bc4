//! The default back end: the crate `aes-gcm`, in Rust throughout.
//!
//! Invariant: its feature `zeroize` is on, so that dropping a key wipes it. Absent: nonces, buffers.

use aes_gcm::{
    Aes256Gcm,
    aead::{AeadInOut, KeyInit},
};

use super::{Cipher, NONCE_LEN, Rejected, TAG_LEN};

pub(crate) struct RustCrypto(Aes256Gcm);

impl Cipher for RustCrypto {
    fn new(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }

    fn seal(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buf: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Rejected> {
        self.0
            .encrypt_inout_detached(nonce.into(), aad, buf.into())
            .map(Into::into)
            .map_err(|_| Rejected)
    }

    fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Rejected> {
        self.0
            .decrypt_inout_detached(nonce.into(), aad, buf.into(), tag.into())
            .map_err(|_| Rejected)
    }
}
