//! Sidecars in a column of the application's on PostgreSQL, as the end of a key counts them.
//!
//! Invariant: "none is left" is what the primary said, with no row hidden from who asks. Absent: what a sidecar is (the core),
//! and writing one.

use ophie_crypt::{KeyId, SidecarStoreError, sidecar_beginnings};

use crate::{
    Cells, Dialect, Driver, Failure, Record, Statement, driver::there, models::sql::quoted,
    run::read,
};

/// A column of a table over a driver of PostgreSQL's. Its method is that of [`SidecarStore`](ophie_crypt::SidecarStore).
#[derive(Clone, Debug)]
pub struct SidecarRows<D> {
    driver: D,
    table: String,
    column: String,
}

impl<D: Driver> SidecarRows<D> {
    /// Of this table, perhaps with its schema and a dot before it, where sidecars stand in this column.
    #[must_use]
    pub fn new(driver: D, table: &str, column: &str) -> Self {
        Self {
            driver,
            table: quoted(D::DIALECT, table),
            column: quoted(D::DIALECT, column),
        }
    }

    /// See [`SidecarStore::count_under`](ophie_crypt::SidecarStore::count_under). Of everybody, as no two owners share a key.
    ///
    /// # Errors
    ///
    /// [`SidecarStoreError`].
    pub async fn count_under(&self, key_id: KeyId) -> Result<u64, SidecarStoreError> {
        if D::DIALECT != Dialect::Postgres {
            return Err(SidecarStoreError::new(
                "sidecars are counted on PostgreSQL only",
            ));
        }
        let Self { table, column, .. } = self;
        let sql = "SELECT CAST(CAST(row_security_active(CAST(";
        let mut statement = Statement::new(D::DIALECT, sql);
        statement.push_bind(table.as_str());
        statement.push(&format!(
            " AS text)::regclass) AS int) AS bigint) AS hidden, (SELECT count(*) FROM {table} WHERE false"
        ));
        // As bytes, and anywhere in it: no collation decides, no character is a wildcard, and JSON has its quotes before.
        for beginning in sidecar_beginnings(key_id) {
            let bytes = "position(convert_to(CAST(";
            statement.push(&format!(" OR {bytes}"));
            statement.push_bind(beginning.as_str());
            let within =
                format!(" AS text), 'UTF8') IN convert_to(CAST({column} AS text), 'UTF8')) > 0");
            statement.push(&within);
        }
        statement.push(") AS number");
        let rows = read::<_, Look>(&self.driver, statement).await;
        let rows = rows.map_err(|failure| SidecarStoreError::new(failure.into_source()))?;
        match rows.first() {
            Some(Look {
                hidden: false,
                number,
            }) => (*number).try_into().map_err(SidecarStoreError::new),
            Some(_) => Err(SidecarStoreError::new(HIDDEN)),
            None => Err(SidecarStoreError::new("a row is missing from the answer")),
        }
    }
}

/// What is under a key.
struct Look {
    /// A policy of row security decides what is shown.
    hidden: bool,
    number: i64,
}

impl Record for Look {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self {
            hidden: there(cells.int("hidden")?)? != 0,
            number: there(cells.int("number")?)?,
        })
    }
}

const HIDDEN: &str = "row security hides rows of the table from this role; connect as one with BYPASSRLS, or as the \
                      table's owner without FORCE ROW LEVEL SECURITY";
