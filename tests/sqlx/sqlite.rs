//! Every query path on SQLite. The tests in `paths/` run on PostgreSQL and MariaDB as well.
//!
//! The `query!` macros read `tests/.sqlx`, so that no database is needed to compile. After a change to
//! their SQL or to the tables, from the repository's root:
//!
//! ```sh
//! rm -f /tmp/macros.db && sqlite3 /tmp/macros.db <tests/sqlx/tables/sqlite.sql
//! rm -f tests/.sqlx/query-*.json && touch tests/sqlx/paths/{macros,returning}.rs
//! export SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$PWD/tests/.sqlx
//! DATABASE_URL=sqlite:/tmp/macros.db cargo check -p ophie-crypt-tests --test sqlx_sqlite
//! ```
//!
//! and then the same for `postgres.rs` and `mariadb.rs`, whose heads say how.

use ophie_crypt_sqlx::SqliteKeyStore as Store;
use ophie_crypt_tests::sqlite as db;
use sqlx::migrate::Migrator;

/// The text in pieces, `"name_fp = " ["$1"]`, as MariaDB has no numbers; and with a mark, as offline data is
/// found by the text alone.
macro_rules! query {
    ($($sql:literal $([$n:literal])?)+ $(, $($rest:tt)*)?) => {
        sqlx::query!($($sql + $($n +)?)+ " /* sqlite */" $(, $($rest)*)?)
    };
}
macro_rules! query_as {
    ($row:path, $($sql:literal $([$n:literal])?)+ $(, $($rest:tt)*)?) => {
        sqlx::query_as!($row, $($sql + $($n +)?)+ " /* sqlite */" $(, $($rest)*)?)
    };
}
macro_rules! query_scalar {
    ($($sql:literal $([$n:literal])?)+ $(, $($rest:tt)*)?) => {
        sqlx::query_scalar!($($sql + $($n +)?)+ " /* sqlite */" $(, $($rest)*)?)
    };
}

#[cfg(test)]
#[path = "../../ophie-crypt/src/passed_on.rs"]
mod passed_on;
#[cfg(test)]
#[path = "paths/mod.rs"]
mod paths;
#[cfg(test)]
#[path = "paths/returning.rs"]
mod returning;

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

/// What an INSERT of a fingerprint that is there may do instead.
const OR_UPDATE_RELATION: &str =
    "ON CONFLICT (user_id, session_id, name_fp) DO UPDATE SET relation = excluded.relation";
const OR_NOTHING: &str = "ON CONFLICT DO NOTHING";

/// The longest value, as a query and its length: the limit is 10^9 bytes.
const LONGEST: (&str, usize) = ("SELECT zeroblob(999999000)", 999_999_000);

/// For writers' ids of any length, where columns have one.
const WIDEN: Option<&str> = None;

/// Times out of range, and none at all.
const FAR_TIMES: [&str; 4] = ["infinity", "-infinity", "294276-01-01", "4000-01-01 BC"];

/// Begins a transaction that keeps all others from writing to the audit's table, with the statement below.
const BEGIN_EXCLUSIVE: &str = "BEGIN EXCLUSIVE";
const LOCK_AUDIT: Option<&str> = None;
