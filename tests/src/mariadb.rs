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

/// The text of a statement of the shared tests, with `?` for its `$1`, `$2`, ..
///
/// # Panics
///
/// If the numbers do not count from 1: `?` has none.
#[must_use]
pub fn sql(text: &str) -> AssertSqlSafe<String> {
    let mut pieces = text.split('$');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for (number, piece) in (1_u32..).zip(pieces) {
        let rest = piece.strip_prefix(&number.to_string());
        let rest = rest.filter(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()));
        let rest = rest.unwrap_or_else(|| panic!("${number} is missing or out of order in {text}"));
        out.push('?');
        out.push_str(rest);
    }
    AssertSqlSafe(out)
}

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

#[cfg(test)]
mod tests {
    use super::sql;

    #[test]
    fn numbers_become_question_marks() {
        assert_eq!(sql("SELECT 1").0, "SELECT 1");
        assert_eq!(sql("a = $1 AND b = $2, $3").0, "a = ? AND b = ?, ?");
        let ten = "$1 $2 $3 $4 $5 $6 $7 $8 $9 $10";
        assert_eq!(sql(ten).0, "? ? ? ? ? ? ? ? ? ?");
    }

    #[test]
    fn numbers_that_do_not_count_are_refused() {
        for text in ["$2", "$1 $1", "$1 $3", "$11", "$"] {
            assert!(std::panic::catch_unwind(|| sql(text)).is_err(), "{text}");
        }
    }
}
