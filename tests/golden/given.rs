//! A KMS that hands out one DEK, the test's, whatever it is asked: for vectors, and for owners who share a DEK.
//!
//! Absent: any protection. Owners whose DEK is the same are told apart by the bindings alone.

use async_trait::async_trait;
use ophie_crypt::{
    CanonicalId, Dek, DekBlob, DekRecord, DekState, GeneratedDek, IndexKeyRecord, KeyId, KeyStore,
    Keyring, Kms, KmsCall, KmsError, OwnerRecord, Purpose, WrappedDek,
};

pub(crate) const PURPOSE: Purpose = Purpose::new("test");

pub(crate) struct Given(pub(crate) [u8; 32]);

#[async_trait]
impl Kms for Given {
    async fn make_dek(&self, _: &KmsCall) -> Result<GeneratedDek, KmsError> {
        Ok(GeneratedDek {
            dek: Dek::from_slice(&self.0).unwrap(),
            wrapped: WrappedDek::new("given", []),
        })
    }

    async fn unwrap_dek(&self, _: &WrappedDek, _: &KmsCall) -> Result<Dek, KmsError> {
        Ok(Dek::from_slice(&self.0).unwrap())
    }

    async fn rewrap_dek(&self, wrapped: &WrappedDek, _: &KmsCall) -> Result<WrappedDek, KmsError> {
        Ok(wrapped.clone())
    }

    fn holds(&self, kek: &str) -> bool {
        kek == "given"
    }
}

/// A record of one DEK and one index key.
pub(crate) fn record(
    generation: u32,
    key_id: KeyId,
    wrapped: WrappedDek,
    index_generation: u8,
    sealed_index_key: impl Into<Vec<u8>>,
) -> OwnerRecord {
    let dek = DekRecord::new(
        generation,
        DekState::Sealing,
        key_id,
        DekBlob::Wrapped(wrapped),
    );
    let index_key = IndexKeyRecord::new(index_generation, key_id, sealed_index_key);
    OwnerRecord::living(1, [dek], [index_key])
}

/// The only DEK of a record, wrapped, and its only index key.
pub(crate) fn parts(record: &OwnerRecord) -> (&DekRecord, &WrappedDek, &IndexKeyRecord) {
    let ([dek], [index_key]) = (record.deks(), record.index_keys()) else {
        panic!("a record of one DEK and one index key");
    };
    let DekBlob::Wrapped(wrapped) = dek.blob() else {
        panic!("a record whose DEK is wrapped");
    };
    (dek, wrapped, index_key)
}

pub(crate) async fn insert(store: &impl KeyStore, owner: &CanonicalId, record: &OwnerRecord) {
    let (dek, _, index_key) = parts(record);
    store.insert_if_absent(owner, dek, index_key).await.unwrap();
}

pub(crate) fn keyring(kms: impl Kms, store: impl KeyStore) -> Keyring {
    let keyring = Keyring::builder().kms(kms).key_store(store);
    keyring.build().unwrap()
}
