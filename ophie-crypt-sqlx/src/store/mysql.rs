//! The key store on MariaDB.
//!
//! Absent: what it shares with other databases (`ophie_crypt_sql`).

use ophie_crypt::{OwnerId, ShredError, ShredId, StoreError};
use ophie_crypt_sql::{FailureKind, KeyTables};
use sqlx::{MySql, MySqlPool, error::DatabaseError, mysql::MySqlDatabaseError};

use crate::MySqlAudit;

/// Keeps wrapped keys in MariaDB 10.11 and later. The statements are MySQL's too, but for MySQL they are not tested.
///
/// ```no_run
/// use ophie_crypt_sqlx::MySqlKeyStore;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = sqlx::MySqlPool::connect("mysql://localhost/app").await?;
/// let store = MySqlKeyStore::new(pool);
/// store.migrate().await?;
/// # Ok(()) }
/// ```
///
/// There are no notifications here: changed keys are found at the keyring's next re-check, or at their renewal if
/// the transaction that changed them took more than 15 minutes.
///
/// # Security
///
/// Give the application's role what [`migrate`](Self::migrate) lists, no more. Budgets count what was sealed under a key: with
/// `innodb_flush_log_at_trx_commit` other than 1, a crash forgets some of it. A replica must have `read_only`
/// set, by which the library knows that it may be behind.
#[derive(Clone)]
pub struct MySqlKeyStore {
    keys: KeyTables<MySqlDriver>,
}

impl MySqlKeyStore {
    /// On the database of this pool.
    #[must_use]
    pub const fn new(pool: MySqlPool) -> Self {
        Self {
            keys: KeyTables::new(MySqlDriver(pool)),
        }
    }

    /// The audit trail beside the keys, for [`ChainedAudit`](ophie_crypt::ChainedAudit).
    #[must_use]
    pub fn audit(&self) -> MySqlAudit {
        MySqlAudit::new(self.keys.driver().0.clone())
    }

    /// Brings the library's tables up to date. Or run the files in `migrations/mysql` with a
    /// migrator of your own.
    ///
    /// Run it at each deploy as the role that owns the tables, like your own migrations; with the binary log on,
    /// that role needs the right to make triggers (`log_bin_trust_function_creators`). Once, give the
    /// application's role (here `app`) what it needs to provision, open and seal:
    ///
    /// ```sql
    /// GRANT SELECT ON ophie_crypt_installation TO app;
    /// GRANT SELECT, INSERT ON ophie_crypt_owners TO app;
    /// GRANT SELECT, INSERT ON ophie_crypt_deks TO app;
    /// GRANT SELECT, INSERT ON ophie_crypt_index_keys TO app;
    /// GRANT SELECT, INSERT, UPDATE (granted, leased_until) ON ophie_crypt_budgets TO app;
    /// -- to shred, which it cannot undo:
    /// GRANT SELECT, INSERT (owner) ON ophie_crypt_shreds TO app;
    /// -- with a `RestoreGuard`:
    /// GRANT SELECT, INSERT (owner, id, requested_at, entry, appended_at) ON ophie_crypt_shreds TO app;
    /// GRANT UPDATE (epoch, ledger_position, ledger_hash) ON ophie_crypt_installation TO app;
    /// -- with `ChainedAudit`:
    /// GRANT SELECT, INSERT ON ophie_crypt_audit_writers TO app;
    /// GRANT SELECT, INSERT ON ophie_crypt_audit_records TO app;
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
    /// GRANT SELECT, UPDATE (ledger_position, ledger_hash) ON ophie_crypt_installation TO shredder;
    /// GRANT SELECT, UPDATE (entry, appended_at, tombstoned_at, emptied_at, vacuumed_at, done_at, swept_at, due_at,
    ///     attempts, failure) ON ophie_crypt_shreds TO shredder;
    /// ```
    ///
    /// The role of who calls [`restore_replay`](ophie_crypt::restore_replay) or
    /// [`restore_adopt`](ophie_crypt::restore_adopt); only the latter needs the column `id`:
    ///
    /// ```sql
    /// GRANT SELECT, UPDATE (id, epoch, ledger_position, ledger_hash) ON ophie_crypt_installation TO restorer;
    /// GRANT SELECT, INSERT (owner, id, requested_at, entry, appended_at) ON ophie_crypt_shreds TO restorer;
    /// ```
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

    /// Destroys the owner's keys in a transaction of the application's own, with its account say: see
    /// [`Keyring::shred`](ophie_crypt::Keyring::shred).
    ///
    /// The connection must be to the database of the keys. Processes learn of it once you commit; if you roll back,
    /// nothing was destroyed. This process's sessions end when it is notified, or at its next re-check.
    ///
    /// ```no_run
    /// use ophie_crypt_sqlx::MySqlKeyStore;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = sqlx::MySqlPool::connect("mysql://localhost/app").await?;
    /// let mut tx = pool.begin().await?;
    /// MySqlKeyStore::shred_in(&mut tx, &7).await?;
    /// sqlx::query("DELETE FROM users WHERE id = 7").execute(&mut *tx).await?;
    /// tx.commit().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ShredError`].
    pub async fn shred_in(
        connection: &mut sqlx::MySqlConnection,
        owner: &(impl OwnerId + ?Sized),
    ) -> Result<ShredId, ShredError> {
        shred_in(connection, &owner.canonical()).await
    }

    async fn next_notification(&self) {
        core::future::pending().await // there are none
    }
}

ophie_crypt_sql::key_store!(MySqlKeyStore);
ophie_crypt_sql::rotation_store!(MySqlKeyStore);
ophie_crypt_sql::shred_store!(MySqlKeyStore);

super::driver::driver!(
    MySqlDriver,
    MySqlTransaction,
    MySqlRow,
    MySql,
    MySql,
    meaning
);

/// By the numbers in MySQL's and MariaDB's lists of errors.
fn meaning(error: &dyn DatabaseError) -> FailureKind {
    match error
        .try_downcast_ref::<MySqlDatabaseError>()
        .map(MySqlDatabaseError::number)
    {
        Some(number) => FailureKind::of_mysql(number),
        None => FailureKind::Unavailable,
    }
}
