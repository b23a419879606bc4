//! Diesel's back ends for the library's tables: how a statement binds its parameters, and how a row is read.
//!
//! A macro, because Diesel's traits make the same in generics several times as long. Absent: connections.

use core::marker::PhantomData;

#[cfg(feature = "r2d2")]
use diesel::connection::{Connection, LoadConnection};
use diesel::{
    deserialize::{FromSql, QueryableByName},
    result::{DatabaseErrorKind, Error, QueryResult},
    row::NamedRow,
    sql_types::{BigInt, Binary, Nullable, Text},
};
use ophie_crypt_sql::{Cells, Dialect, Failure, FailureKind, Param, Record, Statement};

/// A back end that can hold the library's tables: PostgreSQL, MariaDB, SQLite.
#[diagnostic::on_unimplemented(
    note = "turn on the feature `mysql`, `postgres` or `sqlite` of ophie-crypt-diesel"
)]
pub trait KeyBackend: super::sealed::Sealed + diesel::backend::Backend + Sized + 'static {
    #[doc(hidden)]
    const DIALECT: Dialect;

    #[cfg(feature = "r2d2")]
    #[doc(hidden)]
    fn execute<C: Connection<Backend = Self>>(
        connection: &mut C,
        statement: Statement,
    ) -> QueryResult<usize>;

    #[cfg(feature = "r2d2")]
    #[doc(hidden)]
    fn fetch<C: LoadConnection<Backend = Self>, R: Record>(
        connection: &mut C,
        statement: Statement,
    ) -> QueryResult<Vec<R>>;

    #[cfg(feature = "_async")]
    #[doc(hidden)]
    fn execute_async<C: diesel_async::AsyncConnection<Backend = Self>>(
        connection: &mut C,
        statement: Statement,
    ) -> impl Future<Output = QueryResult<usize>> + Send;

    #[cfg(feature = "_async")]
    #[doc(hidden)]
    fn fetch_async<C: diesel_async::AsyncConnection<Backend = Self>, R: Record>(
        connection: &mut C,
        statement: Statement,
    ) -> impl Future<Output = QueryResult<Vec<R>>> + Send;
}

/// A row as a record.
struct Read<R>(R);

/// Diesel's query of a statement; it owns the parameters.
macro_rules! query {
    ($statement:expr) => {{
        let (sql, params) = $statement.into_parts();
        let query = diesel::sql_query(sql).into_boxed();
        params.into_iter().fold(query, |query, param| match param {
            Param::Bytes(value) => query.bind::<Nullable<Binary>, _>(value),
            Param::Int(value) => query.bind::<Nullable<BigInt>, _>(value),
            Param::Text(value) => query.bind::<Nullable<Text>, _>(value),
        })
    }};
}

macro_rules! backend {
    ($backend:ty, $dialect:ident) => {
        impl super::sealed::Sealed for $backend {}

        impl KeyBackend for $backend {
            const DIALECT: Dialect = Dialect::$dialect;

            #[cfg(feature = "r2d2")]
            fn execute<C: Connection<Backend = Self>>(
                connection: &mut C,
                statement: Statement,
            ) -> QueryResult<usize> {
                diesel::RunQueryDsl::execute(query!(statement), connection)
            }

            #[cfg(feature = "r2d2")]
            fn fetch<C: LoadConnection<Backend = Self>, R: Record>(
                connection: &mut C,
                statement: Statement,
            ) -> QueryResult<Vec<R>> {
                let rows = diesel::RunQueryDsl::load::<Read<R>>(query!(statement), connection)?;
                Ok(rows.into_iter().map(|row| row.0).collect())
            }

            #[cfg(feature = "_async")]
            fn execute_async<C: diesel_async::AsyncConnection<Backend = Self>>(
                connection: &mut C,
                statement: Statement,
            ) -> impl Future<Output = QueryResult<usize>> + Send {
                diesel_async::RunQueryDsl::execute(query!(statement), connection)
            }

            #[cfg(feature = "_async")]
            async fn fetch_async<C: diesel_async::AsyncConnection<Backend = Self>, R: Record>(
                connection: &mut C,
                statement: Statement,
            ) -> QueryResult<Vec<R>> {
                let query = query!(statement);
                let rows = diesel_async::RunQueryDsl::load::<Read<R>>(query, connection).await?;
                Ok(rows.into_iter().map(|row| row.0).collect())
            }
        }

        impl<R: Record> QueryableByName<$backend> for Read<R> {
            fn build<'a>(row: &impl NamedRow<'a, $backend>) -> diesel::deserialize::Result<Self> {
                let named = Named(row, PhantomData::<(&'a (), $backend)>);
                R::read(&named).map(Self).map_err(Failure::into_source)
            }
        }
    };
}

#[cfg(feature = "mysql")]
backend!(diesel::mysql::Mysql, MySql);
#[cfg(feature = "postgres")]
backend!(diesel::pg::Pg, Postgres);
#[cfg(feature = "sqlite")]
backend!(diesel::sqlite::Sqlite, Sqlite);

struct Named<'r, R, M>(&'r R, PhantomData<M>);

