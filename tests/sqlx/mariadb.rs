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

use ophie_crypt_sqlx::MySqlKeyStore as Store;
use ophie_crypt_tests::mariadb as db;
use sqlx::migrate::Migrator;

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

#[cfg(test)]
#[path = "../../ophie-crypt/src/passed_on.rs"]
mod passed_on;
#[cfg(test)]
#[path = "paths/mod.rs"]
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
#[cfg(test)]
#[path = "mariadb/store.rs"]
mod store;

const TABLES: &str = include_str!("tables/mariadb.sql");

/// The library's own migrations, run by the application.
fn migrations() -> Migrator {
    sqlx::migrate!("../migrations/mysql")
}

/// A new pool for the key store, which shares the application's database.
async fn key_pool(database: &db::Database) -> db::Pool {
    db::Pool::connect(database.url())
        .await
        .expect("the database answers")
}

/// A database that is not there.
const NOWHERE: &str = "mysql://root@127.0.0.1:1/nowhere";

/// A text never begins with one of these bytes, an envelope always does.
#[cfg(test)]
const STRICT_TABLE: &str =
    "CREATE TABLE strict (text BLOB NOT NULL CHECK (ORD(text) BETWEEN 0xFA AND 0xFD))";

/// What an INSERT of a fingerprint that is there may do instead.
const OR_UPDATE_RELATION: &str = "ON DUPLICATE KEY UPDATE relation = VALUES(relation)";
const OR_NOTHING: &str = "ON DUPLICATE KEY UPDATE id = id";

/// The longest value, as a query and its length: `max_allowed_packet` is 16 MiB.
const LONGEST: (&str, usize) = ("SELECT REPEAT(x'00', 16777000)", 16_777_000);

/// For writers' ids of any length, where columns have one.
const WIDEN: Option<&str> = Some("ALTER TABLE ophie_crypt_audit_{} MODIFY writer VARBINARY(255)");

/// Times out of range, and none at all.
const FAR_TIMES: [&str; 4] = [
    "9999-12-31 23:59:59.999999",
    "1000-01-01",
    "0000-00-00",
    "0001-01-01",
];

/// Begins a transaction that keeps all others from writing to the audit's table, with the statement below.
const BEGIN_EXCLUSIVE: &str = "BEGIN";
const LOCK_AUDIT: Option<&str> = Some("SELECT * FROM ophie_crypt_audit_records FOR UPDATE");
