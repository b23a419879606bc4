//! What the key store does on SQLite only: files that are locked or read-only.

use std::time::Duration;

use ophie_crypt::{CanonicalId, KeyStore, LeaseError, MAX_INVOCATIONS, StoreError};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use crate::{
    Store,
    paths::store::{Keys, provision},
};

#[tokio::test]
async fn leases_while_the_applications_file_is_locked() {
    let keys = Keys::new().await;
    let locked = keys
        .database
        .pool()
        .begin_with("BEGIN EXCLUSIVE")
        .await
        .unwrap();
    keys.store
        .lease(&keys.request(1, MAX_INVOCATIONS))
        .await
        .unwrap();
    provision(&keys.store, &CanonicalId::text("ben"))
        .await
        .unwrap();
    locked.rollback().await.unwrap();
}

#[tokio::test]
async fn a_pool_of_one() {
    let keys = Keys::new().await;
    let one = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_secs(60))
        .connect_with(SqliteConnectOptions::new().filename(keys.database.folder().join("keys.db")))
        .await
        .unwrap();
    let store = Store::new(one);
    store.migrate().await.unwrap();
    provision(&store, &CanonicalId::text("ben")).await.unwrap();
    let request = keys.request(1, 2);
    let leases = futures_util::future::join_all((0..8).map(|_| store.lease(&request))).await;
    assert_eq!(leases.iter().filter(|lease| lease.is_ok()).count(), 1);
    store.load(&keys.owner).await.unwrap().unwrap();
    store.changes(Duration::MAX).await.unwrap();
}

#[tokio::test]
async fn a_read_only_file() {
    let keys = Keys::new().await;
    let options = SqliteConnectOptions::new()
        .filename(keys.database.folder().join("keys.db"))
        .read_only(true);
    let store = Store::new(
        SqlitePoolOptions::new()
            .connect_with(options)
            .await
            .unwrap(),
    );
    let lease = store.lease(&keys.request(1, MAX_INVOCATIONS)).await;
    assert!(
        matches!(lease, Err(LeaseError::Store(StoreError::ReadOnly))),
        "{lease:?}"
    );
    let provisioned = provision(&store, &CanonicalId::text("ben")).await;
    assert!(
        matches!(provisioned, Err(StoreError::ReadOnly)),
        "{provisioned:?}"
    );
    assert_eq!(
        store.load(&keys.owner).await.unwrap(),
        keys.store.load(&keys.owner).await.unwrap()
    );
}

/// `REPLACE` deletes the old row, and SQLite fires no trigger for that.
#[tokio::test]
async fn a_replaced_key_raises_the_version() {
    let keys = Keys::new().await;
    let again = "REPLACE INTO ophie_crypt_index_keys (owner, generation, key_id, sealed) \
                 SELECT owner, generation, key_id, key_id FROM ophie_crypt_index_keys WHERE owner = $1";
    keys.run(again).await.unwrap();
    let version = keys.store.version(&keys.owner).await.unwrap();
    assert_eq!(version, Some(2));
}

#[tokio::test]
async fn a_full_disk_is_named() {
    let keys = Keys::new().await;
    let one = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(SqliteConnectOptions::new().filename(keys.database.folder().join("keys.db")))
        .await
        .unwrap();
    // No page more than there is.
    sqlx::raw_sql("PRAGMA max_page_count = 1")
        .execute(&one)
        .await
        .unwrap();
    let store = Store::new(one);
    let mut provisioned = Ok(());
    for n in 0..1000 {
        provisioned = provision(&store, &CanonicalId::integer(n)).await;
        if provisioned.is_err() {
            break;
        }
    }
    assert!(
        matches!(provisioned, Err(StoreError::Full)),
        "{provisioned:?}"
    );
}
