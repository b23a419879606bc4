//! Envelopes in the application's own tables, read and replaced by owner.
//!
//! Invariant: an envelope is replaced only where the one that was read still stands. Absent: which key seals it
//! (the core), the library's own tables (`keys`).

mod changes;
mod fence;
mod indexes;
mod rows;
pub(crate) mod sql;
#[cfg(test)]
mod tests;

pub use self::changes::TableChanges;
pub(crate) use self::fence::{POSTGRES_OWNER, canonical_on_mysql, short};

use ophie_crypt::{CanonicalId, ColumnRef, KeyId, ModelError, ModelInfo, Models, Reseal};

use self::sql::{moment, owned, quoted, uncommitted, waits_briefly};
use crate::{
    Begin, Cells, Connection, Dialect, Driver, Failure, FailureKind, Record, Statement,
    driver::there,
    run::{read, run},
};

/// The tables of an application's models over a driver. Its methods are those of
/// [`ModelStore`](ophie_crypt::ModelStore), which [`model_store!`](crate::model_store) implements with them.
#[derive(Clone, Debug)]
pub struct ModelTables<D> {
    pub(crate) driver: D,
    pub(crate) models: Models,
}

impl<D: Driver> ModelTables<D> {
    /// These models over this driver.
    #[must_use]
    pub const fn new(driver: D, models: Models) -> Self {
        Self { driver, models }
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
        let Some(owner_column) = self.owner_column(column, owner)? else {
            return Ok(Vec::new());
        };
        let name = quoted(D::DIALECT, column.name());
        let table = quoted(D::DIALECT, column.table());
        let mut statement = Statement::new(
            D::DIALECT,
            format!("SELECT {name} AS sealed FROM {table} WHERE "),
        );
        owned(&mut statement, &owner_column, owner)?;
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
        let Some(owner_column) = self.owner_column(column, owner)? else {
            return Ok(0);
        };
        let mut statements = Vec::new();
        for group in groups(reseals) {
            let name = quoted(D::DIALECT, column.name());
            let mut statement = replacing(D::DIALECT, column.table(), (&name, &name), group);
            statement.push(" AND ");
            owned(&mut statement, &owner_column, owner)?;
            statements.push(statement);
        }
        self.execute_all(statements).await
    }

    /// All in one transaction. Says how many rows changed.
    async fn execute_all(&self, statements: Vec<Statement>) -> Result<u64, ModelError> {
        if statements.is_empty() {
            return Ok(0);
        }
        let done = run(&self.driver, Begin::Write, move |tx| {
            let statements = statements.clone();
            Box::pin(async move {
                let mut changed = 0_u64;
                for statement in statements {
                    changed = changed.saturating_add(tx.execute(statement).await?);
                }
                Ok(changed)
            })
        });
        done.await.map_err(error)
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
        owner: Option<&CanonicalId>,
        column: &ColumnRef,
        key_id: KeyId,
        since: u64,
    ) -> Result<Option<u64>, ModelError> {
        let owned_by = match owner {
            Some(owner) => match self.owner_column(column, owner)? {
                Some(owner_column) => Some((owner_column, owner)),
                None => return Ok(Some(0)),
            },
            None => {
                self.model(column)?;
                None
            }
        };
        let name = quoted(D::DIALECT, column.name());
        self.count(column.table(), since, |statement| {
            statement.push(&format!("substr({name}, 2, 16) = "));
            statement.push_bind(key_id.as_bytes().as_slice());
            if let Some((owner_column, owner)) = owned_by {
                statement.push(" AND ");
                owned(statement, &owner_column, owner)?;
            }
            Ok(())
        })
        .await
    }

