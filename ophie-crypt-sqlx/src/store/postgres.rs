//! The key store on PostgreSQL.

use sqlx::{PgPool, migrate::MigrateError};

/// Keeps wrapped keys in PostgreSQL 15 and later, also through pgbouncer in transaction mode.
///
/// ```no_run
/// use ophie_crypt_sqlx::PostgresKeyStore;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = sqlx::PgPool::connect("postgres://localhost/app").await?;
/// let store = PostgresKeyStore::new(pool);
/// store.migrate().await?;
/// # Ok(()) }
/// ```
///
/// # Security
///
/// Give the application's role SELECT and INSERT on the tables, no more.
#[derive(Clone)]
pub struct PostgresKeyStore {
    pool: PgPool,
}

impl PostgresKeyStore {
    /// On the database of this pool.
    #[must_use]
    pub const fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Brings the library's tables up to date. Or run the files in `migrations/postgres` with a
    /// migrator of your own.
    ///
    /// # Errors
    ///
    /// [`MigrateError`]. The migrator takes an advisory lock, so run it on a direct connection, not
    /// through a transaction-pooling pgbouncer.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        super::migrator(sqlx::migrate!("migrations/postgres"))
            .run(&self.pool)
            .await
    }
}

super::key_store!(PostgresKeyStore, "BEGIN", |error| error.code().as_deref()
    == Some("42P01")); // undefined_table
