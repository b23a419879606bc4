//! Databases on the MariaDB server that `tests/run` starts.

use std::str::FromStr;

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use uuid::Uuid;

use crate::variable;

/// The database type of SQLx.
pub type Db = sqlx::MySql;

/// A pool of its connections.
pub type Pool = sqlx::MySqlPool;

/// A database of its own for one test. It goes when `tests/run` removes the server.
#[derive(Debug)]
pub struct Database {
    name: String,
    url: String,
    pool: Pool,
}

impl Database {
    /// Makes an empty database under a random name.
    ///
    /// # Panics
    ///
    /// If `OPHIE_CRYPT_TEST_MARIADB` is missing, or the server does not answer.
    pub async fn create() -> Self {
        let server = variable("OPHIE_CRYPT_TEST_MARIADB");
        let name = format!("test_{}", Uuid::new_v4().simple());

        let mut connection = MySqlConnection::connect(&server)
            .await
            .expect("MariaDB answers");
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&mut connection)
            .await
            .expect("the role may create databases");
        connection.close().await.expect("the connection closes");

        let (base, _) = server
            .rsplit_once('/')
            .expect("the URL ends in a database's name");
        let url = format!("{base}/{name}");
        let options = MySqlConnectOptions::from_str(&url).expect("a MySQL URL");
        let pool = MySqlPoolOptions::new()
            .connect_with(options)
            .await
            .expect("the new database answers");
        Self { name, url, pool }
    }

    /// A pool of connections.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The URL for further connections.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The database's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}
