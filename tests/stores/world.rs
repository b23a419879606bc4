//! A store of each kind, on a database of its own, and changes by hand.

use std::{sync::Arc, time::Duration};

use diesel::{
    Connection, MysqlConnection, PgConnection, SqliteConnection,
    connection::SimpleConnection,
    r2d2::{self, ConnectionManager, CustomizeConnection, Pool},
};
use diesel_async::{
    AsyncMysqlConnection, AsyncPgConnection,
    pooled_connection::{AsyncDieselConnectionManager, bb8, deadpool},
};
use ophie_crypt::{
    CanonicalId, FileLedger, LeaseRequest, MemoryKeyStore, MemoryShares, Models, OwnerRecord,
    StoreError,
};
use ophie_crypt_diesel::{DieselKeyStore, DieselLedger, DieselModels, DieselShares};
use ophie_crypt_sqlx::{
    MySqlKeyStore, MySqlLedger, MySqlModels, MySqlShares, PostgresKeyStore, PostgresLedger,
    PostgresModels, PostgresShares, SqliteKeyStore, SqliteLedger, SqliteModels, SqliteShares,
};
use ophie_crypt_tests::{mariadb, postgres, sqlite};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

pub(crate) use crate::stores::{Shares, Store, Table, Tables};

pub(crate) const LIFE: Duration = Duration::from_secs(600);

/// A store and the driver below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Memory,
    SqlxMariaDb,
    SqlxPostgres,
    SqlxSqlite,
    DieselMariaDb,
    DieselPostgres,
    DieselSqlite,
    /// Over a pool of bb8's.
    AsyncMariaDb,
    /// Over a pool of deadpool's.
    AsyncPostgres,
}

pub(crate) fn is_mariadb(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::SqlxMariaDb | Kind::DieselMariaDb | Kind::AsyncMariaDb
    )
}

pub(crate) fn is_postgres(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::SqlxPostgres | Kind::DieselPostgres | Kind::AsyncPostgres
    )
}

pub(crate) fn is_sqlite(kind: Kind) -> bool {
    matches!(kind, Kind::SqlxSqlite | Kind::DieselSqlite)
}

/// Bytes in a statement.
pub(crate) fn literal(kind: Kind, bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match is_postgres(kind) {
        true => format!("'\\x{hex}'::bytea"),
        false => format!("x'{hex}'"),
    }
}

/// A database of its own, and SQLx's connections to it for changes by hand.
pub(crate) enum Database {
    Memory(Arc<MemoryKeyStore>),
    MariaDb(mariadb::Database),
    Postgres(postgres::Database),
    Sqlite(sqlite::Database),
}

/// `$call` with the pool of whichever database it is, and MariaDB's places in the statement.
macro_rules! on_pool {
    ($database:expr, $sql:expr, |$pool:ident, $text:ident| $call:expr) => {
        match $database {
            Database::Memory(_) => unreachable!("there is no SQL in memory"),
            Database::MariaDb(database) => {
                let ($pool, $text) = (database.pool(), AssertSqlSafe($sql.replace("$1", "?")));
                $call
            }
            Database::Postgres(database) => {
                let ($pool, $text) = (database.pool(), AssertSqlSafe($sql.to_owned()));
                $call
            }
            Database::Sqlite(database) => {
                let ($pool, $text) = (database.pool(), AssertSqlSafe($sql.to_owned()));
                $call
            }
        }
    };
}

/// One of SQLx's types, or Diesel's, over a new pool of the kind's connections.
macro_rules! over_pool {
    ($kind:expr, $url:expr, [$mysql:ident, $postgres:ident, $sqlite:ident, $diesel:ident] $(, $more:expr)?) => {
        match $kind {
            Kind::Memory => unreachable!("a database has no memory store"),
            Kind::SqlxMariaDb => {
                Arc::new($mysql::new(mariadb::Pool::connect($url).await.unwrap() $(, $more)?))
            }
            Kind::SqlxPostgres => {
                Arc::new($postgres::new(postgres::Pool::connect($url).await.unwrap() $(, $more)?))
            }
            Kind::SqlxSqlite => {
                Arc::new($sqlite::new(sqlite::Pool::connect($url).await.unwrap() $(, $more)?))
            }
            Kind::DieselMariaDb => {
                Arc::new($diesel::new(pool::<MysqlConnection>($url, Plain) $(, $more)?))
            }
            Kind::DieselPostgres => {
                Arc::new($diesel::new(pool::<PgConnection>($url, Plain) $(, $more)?))
            }
            Kind::DieselSqlite => {
                let path = $url.trim_start_matches("sqlite://");
                Arc::new($diesel::new(pool::<SqliteConnection>(path, Patient) $(, $more)?))
            }
            Kind::AsyncMariaDb => {
                let manager = AsyncDieselConnectionManager::<AsyncMysqlConnection>::new($url);
                let pool = bb8::Pool::builder().max_size(4).build(manager);
                Arc::new($diesel::new(pool.await.unwrap() $(, $more)?))
            }
            Kind::AsyncPostgres => {
                let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new($url);
                let pool = deadpool::Pool::builder(manager).max_size(4).build();
                Arc::new($diesel::new(pool.unwrap() $(, $more)?))
            }
        }
    };
}

