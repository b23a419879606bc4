//! Databases by their URLs: the only files of the command that know SQLx.
//!
//! Invariant: nothing here writes but the library's own stores, and no value of a row leaves but counts. Absent:
//! statements on the library's tables (`ophie_crypt_sql`).

mod evidence;
mod index;
mod indexed;
mod schema;
mod settings;
mod unnamed;

use core::{str::FromStr, time::Duration};
use std::sync::Arc;

pub(crate) use self::{evidence::Counted, index::Shown};
use ophie_crypt::{
    AuditStore, Ledger, LedgerError, ModelError, Models, RotationStore, RowStore, ShredStore,
    StoreError, soak::SoakStore,
};
use ophie_crypt_sql::{Dialect, TableChanges};
use ophie_crypt_sqlx::{
    MySqlKeyStore, MySqlLedger, MySqlModels, PostgresAudit, PostgresKeyStore, PostgresLedger,
    PostgresModels, SqliteKeyStore, SqliteLedger, SqliteModels,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, MySqlConnection, MySqlPool, PgConnection, PgPool,
    Row, SqliteConnection, SqlitePool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

const WITHIN: Duration = Duration::from_secs(10);
const CONNECTIONS: u32 = 5;

/// A database did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    #[error(
        "`{key}` is no URL of a database; it begins with postgres://, mysql://, mariadb:// or sqlite:"
    )]
    NotAUrl { key: &'static str },
    #[error(
        "the database of `{key}` does not answer; check that it is up, and the URL's host, database, user and password"
    )]
    Unreachable {
        key: &'static str,
        #[source]
        source: sqlx::Error,
    },
    #[error("the database refused a question; see why")]
    Failed(#[source] sqlx::Error),
    #[error("there is no table `{table}` with columns `{column}` and `{owner}` that can be read")]
    NoColumn {
        table: String,
        column: String,
        owner: String,
        #[source]
        source: sqlx::Error,
    },
}

/// A pool of connections.
#[derive(Clone)]
pub(crate) enum Database {
    MySql(MySqlPool),
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// The stores over the tables of the keys.
#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) audit: Arc<dyn AuditStore>,
    pub(crate) rotation: Arc<dyn RotationStore>,
    pub(crate) shreds: Arc<dyn ShredStore>,
}

