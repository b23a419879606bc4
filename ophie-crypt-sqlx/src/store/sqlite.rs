//! The key store on SQLite.
//!
//! Absent: what it shares with other databases (`ophie_crypt_sql`).

use core::time::Duration;
use std::path::Path;

use ophie_crypt::{OwnerId, ShredError, ShredId, StoreError};
use ophie_crypt_sql::{FailureKind, KeyTables};
use sqlx::{
    Sqlite, SqlitePool,
    error::DatabaseError,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use crate::SqliteAudit;

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
    keys: KeyTables<SqliteDriver>,
}

impl SqliteKeyStore {
    /// Opens the file, makes it if there is none, and brings its tables up to date.
    ///
    /// It must not be the application's own database: while a transaction of the application holds the
    /// write lock, no owner could be provisioned and nothing leased.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the file cannot be opened or its tables cannot be made.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full) // power loss must forget no lease
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePool::connect_with(options).await;
        let store = Self::new(pool.map_err(StoreError::unavailable)?);
        store.migrate().await?;
        Ok(store)
    }

    /// On the database of this pool, which must not be the application's own: see [`open`](Self::open).
    #[must_use]
    pub const fn new(pool: SqlitePool) -> Self {
        Self {
            keys: KeyTables::new(SqliteDriver(pool)),
        }
    }

    /// The audit trail beside the keys, for [`ChainedAudit`](ophie_crypt::ChainedAudit).
    #[must_use]
    pub fn audit(&self) -> SqliteAudit {
        SqliteAudit::new(self.keys.driver().0.clone())
    }

    /// Brings the library's tables up to date. Or run the files in `migrations/sqlite` with a migrator
    /// of your own.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn migrate(&self) -> Result<(), StoreError> {
        ophie_crypt_sql::migrate(self.keys.driver()).await
    }

    /// The number of the last migration of the library's tables that was done here; 0 where there are none.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn schema_version(&self) -> Result<i64, StoreError> {
        ophie_crypt_sql::schema_version(self.keys.driver()).await
    }

    /// Destroys the owner's keys on a connection to the **file of the keys**, in the transaction that it has: see
    /// [`Keyring::shred`](ophie_crypt::Keyring::shred), which is one statement less.
    ///
    /// On SQLite the keys have a file of their own, so this is never the transaction in which the application deletes the
    /// account in its own file: no rollback there takes it back. Delete the account once the shred is committed; if the
    /// process dies in between, the account is there without keys, and deleting it again mends that.
    ///
    /// ```no_run
    /// use ophie_crypt_sqlx::SqliteKeyStore;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let (keys, app) = (sqlx::SqlitePool::connect("sqlite:keys.db").await?, sqlx::SqlitePool::connect("sqlite:app.db").await?);
    /// let mut tx = keys.begin().await?;
    /// SqliteKeyStore::shred_in(&mut tx, &7).await?;
    /// tx.commit().await?;
    /// sqlx::query("DELETE FROM users WHERE id = 7").execute(&app).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ShredError`].
    pub async fn shred_in(
        connection: &mut sqlx::SqliteConnection,
        owner: &(impl OwnerId + ?Sized),
    ) -> Result<ShredId, ShredError> {
        shred_in(connection, &owner.canonical()).await
    }

    async fn next_notification(&self) {
        core::future::pending().await // there are none
    }
}

ophie_crypt_sql::key_store!(SqliteKeyStore);
ophie_crypt_sql::rotation_store!(SqliteKeyStore);
ophie_crypt_sql::shred_store!(SqliteKeyStore);

super::driver::driver!(
    SqliteDriver,
    SqliteTransaction,
    SqliteRow,
    Sqlite,
    Sqlite,
    meaning
);

fn meaning(error: &dyn DatabaseError) -> FailureKind {
    // Primary result codes: the low byte of an extended one.
    const READ_ONLY: u32 = 8;
    const FULL: u32 = 13;
    const TOO_BIG: u32 = 18;
    const CONSTRAINT: u32 = 19;
    const MISMATCH: u32 = 20;
    if error.message().starts_with("no such table") {
        return FailureKind::NotMigrated;
    }
    if error.is_unique_violation() {
        return FailureKind::Duplicate;
    }
    let code: Option<u32> = error.code().and_then(|code| code.parse().ok());
    match code.map(|code| code & 0xff) {
        Some(READ_ONLY) => FailureKind::ReadOnly,
        Some(FULL) => FailureKind::Full,
        Some(TOO_BIG | CONSTRAINT | MISMATCH) => FailureKind::Refused,
        _ => FailureKind::Unavailable,
    }
}
