//! Databases in files of their own, in SQLite's WAL mode.

use std::path::{Path, PathBuf};

use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use tempfile::TempDir;

/// The database type of SQLx.
pub type Db = sqlx::Sqlite;

/// A pool of its connections.
pub type Pool = sqlx::SqlitePool;

/// The text of a statement of the shared tests, with `$1`, `$2` where values belong.
#[must_use]
pub fn sql(text: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(text.to_owned())
}

/// A database file of its own for one test. It goes when the value is dropped.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    url: String,
    pool: Pool,
    folder: TempDir,
}

impl Database {
    /// Makes an empty database in a folder of its own.
    ///
    /// # Panics
    ///
    /// If the temporary folder or the file cannot be made.
    pub async fn create() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("test.db");
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal);
        let pool = SqlitePoolOptions::new()
            .connect_with(options)
            .await
            .expect("the new file opens");
        Self {
            url: format!("sqlite://{}", path.display()),
            path,
            pool,
            folder,
        }
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

    /// The database file; `-wal` and `-shm` lie beside it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that holds nothing but this database.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
