//! Keys as a key store takes them, without a KMS; and owners with two index keys.

use async_trait::async_trait;
use ophie_crypt::{
    CanonicalId, ColumnRef, DekBlob, DekRecord, DekState, IndexKeyRecord, IndexedColumn,
    IndexedRow, KeyId, Keyring, ModelError, ModelStore, Models, OwnerId, Reindex, Reseal, Rotation,
    RotationStore, WrappedDek,
};
use uuid::Uuid;

/// First keys of random ids.
#[must_use]
pub fn first_keys() -> (DekRecord, IndexKeyRecord) {
    let id = KeyId::from_bytes(*Uuid::new_v4().as_bytes());
    let blob = DekBlob::Wrapped(WrappedDek::new("local:..", [1, 2, 3]));
    let dek = DekRecord::new(1, DekState::Sealing, id, blob);
    (dek, IndexKeyRecord::new(1, id, [4, 5]))
}

/// Announces the owner's next index key: rows may stand under two from then on.
///
/// # Panics
///
/// If it is not announced.
pub async fn announce_index_key(keyring: &Keyring, keys: impl RotationStore, owner: &impl OwnerId) {
    let rotation = Rotation::new(keyring.clone(), keys, NoTables(Models::new()));
    let begun = rotation.begin_index(owner).await;
    begun.expect("the next index key is announced");
}

#[derive(Debug)]
struct NoTables(Models);

#[async_trait]
impl ModelStore for NoTables {
    fn models(&self) -> &Models {
        &self.0
    }

    async fn sealed_under(
        &self,
        _: &CanonicalId,
        _: &ColumnRef,
        _: KeyId,
        _: Option<&[u8]>,
        _: u32,
    ) -> Result<Vec<Vec<u8>>, ModelError> {
        Ok(Vec::new())
    }

    async fn replace(
        &self,
        _: &CanonicalId,
        _: &ColumnRef,
        _: &[Reseal],
    ) -> Result<u64, ModelError> {
        Ok(0)
    }

    async fn moment(&self) -> Result<u64, ModelError> {
        Ok(0)
    }

    async fn count_under(
        &self,
        _: Option<&CanonicalId>,
        _: &ColumnRef,
        _: KeyId,
        _: u64,
    ) -> Result<Option<u64>, ModelError> {
        Ok(Some(0))
    }

    async fn indexed_under(
        &self,
        _: &CanonicalId,
        _: &IndexedColumn,
        _: u8,
        _: Option<&IndexedRow>,
        _: u32,
    ) -> Result<Vec<IndexedRow>, ModelError> {
        Ok(Vec::new())
    }

    async fn reindex(
        &self,
        _: &CanonicalId,
        _: &IndexedColumn,
        _: &[Reindex],
    ) -> Result<u64, ModelError> {
        Ok(0)
    }

    async fn count_indexed(
        &self,
        _: &CanonicalId,
        _: &ColumnRef,
        _: u8,
        _: u64,
    ) -> Result<Option<u64>, ModelError> {
        Ok(Some(0))
    }
}
