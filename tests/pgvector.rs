//! Vectors in PostgreSQL with the real pgvector: all rows of an owner go, none of another's, whatever the column's
//! type, and "empty" is not said where it is not known.
//!
//! Absent: Pinecone (`pinecone`), what stands in a sidecar (`sidecar`).

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "a test: what goes wrong here is seen"
)]

use std::time::Duration;

use ophie_crypt::{
    BoundColumn, CanonicalId, ColumnRef, Keyring, LocalKms, MemoryKeyStore, OwnerId, Purpose,
    Sidecar, SidecarStore, VectorStore, VectorStoreError, VectorsDeleted,
};
use ophie_crypt_sqlx::{PgSidecars, PgVectors};
use ophie_crypt_tests::variable;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, postgres::PgPoolOptions};
use uuid::Uuid;

/// A database of its own, with the extension.
async fn database() -> (PgPool, String) {
    let server = variable("OPHIE_CRYPT_TEST_PGVECTOR");
    let name = format!("test_{}", Uuid::new_v4().simple());
    let mut connection = PgConnection::connect(&server).await.unwrap();
    let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::raw_sql(create)
        .execute(&mut connection)
        .await
        .unwrap();
    let url = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
    let pool = PgPool::connect(&url).await.unwrap();
    run(&pool, "CREATE EXTENSION vector").await;
    (pool, url)
}

async fn run(pool: &PgPool, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(sql).execute(pool).await.unwrap();
}

