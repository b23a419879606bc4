//! Every query path on SQLite. The tests in `paths/` run on PostgreSQL as well.
//!
//! The `query!` macros read `tests/.sqlx`, so that no database is needed to compile. After a change to
//! their SQL or to the tables, from the repository's root:
//!
//! ```sh
//! rm -f /tmp/macros.db && sqlite3 /tmp/macros.db <tests/sqlx/tables/sqlite.sql
//! rm -f tests/.sqlx/query-*.json && touch tests/sqlx/paths/macros.rs
//! export SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$PWD/tests/.sqlx
//! DATABASE_URL=sqlite:/tmp/macros.db cargo check -p ophie-crypt-tests --test sqlx_sqlite
//! ```
//!
//! and then the same for `postgres.rs`, whose head says how.

use ophie_crypt_sqlx::SqliteKeyStore as Store;
use ophie_crypt_tests::sqlite as db;
use sqlx::migrate::Migrator;

/// The two databases need different SQL text: offline data is found by the text alone.
macro_rules! query {
    ($sql:literal $($rest:tt)*) => { sqlx::query!($sql + " /* sqlite */" $($rest)*) };
}
macro_rules! query_as {
    ($row:path, $sql:literal $($rest:tt)*) => { sqlx::query_as!($row, $sql + " /* sqlite */" $($rest)*) };
}
macro_rules! query_scalar {
    ($sql:literal $($rest:tt)*) => { sqlx::query_scalar!($sql + " /* sqlite */" $($rest)*) };
}

#[cfg(test)]
#[path = "paths/mod.rs"]
mod paths;

#[cfg(test)]
#[path = "sqlite/audit.rs"]
mod audit;
#[cfg(test)]
#[path = "sqlite/store.rs"]
mod store;

const TABLES: &str = include_str!("tables/sqlite.sql");

/// The library's own migrations, run by the application.
fn migrations() -> Migrator {
    sqlx::migrate!("../migrations/sqlite")
}

/// A new pool for the key store, which has a file of its own.
async fn key_pool(database: &db::Database) -> db::Pool {
    let path = database.folder().join("keys.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
    db::Pool::connect_with(options)
        .await
        .expect("the key store's file opens")
}

/// A database that is not there.
const NOWHERE: &str = "sqlite:///nowhere/at/all.db";

#[cfg(test)]
const STRICT_TABLE: &str = "CREATE TABLE strict (text BLOB NOT NULL) STRICT";

/// 999,999,000 bytes: SQLite's limit is 10^9.
const GIGABYTE_OF_ZEROS: &str = "SELECT zeroblob(999999000)";

/// Begins a transaction that keeps all others from writing to the audit's table, with the statement below.
const BEGIN_EXCLUSIVE: &str = "BEGIN EXCLUSIVE";
const LOCK_AUDIT: Option<&str> = None;
