//! HMAC-SHA-256 (RFC 2104, FIPS 198-1) and HKDF-SHA-256 (RFC 5869).
//!
//! Invariant: every derivation names its purpose by a label of its own, in this file.
//! Absent: what is derived for whom.

use core::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Labels of [`derive()`]; SPEC.md lists the same.
pub(crate) mod label {
    pub(crate) const KEY_ID: &[u8] = b"ophie-crypt/v1/key-id";
    pub(crate) const SEAL: &[u8] = b"ophie-crypt/v1/seal";
    pub(crate) const LOCAL_KMS_KEY_ID: &[u8] = b"ophie-crypt/v1/local-kms/key-id";
    pub(crate) const LOCAL_KMS_WRAP: &[u8] = b"ophie-crypt/v1/local-kms/wrap";
    /// The first part of what a PAE makes.
    pub(crate) const TWO_SHARE: &[u8] = b"ophie-crypt/v1/two-share";
}

/// HKDF-SHA-256(ikm = `key`, salt = empty, info = `label`), the first `N` bytes.
pub(crate) fn derive<const N: usize>(key: &[u8], label: &[u8]) -> Box<Zeroizing<[u8; N]>> {
    const { assert!(N <= 255 * 32, "RFC 5869, section 2.3") };
    let mut out = Box::new(Zeroizing::new([0; N]));
    Hkdf::<Sha256>::new(None, key)
        .expand(label, out.as_mut_slice())
        .expect("the length was checked at compile time");
    out
}

/// The same HKDF with the salt and length of a test vector; `None` beyond 255 blocks.
#[cfg(test)]
pub(crate) fn derive_vector(salt: &[u8], key: &[u8], info: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut out = vec![0; len];
    Hkdf::<Sha256>::new(Some(salt), key)
        .expand(info, &mut out)
        .ok()
        .map(|()| out)
}

/// HMAC-SHA-256 with the key's two midstates kept; wiped on drop by the `zeroize` feature of `sha2`.
pub(crate) struct PrfKey(Box<Hmac<Sha256>>);

impl PrfKey {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self(Box::new(
            Hmac::new_from_slice(key).expect("HMAC takes keys of any length"),
        ))
    }

    pub(crate) fn tag(&self, message: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::clone(&self.0);
        mac.update(message);
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for PrfKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrfKey([REDACTED])")
    }
}
