//! A MariaDB server that takes no writes, as a replica: a target of its own, as the setting is the whole server's.

#![allow(clippy::unwrap_used, reason = "a test: what goes wrong here is seen")]

use std::time::Duration;

use ophie_crypt::{KeyStore, StoreError};
use ophie_crypt_sqlx::MySqlKeyStore;
use ophie_crypt_tests::mariadb::Database;

#[tokio::test]
async fn a_replica_is_known_by_read_only() {
    let database = Database::create().await;
    let store = MySqlKeyStore::new(database.pool().clone());
    store.migrate().await.unwrap();
    let within = Duration::from_secs(60);
    assert_eq!(store.changes(within).await.unwrap(), []);
    let set = |sql| sqlx::raw_sql(sql).execute(database.pool());
    set("SET GLOBAL read_only = 1").await.unwrap();
    let refused = store.changes(within).await;
    set("SET GLOBAL read_only = 0").await.unwrap();
    assert!(matches!(refused, Err(StoreError::ReadOnly)), "{refused:?}");
    assert_eq!(store.changes(within).await.unwrap(), []);
}
