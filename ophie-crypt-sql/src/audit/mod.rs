//! The operations of an audit store.
//!
//! Invariant: records of one call are one INSERT in one transaction, and never changed.
//! Absent: statements (`sql`), rows (`rows`), what the rows prove (the core's `audit`).

mod rows;
mod sql;

use ophie_crypt::{AuditRow, AuditStoreError, AuditWriter, WriterId};

use crate::{
    Begin, Connection, Dialect, Driver, Failure, FailureKind, Statement,
    run::{read, run},
};

/// The tables of the audit over a driver. Its methods are those of [`AuditStore`](ophie_crypt::AuditStore), which
/// [`audit_store!`](crate::audit_store) implements with them.
#[derive(Clone, Debug)]
pub struct AuditTables<D>(D);

impl<D: Driver> AuditTables<D> {
    /// Over this driver.
    #[must_use]
    pub const fn new(driver: D) -> Self {
        Self(driver)
    }

    /// See [`AuditStore::begin`](ophie_crypt::AuditStore::begin).
    ///
    /// # Errors
    ///
    /// [`AuditStoreError`].
    pub async fn begin(&self, writer: &AuditWriter) -> Result<(), AuditStoreError> {
        let mut statement = Statement::new(D::DIALECT, sql::INSERT_WRITER);
        statement.push("(");
        statement.push_bind(writer.id.as_bytes().as_slice());
        statement.push(", ");
        push_time(&mut statement, D::DIALECT, writer.started_at);
        push_binds!(
            statement,
            writer.app.as_str(),
            writer.wrapped.kek(),
            writer.wrapped.as_bytes(),
            writer.mac.as_slice(),
        );
        statement.push(")");
        self.insert(statement).await.map_err(error)
    }

    /// See [`AuditStore::append`](ophie_crypt::AuditStore::append).
    ///
    /// # Errors
    ///
    /// [`AuditStoreError`].
    pub async fn append(&self, rows: &[AuditRow]) -> Result<(), AuditStoreError> {
        let refused = match self.insert(insert(D::DIALECT, rows)).await.map_err(error) {
            Err(error @ AuditStoreError::Refused { .. }) => error,
            inserted => return inserted,
        };
        // Because they are there, from a COMMIT whose answer was lost?
        let places: Vec<_> = rows.iter().map(|row| (row.writer, row.seq)).collect();
        let mut there = self.macs(&places).await?;
        there.sort();
        let same = there
            .iter()
            .map(|(_, seq, mac)| (*seq, mac))
            .eq(rows.iter().map(|row| (row.seq, &row.mac)));
        if same { Ok(()) } else { Err(refused) }
    }

    /// See [`AuditStore::writers`](ophie_crypt::AuditStore::writers).
    ///
    /// # Errors
    ///
    /// [`AuditStoreError`].
    pub async fn writers(
        &self,
        after: Option<WriterId>,
        limit: u32,
    ) -> Result<Vec<AuditWriter>, AuditStoreError> {
        let statement = Statement::new(D::DIALECT, sql::writers(D::DIALECT))
            .bind(after.as_ref().map(|id| id.as_bytes().as_slice()))
            .bind(i64::from(limit));
        let writers: Vec<rows::Writer> = read(&self.0, statement).await.map_err(error)?;
        Ok(writers.into_iter().filter_map(|row| row.0).collect())
    }

    /// See [`AuditStore::unknown_writers`](ophie_crypt::AuditStore::unknown_writers).
    ///
    /// # Errors
    ///
    /// [`AuditStoreError`].
    pub async fn unknown_writers(&self, limit: u32) -> Result<Vec<Vec<u8>>, AuditStoreError> {
        let statement = Statement::new(D::DIALECT, sql::unknown(D::DIALECT)).bind(i64::from(limit));
        let ids: Vec<rows::Unknown> = read(&self.0, statement).await.map_err(error)?;
        Ok(ids.into_iter().map(|row| row.0).collect())
    }

