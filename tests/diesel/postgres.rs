//! Every path of Diesel on PostgreSQL: the tests in `paths/`, and what only PostgreSQL has.

use diesel::pg::{Pg as Backend, PgConnection as Connection};
use ophie_crypt_tests::postgres as db;
use paths::models::people_links;

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
#[path = "not_mysql.rs"]
mod not_mysql;

#[cfg(test)]
#[path = "postgres/pipelining.rs"]
#[allow(unnameable_types, reason = "`table!` wants a public model")]
mod pipelining;

#[cfg(test)]
#[path = "postgres/uuid.rs"]
#[allow(unnameable_types, reason = "`table!` wants a public model")]
mod uuid;

/// A connection of diesel-async.
type Asynchronous = diesel_async::AsyncPgConnection;

const TABLES: &str = include_str!("tables/postgres.sql");

/// What Diesel connects to.
fn url(database: &db::Database) -> String {
    database.url().to_owned()
}

/// PostgreSQL's writers need not wait for each other.
const PATIENCE: &str = "SELECT 1";

/// SQL as this database writes it.
fn sql(text: &str) -> String {
    text.to_owned()
}

/// What a second link of the same name runs into.
const UNIQUE_NAME: (people_links::user_id, people_links::name_fp) =
    (people_links::user_id, people_links::name_fp);
