//! What a shred does in the application's tables.
//!
//! Invariant: a statement that changes or deletes rows itself looks for the owner's tombstone, and itself says whose rows
//! it is about. Absent: envelopes (the parent), when a row may go (the core).

use ophie_crypt::{CanonicalId, ModelError, ModelInfo};

use super::{
    ModelTables, error,
    sql::{owned, quoted},
};
use crate::{
    Begin, Cells, Connection, Dialect, Driver, Failure, FailureKind, Record, Statement,
    Transaction,
    driver::there,
    run::{read, run},
};

/// Its methods are those of [`RowStore`](ophie_crypt::RowStore), which [`row_store!`](crate::row_store) implements with
/// them.
impl<D: Driver> ModelTables<D> {
    /// Makes the tables of tombstones and of soaks, if they are not there: where the keys have a database of their own.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn migrate(&self) -> Result<(), ModelError> {
        let made = run(&self.driver, Begin::Migrate, |tx| {
            let tables = [
                tombstones(D::DIALECT),
                ";\n",
                crate::soak::tables(D::DIALECT),
            ];
            Box::pin(tx.batch(tables.concat()))
        });
        made.await.map_err(error)
    }

    /// See [`RowStore::bury`](ophie_crypt::RowStore::bury).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn bury(&self, owner: &CanonicalId) -> Result<(), ModelError> {
        let insert = Statement::new(D::DIALECT, bury(D::DIALECT)).bind(owner.as_bytes());
        let buried = run(&self.driver, Begin::Write, move |tx| {
            let insert = insert.clone();
            Box::pin(async move {
                match tx.execute(insert).await {
                    Err(failure) if failure.kind() == FailureKind::Duplicate => Ok(()),
                    done => done.map(drop),
                }
            })
        });
        buried.await.map_err(error)
    }

    /// See [`RowStore::writers`](ophie_crypt::RowStore::writers).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn writers(&self) -> Result<Vec<String>, ModelError> {
        // MariaDB's triggers and updates wait for them, and SQLite has one writer.
        if D::DIALECT != Dialect::Postgres {
            return Ok(Vec::new());
        }
        // Also of who has only read so far: its snapshot may have no tombstone, and its triggers go by it. Background
        // workers have no user; what is prepared has no process.
        let statement = Statement::new(
            D::DIALECT,
            "SELECT DISTINCT virtualtransaction AS writer FROM pg_locks WHERE \
             EXISTS (SELECT 1 FROM ophie_crypt_soaks WHERE state <> 'dropped') AND ( \
                 (locktype = 'virtualxid' AND granted AND pid <> pg_backend_pid() AND pid IN ( \
                     SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usesysid IS NOT NULL)) \
                 OR (pid IS NULL AND database = (SELECT oid FROM pg_database WHERE datname = current_database())))",
        );
        let rows: Vec<Writer> = read(&self.driver, statement).await.map_err(error)?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// See [`RowStore::tombstone`](ophie_crypt::RowStore::tombstone).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn tombstone(
        &self,
        owner: &CanonicalId,
        table: &str,
        limit: u32,
    ) -> Result<u64, ModelError> {
        let mut changed = 0_u64;
        let is_kept = self.models.kept().any(|(kept, _)| kept == table);
        let mut twins = self.twins(table).await?;
        for model in self.models.iter().filter(|model| model.table() == table) {
            let column = model.tombstone().filter(|_| !is_kept);
            let column = column.map(|column| (column, "CURRENT_TIMESTAMP", "IS NULL"));
            let twins = core::mem::take(&mut twins); // once for all models of the table
            let twins = twins.iter().map(|twin| (&**twin, "NULL", "IS NOT NULL"));
            for (column, value, before) in column.into_iter().chain(twins) {
                let name = quoted(D::DIALECT, column);
                let head = |table: &str| format!("UPDATE {table} SET {name} = {value}");
                let rest = format!(" AND {name} {before}");
                let rows = self
                    .change(owner, model, column, &head, &rest, limit)
                    .await?;
                changed = changed.saturating_add(rows);
            }
        }
        Ok(changed)
    }

    /// The plaintext columns beside encrypted ones, as the database knows them: a release that names none of them may be
    /// the one that shreds.
    async fn twins(&self, table: &str) -> Result<Vec<String>, ModelError> {
        let statement = Statement::new(
            D::DIALECT,
            "SELECT DISTINCT twin AS name FROM ophie_crypt_soaks WHERE table_name = $1 AND state <> 'dropped'",
        );
        let rows: Vec<Twin> = read(&self.driver, statement.bind(table))
            .await
            .map_err(error)?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// See [`RowStore::sweep`](ophie_crypt::RowStore::sweep).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn sweep(
        &self,
        owner: &CanonicalId,
        table: &str,
        limit: u32,
    ) -> Result<u64, ModelError> {
        let mut models = self.models.iter().filter(|model| model.table() == table);
        let Some(model) = models.next() else {
            return Ok(0);
        };
        let head = |table: &str| format!("DELETE FROM {table}");
        self.change(owner, model, "", &head, "", limit).await
    }

    /// A statement on at most `limit` rows of a buried owner.
    async fn change(
        &self,
        owner: &CanonicalId,
        model: &ModelInfo,
        column: &str,
        head: &(dyn Fn(&str) -> String + Sync),
        rest: &str,
        limit: u32,
    ) -> Result<u64, ModelError> {
        let of = model.owner();
        if column.contains('$') {
            return Err(ModelError::Dollar { column: of });
        }
        let Some(owner_column) = self.owner_column(&of, owner)? else {
            return Ok(0);
        };
        self.sees_every_row(model.table()).await?;
        let table = quoted(D::DIALECT, model.table());
        let mut statement = Statement::new(D::DIALECT, head(&table));
        let condition = |statement: &mut Statement| {
            statement.push(" WHERE ");
            owned(statement, &owner_column, owner)?;
            statement.push(
                " AND EXISTS (SELECT 1 FROM ophie_crypt_tombstones AS buried WHERE buried.owner = ",
            );
            statement.push_bind(owner.as_bytes());
            statement.push(&format!("){rest}"));
            Ok::<_, ModelError>(())
        };
        condition(&mut statement)?;
        let row = match D::DIALECT {
            Dialect::MySql => {
                statement.push(&format!(" LIMIT {limit}"));
                None
            }
            // Of two partitions, rows may have one name; both are the owner's, as the outer condition says.
            Dialect::Postgres => Some("ctid"),
            Dialect::Sqlite => Some("rowid"),
        };
        if let Some(row) = row {
            statement.push(&format!(" AND {row} IN (SELECT {row} FROM {table}"));
            condition(&mut statement)?;
            statement.push(&format!(" LIMIT {limit})"));
        }
        let changed = run(&self.driver, Begin::Write, move |tx| {
            let statement = statement.clone();
            Box::pin(tx.execute(statement))
        });
        changed.await.map_err(error)
    }
}