    /// How many rows meet a condition, those among them that were not committed at `since`; `None` while one of these may
    /// still be.
    async fn count(
        &self,
        table: &'static str,
        since: u64,
        condition: impl FnOnce(&mut Statement) -> Result<(), ModelError>,
    ) -> Result<Option<u64>, ModelError> {
        let quoted_table = quoted(D::DIALECT, table);
        let (oldest, locks) = uncommitted(D::DIALECT);
        let waits = waits_briefly(D::DIALECT);
        let mut statement = Statement::new(
            D::DIALECT,
            format!(
                "{waits}SELECT COUNT(*) AS number, {oldest} AS oldest FROM {quoted_table} WHERE "
            ),
        );
        condition(&mut statement)?;
        statement.push(locks);
        self.sees_every_row(table).await?;
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

    /// The quoted name of the column that holds the owner of this column's rows; `None` if owners there are of another
    /// kind, so that none of its rows is this owner's.
    fn owner_column(
        &self,
        column: &ColumnRef,
        owner: &CanonicalId,
    ) -> Result<Option<String>, ModelError> {
        let model = self.model(column)?;
        let kind = owner.kind().ok_or(ModelError::NotAnOwner)?;
        let here = model.owner_kind().is_none_or(|there| there == kind);
        Ok(here.then(|| quoted(D::DIALECT, model.owner().name())))
    }

    /// The model of this column's table.
    fn model(&self, column: &ColumnRef) -> Result<&ModelInfo, ModelError> {
        let table = column.table();
        let of_table = || self.models.iter().filter(|model| model.table() == table);
        let model = of_table().next().ok_or(ModelError::Unknown { table })?;
        let owner = model.owner();
        if of_table().any(|other| other.owner().name() != owner.name()) {
            return Err(ModelError::TwoOwners { table });
        }
        for column in [*column, owner] {
            if column.table().contains('$') || column.name().contains('$') {
                return Err(ModelError::Dollar { column });
            }
        }
        Ok(model)
    }

    /// Fails if PostgreSQL shows this role some rows only: what is not seen is neither counted nor deleted.
    pub(crate) async fn sees_every_row(&self, table: &'static str) -> Result<(), ModelError> {
        if D::DIALECT != Dialect::Postgres {
            return Ok(());
        }
        let statement = Statement::new(
            D::DIALECT,
            "SELECT CAST(0 AS bigint) AS oldest, \
             CAST(CAST(row_security_active(CAST(CAST($1 AS text) AS regclass)) AS int) AS bigint) AS number",
        );
        let statement = statement.bind(quoted(D::DIALECT, table).as_str());
        let hidden: Vec<Counted> = read(&self.driver, statement).await.map_err(error)?;
        match hidden.first() {
            Some(row) if row.number == 0 => Ok(()),
            _ => Err(ModelError::RowSecurity { table }),
        }
    }
}

/// In bytes: what the parameters of one statement may take, far below `max_allowed_packet`.
const STATEMENT: usize = 1 << 20;

/// Reseals that one statement takes, one at least.
fn groups(reseals: &[Reseal]) -> impl Iterator<Item = &[Reseal]> {
    let mut rest = reseals;
    core::iter::from_fn(move || {
        let mut bytes = 0_usize;
        let fit = rest.iter().take_while(|reseal| {
            // Old envelopes stand there twice.
            let old = reseal.old().len().saturating_mul(2);
            bytes = bytes
                .saturating_add(old)
                .saturating_add(reseal.new_bytes().len());
            bytes <= STATEMENT
        });
        let count = fit.count().max(1);
        let (group, others) = rest.split_at_checked(count)?;
        rest = others;
        Some(group)
    })
}

/// One pass over the owner's rows for all of them, in words that every database knows; as far as the owner. Where `by`
/// is the old bytes, `set` becomes the new.
fn replacing(
    dialect: Dialect,
    table: &str,
    (set, by): (&str, &str),
    reseals: &[Reseal],
) -> Statement {
    let table = quoted(dialect, table);
    let waits = waits_briefly(dialect);
    let mut statement = Statement::new(dialect, format!("{waits}UPDATE {table} SET {set} = "));
    if let [one] = reseals {
        statement.push_bind(one.new_bytes());
        statement.push(&format!(" WHERE {by} = "));
        statement.push_bind(one.old());
        return statement;
    }
    statement.push(&format!("CASE {by}"));
    let mut old = Vec::with_capacity(reseals.len());
    for reseal in reseals {
        statement.push(" WHEN ");
        old.push(statement.push_bind(reseal.old()));
        statement.push(" THEN ");
        statement.push_bind(reseal.new_bytes());
    }
    statement.push(&format!(" END WHERE {by} IN ({})", old.join(", ")));
    statement
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

pub(crate) fn error(failure: Failure) -> ModelError {
    match failure.kind() {
        FailureKind::Busy | FailureKind::Retry => ModelError::Busy,
        FailureKind::Duplicate => ModelError::Duplicate,
        FailureKind::Refused => ModelError::refused(failure.into_source()),
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
                owner: Option<&$crate::private::ophie_crypt::CanonicalId>,
                column: &$crate::private::ophie_crypt::ColumnRef,
                key_id: $crate::private::ophie_crypt::KeyId,
                since: u64,
            ) -> Result<Option<u64>, $crate::private::ophie_crypt::ModelError> {
                self.tables.count_under(owner, column, key_id, since).await
            }

            async fn indexed_under(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
                index: &$crate::private::ophie_crypt::IndexedColumn,
                generation: u8,
                after: Option<&$crate::private::ophie_crypt::IndexedRow>,
                limit: u32,
            ) -> Result<
                Vec<$crate::private::ophie_crypt::IndexedRow>,
                $crate::private::ophie_crypt::ModelError,
            > {
                self.tables
                    .indexed_under(owner, index, generation, after, limit)
                    .await
            }

            async fn reindex(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
                index: &$crate::private::ophie_crypt::IndexedColumn,
                anew: &[$crate::private::ophie_crypt::Reindex],
            ) -> Result<u64, $crate::private::ophie_crypt::ModelError> {
                self.tables.reindex(owner, index, anew).await
            }

            async fn count_indexed(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
                index: &$crate::private::ophie_crypt::ColumnRef,
                generation: u8,
                since: u64,
            ) -> Result<Option<u64>, $crate::private::ophie_crypt::ModelError> {
                self.tables
                    .count_indexed(owner, index, generation, since)
                    .await
            }
        }

        #[$crate::private::async_trait]
        impl $(<$param: $bound>)? $crate::private::ophie_crypt::WriteFence for $store $(<$param>)? {
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