/// Whether this names a database, and not a file or a key.
pub(crate) fn is_url(text: &str) -> bool {
    ["postgres:", "postgresql:", "mysql:", "mariadb:", "sqlite:"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

impl Database {
    /// Connects, and makes nothing but an SQLite file if that is asked for.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`], without the URL.
    pub(crate) async fn connect(
        key: &'static str,
        url: &str,
        create: bool,
    ) -> Result<Self, DatabaseError> {
        let not_a_url = |_| DatabaseError::NotAUrl { key };
        let unreachable = |source| DatabaseError::Unreachable { key, source };
        if !is_url(url) {
            return Err(DatabaseError::NotAUrl { key });
        }
        if url.starts_with("postgres") {
            let options = PgConnectOptions::from_str(url).map_err(not_a_url)?;
            let options = options.application_name("ophie-crypt");
            reached::<PgConnection>(&options)
                .await
                .map_err(unreachable)?;
            let pool = PgPoolOptions::new().max_connections(CONNECTIONS);
            return Ok(Self::Postgres(pool.connect_lazy_with(options)));
        }
        if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url).map_err(not_a_url)?;
            let mut options = options
                .create_if_missing(create)
                .busy_timeout(Duration::from_secs(5))
                .synchronous(SqliteSynchronous::Full); // power loss must forget no lease
            if create {
                options = options.journal_mode(SqliteJournalMode::Wal);
            }
            reached::<SqliteConnection>(&options)
                .await
                .map_err(unreachable)?;
            let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS);
            return Ok(Self::Sqlite(pool.connect_lazy_with(options)));
        }
        let options = MySqlConnectOptions::from_str(url).map_err(not_a_url)?;
        reached::<MySqlConnection>(&options)
            .await
            .map_err(unreachable)?;
        let pool = MySqlPoolOptions::new().max_connections(CONNECTIONS);
        Ok(Self::MySql(pool.connect_lazy_with(options)))
    }

    /// Which one it is.
    pub(crate) const fn dialect(&self) -> Dialect {
        match self {
            Self::MySql(_) => Dialect::MySql,
            Self::Postgres(_) => Dialect::Postgres,
            Self::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// Its name for people.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::MySql(_) => "mysql",
            Self::Postgres(_) => "postgres",
            Self::Sqlite(_) => "sqlite",
        }
    }

    pub(crate) fn keys(&self) -> Keys {
        match self {
            Self::MySql(pool) => {
                let store = Arc::new(MySqlKeyStore::new(pool.clone()));
                Keys {
                    audit: Arc::new(store.audit()),
                    rotation: store.clone(),
                    shreds: store,
                }
            }
            Self::Postgres(pool) => {
                let store = Arc::new(PostgresKeyStore::new(pool.clone()));
                Keys {
                    audit: Arc::new(PostgresAudit::new(pool.clone())),
                    rotation: store.clone(),
                    shreds: store,
                }
            }
            Self::Sqlite(pool) => {
                let store = Arc::new(SqliteKeyStore::new(pool.clone()));
                Keys {
                    audit: Arc::new(store.audit()),
                    rotation: store.clone(),
                    shreds: store,
                }
            }
        }
    }

    pub(crate) fn rows(&self, models: Models) -> Arc<dyn RowStore> {
        match self {
            Self::MySql(pool) => Arc::new(MySqlModels::new(pool.clone(), models)),
            Self::Postgres(pool) => Arc::new(PostgresModels::new(pool.clone(), models)),
            Self::Sqlite(pool) => Arc::new(SqliteModels::new(pool.clone(), models)),
        }
    }

    pub(crate) fn soaks(&self, models: Models) -> Arc<dyn SoakStore> {
        match self {
            Self::MySql(pool) => Arc::new(MySqlModels::new(pool.clone(), models)),
            Self::Postgres(pool) => Arc::new(PostgresModels::new(pool.clone(), models)),
            Self::Sqlite(pool) => Arc::new(SqliteModels::new(pool.clone(), models)),
        }
    }

    pub(crate) fn ledger(&self) -> Arc<dyn Ledger> {
        match self {
            Self::MySql(pool) => Arc::new(MySqlLedger::new(pool.clone())),
            Self::Postgres(pool) => Arc::new(PostgresLedger::new(pool.clone())),
            Self::Sqlite(pool) => Arc::new(SqliteLedger::new(pool.clone())),
        }
    }

    pub(crate) async fn create_ledger(&self) -> Result<(), LedgerError> {
        match self {
            Self::MySql(pool) => MySqlLedger::new(pool.clone()).create().await,
            Self::Postgres(pool) => PostgresLedger::new(pool.clone()).create().await,
            Self::Sqlite(pool) => SqliteLedger::new(pool.clone()).create().await,
        }
    }

    pub(crate) async fn migrate(&self) -> Result<(), StoreError> {
        match self {
            Self::MySql(pool) => MySqlKeyStore::new(pool.clone()).migrate().await,
            Self::Postgres(pool) => PostgresKeyStore::new(pool.clone()).migrate().await,
            Self::Sqlite(pool) => SqliteKeyStore::new(pool.clone()).migrate().await,
        }
    }

    /// The tombstones, where the keys have another database.
    pub(crate) async fn migrate_rows(&self) -> Result<(), ModelError> {
        let none = Models::new();
        match self {
            Self::MySql(pool) => MySqlModels::new(pool.clone(), none).migrate().await,
            Self::Postgres(pool) => PostgresModels::new(pool.clone(), none).migrate().await,
            Self::Sqlite(pool) => SqliteModels::new(pool.clone(), none).migrate().await,
        }
    }

    /// What the application's tables lack for its models.
    pub(crate) async fn changes(
        &self,
        models: Models,
        fenced: bool,
    ) -> Result<TableChanges, ModelError> {
        match self {
            Self::MySql(pool) => MySqlModels::new(pool.clone(), models).changes(fenced).await,
            Self::Postgres(pool) => {
                let models = PostgresModels::new(pool.clone(), models);
                models.changes(fenced).await
            }
            Self::Sqlite(pool) => {
                SqliteModels::new(pool.clone(), models)
                    .changes(fenced)
                    .await
            }
        }
    }

    pub(crate) async fn schema_version(&self) -> Result<i64, StoreError> {
        match self {
            Self::MySql(pool) => MySqlKeyStore::new(pool.clone()).schema_version().await,
            Self::Postgres(pool) => PostgresKeyStore::new(pool.clone()).schema_version().await,
            Self::Sqlite(pool) => SqliteKeyStore::new(pool.clone()).schema_version().await,
        }
    }

    /// Rows of a statement whose columns are all texts, and whose parameters are too: `?`, on PostgreSQL `$1`.
    async fn texts(
        &self,
        sql: String,
        params: &[&str],
    ) -> Result<Vec<Vec<Option<String>>>, sqlx::Error> {
        macro_rules! rows {
            ($pool:expr) => {{
                let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
                for param in params {
                    query = query.bind((*param).to_owned());
                }
                let rows = query.fetch_all($pool).await?;
                rows.iter()
                    .map(|row| {
                        let columns = 0..row.len();
                        columns.map(|at| row.try_get_unchecked(at)).collect()
                    })
                    .collect()
            }};
        }
        match self {
            Self::MySql(pool) => rows!(pool),
            Self::Postgres(pool) => rows!(pool),
            Self::Sqlite(pool) => rows!(pool),
        }
    }

    /// One of three statements.
    const fn of(
        &self,
        mysql: &'static str,
        postgres: &'static str,
        sqlite: &'static str,
    ) -> &'static str {
        match self {
            Self::MySql(_) => mysql,
            Self::Postgres(_) => postgres,
            Self::Sqlite(_) => sqlite,
        }
    }

    /// The database's clock, in microseconds since 1970.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub(crate) async fn now(&self) -> Result<i64, DatabaseError> {
        let sql = self.of(
            "SELECT CAST(CAST(unix_timestamp(now(6)) * 1000000 AS SIGNED) AS CHAR)",
            "SELECT CAST(CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint) AS text)",
            "SELECT CAST(CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS TEXT)",
        );
        let rows = self.texts(sql.to_owned(), &[]).await;
        let rows = rows.map_err(DatabaseError::Failed)?;
        Ok(number(rows.first().and_then(|row| row.first())))
    }
}

/// Connects once: a pool would try for as long as it waits, and say only that it waited.
async fn reached<C: Connection>(options: &C::Options) -> Result<(), sqlx::Error> {
    let connected = tokio::time::timeout(WITHIN, options.connect()).await;
    let connection = connected.map_err(|_| sqlx::Error::PoolTimedOut)??;
    connection.close().await
}

/// A count that was written as a text; 0 where there is none.
fn number(cell: Option<&Option<String>>) -> i64 {
    let text = cell.and_then(Option::as_deref);
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}