    /// See [`AuditStore::rows`](ophie_crypt::AuditStore::rows).
    ///
    /// # Errors
    ///
    /// [`AuditStoreError`].
    pub async fn rows(
        &self,
        writer: WriterId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<AuditRow>, AuditStoreError> {
        let statement = Statement::new(D::DIALECT, sql::rows(D::DIALECT))
            .bind(writer.as_bytes().as_slice())
            .bind(after)
            .bind(i64::from(limit));
        let rows: Vec<rows::Row> = read(&self.0, statement).await.map_err(error)?;
        Ok(rows.into_iter().map(|row| row.of(writer)).collect())
    }

    /// See [`AuditStore::macs`](ophie_crypt::AuditStore::macs).
    ///
    /// # Errors
    ///
    /// [`AuditStoreError`].
    pub async fn macs(
        &self,
        of: &[(WriterId, i64)],
    ) -> Result<Vec<(WriterId, i64, Vec<u8>)>, AuditStoreError> {
        if of.is_empty() {
            return Ok(Vec::new());
        }
        let mut statement = Statement::new(D::DIALECT, sql::MACS);
        for (number, (writer, seq)) in of.iter().enumerate() {
            statement.push(if number == 0 { "(" } else { "), (" });
            statement.push_bind(writer.as_bytes().as_slice());
            statement.push(", ");
            statement.push_bind(*seq);
        }
        statement.push("))");
        let macs: Vec<rows::Mac> = read(&self.0, statement).await.map_err(error)?;
        Ok(macs.into_iter().filter_map(|row| row.0).collect())
    }

    async fn insert(&self, statement: Statement) -> Result<(), Failure> {
        run(&self.0, Begin::Write, move |tx| {
            let statement = statement.clone();
            Box::pin(async move { tx.execute(statement).await.map(drop) })
        })
        .await
    }
}

/// Each behind a comma.
macro_rules! push_binds {
    ($statement:ident, $($param:expr),* $(,)?) => {$(
        $statement.push(", ");
        $statement.push_bind($param);
    )*};
}
use push_binds;

fn insert(dialect: Dialect, rows: &[AuditRow]) -> Statement {
    let mut statement = Statement::new(dialect, sql::INSERT_ROWS);
    for (number, row) in rows.iter().enumerate() {
        statement.push(if number == 0 { "(" } else { "), (" });
        statement.push_bind(row.writer.as_bytes().as_slice());
        push_binds!(statement, row.seq);
        statement.push(", ");
        push_time(&mut statement, dialect, row.at);
        push_binds!(
            statement,
            row.actor.as_str(),
            row.owner.as_slice(),
            row.generation,
            row.purpose.as_str(),
            row.reason.as_deref(),
            row.step.as_str(),
            row.call.as_deref(),
            row.attempt,
            row.operation.as_deref(),
            row.result.as_deref(),
            row.request_id.as_deref(),
            row.took,
            row.mac.as_slice(),
        );
    }
    statement.push(")");
    statement
}

/// A time given in microseconds since 1970.
fn push_time(statement: &mut Statement, dialect: Dialect, micros: i64) {
    match dialect {
        Dialect::MySql => {
            statement.push("timestampadd(MICROSECOND, ");
            statement.push_bind(micros);
            statement.push(", TIMESTAMP'1970-01-01 00:00:00')");
        }
        Dialect::Postgres => {
            statement.push("timestamptz 'epoch' + interval '1 microsecond' * ");
            statement.push_bind(micros);
        }
        Dialect::Sqlite => {
            statement.push("strftime('%Y-%m-%dT%H:%M:%S', ");
            statement.push_bind(micros.div_euclid(1_000_000));
            statement.push(", 'unixepoch') || printf('.%06dZ', ");
            statement.push_bind(micros.rem_euclid(1_000_000));
            statement.push(")");
        }
    }
}

fn error(failure: Failure) -> AuditStoreError {
    match failure.kind() {
        FailureKind::NotMigrated => AuditStoreError::NotMigrated,
        FailureKind::ReadOnly => AuditStoreError::ReadOnly,
        FailureKind::Duplicate | FailureKind::Refused => {
            AuditStoreError::refused(failure.into_source())
        }
        _ => AuditStoreError::unavailable(failure.into_source()),
    }
}

/// Implements [`AuditStore`](ophie_crypt::AuditStore) and `Debug` for a type with a field `tables`, an
/// [`AuditTables`].
#[macro_export]
macro_rules! audit_store {
    ($store:ident $(<$param:ident: $bound:path>)?) => {
        #[$crate::private::async_trait]
        impl $(<$param: $bound>)? $crate::private::ophie_crypt::AuditStore for $store $(<$param>)? {
            async fn begin(
                &self,
                writer: &$crate::private::ophie_crypt::AuditWriter,
            ) -> Result<(), $crate::private::ophie_crypt::AuditStoreError> {
                self.tables.begin(writer).await
            }

            async fn append(
                &self,
                rows: &[$crate::private::ophie_crypt::AuditRow],
            ) -> Result<(), $crate::private::ophie_crypt::AuditStoreError> {
                self.tables.append(rows).await
            }

            async fn writers(
                &self,
                after: Option<$crate::private::ophie_crypt::WriterId>,
                limit: u32,
            ) -> Result<
                Vec<$crate::private::ophie_crypt::AuditWriter>,
                $crate::private::ophie_crypt::AuditStoreError,
            > {
                self.tables.writers(after, limit).await
            }

            async fn unknown_writers(
                &self,
                limit: u32,
            ) -> Result<Vec<Vec<u8>>, $crate::private::ophie_crypt::AuditStoreError> {
                self.tables.unknown_writers(limit).await
            }

            async fn rows(
                &self,
                writer: $crate::private::ophie_crypt::WriterId,
                after: i64,
                limit: u32,
            ) -> Result<
                Vec<$crate::private::ophie_crypt::AuditRow>,
                $crate::private::ophie_crypt::AuditStoreError,
            > {
                self.tables.rows(writer, after, limit).await
            }

            async fn macs(
                &self,
                of: &[($crate::private::ophie_crypt::WriterId, i64)],
            ) -> Result<
                Vec<($crate::private::ophie_crypt::WriterId, i64, Vec<u8>)>,
                $crate::private::ophie_crypt::AuditStoreError,
            > {
                self.tables.macs(of).await
            }
        }

        impl $(<$param: $bound>)? ::core::fmt::Debug for $store $(<$param>)? {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(stringify!($store)).finish_non_exhaustive()
            }
        }
    };
}
