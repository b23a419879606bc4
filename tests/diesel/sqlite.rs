//! Every path of Diesel on SQLite. The tests in `paths/` run on PostgreSQL as well.

use diesel::sqlite::SqliteConnection as Connection;
use ophie_crypt_tests::sqlite as db;

#[cfg(test)]
#[path = "paths/mod.rs"]
mod paths;

const TABLES: &str = include_str!("tables/sqlite.sql");

/// What Diesel connects to.
fn url(database: &db::Database) -> String {
    database.path().display().to_string()
}