impl<'a, R: NamedRow<'a, DB>, DB: KeyBackend> Cells for Named<'_, R, (&'a (), DB)>
where
    Vec<u8>: FromSql<Binary, DB>,
    i64: FromSql<BigInt, DB>,
    String: FromSql<Text, DB>,
{
    fn bytes(&self, column: &'static str) -> Result<Option<Vec<u8>>, Failure> {
        cell(NamedRow::get::<Nullable<Binary>, _>(self.0, column))
    }

    fn int(&self, column: &'static str) -> Result<Option<i64>, Failure> {
        cell(NamedRow::get::<Nullable<BigInt>, _>(self.0, column))
    }

    fn text(&self, column: &'static str) -> Result<Option<String>, Failure> {
        cell(NamedRow::get::<Nullable<Text>, _>(self.0, column))
    }
}

fn cell<T>(cell: diesel::deserialize::Result<T>) -> Result<T, Failure> {
    cell.map_err(|error| Failure::new(FailureKind::Unavailable, error))
}

/// What an error of Diesel means. Diesel keeps no code of the database's, so the rest is told by the message; in
/// another language than English it is only unavailable, and says what the database said.
pub(super) fn failure(error: Error, dialect: Dialect) -> Failure {
    let Error::DatabaseError(kind, said) = &error else {
        return Failure::new(FailureKind::Unavailable, error);
    };
    let kind = match kind {
        DatabaseErrorKind::UniqueViolation => FailureKind::Duplicate,
        DatabaseErrorKind::ReadOnlyTransaction => FailureKind::ReadOnly,
        DatabaseErrorKind::SerializationFailure => FailureKind::Retry,
        DatabaseErrorKind::CheckViolation
        | DatabaseErrorKind::ExclusionViolation
        | DatabaseErrorKind::ForeignKeyViolation
        | DatabaseErrorKind::NotNullViolation
        | DatabaseErrorKind::RestrictViolation => FailureKind::Refused,
        _ => by_message(said.message(), dialect),
    };
    Failure::said(dialect, kind, said.message(), None)
}

fn by_message(message: &str, dialect: Dialect) -> FailureKind {
    let says = |part: &str| message.contains(part);
    match dialect {
        Dialect::Postgres if says("relation \"ophie_crypt_") && says("does not exist") => {
            FailureKind::NotMigrated
        }
        Dialect::Postgres if says("lock timeout") => FailureKind::Busy,
        Dialect::Postgres if says("deadlock detected") => FailureKind::Retry,
        Dialect::Postgres if says("No space left on device") => FailureKind::Full,
        Dialect::Sqlite if message.starts_with("no such table") => FailureKind::NotMigrated,
        Dialect::Sqlite if says("database is locked") => FailureKind::Busy,
        Dialect::Sqlite if says("database or disk is full") => FailureKind::Full,
        Dialect::Sqlite if says("readonly database") => FailureKind::ReadOnly,
        Dialect::Sqlite
            if says("only added to") || says("datatype mismatch") || says("too big") =>
        {
            FailureKind::Refused
        }
        Dialect::MySql if says("doesn't exist") => FailureKind::NotMigrated,
        Dialect::MySql if says("Deadlock found") || says("Lock wait timeout") => FailureKind::Retry,
        Dialect::MySql if says("read-only") || says("READ ONLY") => FailureKind::ReadOnly,
        Dialect::MySql if says(" is full") => FailureKind::Full,
        // These show a value.
        Dialect::MySql
            if says("Data too long")
                || says("Incorrect")
                || says("Out of range")
                || says("Duplicate entry")
                || says("CONSTRAINT")
                || says("only added to") =>
        {
            FailureKind::Refused
        }
        _ => FailureKind::Unavailable,
    }
}
