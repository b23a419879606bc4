//! Every query path on PostgreSQL: the tests in `paths/`, and in `postgres/` what only PostgreSQL has.
//!
//! The `query!` macros read `tests/.sqlx`; `sqlite.rs` says how to make it anew. The half for
//! PostgreSQL, on any server that may be written to:
//!
//! ```sh
//! createdb macros && psql -d macros <tests/sqlx/tables/postgres.sql && touch tests/sqlx/paths/macros.rs
//! export SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$PWD/tests/.sqlx
//! DATABASE_URL=postgres:///macros cargo check -p ophie-crypt-tests --features servers --test sqlx_postgres
//! ```

use ophie_crypt_sqlx::PostgresKeyStore as Store;
use ophie_crypt_tests::postgres as db;
use sqlx::migrate::Migrator;

/// The two databases need different SQL text: offline data is found by the text alone.
macro_rules! query {
    ($sql:literal $($rest:tt)*) => { sqlx::query!($sql + " /* postgres */" $($rest)*) };
}
macro_rules! query_as {
    ($row:path, $sql:literal $($rest:tt)*) => { sqlx::query_as!($row, $sql + " /* postgres */" $($rest)*) };
}
macro_rules! query_scalar {
    ($sql:literal $($rest:tt)*) => { sqlx::query_scalar!($sql + " /* postgres */" $($rest)*) };
}

#[cfg(test)]
#[path = "paths/mod.rs"]
mod paths;

#[cfg(test)]
#[path = "postgres/arrays.rs"]
mod arrays;
#[cfg(test)]
#[path = "postgres/audit.rs"]
mod audit;
#[cfg(test)]
#[path = "postgres/bouncer.rs"]
mod bouncer;
#[cfg(test)]
#[path = "postgres/formats.rs"]
mod formats;
#[cfg(test)]
#[path = "postgres/store.rs"]
mod store;

const TABLES: &str = include_str!("tables/postgres.sql");

/// The library's own migrations, run by the application.
fn migrations() -> Migrator {
    sqlx::migrate!("../migrations/postgres")
}

/// A new pool for the key store, which shares the application's database.
async fn key_pool(database: &db::Database) -> db::Pool {
    db::Pool::connect(database.url())
        .await
        .expect("the database answers")
}

/// A database that is not there.
const NOWHERE: &str = "postgres://postgres@127.0.0.1:1/nowhere";

#[cfg(test)]
const STRICT_TABLE: &str = "CREATE TABLE strict (text BYTEA NOT NULL)";

/// 999,999,000 bytes: the limit is 2^30. Digits, as text has no NUL.
const GIGABYTE_OF_ZEROS: &str = "SELECT convert_to(repeat('0', 999999000), 'UTF8')";

/// Begins a transaction that keeps all others from writing to the audit's table, with the statement below.
const BEGIN_EXCLUSIVE: &str = "BEGIN";
const LOCK_AUDIT: Option<&str> = Some("LOCK TABLE ophie_crypt_audit_records");
