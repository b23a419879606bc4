//! The driver over pools of asynchronous connections.
//!
//! Invariant: as no step is cut off (`ophie_crypt_sql`), every transaction is ended before its connection goes back.
//! Absent: statements.

use core::ops::DerefMut;

use async_trait::async_trait;
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, TransactionManager, pooled_connection,
};
use ophie_crypt_sql::{
    Begin, Connection, Dialect, Driver, Failure, FailureKind, Record, Statement, Transaction,
};

use super::{
    backend::{KeyBackend, failure},
    keys::KeyPool,
};

/// An asynchronous connection to a database that can hold the library's tables.
pub trait AsyncKeyConnection:
    AsyncConnection<Backend: KeyBackend, TransactionManager = AnsiTransactionManager> + 'static
{
}

impl<C> AsyncKeyConnection for C where
    C: AsyncConnection<Backend: KeyBackend, TransactionManager = AnsiTransactionManager> + 'static
{
}

/// A pool that gives connections to keep.
#[async_trait]
pub trait Connections: Clone + Send + Sync + 'static {
    type Connection: AsyncKeyConnection;
    type Taken: DerefMut<Target = Self::Connection> + Send;

    async fn take(&self) -> Result<Self::Taken, Failure>;
}

impl<P: Connections> super::sealed::Sealed for P {}

impl<P: Connections> KeyPool for P {
    type Backend = BackendOf<P>;
    type Driver = Asynchronous<P>;

    fn driver(self) -> Asynchronous<P> {
        Asynchronous(self)
    }
}

#[derive(Clone)]
pub struct Asynchronous<P>(pub(super) P);

pub struct Open<P: Connections>(P::Taken);

type BackendOf<P> = <<P as Connections>::Connection as diesel_async::AsyncConnectionCore>::Backend;

#[async_trait]
impl<P: Connections> Driver for Asynchronous<P> {
    type Transaction = Open<P>;

    const DIALECT: Dialect = BackendOf::<P>::DIALECT;

    async fn begin(&self, kind: Begin) -> Result<Open<P>, Failure> {
        let mut connection = self.0.take().await?;
        let sql = Self::DIALECT.begin(kind);
        let begun = AnsiTransactionManager::begin_transaction_sql(&mut *connection, sql).await;
        begun.map_err(|error| failure(error, Self::DIALECT))?;
        Ok(Open(connection))
    }

    async fn outside(&self, sql: &str) -> Result<(), Failure> {
        let mut connection = self.0.take().await?;
        let done = diesel_async::SimpleAsyncConnection::batch_execute(&mut *connection, sql).await;
        done.map_err(|error| failure(error, Self::DIALECT))
    }
}

#[async_trait]
impl<P: Connections> Connection for Open<P> {
    async fn execute(&mut self, statement: Statement) -> Result<u64, Failure> {
        let done = BackendOf::<P>::execute_async(&mut *self.0, statement).await;
        let done = done.map_err(|error| failure(error, BackendOf::<P>::DIALECT))?;
        Ok(u64::try_from(done).unwrap_or(u64::MAX))
    }

    async fn fetch<R: Record>(&mut self, statement: Statement) -> Result<Vec<R>, Failure> {
        let rows = BackendOf::<P>::fetch_async(&mut *self.0, statement).await;
        rows.map_err(|error| failure(error, BackendOf::<P>::DIALECT))
    }
}

#[async_trait]
impl<P: Connections> Transaction for Open<P> {
    async fn batch(&mut self, sql: String) -> Result<(), Failure> {
        let done = diesel_async::SimpleAsyncConnection::batch_execute(&mut *self.0, &sql).await;
        done.map_err(|error| failure(error, BackendOf::<P>::DIALECT))
    }

    async fn commit(mut self) -> Result<(), Failure> {
        let done = AnsiTransactionManager::commit_transaction(&mut *self.0).await;
        done.map_err(|error| failure(error, BackendOf::<P>::DIALECT))
    }

    async fn rollback(mut self) -> Result<(), Failure> {
        let done = AnsiTransactionManager::rollback_transaction(&mut *self.0).await;
        done.map_err(|error| failure(error, BackendOf::<P>::DIALECT))
    }
}

macro_rules! connections {
    ($connection:ty) => {
        #[cfg(feature = "bb8")]
        #[async_trait]
        impl Connections for pooled_connection::bb8::Pool<$connection> {
            type Connection = $connection;
            type Taken = pooled_connection::bb8::PooledConnection<'static, $connection>;

            async fn take(&self) -> Result<Self::Taken, Failure> {
                let taken = self.get_owned().await;
                taken.map_err(|error| Failure::new(FailureKind::Unavailable, error))
            }
        }

        #[cfg(feature = "deadpool")]
        #[async_trait]
        impl Connections for pooled_connection::deadpool::Pool<$connection> {
            type Connection = $connection;
            type Taken = pooled_connection::deadpool::Object<$connection>;

            async fn take(&self) -> Result<Self::Taken, Failure> {
                let taken = self.get().await;
                taken.map_err(|error| Failure::new(FailureKind::Unavailable, error))
            }
        }
    };
}

#[cfg(feature = "async-mysql")]
connections!(diesel_async::AsyncMysqlConnection);
#[cfg(feature = "async-postgres")]
connections!(diesel_async::AsyncPgConnection);
