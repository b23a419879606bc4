//! Envelopes in the application's own tables, read and replaced by owner.
//!
//! Invariant: an envelope is replaced only where the one that was read still stands. Absent: which key seals it
//! (the core), the library's own tables (`keys`).

mod fence;
mod sql;
#[cfg(test)]
mod tests;

use ophie_crypt::{CanonicalId, ColumnRef, KeyId, ModelError, Models, Reseal};

use self::sql::{moment, owned, quoted, uncommitted, waits_briefly};
use crate::{
    Begin, Cells, Driver, Failure, FailureKind, Record, Statement, Transaction,
    driver::there,
    run::{read, run},
};

/// The tables of an application's models over a driver. Its methods are those of
/// [`ModelStore`](ophie_crypt::ModelStore), which [`model_store!`](crate::model_store) implements with them.
#[derive(Clone, Debug)]
pub struct ModelTables<D> {
    driver: D,
    models: Models,
}

impl<D: Driver> ModelTables<D> {
    /// These models over this driver.
    #[must_use]
    pub const fn new(driver: D, models: Models) -> Self {
        Self { driver, models }
    }

    /// The driver.
    #[must_use]
    pub const fn driver(&self) -> &D {
        &self.driver
    }

    /// The models.
    #[must_use]
    pub const fn models(&self) -> &Models {
        &self.models
    }

    /// See [`ModelStore::sealed_under`](ophie_crypt::ModelStore::sealed_under).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn sealed_under(
        &self,
        owner: &CanonicalId,
        column: &ColumnRef,
        key_id: KeyId,
        after: Option<&[u8]>,
        limit: u32,
    ) -> Result<Vec<Vec<u8>>, ModelError> {
        let name = quoted(D::DIALECT, column.name());
        let table = quoted(D::DIALECT, column.table());
        let mut statement = Statement::new(
            D::DIALECT,
            format!("SELECT {name} AS sealed FROM {table} WHERE "),
        );
        owned(&mut statement, &self.owner_column(column)?, owner)?;
        // The key id is the envelope's bytes 1 to 16.
        statement.push(&format!(" AND substr({name}, 2, 16) = "));
        statement.push_bind(key_id.as_bytes().as_slice());
        if let Some(after) = after {
            statement.push(&format!(" AND {name} > "));
            statement.push_bind(after);
        }
        statement.push(&format!(" ORDER BY {name} LIMIT {limit}"));
        let rows: Vec<SealedRow> = read(&self.driver, statement).await.map_err(error)?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// See [`ModelStore::replace`](ophie_crypt::ModelStore::replace).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn replace(
        &self,
        owner: &CanonicalId,
        column: &ColumnRef,
        reseals: &[Reseal],
    ) -> Result<u64, ModelError> {
        if reseals.is_empty() {
            return Ok(0);
        }
        // One pass over the owner's rows for all of them, in words that every database knows.
        let name = quoted(D::DIALECT, column.name());
        let table = quoted(D::DIALECT, column.table());
        let waits = waits_briefly(D::DIALECT);
        let mut statement = Statement::new(
            D::DIALECT,
            format!("{waits}UPDATE {table} SET {name} = CASE {name}"),
        );
        let mut old = Vec::with_capacity(reseals.len());
        for reseal in reseals {
            statement.push(" WHEN ");
            old.push(statement.push_bind(reseal.old()));
            statement.push(" THEN ");
            statement.push_bind(reseal.new_bytes());
        }
        statement.push(" END WHERE ");
        owned(&mut statement, &self.owner_column(column)?, owner)?;
        statement.push(&format!(" AND {name} IN ({})", old.join(", ")));
        let replaced = run(&self.driver, Begin::Write, move |tx| {
            let statement = statement.clone();
            Box::pin(tx.execute(statement))
        });
        replaced.await.map_err(error)
    }

    /// See [`ModelStore::moment`](ophie_crypt::ModelStore::moment).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn moment(&self) -> Result<u64, ModelError> {
        let Some(sql) = moment(D::DIALECT) else {
            return Ok(0);
        };
        let statement = Statement::new(D::DIALECT, sql);
        let rows: Vec<Counted> = read(&self.driver, statement).await.map_err(error)?;
        Ok(rows.first().map_or(u64::MAX, |row| row.oldest))
    }

    /// See [`ModelStore::count_under`](ophie_crypt::ModelStore::count_under).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn count_under(
        &self,
        owner: &CanonicalId,
        column: &ColumnRef,
        key_id: KeyId,
        since: u64,
    ) -> Result<Option<u64>, ModelError> {
        let name = quoted(D::DIALECT, column.name());
        let table = quoted(D::DIALECT, column.table());
        let (oldest, locks) = uncommitted(D::DIALECT);
        let waits = waits_briefly(D::DIALECT);
        let mut statement = Statement::new(
            D::DIALECT,
            format!("{waits}SELECT COUNT(*) AS number, {oldest} AS oldest FROM {table} WHERE "),
        );
        owned(&mut statement, &self.owner_column(column)?, owner)?;
        statement.push(&format!(" AND substr({name}, 2, 16) = "));
        statement.push_bind(key_id.as_bytes().as_slice());
        statement.push(locks);
        let counted = run(&self.driver, Begin::Write, move |tx| {
            let statement = statement.clone();
            Box::pin(tx.fetch(statement))
        });
        let rows: Vec<Counted> = match counted.await.map_err(error) {
            Err(ModelError::Busy) => return Ok(None),
            counted => counted?,
        };
        let row = rows.first().filter(|row| row.oldest >= since);
        Ok(row.map(|row| row.number))
    }

    /// The quoted name of the column that holds the owner of this column's rows.
    fn owner_column(&self, column: &ColumnRef) -> Result<String, ModelError> {
        let table = column.table();
        let model = self.models.of_table(table);
        let owner = model.ok_or(ModelError::Unknown { table })?.owner();
        for column in [*column, owner] {
            if column.table().contains('$') || column.name().contains('$') {
                return Err(ModelError::Dollar { column });
            }
        }
        Ok(quoted(D::DIALECT, owner.name()))
    }
}

