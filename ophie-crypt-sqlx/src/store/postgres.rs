//! The key store on PostgreSQL.
//!
//! Absent: what it shares with other databases (`methods`, `sql`), the listening (`listen`).

use std::sync::Arc;

use ophie_crypt::StoreError;
use sqlx::{PgPool, error::DatabaseError, migrate::MigrateError, postgres::PgConnectOptions};

use super::listen::Notifications;
use crate::audit::postgres::PostgresAudit;

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
/// Give the application's role what [`migrate`](Self::migrate) lists, no more. Budgets count what was sealed under a key: with
/// `synchronous_commit = off`, a crash forgets some of it.
#[derive(Clone)]
pub struct PostgresKeyStore {
    pool: PgPool,
    notifications: Option<Arc<Notifications>>,
}

impl PostgresKeyStore {
    /// On the database of this pool.
    #[must_use]
    pub const fn new(pool: PgPool) -> Self {
        Self {
            pool,
            notifications: None,
        }
    }

    /// Learns of changed keys at once, over one more connection, which must be a direct one: LISTEN does
    /// not pass a transaction-pooling pgbouncer. Without it, or while it is lost, changes are found at
    /// the keyring's next re-check.
    ///
    /// It connects when the keyring first waits for a change, and again whenever the connection is lost.
    ///
    /// ```no_run
    /// use ophie_crypt_sqlx::PostgresKeyStore;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = sqlx::PgPool::connect("postgres://pgbouncer/app").await?;
    /// let store = PostgresKeyStore::new(pool).with_notifications("postgres://server/app".parse()?);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_notifications(mut self, direct: PgConnectOptions) -> Self {
        self.notifications = Some(Arc::new(Notifications::new(direct)));
        self
    }

    /// The audit trail beside the keys, for [`ChainedAudit`](ophie_crypt::ChainedAudit).
    #[must_use]
    pub fn audit(&self) -> PostgresAudit {
        PostgresAudit::new(self.pool.clone())
    }

    /// Brings the library's tables up to date. Or run the files in `migrations/postgres` with a
    /// migrator of your own.
    ///
    /// Run it at each deploy as the role that owns the tables, like your own migrations, not as the role
    /// that the application runs as: it needs the right to create tables even where it finds nothing to do.
    /// Once, give the application's role (here `app`) what it needs to provision, open and seal:
    ///
    /// ```sql
    /// GRANT SELECT ON ophie_crypt_installation TO app;
    /// GRANT SELECT, INSERT ON ophie_crypt_owners, ophie_crypt_deks, ophie_crypt_index_keys,
    ///     ophie_crypt_budgets TO app;
    /// GRANT UPDATE (granted, leased_until) ON ophie_crypt_budgets TO app;
    /// -- with `ChainedAudit`:
    /// GRANT SELECT, INSERT ON ophie_crypt_audit_writers, ophie_crypt_audit_records TO app;
    /// ```
    ///
    /// A role that only calls `open_read_only` needs only SELECT on them.
    ///
    /// # Errors
    ///
    /// [`MigrateError`]; "permission denied" if the role may not create tables. The migrator takes an
    /// advisory lock, so run it on a direct connection, not through a transaction-pooling pgbouncer.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        super::migrator(sqlx::migrate!("migrations/postgres"))
            .run(&self.pool)
            .await
    }
}

fn meaning(error: &dyn DatabaseError) -> Option<StoreError> {
    match error.code()?.as_ref() {
        "53100" => Some(StoreError::Full),        // disk_full
        "42P01" => Some(StoreError::NotMigrated), // undefined_table
        "25006" => Some(StoreError::ReadOnly),    // read_only_sql_transaction
        _ => None,
    }
}

super::methods::key_store!(
    PostgresKeyStore,
    // Whatever the role's default: under a stricter level the loser of a race fails instead of waiting.
    begin: "BEGIN ISOLATION LEVEL READ COMMITTED",
    lease: super::sql::POSTGRES_LEASE,
    changes: super::sql::POSTGRES_CHANGES,
    meaning: meaning,
    notified: |self| match &self.notifications {
        Some(notifications) => notifications.next().await,
        None => core::future::pending().await,
    },
);
