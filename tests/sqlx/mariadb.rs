//! Every query path on MariaDB: the tests in `paths/`, and in `mariadb/` what only MariaDB has.
//!
//! The `query!` macros read `tests/.sqlx`; `sqlite.rs` says how to make it anew. The half for
//! MariaDB, on any server that may be written to:
//!
//! ```sh
//! mariadb -e 'CREATE DATABASE macros' && mariadb macros <tests/sqlx/tables/mariadb.sql
//! export SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$PWD/tests/.sqlx; touch tests/sqlx/paths/{macros,returning}.rs
//! DATABASE_URL=mysql://root@localhost/macros cargo check -p ophie-crypt-tests --features servers --test sqlx_mariadb
//! ```

use ophie_crypt_tests::mariadb as db;

/// The text in pieces, `"name_fp = " ["$1"]`, as MariaDB has no numbers; and with a mark, as offline data is
/// found by the text alone.
macro_rules! query {
    ($($sql:literal $([$n:literal])?)+ $(, $($rest:tt)*)?) => {
        sqlx::query!($($sql + $("? /*" + $n + "*/" +)?)+ " /* mariadb */" $(, $($rest)*)?)
    };
}
macro_rules! query_as {
    ($row:path, $($sql:literal $([$n:literal])?)+ $(, $($rest:tt)*)?) => {
        sqlx::query_as!($row, $($sql + $("? /*" + $n + "*/" +)?)+ " /* mariadb */" $(, $($rest)*)?)
    };
}
macro_rules! query_scalar {
    ($($sql:literal $([$n:literal])?)+ $(, $($rest:tt)*)?) => {
        sqlx::query_scalar!($($sql + $("? /*" + $n + "*/" +)?)+ " /* mariadb */" $(, $($rest)*)?)
    };
}

#[path = "mariadb/stand_in.rs"]
mod stand_in;
use stand_in::Store;

#[cfg(test)]
#[path = "paths/without_store.rs"]
mod paths;

#[cfg(test)]
#[path = "mariadb/columns.rs"]
mod columns;
#[cfg(test)]
#[path = "mariadb/formats.rs"]
mod formats;
#[cfg(test)]
#[path = "mariadb/limits.rs"]
mod limits;
#[cfg(test)]
#[path = "mariadb/owners.rs"]
mod owners;

const TABLES: &str = include_str!("tables/mariadb.sql");

/// A new pool for the key store, which shares the application's database.
async fn key_pool(database: &db::Database) -> db::Pool {
    db::Pool::connect(database.url())
        .await
        .expect("the database answers")
}

/// A text never begins with one of these bytes, an envelope always does.
#[cfg(test)]
const STRICT_TABLE: &str =
    "CREATE TABLE strict (text BLOB NOT NULL CHECK (ORD(text) BETWEEN 0xFA AND 0xFD))";

/// What an INSERT of a fingerprint that is there may do instead.
#[cfg(test)]
const OR_UPDATE_RELATION: &str = "ON DUPLICATE KEY UPDATE relation = VALUES(relation)";
#[cfg(test)]
const OR_NOTHING: &str = "ON DUPLICATE KEY UPDATE id = id";

/// The longest value, as a query and its length: `max_allowed_packet` is 16 MiB.
#[cfg(test)]
const LONGEST: (&str, usize) = ("SELECT REPEAT(x'00', 16777000)", 16_777_000);
