//! What is left of destroyed keys in the files of PostgreSQL.

use std::{fs, time::Duration};

use ophie_crypt::{FileLedger, OwnerId, ShredStore, Shredder};
use ophie_crypt_sqlx::PostgresKeyStore;
use sqlx::{AssertSqlSafe, PgPool};

use crate::{cluster::Cluster, world::World};

const OWNERS: i64 = 40;
const SHREDDED: i64 = 30;

/// The tables in which keys stand, and the column.
const KEYS: [(&str, &str); 2] = [
    ("ophie_crypt_deks", "wrapped"),
    ("ophie_crypt_index_keys", "sealed"),
];

/// The keys of each owner, wrapped or sealed, in each table.
async fn keys(pool: &PgPool) -> [Vec<Vec<u8>>; 2] {
    let of = async |(table, column): (&str, &str)| {
        let sql = format!("SELECT {column} FROM {table} ORDER BY owner");
        let keys = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(pool);
        keys.await.unwrap()
    };
    [of(KEYS[0]).await, of(KEYS[1]).await]
}

/// How many of these stand in the file of each table.
async fn in_files(cluster: &Cluster<'_>, world: &World, keys: [&[Vec<u8>]; 2]) -> [usize; 2] {
    cluster.run("CHECKPOINT").await;
    let found = async |(table, _): (&str, &str), keys: &[Vec<u8>]| {
        let path: String = sqlx::query_scalar("SELECT pg_relation_filepath(CAST($1 AS regclass))")
            .bind(table)
            .fetch_one(&cluster.pool)
            .await
            .unwrap();
        let file = fs::read(world.place.path("primary").join(path)).unwrap();
        let is_there = |key: &&Vec<u8>| file.windows(key.len()).any(|bytes| bytes == **key);
        keys.iter().filter(is_there).count()
    };
    [found(KEYS[0], keys[0]).await, found(KEYS[1], keys[1]).await]
}

/// Versions of rows in the pages of each table, whoever sees them.
async fn versions(pool: &PgPool) -> [i64; 2] {
    let of = async |(table, _): (&str, &str)| {
        let sql = format!(
            "SELECT count(*) FROM generate_series(0, pg_relation_size('{table}') / 8192 - 1) AS page, \
             LATERAL heap_page_items(get_raw_page('{table}', CAST(page AS int))) WHERE lp_len > 0"
        );
        let count = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool);
        count.await.unwrap()
    };
    [of(KEYS[0]).await, of(KEYS[1]).await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_old_version_of_a_key_is_left_when_tables_count_as_vacuumed() {
    let world = World::new();
    let cluster = world.place.cluster().await;
    let pool = &cluster.pool;
    let store = PostgresKeyStore::new(pool.clone());
    store.migrate().await.unwrap();
    cluster.run("CREATE EXTENSION pageinspect").await;
    let keyring = world.keyring(pool, false);
    for owner in 1..=OWNERS {
        keyring.provision(&owner).await.unwrap();
    }
    let keys = keys(pool).await;
    let (all, gone) = (
        usize::try_from(OWNERS).unwrap(),
        usize::try_from(SHREDDED).unwrap(),
    );
    let whole = [&*keys[0], &*keys[1]];
    let (of_gone, of_living) = (
        whole.map(|keys| &keys[..gone]),
        whole.map(|keys| &keys[gone..]),
    );
    assert_eq!(
        in_files(&cluster, &world, whole).await,
        [all; 2],
        "or finding none proves nothing"
    );

    // Somebody reads since before, and goes on.
    let mut reading = pool.begin().await.unwrap();
    let repeatable = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";
    sqlx::raw_sql(repeatable)
        .execute(&mut *reading)
        .await
        .unwrap();
    let still = "SELECT count(wrapped) FROM ophie_crypt_deks";
    let count: i64 = sqlx::query_scalar(still)
        .fetch_one(&mut *reading)
        .await
        .unwrap();
    assert_eq!(count, OWNERS);
    for owner in 1..=SHREDDED {
        keyring.shred(&owner).await.unwrap();
    }
    let ledger = FileLedger::open(&world.ledger).unwrap();
    let shredder = Shredder::builder(store.clone(), ledger).build();
    let worked = shredder.work().await.unwrap();
    assert_eq!((worked.done, i64::from(worked.failed)), (0, SHREDDED));
    let shreds = store.shreds_of(&[1_i64.canonical()]).await.unwrap();
    assert!(shreds[0].vacuumed_at.is_none() && shreds[0].done_at.is_none());
    assert!(
        shreds[0]
            .failure
            .as_ref()
            .unwrap()
            .contains("a snapshot from before")
    );
    let receipt = shredder.receipt(&1_i64).await.unwrap().to_string();
    assert!(
        receipt.contains("not done key tables vacuumed"),
        "{receipt}"
    );
    // It is so: whoever reads since before has the keys, and they are in the file.
    let count: i64 = sqlx::query_scalar(still)
        .fetch_one(&mut *reading)
        .await
        .unwrap();
    assert_eq!(count, OWNERS);
    assert_eq!(in_files(&cluster, &world, whole).await, [all; 2]);
    reading.rollback().await.unwrap();

    let again = async || {
        for owner in 1..=SHREDDED {
            let owner = owner.canonical();
            let postponed = store.postpone(&owner, Duration::ZERO, "again");
            postponed.await.unwrap();
        }
        shredder.work().await.unwrap()
    };
    let worked = again().await;
    assert_eq!((i64::from(worked.done), worked.failed), (SHREDDED, 0));
    let shreds = store.shreds_of(&[1_i64.canonical()]).await.unwrap();
    assert!(shreds[0].vacuumed_at.is_some() && shreds[0].done_at.is_some());
    let receipt = shredder.receipt(&1_i64).await.unwrap().to_string();
    assert!(receipt.contains(": key tables vacuumed: "), "{receipt}");
    // DEKs keep a row without a key, index keys keep none.
    assert_eq!(versions(pool).await, [OWNERS, OWNERS - SHREDDED]);

    // Bytes of versions that are gone lie in the free space of pages, which the receipt says; written anew, no page has any.
    cluster
        .run("VACUUM FULL ophie_crypt_deks, ophie_crypt_index_keys")
        .await;
    assert_eq!(in_files(&cluster, &world, of_gone).await, [0; 2]);
    assert_eq!(in_files(&cluster, &world, of_living).await, [all - gone; 2]);
}
