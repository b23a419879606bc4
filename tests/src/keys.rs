//! Keys as a key store takes them, without a KMS.

use ophie_crypt::{DekBlob, DekRecord, DekState, IndexKeyRecord, KeyId, WrappedDek};
use uuid::Uuid;

/// First keys of random ids.
#[must_use]
pub fn first_keys() -> (DekRecord, IndexKeyRecord) {
    let id = KeyId::from_bytes(*Uuid::new_v4().as_bytes());
    let blob = DekBlob::Wrapped(WrappedDek::new("local:..", [1, 2, 3]));
    let dek = DekRecord::new(1, DekState::Sealing, id, blob);
    (dek, IndexKeyRecord::new(1, id, [4, 5]))
}
