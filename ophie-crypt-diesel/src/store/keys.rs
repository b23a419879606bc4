//! The key store and the audit as an application has them.
//!
//! Absent: what they do (`ophie_crypt_sql`), connections (`blocking`, `asynchronous`).

#[cfg(feature = "async-postgres")]
use std::sync::Arc;

use ophie_crypt::StoreError;
use ophie_crypt_sql::{AuditTables, Driver, KeyTables};

#[cfg(feature = "async-postgres")]
use super::listen::Direct;
use super::sealed::Sealed;

/// A pool of connections for the key store: Diesel's r2d2 (feature `r2d2`), or diesel-async's bb8 or deadpool
/// (features of these names, with `async-postgres` or `async-mysql`).
#[diagnostic::on_unimplemented(
    note = "pools are those of r2d2, bb8 and deadpool; turn on the feature of that name of ophie-crypt-diesel, and for \
            asynchronous connections `async-postgres` or `async-mysql`"
)]
pub trait KeyPool: Sealed + Clone + Send + Sync + 'static {
    /// What the connections speak to.
    type Backend;
    #[doc(hidden)]
    type Driver: Driver;

    #[doc(hidden)]
    fn driver(self) -> Self::Driver;
}

/// Keeps wrapped keys in PostgreSQL 15, MariaDB 10.11 or SQLite, and later ones, in the same tables as the key
/// stores of `ophie-crypt-sqlx`: an application may use both on one database.
///
/// ```
/// use diesel::{SqliteConnection, r2d2::{ConnectionManager, Pool}};
/// use ophie_crypt::{Keyring, LocalKms};
/// use ophie_crypt_diesel::DieselKeyStore;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = std::env::temp_dir().join(format!("ophie-crypt-diesel-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// let file = dir.join("keys.db").display().to_string(); // not the application's own
/// let pool = Pool::new(ConnectionManager::<SqliteConnection>::new(file))?;
/// let store = DieselKeyStore::new(pool);
/// store.migrate().await?;
/// let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(store).build()?;
/// # drop(keyring);
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok(()) }
/// ```
///
/// Synchronous connections work on threads of tokio's that may block, never on the caller's.
///
/// SQLite: let the pool's connections run `PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL` by a
/// `CustomizeConnection`. The file must not be the application's own: while a transaction of the application holds the
/// write lock, no owner could be provisioned and nothing leased.
///
/// MySQL: connections have CLIENT_FOUND_ROWS set, as Diesel's and diesel-async's do by themselves.
///
/// # Security
///
/// As for the stores of `ophie-crypt-sqlx`: give the application's role no more than it needs, and let a commit
/// outlive a crash (`synchronous_commit`, `innodb_flush_log_at_trx_commit`, `synchronous`).
#[derive(Clone)]
pub struct DieselKeyStore<P: KeyPool> {
    keys: KeyTables<P::Driver>,
    #[cfg(feature = "async-postgres")]
    notifications: Option<Arc<ophie_crypt_sql::Notifications<Direct>>>,
}

impl<P: KeyPool> DieselKeyStore<P> {
    /// On the database of this pool.
    #[must_use]
    pub fn new(pool: P) -> Self {
        Self {
            keys: KeyTables::new(pool.driver()),
            #[cfg(feature = "async-postgres")]
            notifications: None,
        }
    }

    /// The audit trail beside the keys, for [`ChainedAudit`](ophie_crypt::ChainedAudit).
    #[must_use]
    pub fn audit(&self) -> DieselAudit<P> {
        DieselAudit {
            tables: AuditTables::new(self.keys.driver().clone()),
        }
    }

    /// Brings the library's tables up to date, whoever made them: a store of `ophie-crypt-sqlx`, Diesel's
    /// harness with [`Migrations`](crate::Migrations), or the files in `migrations/` run by hand.
    ///
    /// Run it at each deploy as the role that owns the tables, like your own migrations, not as the role
    /// that the application runs as. What that role needs, the key stores of `ophie-crypt-sqlx` list.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn migrate(&self) -> Result<(), StoreError> {
        ophie_crypt_sql::migrate(self.keys.driver()).await
    }

    #[cfg(not(feature = "async-postgres"))]
    async fn next_notification(&self) {
        core::future::pending().await
    }

    #[cfg(feature = "async-postgres")]
    async fn next_notification(&self) {
        match &self.notifications {
            Some(notifications) => notifications.next().await,
            None => core::future::pending().await,
        }
    }
}

#[cfg(feature = "async-postgres")]
impl<P: KeyPool<Backend = diesel::pg::Pg>> DieselKeyStore<P> {
    /// Learns of changed keys at once, over one more connection, which must be a direct one: LISTEN does
    /// not pass a transaction-pooling pgbouncer. Without it, or while it is lost, changes are found at
    /// the keyring's next re-check.
    ///
    /// It connects when the keyring first waits for a change, and again whenever the connection is lost. For
    /// TLS, make the connection from a client of your own, with `AsyncPgConnection::try_from`.
    ///
    /// ```no_run
    /// use diesel_async::{AsyncConnection, AsyncPgConnection};
    /// use ophie_crypt_diesel::{DieselKeyStore, KeyPool};
    ///
    /// # fn example(pool: impl KeyPool<Backend = diesel::pg::Pg>) {
    /// let store = DieselKeyStore::new(pool) // through pgbouncer, say
    ///     .with_notifications(|| AsyncPgConnection::establish("postgres://server/app"));
    /// # }
    /// ```
    #[must_use]
    pub fn with_notifications<F>(mut self, connect: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = diesel::ConnectionResult<diesel_async::AsyncPgConnection>>
            + Send
            + 'static,
    {
        let direct = Direct::new(connect);
        self.notifications = Some(Arc::new(ophie_crypt_sql::Notifications::new(direct)));
        self
    }
}

ophie_crypt_sql::key_store!(DieselKeyStore<P: KeyPool>);
ophie_crypt_sql::rotation_store!(DieselKeyStore<P: KeyPool>);
ophie_crypt_sql::shred_store!(DieselKeyStore<P: KeyPool>);

/// Keeps the audit trail in the library's tables: [`DieselKeyStore::audit`], or on a pool of its own.
///
/// ```no_run
/// use diesel::{SqliteConnection, r2d2::{ConnectionManager, Pool}};
/// use ophie_crypt::{ChainedAudit, LocalKms};
/// use ophie_crypt_diesel::DieselAudit;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::new(ConnectionManager::<SqliteConnection>::new("keys.db"))?;
/// let kms = LocalKms::open("master.key")?;
/// let audit = ChainedAudit::builder(DieselAudit::new(pool), kms).start().await?;
/// # Ok(()) }
/// ```
///
/// # Security
///
/// Give the application's role INSERT and SELECT on `ophie_crypt_audit_writers` and
/// `ophie_crypt_audit_records`, and the auditor's SELECT, no more. Records are as durable as a commit.
#[derive(Clone)]
pub struct DieselAudit<P: KeyPool> {
    tables: AuditTables<P::Driver>,
}

impl<P: KeyPool> DieselAudit<P> {
    /// On the database of this pool, which has the library's tables.
    #[must_use]
    pub fn new(pool: P) -> Self {
        Self {
            tables: AuditTables::new(pool.driver()),
        }
    }
}

ophie_crypt_sql::audit_store!(DieselAudit<P: KeyPool>);