const fn bury(dialect: Dialect) -> &'static str {
    dialect.of(
        "INSERT INTO ophie_crypt_tombstones (owner) VALUES ($1)",
        "INSERT INTO ophie_crypt_tombstones (owner) VALUES ($1) ON CONFLICT DO NOTHING",
        "INSERT INTO ophie_crypt_tombstones (owner) VALUES ($1) ON CONFLICT DO NOTHING",
    )
}

/// The name of a transaction.
struct Writer(String);

impl Record for Writer {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self(there(cells.text("writer")?)?))
    }
}

struct Twin(String);

impl Record for Twin {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self(there(cells.text("name")?)?))
    }
}

/// As in the keys' migrations, without the reference to shreds, which stand in another database.
const fn tombstones(dialect: Dialect) -> &'static str {
    dialect.of(
        "CREATE TABLE IF NOT EXISTS ophie_crypt_tombstones (owner VARBINARY(1025) NOT NULL PRIMARY KEY) \
         ENGINE = InnoDB",
        "CREATE TABLE IF NOT EXISTS ophie_crypt_tombstones (owner bytea PRIMARY KEY)",
        "CREATE TABLE IF NOT EXISTS ophie_crypt_tombstones (owner BLOB NOT NULL PRIMARY KEY) STRICT",
    )
}

/// Implements [`RowStore`](ophie_crypt::RowStore) for a type with a field `tables`, a [`ModelTables`].
#[macro_export]
macro_rules! row_store {
    ($store:ident $(<$param:ident: $bound:path>)?) => {
        #[$crate::private::async_trait]
        impl $(<$param: $bound>)? $crate::private::ophie_crypt::RowStore for $store $(<$param>)? {
            async fn bury(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
            ) -> Result<(), $crate::private::ophie_crypt::ModelError> {
                self.tables.bury(owner).await
            }

            async fn writers(
                &self,
            ) -> Result<Vec<String>, $crate::private::ophie_crypt::ModelError> {
                self.tables.writers().await
            }

            async fn tombstone(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
                table: &str,
                limit: u32,
            ) -> Result<u64, $crate::private::ophie_crypt::ModelError> {
                self.tables.tombstone(owner, table, limit).await
            }

            async fn sweep(
                &self,
                owner: &$crate::private::ophie_crypt::CanonicalId,
                table: &str,
                limit: u32,
            ) -> Result<u64, $crate::private::ophie_crypt::ModelError> {
                self.tables.sweep(owner, table, limit).await
            }
        }
    };
}
