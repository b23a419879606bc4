//! Fingerprints in the application's own tables, read and made anew by owner and generation.
//!
//! Invariant: a fingerprint is replaced only where it and the envelope that were read still stand.
//! Absent: under which key it is made (the core).

use ophie_crypt::{CanonicalId, ColumnRef, IndexedColumn, IndexedRow, ModelError, Reindex, Reseal};

use super::{
    ModelTables, error, groups, replacing,
    sql::{owned, quoted},
};
use crate::{Cells, Driver, Failure, Record, Statement, driver::there, run::read};

impl<D: Driver> ModelTables<D> {
    /// See [`ModelStore::indexed_under`](ophie_crypt::ModelStore::indexed_under).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn indexed_under(
        &self,
        owner: &CanonicalId,
        index: &IndexedColumn,
        generation: u8,
        after: Option<&IndexedRow>,
        limit: u32,
    ) -> Result<Vec<IndexedRow>, ModelError> {
        let Some(owner_column) = self.owner_column(&index.index(), owner)? else {
            return Ok(Vec::new());
        };
        self.model(&index.of())?;
        let name = quoted(D::DIALECT, index.index().name());
        let of = quoted(D::DIALECT, index.of().name());
        let table = quoted(D::DIALECT, index.index().table());
        let mut statement = Statement::new(
            D::DIALECT,
            format!(
                "SELECT {name} AS fingerprint, {of} AS sealed FROM {table} WHERE {of} IS NOT NULL AND "
            ),
        );
        owned(&mut statement, &owner_column, owner)?;
        of_generation(&mut statement, &name, generation);
        if let Some(after) = after {
            statement.push(&format!(" AND ({name} > "));
            let fingerprint = statement.push_bind(after.fingerprint());
            statement.push(&format!(" OR {name} = {fingerprint} AND {of} > "));
            statement.push_bind(after.sealed());
            statement.push(")");
        }
        statement.push(&format!(" ORDER BY {name}, {of} LIMIT {limit}"));
        let rows: Vec<Indexed> = read(&self.driver, statement).await.map_err(error)?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// See [`ModelStore::reindex`](ophie_crypt::ModelStore::reindex).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn reindex(
        &self,
        owner: &CanonicalId,
        index: &IndexedColumn,
        anew: &[Reindex],
    ) -> Result<u64, ModelError> {
        let Some(owner_column) = self.owner_column(&index.index(), owner)? else {
            return Ok(0);
        };
        self.model(&index.of())?;
        let name = quoted(D::DIALECT, index.index().name());
        let of = quoted(D::DIALECT, index.of().name());
        let by_envelope: Vec<Reseal> = anew
            .iter()
            .map(|anew| Reseal::new(anew.row().sealed(), anew.fingerprint()))
            .collect();
        let (mut statements, mut rows) = (Vec::new(), anew.iter());
        for group in groups(&by_envelope) {
            let table = index.index().table();
            let mut statement = replacing(D::DIALECT, table, (&name, &of), group);
            // By the fingerprint too, which an index serves.
            statement.push(&format!(" AND {name} IN ("));
            for (n, anew) in rows.by_ref().take(group.len()).enumerate() {
                if n > 0 {
                    statement.push(", ");
                }
                statement.push_bind(anew.row().fingerprint());
            }
            statement.push(") AND ");
            owned(&mut statement, &owner_column, owner)?;
            statements.push(statement);
        }
        self.execute_all(statements).await
    }

    /// See [`ModelStore::count_indexed`](ophie_crypt::ModelStore::count_indexed).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn count_indexed(
        &self,
        owner: &CanonicalId,
        index: &ColumnRef,
        generation: u8,
        since: u64,
    ) -> Result<Option<u64>, ModelError> {
        let Some(owner_column) = self.owner_column(index, owner)? else {
            return Ok(Some(0));
        };
        let name = quoted(D::DIALECT, index.name());
        self.count(index.table(), since, |statement| {
            owned(statement, &owner_column, owner)?;
            of_generation(statement, &name, generation);
            Ok(())
        })
        .await
    }
}

/// Adds the condition that the fingerprint is of this generation, which is its first byte: a range, which an index serves.
fn of_generation(statement: &mut Statement, name: &str, generation: u8) {
    statement.push(&format!(" AND {name} >= "));
    statement.push_bind([generation].as_slice());
    if let Some(next) = generation.checked_add(1) {
        statement.push(&format!(" AND {name} < "));
        statement.push_bind([next].as_slice());
    }
}

struct Indexed(IndexedRow);

impl Record for Indexed {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        let fingerprint = there(cells.bytes("fingerprint")?)?;
        Ok(Self(IndexedRow::new(
            fingerprint,
            there(cells.bytes("sealed")?)?,
        )))
    }
}
