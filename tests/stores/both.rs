//! Stores of both ORMs on one database: the same tables, budgets, versions and notifications.

use std::{sync::Arc, time::Duration};

use diesel_async::pooled_connection::{AsyncDieselConnectionManager, bb8};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use ophie_crypt::{
    AuditVerifier, ChainedAudit, FileLedger, KeyStore, Keyring, LocalKms, MAX_INVOCATIONS, Purpose,
};
use ophie_crypt_diesel::DieselKeyStore;
use uuid::Uuid;

use crate::{
    keys::has_one_winner,
    leases::is_never_passed,
    world::{Database, Keys, Kind, Store},
};

const PURPOSE: Purpose = Purpose::new("tests");

/// Of each database, the stores that reach it.
const TOGETHER: [&[Kind]; 3] = [
    &[Kind::SqlxMariaDb, Kind::DieselMariaDb, Kind::AsyncMariaDb],
    &[
        Kind::SqlxPostgres,
        Kind::DieselPostgres,
        Kind::AsyncPostgres,
    ],
    &[Kind::SqlxSqlite, Kind::DieselSqlite],
];

/// Stores of every kind in turn, each with connections of its own.
async fn mixed(database: &Database, kinds: &[Kind]) -> Vec<Arc<dyn Store>> {
    let mut stores = Vec::new();
    for kind in kinds.iter().cycle().take(12) {
        stores.push(database.store(*kind).await);
    }
    stores
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_race_for_first_keys_and_for_budgets() {
    for kinds in TOGETHER {
        let keys = Keys::new(kinds[0]).await;
        let stores = mixed(&keys.database, kinds).await;
        has_one_winner(stores.clone()).await;
        is_never_passed(keys.owner.clone(), stores).await;
    }
}

/// Whoever made the tables, all others find them, with what was written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_opens_what_another_provisioned() {
    let kms = Arc::new(LocalKms::ephemeral().unwrap());
    let mut pairs = 0;
    for kinds in TOGETHER {
        for writer in kinds {
            for reader in kinds {
                let database = Database::create(*writer).await;
                let (owner, value) = (Uuid::new_v4(), "slept badly");
                let keyring = |store: Arc<dyn Store>| {
                    let store: Arc<dyn KeyStore> = store;
                    Keyring::builder()
                        .kms(Arc::clone(&kms))
                        .key_store(store)
                        .build()
                        .unwrap()
                };
                let store = database.store(*writer).await;
                store.migrate().await.unwrap();
                let writing = keyring(store)
                    .open_or_provision(&owner, PURPOSE)
                    .await
                    .unwrap();
                let store = database.store(*reader).await;
                store.migrate().await.unwrap();
                let reading = keyring(store).open(&owner, PURPOSE).await.unwrap();
                let sealed = note::text(value).seal(&writing).unwrap();
                assert_eq!(sealed.open(&reading).unwrap().expose_secret(), value);
                pairs += 1;
            }
        }
    }
    assert_eq!(pairs, 9 + 9 + 4);
}

#[derive(ophie_crypt::EncryptedModel)]
#[crypt(table = "notes")]
#[expect(dead_code, reason = "its constructors are what the test uses")]
struct Note {
    user_id: ophie_crypt_sqlx::Owner<Uuid>,
    text: ophie_crypt_sqlx::Encrypted<String, note::text>,
}

/// A chain that one ORM's store holds is verified through another's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_verifies_what_another_recorded() {
    for kinds in TOGETHER {
        let database = Database::create(kinds[0]).await;
        database.store(kinds[0]).await.migrate().await.unwrap();
        let kms = Arc::new(LocalKms::ephemeral().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let ledger = || FileLedger::open_or_create(folder.path().join("ledger")).unwrap();
        for kind in kinds {
            let store = database.store(*kind).await;
            let audit = ChainedAudit::builder(store.audit(), Arc::clone(&kms)).ledger(ledger());
            let audit = audit.start().await.unwrap();
            let store: Arc<dyn KeyStore> = store;
            let keyring = Keyring::builder()
                .kms(Arc::clone(&kms))
                .key_store(store)
                .audit(audit.clone())
                .build()
                .unwrap();
            drop(
                keyring
                    .open_or_provision(&Uuid::new_v4(), PURPOSE)
                    .await
                    .unwrap(),
            );
            audit.checkpoint().await.unwrap();
        }
        for kind in kinds {
            let audit = database.store(*kind).await.audit();
            let verifier = AuditVerifier::new(audit, Arc::clone(&kms)).ledger(ledger());
            let report = verifier.verify().await.unwrap();
            assert!(
                report.has_no_findings() && report.open_intents.is_empty(),
                "{report}"
            );
            assert_eq!(report.writers.len(), kinds.len());
        }
    }
}

/// Diesel's store on the same database, with notifications.
async fn listening(keys: &Keys) -> DieselKeyStore<bb8::Pool<AsyncPgConnection>> {
    let Database::Postgres(database) = &keys.database else {
        unreachable!("its kind says so")
    };
    let url = database.url().to_owned();
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(&url);
    let pool = bb8::Pool::builder()
        .max_size(2)
        .build(manager)
        .await
        .unwrap();
    DieselKeyStore::new(pool).with_notifications(move || {
        let url = url.clone();
        async move { AsyncPgConnection::establish(&url).await }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn diesel_is_notified_of_a_change_that_sqlx_made() {
    let keys = Keys::new(Kind::SqlxPostgres).await;
    let store = listening(&keys).await;
    store.notified().await; // as it connected
    let waiting = store.notified();
    tokio::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "nothing has changed");
    // A lease is no change of the owner's keys.
    keys.store
        .lease(&keys.request(1, MAX_INVOCATIONS))
        .await
        .unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "a lease was notified");
    let change = "UPDATE ophie_crypt_owners SET state = 'shredded' WHERE owner = $1";
    keys.run(change).await.unwrap();
    let notified = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(notified.is_ok(), "no notification in a minute");
    assert_eq!(store.version(&keys.owner).await.unwrap(), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_listener_connects_again() {
    let keys = Keys::new(Kind::SqlxPostgres).await;
    let store = listening(&keys).await;
    store.notified().await;
    let kill = "SELECT COUNT(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE datname = current_database() AND query LIKE 'LISTEN%') AS killed";
    assert_eq!(keys.database.number(kill).await, 1);
    let again = tokio::time::timeout(Duration::from_secs(60), store.notified()).await;
    assert!(again.is_ok(), "it did not connect again in a minute");
}
