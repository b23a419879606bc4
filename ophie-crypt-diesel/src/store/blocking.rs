//! The driver over a pool of synchronous connections: each step on a thread that may block.
//!
//! Invariant: a transaction that is not ended goes with its connection, which the pool then closes.
//! Absent: statements.

use async_trait::async_trait;
use diesel::{
    connection::{AnsiTransactionManager, LoadConnection, TransactionManager},
    r2d2::{ConnectionManager, Pool, PooledConnection, R2D2Connection},
    result::{Error, QueryResult},
};
use ophie_crypt_sql::{
    Begin, Dialect, Driver, Failure, FailureKind, Record, Statement, Transaction,
};

use super::{
    backend::{KeyBackend, failure},
    keys::KeyPool,
};

/// A synchronous connection to a database that can hold the library's tables.
pub trait KeyConnection:
    R2D2Connection
    + LoadConnection<Backend: KeyBackend, TransactionManager = AnsiTransactionManager>
    + 'static
{
}

impl<C> KeyConnection for C where
    C: R2D2Connection
        + LoadConnection<Backend: KeyBackend, TransactionManager = AnsiTransactionManager>
        + 'static
{
}

type Connection<C> = PooledConnection<ConnectionManager<C>>;

impl<C: KeyConnection> super::sealed::Sealed for Pool<ConnectionManager<C>> {}

impl<C: KeyConnection> KeyPool for Pool<ConnectionManager<C>> {
    type Backend = C::Backend;
    type Driver = Blocking<C>;

    fn driver(self) -> Blocking<C> {
        Blocking(self)
    }
}

pub struct Blocking<C: KeyConnection>(pub(super) Pool<ConnectionManager<C>>);

impl<C: KeyConnection> Clone for Blocking<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[async_trait]
impl<C: KeyConnection> Driver for Blocking<C> {
    type Transaction = Open<C>;

    const DIALECT: Dialect = C::Backend::DIALECT;

    async fn begin(&self, kind: Begin) -> Result<Open<C>, Failure> {
        let pool = self.0.clone();
        let work = move || {
            let connection = pool.get();
            let mut connection =
                connection.map_err(|error| Failure::new(FailureKind::Unavailable, error))?;
            if Self::DIALECT == Dialect::Sqlite {
                let patience = connection.batch_execute("PRAGMA busy_timeout = 5000");
                patience.map_err(|error| failure(error, Self::DIALECT))?;
            }
            let sql = Self::DIALECT.begin(kind);
            let begun = AnsiTransactionManager::begin_transaction_sql(&mut *connection, sql);
            begun.map_err(|error| failure(error, Self::DIALECT))?;
            Ok(Open(Some(connection)))
        };
        on_a_thread(work).await?
    }

    async fn outside(&self, sql: &str) -> Result<(), Failure> {
        let (pool, sql) = (self.0.clone(), sql.to_owned());
        let work = move || {
            let connection = pool.get();
            let mut connection =
                connection.map_err(|error| Failure::new(FailureKind::Unavailable, error))?;
            let done = connection.batch_execute(&sql);
            done.map_err(|error| failure(error, Self::DIALECT))
        };
        on_a_thread(work).await?
    }
}

/// None while a step runs, or when one was cut off.
pub struct Open<C: KeyConnection>(Option<Connection<C>>);

impl<C: KeyConnection> Open<C> {
    async fn step<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut C) -> QueryResult<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let mut connection = self.0.take().ok_or_else(|| {
            Failure::new(FailureKind::Unavailable, Error::BrokenTransactionManager)
        })?;
        let (connection, done) = on_a_thread(move || {
            let done = work(&mut connection);
            (connection, done)
        })
        .await?;
        self.0 = Some(connection);
        done.map_err(|error| failure(error, C::Backend::DIALECT))
    }
}

#[async_trait]
impl<C: KeyConnection> ophie_crypt_sql::Connection for Open<C> {
    async fn execute(&mut self, statement: Statement) -> Result<u64, Failure> {
        let work = move |connection: &mut C| C::Backend::execute(connection, statement);
        let done = self.step(work).await?;
        Ok(u64::try_from(done).unwrap_or(u64::MAX))
    }

    async fn fetch<R: Record>(&mut self, statement: Statement) -> Result<Vec<R>, Failure> {
        self.step(move |connection| C::Backend::fetch(connection, statement))
            .await
    }
}

#[async_trait]
impl<C: KeyConnection> Transaction for Open<C> {
    async fn batch(&mut self, sql: String) -> Result<(), Failure> {
        self.step(move |connection| connection.batch_execute(&sql))
            .await
    }

    async fn commit(mut self) -> Result<(), Failure> {
        self.step(AnsiTransactionManager::commit_transaction).await
    }

    async fn rollback(mut self) -> Result<(), Failure> {
        self.step(AnsiTransactionManager::rollback_transaction)
            .await
    }
}

async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::new(FailureKind::Unavailable, error))
}
