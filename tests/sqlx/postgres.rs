//! Every query path on PostgreSQL: the tests in `paths/`, and in `postgres/` what only PostgreSQL has.
//!
//! The `query!` macros read `tests/.sqlx`; `sqlite.rs` says how to make it anew. The half for
//! PostgreSQL, on any server that may be written to:
//!
//! ```sh
//! createdb macros && psql -d macros <tests/sqlx/tables/postgres.sql && touch tests/sqlx/paths/{macros,returning}.rs
//! export SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$PWD/tests/.sqlx
//! DATABASE_URL=postgres:///macros cargo check -p ophie-crypt-tests --features servers --test sqlx_postgres
//! ```

use ophie_crypt_sqlx::PostgresKeyStore as Store;
use ophie_crypt_tests::postgres as db;
use sqlx::migrate::Migrator;

/// The text in pieces, `"name_fp = " ["$1"]`, as MariaDB has no numbers; and with a mark, as offline data is
/// found by the text alone.
macro_rules! query {
    ($($sql:literal $([$n:literal])?)+ $(, $($rest:tt)*)?) => {
        sqlx::query!($($sql + $($n +)?)+ " /* postgres */" $(, $($rest)*)?)
    };
}
macro_rules! query_as {
    ($row:path, $($sql:literal $([$n:literal])?)+ $(, $($rest:tt)*)?) => {
        sqlx::query_as!($row, $($sql + $($n +)?)+ " /* postgres */" $(, $($rest)*)?)
    };
}
macro_rules! query_scalar {
    ($($sql:literal $([$n:literal])?)+ $(, $($rest:tt)*)?) => {
        sqlx::query_scalar!($($sql + $($n +)?)+ " /* postgres */" $(, $($rest)*)?)
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

/// What an INSERT of a fingerprint that is there may do instead.
const OR_UPDATE_RELATION: &str =
    "ON CONFLICT (user_id, session_id, name_fp) DO UPDATE SET relation = excluded.relation";
const OR_NOTHING: &str = "ON CONFLICT DO NOTHING";

/// The longest value, as a query and its length: the limit is 2^30 bytes.
const LONGEST: (&str, usize) = (
    "SELECT convert_to(repeat('0', 999999000), 'UTF8')",
    999_999_000,
);

/// For writers' ids of any length, where columns have one.
const WIDEN: Option<&str> = None;

/// Times out of range, and none at all.
const FAR_TIMES: [&str; 4] = ["infinity", "-infinity", "294276-01-01", "4000-01-01 BC"];

/// Begins a transaction that keeps all others from writing to the audit's table, with the statement below.
const BEGIN_EXCLUSIVE: &str = "BEGIN";
const LOCK_AUDIT: Option<&str> = Some("LOCK TABLE ophie_crypt_audit_records");
