//! Through pgbouncer in transaction mode, which gives every transaction another connection.
//!
//! SQLx parses a statement and runs it in two round trips; outside a transaction another client's
//! statement may come between them, on either connection. So: `.persistent(false)`, and a transaction.

use std::sync::Arc;

use futures_util::future::try_join_all;
use ophie_crypt_sqlx::{Encrypted, Owner};
use sqlx::{AssertSqlSafe, pool::PoolOptions};
use uuid::Uuid;

use crate::{
    Store,
    db::{Database, Db, Pool},
    paths::{
        models::{PersonLink, person_link},
        world::{ALICE, BOB, CALL, INSERT_LINK, PURPOSE, World, keyring, kms},
    },
};

/// A pool with default settings.
async fn through_bouncer(database: &Database) -> Pool {
    Pool::connect(database.bouncer_url()).await.unwrap()
}

async fn write_and_read(pool: Pool, owner: Uuid, prefix: &str, n: u32) -> Result<(), sqlx::Error> {
    let name = format!("{prefix} {n}");
    let mut tx = pool.begin().await?;
    sqlx::query(INSERT_LINK)
        .bind(Owner(owner))
        .bind(CALL)
        .bind(person_link::name(name.as_str()))
        .bind(person_link::name_fp(name.as_str())?)
        .persistent(false)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    let mut tx = pool.begin().await?;
    let found: PersonLink =
        sqlx::query_as("SELECT * FROM people_links WHERE user_id = $1 AND name_fp = $2")
            .bind(Owner(owner))
            .bind(person_link::name_fp(name.as_str())?)
            .persistent(false)
            .fetch_one(&mut *tx)
            .await?;
    assert_eq!(found.name.expose_secret(), &name);
    let names: Vec<Encrypted<String, person_link::name>> =
        sqlx::query_scalar("SELECT name FROM people_links WHERE user_id = $1 AND session_id = $2")
            .bind(Owner(owner))
            .bind(CALL)
            .persistent(false)
            .fetch_all(&mut *tx)
            .await?;
    assert!(
        names
            .iter()
            .all(|name| name.expose_secret().starts_with(prefix))
    );
    tx.commit().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_of_two_owners_in_transactions() {
    let world = World::new().await;
    let pools = [
        through_bouncer(&world.database).await,
        through_bouncer(&world.database).await,
    ];
    let tasks = (0..50).flat_map(|n| {
        let users = [(ALICE, "Mom", &world.alice), (BOB, "Dad", &world.bob)];
        users
            .into_iter()
            .zip(pools.clone())
            .map(move |((owner, prefix, session), pool)| {
                session.scope(write_and_read(pool, owner, prefix, n))
            })
    });
    try_join_all(tasks).await.unwrap();
    assert_eq!(world.links().await, 100);
}

/// Statements of other clients that answer to an owner's bytes with something else. Each client has one of its
/// own, and counts how often another's ran, or none, in the place of it.
async fn disturb(pool: Pool, client: u8, stop: Arc<tokio::sync::Semaphore>) -> u32 {
    let sql = format!("SELECT set_byte(decode(md5($1::bytea), 'hex'), 0, {client})");
    let mut mixed = 0_u32;
    while stop.available_permits() == 0 {
        let answer = sqlx::query_scalar::<_, Vec<u8>>(AssertSqlSafe(sql.as_str()))
            .bind(b"disturbance".as_slice())
            .persistent(false)
            .fetch_optional(&pool)
            .await;
        let own = matches!(answer, Ok(Some(bytes)) if bytes.first() == Some(&client));
        mixed = mixed.saturating_add(u32::from(!own));
    }
    mixed
}

/// The key store is ours: it must be right whatever the others do and with any pool settings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_key_store_with_default_settings_among_disturbers() {
    let database = Database::create().await;
    Store::new(database.pool().clone()).migrate().await.unwrap();
    let stop = Arc::new(tokio::sync::Semaphore::new(0));
    let mut disturbers = Vec::new();
    for client in 0..4 {
        let pool = PoolOptions::<Db>::new()
            .max_connections(4)
            .connect(database.bouncer_url())
            .await
            .unwrap();
        for _ in 0..4 {
            disturbers.push(tokio::spawn(disturb(
                pool.clone(),
                client,
                Arc::clone(&stop),
            )));
        }
    }

    let kms = kms();
    let store = Store::new(through_bouncer(&database).await);
    let run = (0..200).map(|n| {
        let (kms, store) = (Arc::clone(&kms), store.clone());
        tokio::spawn(async move {
            let owner = Uuid::from_u128(n);
            keyring(&kms, store.clone())
                .provision(&owner)
                .await
                .unwrap();
            // Another process, so that nothing comes from a cache.
            let session = keyring(&kms, store).open(&owner, PURPOSE).await.unwrap();
            session.check_owner(&owner).unwrap();
        })
    });
    let done = try_join_all(run).await;
    stop.add_permits(1);
    let mixed: u32 = try_join_all(disturbers).await.unwrap().iter().sum();
    done.unwrap();
    // Or nothing was disturbed, and the store has shown nothing.
    assert!(mixed > 100, "statements were mixed up {mixed} times only");
    let owners: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM ophie_crypt_index_keys")
        .fetch_one(database.pool())
        .await
        .unwrap();
    assert_eq!(owners, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_processes_provision_one_owner() {
    let database = Database::create().await;
    Store::new(database.pool().clone()).migrate().await.unwrap();
    let kms = kms();
    let run = (0..32).map(|_| async {
        let store = Store::new(through_bouncer(&database).await);
        keyring(&kms, store)
            .open_or_provision(&ALICE, PURPOSE)
            .await
    });
    let sessions = try_join_all(run).await.unwrap();
    let sealed = person_link::name("Mom").seal(&sessions[0]).unwrap();
    for session in &sessions {
        assert_eq!(sealed.open(session).unwrap().expose_secret(), "Mom");
    }
    let keys: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM ophie_crypt_deks")
        .fetch_one(database.pool())
        .await
        .unwrap();
    assert_eq!(keys, 1);
}

/// A server that goes away under the pool, as in a failover, and comes back.
#[tokio::test]
async fn a_database_that_went_away_is_unavailable() {
    use ophie_crypt::{SessionError, StoreError};

    let database = Database::create().await;
    let pool = Pool::connect(database.url()).await.unwrap();
    let store = Store::new(pool);
    store.migrate().await.unwrap();
    let keyring = keyring(&kms(), store);
    let session = keyring.open_or_provision(&ALICE, PURPOSE).await.unwrap();

    let admin = Pool::connect(&ophie_crypt_tests::variable("OPHIE_CRYPT_TEST_POSTGRES"))
        .await
        .unwrap();
    let drop_database = format!("DROP DATABASE {} WITH (FORCE)", database.name());
    sqlx::raw_sql(AssertSqlSafe(drop_database))
        .execute(&admin)
        .await
        .unwrap();
    let opened = keyring.open(&BOB, PURPOSE).await;
    assert!(
        matches!(
            opened,
            Err(SessionError::Store(StoreError::Unavailable { .. }))
        ),
        "{opened:?}"
    );
    // Alice's session shares the key that is held, and goes on.
    assert!(person_link::name("Mom").seal(&session).is_ok());
    assert!(keyring.open(&ALICE, PURPOSE).await.is_ok());
}
