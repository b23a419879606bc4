//! Every path of Diesel on SQLite. The tests in `paths/` run on PostgreSQL as well.

use diesel::sqlite::{Sqlite as Backend, SqliteConnection as Connection};
use ophie_crypt_tests::sqlite as db;
use paths::models::people_links;

#[cfg(test)]
#[path = "asynchronous/mod.rs"]
mod asynchronous;

#[cfg(test)]
#[path = "paths/mod.rs"]
mod paths;

#[cfg(test)]
#[path = "not_mysql.rs"]
mod not_mysql;

#[cfg(test)]
#[path = "sqlite/owners.rs"]
#[allow(unnameable_types, reason = "`table!` wants a public model")]
mod owners;

/// A connection of diesel-async.
type Asynchronous = diesel_async::sync_connection_wrapper::SyncConnectionWrapper<Connection>;

const TABLES: &str = include_str!("tables/sqlite.sql");

/// What Diesel connects to.
fn url(database: &db::Database) -> String {
    database.path().display().to_string()
}

/// SQLite admits one writer at a time; the others wait for this long.
const PATIENCE: &str = "PRAGMA busy_timeout = 60000";

/// SQL as this database writes it.
fn sql(text: &str) -> String {
    text.to_owned()
}

/// What a second link of the same name runs into.
const UNIQUE_NAME: (people_links::user_id, people_links::name_fp) =
    (people_links::user_id, people_links::name_fp);
