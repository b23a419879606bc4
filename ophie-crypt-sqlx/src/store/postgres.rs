//! The key store on PostgreSQL.
//!
//! Absent: what it shares with other databases (`ophie_crypt_sql`), the listening (`listen`).

use std::sync::Arc;

use ophie_crypt::{OwnerId, ShredError, ShredId, StoreError};
use ophie_crypt_sql::{FailureKind, KeyTables, Notifications};
use sqlx::{PgPool, Postgres, error::DatabaseError, postgres::PgConnectOptions};

use super::listen::Direct;
use crate::PostgresAudit;

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
    keys: KeyTables<PostgresDriver>,
    notifications: Option<Arc<Notifications<Direct>>>,
}

impl PostgresKeyStore {
    /// On the database of this pool.
    #[must_use]
    pub const fn new(pool: PgPool) -> Self {
        Self {
            keys: KeyTables::new(PostgresDriver(pool)),
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
        self.notifications = Some(Arc::new(Notifications::new(Direct::new(direct))));
        self
    }

    /// The audit trail beside the keys, for [`ChainedAudit`](ophie_crypt::ChainedAudit).
    #[must_use]
    pub fn audit(&self) -> PostgresAudit {
        PostgresAudit::new(self.keys.driver().0.clone())
    }

    /// Brings the library's tables up to date. Or run the files in `migrations/postgres` with a
    /// migrator of your own.
    ///
    /// Run it at each deploy as the role that owns the tables, like your own migrations, not as the role
    /// that the application runs as.
    /// Once, give the application's role (here `app`) what it needs to provision, open and seal:
    ///
    /// ```sql
    /// GRANT SELECT ON ophie_crypt_installation TO app;
    /// GRANT SELECT, INSERT ON ophie_crypt_owners, ophie_crypt_deks, ophie_crypt_index_keys,
    ///     ophie_crypt_budgets TO app;
    /// GRANT UPDATE (granted, leased_until) ON ophie_crypt_budgets TO app;
    /// -- to shred, which it cannot undo:
    /// GRANT SELECT, INSERT (owner) ON ophie_crypt_shreds TO app;
    /// -- with a `RestoreGuard`:
    /// GRANT SELECT, INSERT (owner, id, requested_at, entry, appended_at) ON ophie_crypt_shreds TO app;
    /// GRANT UPDATE (epoch, ledger_position, ledger_hash) ON ophie_crypt_installation TO app;
    /// -- with `ChainedAudit`:
    /// GRANT SELECT, INSERT ON ophie_crypt_audit_writers, ophie_crypt_audit_records TO app;
    /// ```
    ///
    /// What [rotates](ophie_crypt::Rotation) needs more than that, best as a role of its own:
    ///
    /// ```sql
    /// GRANT UPDATE (version) ON ophie_crypt_owners TO rotator; -- to lock an owner
    /// GRANT UPDATE (state, stated_at, kek, wrapped, sealed) ON ophie_crypt_deks TO rotator;
    /// GRANT UPDATE (state, announced_at, stated_at, key_id, sealed), DELETE ON ophie_crypt_index_keys TO rotator;
    /// GRANT UPDATE (announced_at) ON ophie_crypt_budgets TO rotator;
    /// ```
    ///
    /// A role that only calls `open_read_only` needs only SELECT on them. The role of a
    /// [`Shredder`](ophie_crypt::Shredder):
    ///
    /// ```sql
    /// GRANT SELECT ON ophie_crypt_installation, ophie_crypt_shreds TO shredder;
    /// GRANT UPDATE (ledger_position, ledger_hash) ON ophie_crypt_installation TO shredder;
    /// GRANT UPDATE (entry, appended_at, tombstoned_at, emptied_at, vacuumed_at, done_at, swept_at, due_at, attempts,
    ///     failure) ON ophie_crypt_shreds TO shredder;
    /// ```
    ///
    /// Only the owner of the tables may vacuum them; for another role, the receipt says that it was not done.
    ///
    /// The role of who calls [`restore_replay`](ophie_crypt::restore_replay) or
    /// [`restore_adopt`](ophie_crypt::restore_adopt); only the latter needs the column `id`:
    ///
    /// ```sql
    /// GRANT SELECT ON ophie_crypt_installation, ophie_crypt_shreds TO restorer;
    /// GRANT INSERT (owner, id, requested_at, entry, appended_at) ON ophie_crypt_shreds TO restorer;
    /// GRANT UPDATE (id, epoch, ledger_position, ledger_hash) ON ophie_crypt_installation TO restorer;
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError`]; "permission denied" if the role may not create tables. The migrator takes an
    /// advisory lock, so run it on a direct connection, not through a transaction-pooling pgbouncer.
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

    /// Destroys the owner's keys in a transaction of the application's own, with its account say: see
    /// [`Keyring::shred`](ophie_crypt::Keyring::shred).
    ///
    /// The connection must be to the database of the keys. Processes learn of it once you commit; if you roll back,
    /// nothing was destroyed. This process's sessions end when it is notified, or at its next re-check.
    ///
    /// ```no_run
    /// use ophie_crypt_sqlx::PostgresKeyStore;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = sqlx::PgPool::connect("postgres://localhost/app").await?;
    /// let mut tx = pool.begin().await?;
    /// PostgresKeyStore::shred_in(&mut tx, &7).await?;
    /// sqlx::query("DELETE FROM users WHERE id = 7").execute(&mut *tx).await?;
    /// tx.commit().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ShredError`].
    pub async fn shred_in(
        connection: &mut sqlx::PgConnection,
        owner: &(impl OwnerId + ?Sized),
    ) -> Result<ShredId, ShredError> {
        shred_in(connection, &owner.canonical()).await
    }

    async fn next_notification(&self) {
        match &self.notifications {
            Some(notifications) => notifications.next().await,
            None => core::future::pending().await,
        }
    }
}

ophie_crypt_sql::key_store!(PostgresKeyStore);
ophie_crypt_sql::rotation_store!(PostgresKeyStore);
ophie_crypt_sql::shred_store!(PostgresKeyStore);

super::driver::driver!(
    PostgresDriver,
    PostgresTransaction,
    PostgresRow,
    Postgres,
    Postgres,
    meaning
);

fn meaning(error: &dyn DatabaseError) -> FailureKind {
    match error.code().as_deref() {
        Some("23505") => FailureKind::Duplicate, // unique_violation
        Some("55P03") => FailureKind::Busy,      // lock_not_available
        Some("53100") => FailureKind::Full,      // disk_full
        Some("42P01") => FailureKind::NotMigrated, // undefined_table
        Some("25006") => FailureKind::ReadOnly,  // read_only_sql_transaction
        Some("40001" | "40P01") => FailureKind::Retry, // serialization_failure, deadlock_detected
        Some("P0001") => FailureKind::Refused,   // raise_exception, of a trigger
        // Data exceptions, constraints.
        Some(code) if code.starts_with("22") || code.starts_with("23") => FailureKind::Refused,
        _ => FailureKind::Unavailable,
    }
}
