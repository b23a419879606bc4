//! Every path of Diesel on PostgreSQL: the tests in `paths/`, and what only PostgreSQL has.

use diesel::pg::PgConnection as Connection;
use ophie_crypt_tests::postgres as db;

#[cfg(test)]
#[path = "paths/mod.rs"]
mod paths;

const TABLES: &str = include_str!("tables/postgres.sql");

/// What Diesel connects to.
fn url(database: &db::Database) -> String {
    database.url().to_owned()
}
