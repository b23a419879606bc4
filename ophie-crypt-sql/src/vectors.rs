//! Vectors in a table of the application's on PostgreSQL, as a vector store.
//!
//! Invariant: each statement names the owner, so that no row of another's goes; "none is left" is what the primary
//! said, with no row hidden from who asks. Absent: searching, the library's own tables.

use ophie_crypt::{CanonicalId, VectorStoreError, VectorsDeleted};

use crate::{
    Begin, Cells, Connection, Driver, Failure, FailureKind, Record, Statement,
    driver::there,
    models::sql::{owned, quoted},
    run::{read, run},
};

/// A table of vectors over a driver of PostgreSQL's. Its method is that of [`VectorStore`](ophie_crypt::VectorStore).
#[derive(Clone, Debug)]
pub struct VectorRows<D> {
    driver: D,
    table: String,
    column: String,
}

impl<D: Driver> VectorRows<D> {
    /// Of this table, perhaps with its schema and a dot before it, whose rows have their owner in this column.
    #[must_use]
    pub fn new(driver: D, table: &str, owner: &str) -> Self {
        Self {
            driver,
            table: quoted(D::DIALECT, table),
            column: quoted(D::DIALECT, owner),
        }
    }

    /// See [`VectorStore::delete_owner`](ophie_crypt::VectorStore::delete_owner).
    ///
    /// # Errors
    ///
    /// [`VectorStoreError`].
    pub async fn delete_owner(
        &self,
        owner: &CanonicalId,
    ) -> Result<VectorsDeleted, VectorStoreError> {
        let mut count = 0_u64;
        for _ in 0..BATCHES {
            let deleted = self.delete_batch(owner).await?;
            count = count.saturating_add(deleted);
            if deleted == 0 {
                break;
            }
        }
        let Look { left, hidden } = self.look(owner).await?;
        if hidden {
            return Err(VectorStoreError::refused(HIDDEN));
        }
        Ok(VectorsDeleted::new(Some(count), !left))
    }

    async fn delete_batch(&self, owner: &CanonicalId) -> Result<u64, VectorStoreError> {
        let Self { table, column, .. } = self;
        let mut statement = self.statement(format!("DELETE FROM {table} WHERE "), owner)?;
        // With the owner outside too: partitions use the same ctids.
        statement.push(&format!(
            " AND ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE "
        ));
        owned(&mut statement, column, owner).map_err(VectorStoreError::refused)?;
        statement.push(&format!(" LIMIT {BATCH}))"));
        let deleted = run(&self.driver, Begin::Write, move |tx| {
            let statement = statement.clone();
            Box::pin(tx.execute(statement))
        });
        deleted.await.map_err(error)
    }

    async fn look(&self, owner: &CanonicalId) -> Result<Look, VectorStoreError> {
        let table = &self.table;
        let look = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE ");
        let mut statement = self.statement(look, owner)?;
        statement.push(")::int::bigint AS left_over, row_security_active(CAST(");
        statement.push_bind(table.as_str());
        statement.push(" AS text)::regclass)::int::bigint AS hidden");
        let rows = read::<_, Look>(&self.driver, statement);
        let mut rows = rows.await.map_err(error)?;
        rows.pop()
            .ok_or_else(|| VectorStoreError::unavailable("a row is missing from the answer"))
    }

    /// A statement, as far as its first condition.
    fn statement(&self, sql: String, owner: &CanonicalId) -> Result<Statement, VectorStoreError> {
        let mut statement = Statement::new(D::DIALECT, sql);
        owned(&mut statement, &self.column, owner).map_err(VectorStoreError::refused)?;
        Ok(statement)
    }
}

/// What is left of an owner's rows.
#[derive(Clone, Copy)]
struct Look {
    left: bool,
    /// A policy of row security decides what is shown.
    hidden: bool,
}

impl Record for Look {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self {
            left: there(cells.int("left_over")?)? != 0,
            hidden: there(cells.int("hidden")?)? != 0,
        })
    }
}

fn error(failure: Failure) -> VectorStoreError {
    match failure.kind() {
        FailureKind::NotMigrated | FailureKind::ReadOnly | FailureKind::Refused => {
            VectorStoreError::refused(failure.into_source())
        }
        _ => VectorStoreError::unavailable(failure.into_source()),
    }
}

const HIDDEN: &str = "row security hides rows of the table from this role; connect as one with BYPASSRLS, or as the \
                      table's owner without FORCE ROW LEVEL SECURITY";

/// Rows in one statement, and statements in one call.
const BATCH: u32 = 1_000;
const BATCHES: u32 = 100;
