//! A KMS that hands out one DEK, the test's, whatever it is asked: for vectors, and for owners who share a DEK.
//!
//! Absent: any protection. Owners whose DEK is the same are told apart by the bindings alone.

use async_trait::async_trait;
use ophie_crypt::{
    Dek, EncryptionContext, GeneratedDek, KeyStore, Keyring, Kms, KmsError, Purpose, WrappedDek,
};

pub(crate) const PURPOSE: Purpose = Purpose::new("test");

pub(crate) struct Given(pub(crate) [u8; 32]);

#[async_trait]
impl Kms for Given {
    async fn make_dek(&self, _: &EncryptionContext) -> Result<GeneratedDek, KmsError> {
        Ok(GeneratedDek {
            dek: Dek::from_slice(&self.0).unwrap(),
            wrapped: WrappedDek::new("given", []),
        })
    }

    async fn unwrap_dek(&self, _: &WrappedDek, _: &EncryptionContext) -> Result<Dek, KmsError> {
        Ok(Dek::from_slice(&self.0).unwrap())
    }
}

pub(crate) fn keyring(kms: impl Kms, store: impl KeyStore) -> Keyring {
    let keyring = Keyring::builder().kms(kms).key_store(store);
    keyring.build().unwrap()
}