impl Database {
    pub(crate) async fn create(kind: Kind) -> Self {
        match kind {
            Kind::Memory => Self::Memory(Arc::new(MemoryKeyStore::new())),
            Kind::SqlxMariaDb | Kind::DieselMariaDb | Kind::AsyncMariaDb => {
                Self::MariaDb(mariadb::Database::create().await)
            }
            Kind::SqlxPostgres | Kind::DieselPostgres | Kind::AsyncPostgres => {
                Self::Postgres(postgres::Database::create().await)
            }
            Kind::SqlxSqlite | Kind::DieselSqlite => Self::Sqlite(sqlite::Database::create().await),
        }
    }

    fn url(&self) -> &str {
        match self {
            Self::Memory(_) => unreachable!("there is no database in memory"),
            Self::MariaDb(database) => database.url(),
            Self::Postgres(database) => database.url(),
            Self::Sqlite(database) => database.url(),
        }
    }

    /// A new store with connections of its own, as another process would have it.
    pub(crate) async fn store(&self, kind: Kind) -> Arc<dyn Store> {
        if let Self::Memory(store) = self {
            return store.clone();
        }
        over_pool!(
            kind,
            self.url(),
            [
                MySqlKeyStore,
                PostgresKeyStore,
                SqliteKeyStore,
                DieselKeyStore
            ]
        )
    }

    /// The application's tables, over the driver of this kind.
    pub(crate) async fn models(&self, kind: Kind, models: Models) -> Arc<dyn Tables> {
        over_pool!(
            kind,
            self.url(),
            [MySqlModels, PostgresModels, SqliteModels, DieselModels],
            models
        )
    }

    /// A ledger in a table, over the driver of this kind; in memory's place, one in a file.
    pub(crate) async fn ledger(&self, kind: Kind) -> Arc<dyn Table> {
        if kind == Kind::Memory {
            let file = std::env::temp_dir().join(format!("ophie-crypt-{}", Uuid::new_v4()));
            return Arc::new(FileLedger::open_or_create(file).unwrap());
        }
        over_pool!(
            kind,
            self.url(),
            [MySqlLedger, PostgresLedger, SqliteLedger, DieselLedger]
        )
    }

    /// Shares in a table, over the driver of this kind.
    pub(crate) async fn shares(&self, kind: Kind) -> Arc<dyn Shares> {
        self.shares_of(kind, "tests").await
    }

    /// Of the key store that is called so.
    pub(crate) async fn shares_of(&self, kind: Kind, key_store: &str) -> Arc<dyn Shares> {
        if kind == Kind::Memory {
            return Arc::new(MemoryShares::new());
        }
        over_pool!(
            kind,
            self.url(),
            [MySqlShares, PostgresShares, SqliteShares, DieselShares],
            key_store
        )
    }

    /// A statement whose `$1` is the owner.
    pub(crate) async fn run(&self, sql: &str, owner: &CanonicalId) -> Result<u64, sqlx::Error> {
        on_pool!(self, sql, |pool, text| {
            let query = sqlx::query(text).bind(owner.as_bytes());
            query.execute(pool).await.map(|done| done.rows_affected())
        })
    }

    /// A statement in a transaction that stays open.
    pub(crate) async fn hold(&self, sql: &str) -> Held {
        let mut held = match self {
            Self::Memory(_) => unreachable!("there is no SQL in memory"),
            Self::MariaDb(database) => Held::MariaDb(database.pool().begin().await.unwrap()),
            Self::Postgres(database) => Held::Postgres(database.pool().begin().await.unwrap()),
            Self::Sqlite(database) => {
                Held::Sqlite(database.pool().begin_with("BEGIN IMMEDIATE").await.unwrap())
            }
        };
        held.run(sql).await.unwrap();
        held
    }

    /// Statements without parameters.
    pub(crate) async fn run_plain(&self, sql: &str) -> Result<(), sqlx::Error> {
        on_pool!(self, sql, |pool, text| sqlx::raw_sql(text)
            .execute(pool)
            .await
            .map(drop))
    }

