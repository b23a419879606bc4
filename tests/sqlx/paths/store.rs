//! The contract of a key store, on each database and, where no SQL is needed, on the store in memory.

use std::{sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use ophie_crypt::{
    CanonicalId, DekBlob, DekRecord, DekState, IndexKeyRecord, KeyId, KeyStore, LeaseError,
    LeaseRequest, MAX_INVOCATIONS, MemoryKeyStore, OwnerRecord, StoreError, WrappedDek,
};
use sqlx::AssertSqlSafe;
use tokio::sync::Barrier;
use uuid::Uuid;

use crate::{
    Store,
    db::{Database, Pool},
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
    pub(crate) async fn run(&self, sql: &str) -> Result<u64, sqlx::Error> {
        let done = sqlx::query(AssertSqlSafe(sql))
            .bind(self.owner.as_bytes())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
    }

    /// A statement without parameters.
    pub(crate) async fn run_plain(&self, sql: &'static str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(sql).execute(&self.pool).await.map(drop)
    }

    pub(crate) fn request(&self, count: u32, limit: u64) -> LeaseRequest {
        LeaseRequest::new(self.owner.clone(), 1, count, limit, LIFE)
    }

    pub(crate) async fn version(&self) -> u64 {
        let version = self.store.version(&self.owner).await.unwrap();
        version.expect("the owner is there")
    }

    async fn sixteen_processes(&self) -> Vec<Arc<dyn KeyStore>> {
        let mut stores: Vec<Arc<dyn KeyStore>> = Vec::new();
        for _ in 0..16 {
            stores.push(Arc::new(Store::new(crate::key_pool(&self.database).await)));
        }
        stores
    }

    async fn granted(&self) -> i64 {
        sqlx::query_scalar("SELECT granted FROM ophie_crypt_budgets")
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    async fn leased_until(&self) -> String {
        sqlx::query_scalar("SELECT CAST(leased_until AS text) FROM ophie_crypt_budgets")
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub(crate) async fn load(&self) -> Result<Option<OwnerRecord>, StoreError> {
        self.store.load(&self.owner).await
    }
}

fn sixteen(memory: &Arc<MemoryKeyStore>) -> Vec<Arc<dyn KeyStore>> {
    std::iter::repeat_with(|| -> Arc<dyn KeyStore> { memory.clone() })
        .take(16)
        .collect()
}

/// First keys of random ids.
pub(crate) fn first_keys() -> (DekRecord, IndexKeyRecord) {
    let id = KeyId::from_bytes(*Uuid::new_v4().as_bytes());
    let blob = DekBlob::Wrapped(WrappedDek::new("local:..", [1, 2, 3]));
    let dek = DekRecord::new(1, DekState::Sealing, id, blob);
    (dek, IndexKeyRecord::new(1, id, [4, 5]))
}

pub(crate) async fn provision(
    store: &impl KeyStore,
    owner: &CanonicalId,
) -> Result<(), StoreError> {
    let (dek, index_key) = first_keys();
    store.insert_if_absent(owner, &dek, &index_key).await
}

fn exhausted(result: &Result<ophie_crypt::Lease, LeaseError>) -> bool {
    matches!(result, Err(LeaseError::Exhausted))
}

fn not_sealing(result: &Result<ophie_crypt::Lease, LeaseError>) -> bool {
    matches!(result, Err(LeaseError::NotSealing))
}

/// Each of the stores is another process's.
async fn a_race_to_provision_has_one_winner(stores: Vec<Arc<dyn KeyStore>>) {
    let owner = CanonicalId::text("raced");
    let start = Arc::new(Barrier::new(stores.len()));
    let tasks = stores.iter().map(|store| {
        let (store, owner, start) = (Arc::clone(store), owner.clone(), Arc::clone(&start));
        tokio::spawn(async move {
            start.wait().await;
            let (dek, index_key) = first_keys();
            store
                .insert_if_absent(&owner, &dek, &index_key)
                .await
                .unwrap();
            (dek, index_key, store.load(&owner).await.unwrap().unwrap())
        })
    });
    let done = try_join_all(tasks).await.unwrap();
    let winner = done[0].2.clone();
    assert_eq!((winner.version(), winner.is_shredded()), (1, false));
    assert!(done.iter().all(|(_, _, loaded)| *loaded == winner));
    let won = done.iter().filter(|(dek, index_key, _)| {
        winner.deks() == [dek.clone()] && winner.index_keys() == [index_key.clone()]
    });
    assert_eq!(won.count(), 1);
    let granted = LeaseRequest::new(owner, 1, 0, MAX_INVOCATIONS, LIFE);
    assert_eq!(
        stores[0].lease(&granted).await.unwrap().granted(),
        1,
        "the index key is counted"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_to_provision() {
    let keys = Keys::new().await;
    let stores = keys.sixteen_processes().await;
    a_race_to_provision_has_one_winner(stores).await;
    let memory = Arc::new(MemoryKeyStore::new());
    a_race_to_provision_has_one_winner(sixteen(&memory)).await;
}

/// 16 processes lease 700 at a time, of 10,000 of which the index key took one.
async fn a_limit_is_never_passed(owner: CanonicalId, stores: Vec<Arc<dyn KeyStore>>) {
    const LIMIT: u64 = 10_000;
    let request = |count| LeaseRequest::new(owner.clone(), 1, count, LIMIT, LIFE);
    let start = Arc::new(Barrier::new(stores.len()));
    let tasks = stores.iter().map(|store| {
        let (store, request, start) = (Arc::clone(store), request(700), Arc::clone(&start));
        tokio::spawn(async move {
            start.wait().await;
            let mut leased = 0;
            loop {
                match store.lease(&request).await {
                    Ok(lease) => leased = u64::saturating_add(leased, lease.count().into()),
                    Err(LeaseError::Exhausted) => return leased,
                    Err(error) => panic!("{error:?}"),
                }
            }
        })
    });
    let leased: u64 = try_join_all(tasks).await.unwrap().iter().sum();
    assert_eq!(leased, 14 * 700, "as many as fit, no more");
    let rest = stores[0].lease(&request(199)).await.unwrap();
    assert_eq!(
        (rest.count(), rest.granted(), rest.version()),
        (199, LIMIT, 1)
    );
    for store in &stores {
        assert!(exhausted(&store.lease(&request(1)).await));
    }
    let extended = stores[0].lease(&request(0)).await.unwrap();
    assert_eq!((extended.count(), extended.granted()), (0, LIMIT));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_up_to_a_limit() {
    let keys = Keys::new().await;
    let stores = keys.sixteen_processes().await;
    a_limit_is_never_passed(keys.owner.clone(), stores).await;
    assert_eq!(keys.granted().await, 10_000);
    keys.pool.close().await;
    let later = Store::new(crate::key_pool(&keys.database).await);
    assert!(exhausted(&later.lease(&keys.request(1, 10_000)).await));
    assert_eq!(
        later
            .lease(&keys.request(1, 10_001))
            .await
            .unwrap()
            .granted(),
        10_001
    );

    let memory = Arc::new(MemoryKeyStore::new());
    provision(&memory, &keys.owner).await.unwrap();
    a_limit_is_never_passed(keys.owner.clone(), sixteen(&memory)).await;
}

#[tokio::test]
async fn no_limit_admits_more_than_two_to_the_32() {
    let keys = Keys::new().await;
    keys.run("UPDATE ophie_crypt_budgets SET granted = 4294967291 WHERE owner = $1")
        .await
        .unwrap();
    assert!(exhausted(
        &keys.store.lease(&keys.request(6, u64::MAX)).await
    ));
    let lease = keys.store.lease(&keys.request(5, u64::MAX)).await.unwrap();
    assert_eq!(lease.granted(), MAX_INVOCATIONS);
    assert!(exhausted(
        &keys.store.lease(&keys.request(1, u64::MAX)).await
    ));
    assert!(exhausted(
        &keys.store.lease(&keys.request(u32::MAX, u64::MAX)).await
    ));
    // Nor does a statement by hand.
    keys.run("UPDATE ophie_crypt_budgets SET granted = granted + 1 WHERE owner = $1")
        .await
        .unwrap_err();
    assert_eq!(keys.granted().await, 4_294_967_296);
}

#[tokio::test]
async fn an_expiry_is_only_extended() {
    let keys = Keys::new().await;
    let mut request = keys.request(0, MAX_INVOCATIONS);
    let mut last = keys.leased_until().await;
    for (life, later) in [
        (600, true),
        (60, false),
        (1_200, true),
        (u64::MAX, true),
        (1, false),
    ] {
        request.life = Duration::from_secs(life);
        keys.store.lease(&request).await.unwrap();
        let now = keys.leased_until().await;
        assert_eq!(now > last, later, "{life}: {last} -> {now}");
        last = now;
    }
}

#[tokio::test]
async fn what_does_not_seal_gets_no_lease() {
    let keys = Keys::new().await;
    let request = keys.request(1, MAX_INVOCATIONS);
    let lease = || keys.store.lease(&request);
    for state in ["announced", "draining", "retired"] {
        let set = format!("UPDATE ophie_crypt_deks SET state = '{state}' WHERE owner = $1");
        keys.run(&set).await.unwrap();
        assert!(not_sealing(&lease().await), "{state}");
    }
    keys.run("UPDATE ophie_crypt_deks SET state = 'sealing' WHERE owner = $1")
        .await
        .unwrap();
    lease().await.unwrap();

    keys.run_plain("UPDATE ophie_crypt_installation SET epoch = 2")
        .await
        .unwrap();
    assert!(not_sealing(&lease().await), "a key of an earlier epoch");
    keys.run("UPDATE ophie_crypt_deks SET epoch = 2 WHERE owner = $1")
        .await
        .unwrap();
    lease().await.unwrap();

    let mut other = request.clone();
    other.generation = 2;
    assert!(not_sealing(&keys.store.lease(&other).await));
    let mut other = request.clone();
    other.owner = CanonicalId::text("nobody");
    assert!(not_sealing(&keys.store.lease(&other).await));
    assert_eq!(keys.granted().await, 3, "a refusal was counted");

    keys.run("UPDATE ophie_crypt_owners SET state = 'shredded' WHERE owner = $1")
        .await
        .unwrap();
    assert!(not_sealing(&lease().await), "a shredded owner");
    keys.run("UPDATE ophie_crypt_owners SET state = 'living' WHERE owner = $1")
        .await
        .unwrap();
    keys.run("DELETE FROM ophie_crypt_budgets WHERE owner = $1")
        .await
        .unwrap();
    let without = lease().await;
    assert!(
        matches!(without, Err(LeaseError::Store(StoreError::Corrupt { .. }))),
        "{without:?}"
    );
}
