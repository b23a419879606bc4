//! Keys in memory, one store for each database, until there is a key store on MariaDB.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use ophie_crypt::{
    CanonicalId, DekRecord, IndexKeyRecord, KeyStore, Lease, LeaseError, LeaseRequest,
    MemoryKeyStore, OwnerRecord, StoreError,
};

use crate::db::Pool;

static STORES: LazyLock<Mutex<HashMap<String, Arc<MemoryKeyStore>>>> =
    LazyLock::new(Mutex::default);

#[derive(Debug)]
pub(crate) struct Store(Arc<MemoryKeyStore>);

impl Store {
    pub(crate) fn new(pool: Pool) -> Self {
        let options = pool.connect_options();
        let name = options.get_database().expect("the URL names one");
        let mut stores = STORES.lock().expect("no test panics here");
        Self(Arc::clone(stores.entry(name.to_owned()).or_default()))
    }

    #[allow(clippy::unused_async, reason = "as the stores that have tables")]
    pub(crate) async fn migrate(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl KeyStore for Store {
    async fn load(&self, owner: &CanonicalId) -> Result<Option<OwnerRecord>, StoreError> {
        self.0.load(owner).await
    }

    async fn insert_if_absent(
        &self,
        owner: &CanonicalId,
        dek: &DekRecord,
        index_key: &IndexKeyRecord,
    ) -> Result<(), StoreError> {
        self.0.insert_if_absent(owner, dek, index_key).await
    }

    async fn version(&self, owner: &CanonicalId) -> Result<Option<u64>, StoreError> {
        self.0.version(owner).await
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Lease, LeaseError> {
        self.0.lease(request).await
    }

    async fn changes(&self, within: Duration) -> Result<Vec<(CanonicalId, u64)>, StoreError> {
        self.0.changes(within).await
    }
}