async fn count(pool: &PgPool, of: &str) -> i64 {
    let sql = AssertSqlSafe(format!("SELECT count(*) FROM {of}"));
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

/// `rows` vectors for each of the owners, given as SQL.
async fn fill(pool: &PgPool, table: &str, owners: &[&str], rows: u32) {
    for owner in owners {
        let sql = format!(
            "INSERT INTO {table} SELECT {owner}, ARRAY[n, 1, 2]::vector FROM generate_series(1, {rows}) AS n"
        );
        run(pool, &sql).await;
    }
}

#[tokio::test]
async fn all_rows_of_an_owner_go_and_no_other_whatever_the_columns_type() {
    let (pool, _) = database().await;
    let one = Uuid::from_u128(1);
    let cases: [(&str, [&str; 3], CanonicalId); 5] = [
        (
            "text",
            ["'user1'", "'user12'", "'USER1'"],
            "user1".canonical(),
        ),
        (
            "varchar(40)",
            ["'user1'", "'user1 '", "'1'"],
            "user1".canonical(),
        ),
        ("bigint", ["7", "77", "-7"], 7_i64.canonical()),
        ("integer", ["7", "77", "-7"], 7_i64.canonical()),
        (
            "uuid",
            [
                "'00000000-0000-0000-0000-000000000001'::uuid",
                "gen_random_uuid()",
                "gen_random_uuid()",
            ],
            one.canonical(),
        ),
    ];
    let mut n = 0;
    for (of_type, owners, owner) in cases {
        n += 1;
        let table = format!("\"Vectors{n}\"");
        run(
            &pool,
            &format!("CREATE TABLE {table} (\"User\" {of_type}, embedding vector(3))"),
        )
        .await;
        fill(&pool, &table, &owners, 2_500).await;
        let vectors = PgVectors::new(pool.clone(), &format!("Vectors{n}"), "User");
        let deleted = vectors.delete_owner(&owner).await.unwrap();
        assert_eq!(deleted, VectorsDeleted::new(Some(2_500), true), "{of_type}");
        assert_eq!(count(&pool, &table).await, 5_000, "{of_type}");
        let left = format!("{table} WHERE \"User\" = {}", owners[0]);
        assert_eq!(count(&pool, &left).await, 0, "{of_type}");
        // Again: nothing to do is no error.
        let again = vectors.delete_owner(&owner).await.unwrap();
        assert_eq!(again, VectorsDeleted::new(Some(0), true));
    }
    assert_eq!(n, 5);
}

/// Rows of different partitions have the same ctid.
#[tokio::test]
async fn partitions_lose_no_row_of_another_owner() {
    let (pool, _) = database().await;
    run(
        &pool,
        "CREATE SCHEMA app;
         CREATE TABLE app.vectors (user_id text, embedding vector(3)) PARTITION BY LIST (user_id);
         CREATE TABLE app.of_ada PARTITION OF app.vectors FOR VALUES IN ('ada');
         CREATE TABLE app.of_others PARTITION OF app.vectors DEFAULT;",
    )
    .await;
    fill(&pool, "app.vectors", &["'ada'", "'ben'"], 1_500).await;
    let vectors = PgVectors::new(pool.clone(), "app.vectors", "user_id");
    let deleted = vectors.delete_owner(&"ada".canonical()).await.unwrap();
    assert_eq!(deleted, VectorsDeleted::new(Some(1_500), true));
    assert_eq!(
        count(&pool, "app.vectors WHERE user_id = 'ben'").await,
        1_500
    );
}

/// One call ends, however much there is; the next goes on.
#[tokio::test]
async fn more_than_one_call_takes_is_left_to_the_next() {
    let (pool, _) = database().await;
    run(
        &pool,
        "CREATE TABLE vectors (user_id bigint, embedding vector(3))",
    )
    .await;
    run(&pool, "CREATE INDEX ON vectors (user_id)").await;
    fill(&pool, "vectors", &["7"], 100_500).await;
    fill(&pool, "vectors", &["8"], 10).await;
    let vectors = PgVectors::new(pool.clone(), "vectors", "user_id");
    let owner = 7_i64.canonical();
    let first = vectors.delete_owner(&owner).await.unwrap();
    assert_eq!(first, VectorsDeleted::new(Some(100_000), false));
    let second = vectors.delete_owner(&owner).await.unwrap();
    assert_eq!(second, VectorsDeleted::new(Some(500), true));
    assert_eq!(count(&pool, "vectors").await, 10);
}

/// To a role that does not see all rows, none left proves nothing.
#[tokio::test]
async fn row_security_and_what_is_no_table_are_refused() {
    let (pool, url) = database().await;
    let role = format!("app_{}", Uuid::new_v4().simple());
    run(
        &pool,
        &format!(
            "CREATE TABLE vectors (user_id text, hidden bool DEFAULT true, embedding vector(3));
             INSERT INTO vectors VALUES ('ada', true, '[1,2,3]');
             ALTER TABLE vectors ENABLE ROW LEVEL SECURITY;
             CREATE POLICY seen ON vectors USING (NOT hidden);
             CREATE ROLE {role} LOGIN;
             GRANT SELECT, DELETE ON vectors TO {role};"
        ),
    )
    .await;
    let of_role = url.replacen("//postgres", &format!("//{role}"), 1);
    assert_ne!(of_role, url);
    let as_role = PgPool::connect(&of_role).await.unwrap();
    let vectors = PgVectors::new(as_role, "vectors", "user_id");
    let error = vectors.delete_owner(&"ada".canonical()).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        matches!(error, VectorStoreError::Refused { .. }) && source.contains("row security"),
        "{source}"
    );
    assert_eq!(count(&pool, "vectors").await, 1);
    let as_owner = PgVectors::new(pool.clone(), "vectors", "user_id");
    let deleted = as_owner.delete_owner(&"ada".canonical()).await.unwrap();
    assert_eq!(deleted, VectorsDeleted::new(Some(1), true));

    for (table, owner, canary) in [
        ("vectors", "user_id", "a\0canary"),
        ("no_vectors", "user_id", "canary"),
        ("vectors\" WHERE true; --", "user_id", "canary"),
    ] {
        let vectors = PgVectors::new(pool.clone(), table, owner);
        let error = vectors.delete_owner(&canary.canonical()).await.unwrap_err();
        let shown = format!("{error:?} {error} {:?}", std::error::Error::source(&error));
        assert!(matches!(error, VectorStoreError::Refused { .. }), "{shown}");
        assert!(!shown.contains("canary"), "{shown}");
    }
    let nobody = PgPoolOptions::new().acquire_timeout(Duration::from_secs(1));
    let gone = nobody
        .connect_lazy("postgres://postgres@127.0.0.1:1/none")
        .unwrap();
    let error = PgVectors::new(gone, "vectors", "user_id")
        .delete_owner(&7_i64.canonical())
        .await;
    assert!(matches!(error, Err(VectorStoreError::Unavailable { .. })));
}

