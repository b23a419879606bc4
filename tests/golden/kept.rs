//! Vectors of what is kept for long: DEKs of former generations, and the MACs of receipts.
//!
//! Absent: the newest DEK, which a KMS wraps (`reader`).

use core::time::Duration;
use std::path::Path;

use async_trait::async_trait;
use ophie_crypt::{
    CanonicalId, DekBlob, DekRecord, DekState, IndexKeyRecord, KeyId, KeyStore, KmsError, Lease,
    LeaseError, LeaseRequest, LocalKms, OwnerRecord, ShredId, SignedReceipt, StoreError,
    WrappedDek,
};

use super::{
    file::Vector,
    given::{Given, PURPOSE, keyring, parts},
    reader::{Outcome, outcome},
};

/// Opens the record of an owner whose newest DEK is the vector's, and whose older one is these bytes.
pub(crate) async fn read_older_key(
    vector: &Vector,
    newest: &OwnerRecord,
    stored: &[u8],
) -> Outcome {
    let generation: u32 = vector.number("generation");
    let (dek, wrapped, index_key) = parts(newest);
    let newest = DekRecord::new(
        generation + 1,
        DekState::Sealing,
        dek.key_id(),
        DekBlob::Wrapped(wrapped.clone()),
    );
    let older = DekRecord::new(
        generation,
        DekState::Draining,
        KeyId::from_bytes(vector.array("key id")),
        DekBlob::Sealed(stored.into()),
    );
    let record = OwnerRecord::living(1, [newest, older], [index_key.clone()]);
    let keyring = keyring(Given(vector.array("dek")), Fixed(record));
    outcome(keyring.open_read_only(&vector.id("owner"), PURPOSE).await).map(drop)
}

pub(crate) async fn read_receipt(vector: &Vector, master_key: &Path, stored: &[u8]) -> Outcome {
    let kms = LocalKms::open(master_key).unwrap();
    assert_eq!(kms.kek(), vector.field("kek"), "{}", vector.name);
    let Ok(mac) = stored.try_into() else {
        return Err("rejected"); // the type has no room for it
    };
    let receipt = SignedReceipt {
        id: ShredId::from_bytes(vector.array("shred")),
        text: String::from_utf8(vector.hex("text")).unwrap(),
        wrapped: WrappedDek::new(vector.field("kek"), vector.hex("wrapped key")),
        mac,
    };
    match receipt.verify(&kms, vector.field("app")).await {
        Ok(true) => Ok(()),
        Ok(false) => Err("rejected"),
        Err(KmsError::Refused { .. }) => Err("refused"),
        Err(error) => panic!("{}: {error}", vector.name),
    }
}

/// A key store that reads one record and writes none.
struct Fixed(OwnerRecord);

#[async_trait]
impl KeyStore for Fixed {
    async fn load(&self, _: &CanonicalId) -> Result<Option<OwnerRecord>, StoreError> {
        Ok(Some(self.0.clone()))
    }

    async fn insert_if_absent(
        &self,
        _: &CanonicalId,
        _: &DekRecord,
        _: &IndexKeyRecord,
    ) -> Result<(), StoreError> {
        unreachable!("a record is read")
    }

    async fn version(&self, _: &CanonicalId) -> Result<Option<u64>, StoreError> {
        Ok(Some(self.0.version()))
    }

    async fn lease(&self, _: &LeaseRequest) -> Result<Lease, LeaseError> {
        unreachable!("a reader asks for no lease")
    }

    async fn changes(&self, _: Duration) -> Result<Vec<(CanonicalId, u64)>, StoreError> {
        Ok(Vec::new())
    }

    async fn shred(&self, _: &CanonicalId) -> Result<Option<ShredId>, StoreError> {
        unreachable!("a record is read")
    }
}
