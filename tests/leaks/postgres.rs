//! Plaintexts and keys are planted, driven through the whole library on PostgreSQL, and searched for in a dump of
//! the database, in the server's log at its most talkative, in this process's log at TRACE, and in every error
//! and `Debug` text on the way: none of them may be there.
//!
//! Controls: what must be in those places (a plain column, an envelope, statements) is searched for by the same
//! function, so that a search that finds nothing means something.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "a test: what goes wrong here is seen"
)]

use std::process::Command;

use ophie_crypt_sqlx::{Encrypted, Owner, PostgresKeyStore as Store};
use ophie_crypt_tests::{postgres as db, variable};
use uuid::Uuid;

use self::{
    search::{Log, search},
    texts::Texts,
};

mod life;
mod search;
mod texts;

const TABLE: &str =
    "CREATE TABLE notes (id serial PRIMARY KEY, user_id uuid NOT NULL, text bytea NOT NULL,
    data bytea, mood bytea, text_fp bytea, label text, UNIQUE (user_id, text_fp))";

const OR_UPDATE: &str = "ON CONFLICT (user_id, text_fp) DO UPDATE SET text = excluded.text";

async fn store(pool: &db::Pool) -> Store {
    let store = Store::new(pool.clone());
    store.migrate().await.unwrap();
    store
}

/// As an array.
async fn insert_many(
    pool: &db::Pool,
    user: Uuid,
    texts: &[Encrypted<String, life::note::text>],
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO notes (user_id, text) SELECT $1, * FROM UNNEST($2::bytea[])")
        .bind(Owner(user))
        .bind(texts)
        .execute(pool)
        .await
        .map(drop)
}

#[tokio::test]
async fn nothing_leaks() {
    let texts = Texts::collect();
    let log = Log::new(variable("OPHIE_CRYPT_TEST_POSTGRES_LOG"));
    let database = db::Database::create().await;
    let (planted, pool) = life::live(&database, &texts).await;

    let dump = Command::new(format!("{}/pg_dump", variable("OPHIE_CRYPT_TEST_PG_BIN")))
        .args(["--inserts", "--dbname", database.url()])
        .output()
        .unwrap();
    assert!(
        dump.status.success(),
        "{}",
        String::from_utf8_lossy(&dump.stderr)
    );
    pool.close().await;
    search(
        &planted,
        &texts,
        &[("the dump", dump.stdout), ("the server's log", log.since())],
    );
}
