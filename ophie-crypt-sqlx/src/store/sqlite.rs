//! The key store on SQLite.
//!
//! Absent: what it shares with other databases (`methods`, `sql`).

use core::time::Duration;
use std::path::Path;

use ophie_crypt::StoreError;
use sqlx::{
    SqlitePool,
    error::DatabaseError,
    migrate::MigrateError,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use crate::audit::sqlite::SqliteAudit;

/// How long a statement waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Keeps wrapped keys in SQLite, in a file of their own.
///
/// ```
/// use ophie_crypt_sqlx::SqliteKeyStore;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = std::env::temp_dir().join(format!("ophie-crypt-sqlx-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// let store = SqliteKeyStore::open(dir.join("keys.db")).await?;
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct SqliteKeyStore {
    pool: SqlitePool,
}

impl SqliteKeyStore {
    /// Opens the file, makes it if there is none, and brings its tables up to date.
    ///
    /// It must not be the application's own database: while a transaction of the application holds the
    /// write lock, no owner could be provisioned and nothing leased.
    ///
    /// # Errors
    ///
    /// [`MigrateError`] if the file cannot be opened or its tables cannot be made.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, MigrateError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full) // power loss must forget no lease
            .busy_timeout(BUSY_TIMEOUT);
        let store = Self::new(SqlitePool::connect_with(options).await?);
        store.migrate().await?;
        Ok(store)
    }

    /// On the database of this pool, which must not be the application's own: see [`open`](Self::open).
    #[must_use]
    pub const fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }

    /// The audit trail beside the keys, for [`ChainedAudit`](ophie_crypt::ChainedAudit).
    #[must_use]
    pub fn audit(&self) -> SqliteAudit {
        SqliteAudit::new(self.pool.clone())
    }

    /// Brings the library's tables up to date. Or run the files in `migrations/sqlite` with a migrator
    /// of your own.
    ///
    /// # Errors
    ///
    /// [`MigrateError`].
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        // SQLx takes no lock on SQLite; several processes may start at once.
        let mut tx = self.pool.begin_with("BEGIN EXCLUSIVE").await?;
        super::migrator(sqlx::migrate!("migrations/sqlite"))
            .run_direct(None, &mut *tx, false) // `run` gives a future that is not `Send`
            .await?;
        Ok(tx.commit().await?)
    }
}

fn meaning(error: &dyn DatabaseError) -> Option<StoreError> {
    // Primary result codes: the low byte of an extended one.
    const READ_ONLY: u32 = 8;
    const FULL: u32 = 13;
    if error.message().starts_with("no such table") {
        return Some(StoreError::NotMigrated);
    }
    let code: u32 = error.code()?.parse().ok()?;
    match code & 0xff {
        READ_ONLY => Some(StoreError::ReadOnly),
        FULL => Some(StoreError::Full),
        _ => None,
    }
}

super::methods::key_store!(
    SqliteKeyStore,
    begin: "BEGIN IMMEDIATE",
    lease: super::sql::SQLITE_LEASE,
    changes: super::sql::SQLITE_CHANGES,
    meaning: meaning,
    notified: |self| core::future::pending().await,
);
