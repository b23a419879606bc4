//! Every path of Diesel on MariaDB: the tests in `paths/`, and what only MySQL and MariaDB do.

use diesel::mysql::{Mysql as Backend, MysqlConnection as Connection};
use ophie_crypt_tests::mariadb as db;

#[cfg(test)]
#[path = "asynchronous/mod.rs"]
mod asynchronous;

#[cfg(test)]
#[path = "asynchronous/batch.rs"]
mod batch;

#[cfg(test)]
#[path = "paths/mod.rs"]
mod paths;

#[cfg(test)]
#[path = "mariadb/cancelled.rs"]
mod cancelled;

#[cfg(test)]
#[path = "mariadb/columns.rs"]
#[allow(unnameable_types, reason = "`table!` wants a public model")]
mod columns;

/// A connection of diesel-async.
type Asynchronous = diesel_async::AsyncMysqlConnection;

const TABLES: &str = include_str!("tables/mariadb.sql");

/// What Diesel connects to.
fn url(database: &db::Database) -> String {
    database.url().to_owned()
}

/// MariaDB's writers wait for each other by themselves.
const PATIENCE: &str = "SELECT 1";

/// SQL as this database writes it: `?` and backticks.
fn sql(text: &str) -> String {
    let mut parts = text.split('$');
    let mut sql = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        sql.push('?');
        sql.push_str(part.trim_start_matches(|digit: char| digit.is_ascii_digit()));
    }
    sql.replace('"', "`")
}

/// What a second link of the same name runs into: any unique index.
const UNIQUE_NAME: diesel::dsl::DuplicatedKeys = diesel::dsl::DuplicatedKeys;
