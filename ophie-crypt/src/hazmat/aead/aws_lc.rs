//! The back end of feature `aws-lc-rs`: AWS-LC.
//!
//! Invariant: the key lies in memory that AWS-LC allocates and cleanses when it frees it.
//! Absent: nonces, buffers; FIPS mode, which asks that the module itself draws the nonces.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::{Cipher, NONCE_LEN, Rejected, TAG_LEN};

pub(crate) struct AwsLc(LessSafeKey);

impl Cipher for AwsLc {
    fn new(key: &[u8; 32]) -> Self {
        let key =
            UnboundKey::new(&AES_256_GCM, key).expect("the key is as long as the cipher asks");
        Self(LessSafeKey::new(key))
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
            .open_in_place_separate_tag(nonce, Aad::from(aad), tag, buf)
            .map_err(|_| Rejected)?;
        Ok(())
    }
}