    /// Id, text and mood of an owner's rows.
    pub(crate) async fn rows(&self, owner: i64) -> Vec<(i64, Option<Vec<u8>>, Vec<u8>)> {
        let sql =
            format!("SELECT id, text, mood FROM rotated_notes WHERE user_id = {owner} ORDER BY id");
        on_pool!(self, sql, |pool, text| {
            sqlx::query_as(text).fetch_all(pool).await.unwrap()
        })
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        on_pool!(self, sql, |pool, text| {
            sqlx::query_scalar(text).fetch_one(pool).await.unwrap()
        })
    }

    pub(crate) async fn text(&self, sql: &str) -> String {
        on_pool!(self, sql, |pool, text| {
            sqlx::query_scalar(text).fetch_one(pool).await.unwrap()
        })
    }
}

/// A transaction that is open.
pub(crate) enum Held {
    MariaDb(sqlx::Transaction<'static, sqlx::MySql>),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
}

impl Held {
    /// Statements without parameters.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Self::MariaDb(tx) => sql.execute(&mut **tx).await.map(drop),
            Self::Postgres(tx) => sql.execute(&mut **tx).await.map(drop),
            Self::Sqlite(tx) => sql.execute(&mut **tx).await.map(drop),
        }
    }

    pub(crate) async fn number(&mut self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::MariaDb(tx) => sqlx::query_scalar(sql).fetch_one(&mut **tx).await,
            Self::Postgres(tx) => sqlx::query_scalar(sql).fetch_one(&mut **tx).await,
            Self::Sqlite(tx) => sqlx::query_scalar(sql).fetch_one(&mut **tx).await,
        }
        .unwrap()
    }

    pub(crate) async fn commit(self) {
        match self {
            Self::MariaDb(tx) => tx.commit().await,
            Self::Postgres(tx) => tx.commit().await,
            Self::Sqlite(tx) => tx.commit().await,
        }
        .unwrap();
    }
}

#[derive(Debug)]
struct Plain;

impl<C> CustomizeConnection<C, r2d2::Error> for Plain {}

/// Waits for the write lock, as SQLx does by itself.
#[derive(Debug)]
struct Patient;

impl CustomizeConnection<SqliteConnection, r2d2::Error> for Patient {
    fn on_acquire(&self, connection: &mut SqliteConnection) -> Result<(), r2d2::Error> {
        connection
            .batch_execute("PRAGMA busy_timeout = 5000; PRAGMA synchronous = FULL")
            .map_err(r2d2::Error::QueryError)
    }
}

fn pool<C>(
    url: &str,
    customizer: impl CustomizeConnection<C, r2d2::Error>,
) -> Pool<ConnectionManager<C>>
where
    C: Connection + r2d2::R2D2Connection + 'static,
{
    Pool::builder()
        .max_size(4)
        .min_idle(Some(0))
        .connection_customizer(Box::new(customizer))
        .build(ConnectionManager::new(url))
        .unwrap()
}

/// A migrated key store with one provisioned owner.
pub(crate) struct Keys {
    pub(crate) kind: Kind,
    pub(crate) database: Database,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) owner: CanonicalId,
}

impl Keys {
    pub(crate) async fn new(kind: Kind) -> Self {
        let database = Database::create(kind).await;
        let store = database.store(kind).await;
        store.migrate().await.unwrap();
        let owner = CanonicalId::text("ada");
        provision(&*store, &owner).await.unwrap();
        Self {
            kind,
            database,
            store,
            owner,
        }
    }

    pub(crate) async fn run(&self, sql: &str) -> Result<u64, sqlx::Error> {
        self.database.run(sql, &self.owner).await
    }

    pub(crate) async fn load(&self) -> Result<Option<OwnerRecord>, StoreError> {
        self.store.load(&self.owner).await
    }

    pub(crate) async fn version(&self) -> u64 {
        let version = self.store.version(&self.owner).await.unwrap();
        version.expect("the owner is there")
    }

    pub(crate) fn request(&self, count: u32, limit: u64) -> LeaseRequest {
        LeaseRequest::new(self.owner.clone(), 1, count, limit, LIFE)
    }

    pub(crate) async fn processes(&self, count: usize) -> Vec<Arc<dyn Store>> {
        let mut stores = Vec::new();
        for _ in 0..count {
            stores.push(self.database.store(self.kind).await);
        }
        stores
    }
}

pub(crate) use ophie_crypt_tests::keys::first_keys;

pub(crate) async fn provision(store: &dyn Store, owner: &CanonicalId) -> Result<(), StoreError> {
    let (dek, index_key) = first_keys();
    store.insert_if_absent(owner, &dek, &index_key).await
}
