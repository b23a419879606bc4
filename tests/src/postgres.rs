//! Databases on the PostgreSQL cluster that `tests/run` starts, straight and through pgbouncer.

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use crate::variable;

/// The database type of SQLx.
pub type Db = sqlx::Postgres;

/// A pool of its connections.
pub type Pool = sqlx::PgPool;

/// The text of a statement of the shared tests, with `$1`, `$2` where values belong.
#[must_use]
pub fn sql(text: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(text.to_owned())
}

/// A database of its own for one test. It goes when `tests/run` removes the cluster.
#[derive(Debug)]
pub struct Database {
    name: String,
    url: String,
    bouncer_url: String,
    pool: Pool,
}

impl Database {
    /// Makes an empty database under a random name.
    ///
    /// # Panics
    ///
    /// If `OPHIE_CRYPT_TEST_POSTGRES` or `OPHIE_CRYPT_TEST_PGBOUNCER` is missing, or the server does not answer.
    pub async fn create() -> Self {
        let server = variable("OPHIE_CRYPT_TEST_POSTGRES");
        let bouncer = variable("OPHIE_CRYPT_TEST_PGBOUNCER");
        let name = format!("test_{}", Uuid::new_v4().simple());

        let mut connection = PgConnection::connect(&server)
            .await
            .expect("PostgreSQL answers");
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&mut connection)
            .await
            .expect("the role may create databases");
        connection.close().await.expect("the connection closes");

        let url = with_database(&server, &name);
        let options = PgConnectOptions::from_str(&url).expect("a PostgreSQL URL");
        let pool = PgPoolOptions::new()
            .connect_with(options)
            .await
            .expect("the new database answers");
        Self {
            bouncer_url: with_database(&bouncer, &name),
            name,
            url,
            pool,
        }
    }

    /// A pool of direct connections.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The URL for direct connections.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL for connections through pgbouncer in transaction mode.
    #[must_use]
    pub fn bouncer_url(&self) -> &str {
        &self.bouncer_url
    }

    /// The database's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// `url` with another database.
fn with_database(url: &str, name: &str) -> String {
    let (base, query) = url
        .split_once('?')
        .map_or((url, None), |(base, query)| (base, Some(query)));
    let (server, _) = base
        .rsplit_once('/')
        .expect("the URL ends in a database's name");
    match query {
        Some(query) => format!("{server}/{name}?{query}"),
        None => format!("{server}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn only_the_database_changes() {
        assert_eq!(
            with_database("postgres://u@h:1/postgres", "x"),
            "postgres://u@h:1/x"
        );
        assert_eq!(
            with_database("postgres://u@h/a?sslmode=disable", "x"),
            "postgres://u@h/x?sslmode=disable"
        );
    }
}
