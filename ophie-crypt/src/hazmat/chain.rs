//! The key of an audit chain, which moves forward, and the hash of a ledger.
//!
//! Invariant: the key of an earlier record cannot be found from that of a later one: it is wiped, and
//! HKDF does not go back. Absent: what is recorded.

use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    KEY_STACK,
    data_key::Dek,
    prf::{PrfKey, derive},
    with_stack_wiped,
};

/// As in [`label`](super::prf::label): SPEC.md lists the same.
mod label {
    pub(super) const FIRST: &[u8] = b"ophie-crypt/v1/audit";
    pub(super) const LEDGER: &[u8] = b"ophie-crypt/v1/ledger";
    pub(super) const MAC: &[u8] = b"ophie-crypt/v1/audit/mac";
    pub(super) const NEXT: &[u8] = b"ophie-crypt/v1/audit/next";
}

/// The state of a forward-secure MAC (Bellare and Yee, "Forward integrity for secure audit logs", 1997):
/// boxed, wiped when it moves on and on drop, never printed.
pub(crate) struct ChainKey(Box<Zeroizing<[u8; 32]>>);

/// What a [`ChainKey`] says of one message.
pub(crate) type Mac = [u8; 32];

impl ChainKey {
    /// The first one, from the key that the KMS made.
    pub(crate) fn first(audit_key: &Dek) -> Self {
        with_stack_wiped::<KEY_STACK, _>(|| Self(derive(audit_key.expose_secret(), label::FIRST)))
    }

    /// The message's MAC under the present key; then the key moves on, and this one is gone.
    pub(crate) fn seal(&mut self, message: &[u8]) -> Mac {
        with_stack_wiped::<KEY_STACK, _>(|| {
            let key: Box<Zeroizing<[u8; 32]>> = derive(self.0.as_slice(), label::MAC);
            let mac = PrfKey::new(key.as_slice()).tag(message);
            self.0 = derive(self.0.as_slice(), label::NEXT);
            mac
        })
    }
}

/// Compares in constant time.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// The hash of a ledger's entry: HMAC-SHA-256 under a key that everybody knows.
pub(crate) fn ledger_hash(entry: &[u8]) -> [u8; 32] {
    PrfKey::new(label::LEDGER).tag(entry)
}

impl fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChainKey([REDACTED])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_has_a_key_of_its_own() {
        let dek = Dek::from_slice(&[7; 32]).unwrap();
        let (mut one, mut other) = (ChainKey::first(&dek), ChainKey::first(&dek));
        let first = one.seal(b"message");
        assert_eq!(first, other.seal(b"message"));
        assert_ne!(first, one.seal(b"message"), "the key did not move on");
        assert_ne!(one.seal(b"message"), other.seal(b"message"));
        assert_eq!(format!("{one:?}"), "ChainKey([REDACTED])");
    }
}
