//! SQLx's connections for the library's tables.
//!
//! A macro, because SQLx's traits make the same in generics several times as long. Absent: statements.

use ophie_crypt_sql::{Dialect, Failure, FailureKind};

/// A driver over a pool, and its transactions. `meaning` tells the database's errors apart.
macro_rules! driver {
    ($driver:ident, $transaction:ident, $row:ident, $db:ty, $dialect:ident, $meaning:path) => {
        /// Behind PostgreSQL's poolers the next statement may run on another connection. MySQL's have no such
        /// habit, and SQLx there closes a statement without an answer to wait for: the statement after it waits
        /// for the acknowledgement of TCP, 40 ms, as SQLx sets no TCP_NODELAY.
        const PERSISTENT: bool = matches!(
            ::ophie_crypt_sql::Dialect::$dialect,
            ::ophie_crypt_sql::Dialect::MySql
        );

        #[derive(Clone, Debug)]
        pub(crate) struct $driver(pub(crate) ::sqlx::Pool<$db>);

        #[::async_trait::async_trait]
        impl ::ophie_crypt_sql::Driver for $driver {
            type Transaction = $transaction;

            const DIALECT: ::ophie_crypt_sql::Dialect = ::ophie_crypt_sql::Dialect::$dialect;

            async fn begin(
                &self,
                kind: ::ophie_crypt_sql::Begin,
            ) -> Result<$transaction, ::ophie_crypt_sql::Failure> {
                let begin = Self::DIALECT.begin(kind);
                let tx = self.0.begin_with(begin).await;
                tx.map($transaction).map_err(failure)
            }

            async fn outside(&self, sql: &str) -> Result<(), ::ophie_crypt_sql::Failure> {
                let sql = ::sqlx::AssertSqlSafe(sql.to_owned());
                let done = ::sqlx::raw_sql(sql).execute(&self.0).await;
                done.map(drop).map_err(failure)
            }
        }

        fn failure(error: ::sqlx::Error) -> ::ophie_crypt_sql::Failure {
            super::driver::failure(error, ::ophie_crypt_sql::Dialect::$dialect, $meaning)
        }

        #[derive(Debug)]
        pub(crate) struct $transaction(::sqlx::Transaction<'static, $db>);

        /// See the key store's.
        async fn shred_in(
            connection: &mut <$db as ::sqlx::Database>::Connection,
            owner: &::ophie_crypt::CanonicalId,
        ) -> Result<::ophie_crypt::ShredId, ::ophie_crypt::ShredError> {
            let dialect = ::ophie_crypt_sql::Dialect::$dialect;
            ::ophie_crypt_sql::shred_in(&mut Borrowed(connection), dialect, owner).await
        }

        /// The application's, in whatever transaction it is.
        struct Borrowed<'c>(&'c mut <$db as ::sqlx::Database>::Connection);

        #[::async_trait::async_trait]
        impl ::ophie_crypt_sql::Connection for Borrowed<'_> {
            async fn execute(
                &mut self,
                statement: ::ophie_crypt_sql::Statement,
            ) -> Result<u64, ::ophie_crypt_sql::Failure> {
                let (sql, params) = statement.into_parts();
                let query = ::sqlx::query(::sqlx::AssertSqlSafe(sql)).persistent(PERSISTENT);
                let done = super::driver::bind!(query, params)
                    .execute(&mut *self.0)
                    .await;
                done.map(|done| done.rows_affected()).map_err(failure)
            }

            async fn fetch<R: ::ophie_crypt_sql::Record>(
                &mut self,
                statement: ::ophie_crypt_sql::Statement,
            ) -> Result<Vec<R>, ::ophie_crypt_sql::Failure> {
                let (sql, params) = statement.into_parts();
                let query = ::sqlx::query(::sqlx::AssertSqlSafe(sql)).persistent(PERSISTENT);
                let rows = super::driver::bind!(query, params)
                    .fetch_all(&mut *self.0)
                    .await;
                let rows = rows.map_err(failure)?;
                rows.iter().map(|row| R::read(&$row(row))).collect()
            }
        }

        #[::async_trait::async_trait]
        impl ::ophie_crypt_sql::Connection for $transaction {
            async fn execute(
                &mut self,
                statement: ::ophie_crypt_sql::Statement,
            ) -> Result<u64, ::ophie_crypt_sql::Failure> {
                Borrowed(&mut *self.0).execute(statement).await
            }

            async fn fetch<R: ::ophie_crypt_sql::Record>(
                &mut self,
                statement: ::ophie_crypt_sql::Statement,
            ) -> Result<Vec<R>, ::ophie_crypt_sql::Failure> {
                Borrowed(&mut *self.0).fetch(statement).await
            }
        }

        #[::async_trait::async_trait]
        impl ::ophie_crypt_sql::Transaction for $transaction {
            async fn batch(&mut self, sql: String) -> Result<(), ::ophie_crypt_sql::Failure> {
                let sql = ::sqlx::AssertSqlSafe(sql);
                let done = ::sqlx::raw_sql(sql).execute(&mut *self.0).await;
                done.map(|_| ()).map_err(failure)
            }

            async fn commit(self) -> Result<(), ::ophie_crypt_sql::Failure> {
                let done = self.0.commit().await;
                done.map_err(failure)
            }

            async fn rollback(self) -> Result<(), ::ophie_crypt_sql::Failure> {
                let done = self.0.rollback().await;
                done.map_err(failure)
            }
        }

        struct $row<'a>(&'a <$db as ::sqlx::Database>::Row);

        impl ::ophie_crypt_sql::Cells for $row<'_> {
            fn bytes(
                &self,
                column: &'static str,
            ) -> Result<Option<Vec<u8>>, ::ophie_crypt_sql::Failure> {
                super::driver::cell(::sqlx::Row::try_get(self.0, column))
            }

            fn int(&self, column: &'static str) -> Result<Option<i64>, ::ophie_crypt_sql::Failure> {
                super::driver::cell(::sqlx::Row::try_get(self.0, column))
            }

            fn text(
                &self,
                column: &'static str,
            ) -> Result<Option<String>, ::ophie_crypt_sql::Failure> {
                super::driver::cell(::sqlx::Row::try_get(self.0, column))
            }
        }
    };
}
pub(super) use driver;

macro_rules! bind {
    ($query:expr, $params:expr) => {
        $params
            .into_iter()
            .fold($query, |query, param| match param {
                ::ophie_crypt_sql::Param::Bytes(value) => query.bind(value),
                ::ophie_crypt_sql::Param::Int(value) => query.bind(value),
                ::ophie_crypt_sql::Param::Text(value) => query.bind(value),
            })
    };
}
pub(super) use bind;

/// What a database's error means.
pub(super) type Meaning = fn(&dyn sqlx::error::DatabaseError) -> FailureKind;

pub(super) fn failure(error: sqlx::Error, dialect: Dialect, meaning: Meaning) -> Failure {
    match error.as_database_error() {
        Some(said) => Failure::said(
            dialect,
            meaning(said),
            said.message(),
            said.code().as_deref(),
        ),
        None => Failure::new(FailureKind::Unavailable, error),
    }
}

pub(super) fn cell<T>(cell: Result<T, sqlx::Error>) -> Result<T, Failure> {
    cell.map_err(|error| Failure::new(FailureKind::Unavailable, error))
}
