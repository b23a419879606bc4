//! A key store with one owner, for tests of what only one database does. Absent: the contract (`stores/`).

use std::time::Duration;

use ophie_crypt::{CanonicalId, KeyStore, LeaseRequest, StoreError};

use crate::{
    Store,
    db::{Database, Pool, sql},
};

const LIFE: Duration = Duration::from_secs(600);

/// A migrated key store, and a pool for changes by hand.
pub(crate) struct Keys {
    pub(crate) database: Database,
    pub(crate) store: Store,
    pub(crate) pool: Pool,
    pub(crate) owner: CanonicalId,
}

impl Keys {
    /// With one provisioned owner.
    pub(crate) async fn new() -> Self {
        let database = Database::create().await;
        let pool = crate::key_pool(&database).await;
        let store = Store::new(pool.clone());
        store.migrate().await.unwrap();
        let owner = CanonicalId::text("ada");
        provision(&store, &owner).await.unwrap();
        Self {
            database,
            store,
            pool,
            owner,
        }
    }

    /// A statement whose `$1` is the owner.
    pub(crate) async fn run(&self, text: &str) -> Result<u64, sqlx::Error> {
        let done = sqlx::query(sql(text))
            .bind(self.owner.as_bytes())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
    }

    pub(crate) fn request(&self, count: u32, limit: u64) -> LeaseRequest {
        LeaseRequest::new(self.owner.clone(), 1, count, limit, LIFE)
    }
}

pub(crate) async fn provision(
    store: &impl KeyStore,
    owner: &CanonicalId,
) -> Result<(), StoreError> {
    let (dek, index_key) = ophie_crypt_tests::keys::first_keys();
    store.insert_if_absent(owner, &dek, &index_key).await
}