struct SealedRow(Vec<u8>);

impl Record for SealedRow {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self(there(cells.bytes("sealed")?)?))
    }
}

/// Rows, and the oldest transaction that may still commit some.
struct Counted {
    number: u64,
    oldest: u64,
}

impl Record for Counted {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        let number = |column| {
            let number = there(cells.int(column)?)?;
            u64::try_from(number).map_err(|error| Failure::new(FailureKind::Unavailable, error))
        };
        Ok(Self {
            number: number("number")?,
            oldest: number("oldest")?,
        })
    }
}

fn error(failure: Failure) -> ModelError {
    match failure.kind() {
        FailureKind::Busy | FailureKind::Retry => ModelError::Busy,
        _ => ModelError::unavailable(failure.into_source()),
    }
}

/// Implements [`ModelStore`](ophie_crypt::ModelStore) and `Debug` for a type with a field `tables`, a
/// [`ModelTables`].
#[macro_export]
macro_rules! model_store {
    ($store:ident $(<$param:ident: $bound:path>)?) => {
        #[$crate::private::async_trait]
        impl $(<$param: $bound>)? $crate::private::ophie_crypt::ModelStore for $store $(<$param>)? {
            fn models(&self) -> &$crate::private::ophie_crypt::Models {
                self.tables.models()
            }

            async fn sealed_under(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
                column: &$crate::private::ophie_crypt::ColumnRef,
                key_id: $crate::private::ophie_crypt::KeyId,
                after: Option<&[u8]>,
                limit: u32,
            ) -> Result<Vec<Vec<u8>>, $crate::private::ophie_crypt::ModelError> {
                self.tables
                    .sealed_under(owner, column, key_id, after, limit)
                    .await
            }

            async fn replace(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
                column: &$crate::private::ophie_crypt::ColumnRef,
                reseals: &[$crate::private::ophie_crypt::Reseal],
            ) -> Result<u64, $crate::private::ophie_crypt::ModelError> {
                self.tables.replace(owner, column, reseals).await
            }

            async fn moment(&self) -> Result<u64, $crate::private::ophie_crypt::ModelError> {
                self.tables.moment().await
            }

            async fn count_under(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
                column: &$crate::private::ophie_crypt::ColumnRef,
                key_id: $crate::private::ophie_crypt::KeyId,
                since: u64,
            ) -> Result<Option<u64>, $crate::private::ophie_crypt::ModelError> {
                self.tables.count_under(owner, column, key_id, since).await
            }

            async fn fence(&self) -> Result<String, $crate::private::ophie_crypt::ModelError> {
                self.tables.fence().await
            }

            async fn raise_fence(&self) -> Result<(), $crate::private::ophie_crypt::ModelError> {
                self.tables.raise_fence().await
            }

            async fn lower_fence(&self) -> Result<(), $crate::private::ophie_crypt::ModelError> {
                self.tables.lower_fence().await
            }
        }

        impl $(<$param: $bound>)? ::core::fmt::Debug for $store $(<$param>)? {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(stringify!($store)).finish_non_exhaustive()
            }
        }
    };
}