/// What an uncommitted transaction holds is not seen; the sweep's call takes it.
#[tokio::test]
async fn a_row_that_comes_late_is_the_next_calls() {
    let (pool, _) = database().await;
    run(
        &pool,
        "CREATE TABLE vectors (user_id bigint, embedding vector(3))",
    )
    .await;
    let vectors = PgVectors::new(pool.clone(), "vectors", "user_id");
    let owner = 7_i64.canonical();
    let mut late = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO vectors VALUES (7, '[1,2,3]')")
        .execute(&mut *late)
        .await
        .unwrap();
    assert!(vectors.delete_owner(&owner).await.unwrap().verified_empty());
    late.commit().await.unwrap();
    let deleted = vectors.delete_owner(&owner).await.unwrap();
    assert_eq!(deleted, VectorsDeleted::new(Some(1), true));
}

enum Text {}
impl BoundColumn for Text {
    const COLUMN: ColumnRef = ColumnRef::new("Memories", "Text");
}

/// In a text and in JSON; whoever's the row is, and nobody else's key.
#[tokio::test]
async fn sidecars_are_counted_that_are_under_one_key() {
    let (pool, url) = database().await;
    let role = format!("app_{}", Uuid::new_v4().simple());
    run(
        &pool,
        &format!(
            "CREATE TABLE \"Memories\" (user_id text, \"Text\" text, metadata jsonb);
             CREATE ROLE {role} LOGIN;
             GRANT SELECT ON \"Memories\" TO {role};"
        ),
    )
    .await;
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().unwrap())
        .key_store(MemoryKeyStore::new())
        .build()
        .unwrap();
    let mut ids = Vec::new();
    for (owner, rows) in [("ada", 3), ("ben", 2)] {
        let session = keyring
            .open_or_provision(owner, Purpose::new("tests"))
            .await
            .unwrap();
        for n in 0..rows {
            let bare = Sidecar::<String, Text>::seal("slept badly", &session).unwrap();
            let bound = Sidecar::<String, Text>::seal_row("x", &session, &i64::from(n)).unwrap();
            sqlx::query("INSERT INTO \"Memories\" VALUES ($1, $2, $3)")
                .bind("somebody")
                .bind(bare.as_str())
                .bind(serde_json::json!({"kind": "memory", "text": bound}))
                .execute(&pool)
                .await
                .unwrap();
            ids.push(bare.key_id());
        }
    }
    run(
        &pool,
        "INSERT INTO \"Memories\" VALUES ('ada', NULL, NULL), ('ada', 'ophie1._', '{}')",
    )
    .await;
    for column in ["Text", "metadata"] {
        let sidecars = PgSidecars::new(pool.clone(), "Memories", column);
        for (id, expected) in [(ids[0], 3), (ids[3], 2)] {
            let under = sidecars.count_under(&"ada".canonical(), id).await;
            assert_eq!(under.unwrap(), expected, "{column}");
        }
    }
    let of_role = url.replacen("//postgres", &format!("//{role}"), 1);
    let as_role = PgPool::connect(&of_role).await.unwrap();
    let sidecars = PgSidecars::new(as_role, "Memories", "Text");
    let ada = "ada".canonical();
    assert_eq!(sidecars.count_under(&ada, ids[0]).await.unwrap(), 3);
    run(
        &pool,
        "ALTER TABLE \"Memories\" ENABLE ROW LEVEL SECURITY;
         CREATE POLICY seen ON \"Memories\" USING (user_id = 'ada')",
    )
    .await;
    let error = sidecars.count_under(&ada, ids[0]).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("row security"), "{source}");
    let missing = PgSidecars::new(pool.clone(), "Memories", "none");
    missing.count_under(&ada, ids[0]).await.unwrap_err();
}
