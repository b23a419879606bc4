//! The library's tables: made by its own call or by the application's migrator, up and down, beside
//! the application's own migrations.

use futures_util::future::try_join_all;
use ophie_crypt::{SessionError, StoreError};
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::world::{PURPOSE, keyring, kms};
use crate::{
    Store,
    db::{Database, Pool},
};

/// The application's migrations, which SQLx remembers in `_sqlx_migrations`.
fn applications() -> Migrator {
    let create = Migration::new(
        1,
        "notes".into(),
        MigrationType::Simple,
        sqlx::SqlSafeStr::into_sql_str("CREATE TABLE notes (id bigint)"),
        false,
    );
    Migrator {
        migrations: vec![create].into(),
        ..Migrator::DEFAULT
    }
}

async fn works(pool: &Pool) -> Result<(), SessionError> {
    let keyring = keyring(&kms(), Store::new(pool.clone()));
    keyring
        .open_or_provision(&uuid::Uuid::new_v4(), PURPOSE)
        .await
        .map(|_| ())
        .map_err(|error| match error {
            ophie_crypt::ProvisionError::Session(error) => error,
            ophie_crypt::ProvisionError::Store(error) => SessionError::Store(error),
            other => panic!("{other:?}"),
        })
}

fn not_migrated(result: &Result<(), SessionError>) -> bool {
    matches!(result, Err(SessionError::Store(StoreError::NotMigrated)))
}

async fn count(pool: &Pool, table: &'static str) -> i64 {
    let sql = format!("SELECT COUNT(*) FROM {table}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .fetch_one(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn one_call_of_ours() {
    let database = Database::create().await;
    let store = Store::new(database.pool().clone());
    store.migrate().await.unwrap();
    works(database.pool()).await.unwrap();
    store.migrate().await.unwrap();
    works(database.pool()).await.unwrap();
}

#[tokio::test]
async fn by_the_applications_migrator_up_and_down() {
    let database = Database::create().await;
    let (pool, migrations) = (database.pool(), crate::migrations());
    let before = works(pool).await;
    assert!(not_migrated(&before), "{before:?}");
    migrations.run(pool).await.unwrap();
    works(pool).await.unwrap();
    migrations.undo(pool, 0).await.unwrap();
    let after = works(pool).await;
    assert!(not_migrated(&after), "{after:?}");
    migrations.run(pool).await.unwrap();
    works(pool).await.unwrap();
}

#[tokio::test]
async fn ours_first_then_the_applications() {
    let database = Database::create().await;
    let pool = database.pool();
    Store::new(pool.clone()).migrate().await.unwrap();
    applications().run(pool).await.unwrap();
    both_are_there(pool).await;
}

#[tokio::test]
async fn the_applications_first_then_ours() {
    let database = Database::create().await;
    let pool = database.pool();
    applications().run(pool).await.unwrap();
    Store::new(pool.clone()).migrate().await.unwrap();
    both_are_there(pool).await;
}

async fn both_are_there(pool: &Pool) {
    works(pool).await.unwrap();
    assert_eq!(count(pool, "notes").await, 0);
    assert_eq!(count(pool, "_sqlx_migrations").await, 1);
    // Neither finds the other's among its own, also when all runs again.
    applications().run(pool).await.unwrap();
    Store::new(pool.clone()).migrate().await.unwrap();
    // And the application can go back without touching a key.
    let down = Migrator {
        ignore_missing: false,
        ..applications()
    };
    down.undo(pool, 1).await.unwrap();
    works(pool).await.unwrap();
}

#[tokio::test]
async fn our_call_after_the_applications_migrator_finds_nothing_to_do() {
    let database = Database::create().await;
    let pool = database.pool();
    crate::migrations().run(pool).await.unwrap();
    works(pool).await.unwrap();
    Store::new(pool.clone()).migrate().await.unwrap();
    works(pool).await.unwrap();
    assert_eq!(count(pool, "ophie_crypt_deks").await, 2);
}

/// As when several processes of an application start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_processes_migrate_at_once() {
    let database = Database::create().await;
    let start = std::sync::Arc::new(tokio::sync::Barrier::new(8));
    let tasks = (0..8).map(|_| {
        let (url, start) = (database.url().to_owned(), start.clone());
        tokio::spawn(async move {
            let pool = Pool::connect(&url).await.unwrap();
            start.wait().await;
            Store::new(pool).migrate().await
        })
    });
    for migrated in try_join_all(tasks).await.unwrap() {
        migrated.unwrap();
    }
    works(database.pool()).await.unwrap();
}
