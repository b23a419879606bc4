//! The library's tables for Diesel's migration harness.
//!
//! Absent: the tables' text (`migrations/`), which SQLx's migrator reads from the same files.

use diesel::{
    connection::BoxableConnection,
    migration::{
        self, Migration, MigrationMetadata, MigrationName, MigrationSource, MigrationVersion,
    },
};

use crate::KeyBackend;

/// The library's own tables as migrations of Diesel's, for `run_pending_migrations`.
///
/// ```
/// use diesel::{Connection, SqliteConnection};
/// use diesel_migrations::MigrationHarness;
/// use ophie_crypt_diesel::Migrations;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let mut db = SqliteConnection::establish(":memory:")?;
/// assert_eq!(db.run_pending_migrations(Migrations)?.len(), 3);
/// assert!(db.run_pending_migrations(Migrations)?.is_empty());
/// # Ok(()) }
/// ```
///
/// Diesel remembers them among the application's own. Use either this or a key store's `migrate`, which needs no
/// harness: a `migrate` after the harness finds nothing to do, but the harness does not know what a `migrate` did.
/// On PostgreSQL and SQLite it fails then, because the tables are there, with nothing changed; on MariaDB it finds
/// nothing to do.
///
/// # Security
///
/// Reverting it drops every wrapped key, and no value opens again: `revert_all_migrations` is for databases of tests.
/// While it is the newest, Diesel's `revert` and `redo` of the application's own fail; give these a later version.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "it has no fields and is given by value"
)]
pub struct Migrations;

impl<DB: KeyBackend> MigrationSource<DB> for Migrations {
    fn migrations(&self) -> migration::Result<Vec<Box<dyn Migration<DB>>>> {
        let boxed =
            |step: &ophie_crypt_sql::Migration| -> Box<dyn Migration<DB>> { Box::new(Step(*step)) };
        Ok(ophie_crypt_sql::Migration::all(DB::DIALECT)
            .iter()
            .map(boxed)
            .collect())
    }
}

struct Step(ophie_crypt_sql::Migration);

impl<DB: KeyBackend> Migration<DB> for Step {
    fn run(&self, conn: &mut dyn BoxableConnection<DB>) -> migration::Result<()> {
        Ok(conn.batch_execute(self.0.up())?)
    }

    fn revert(&self, conn: &mut dyn BoxableConnection<DB>) -> migration::Result<()> {
        Ok(conn.batch_execute(self.0.down())?)
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        &InTransaction
    }

    fn name(&self) -> &dyn MigrationName {
        self
    }
}

/// `VERSION_name`, as of the files.
impl MigrationName for Step {
    fn version(&self) -> MigrationVersion<'_> {
        let name = self.0.name();
        name.split_once('_')
            .map_or(name, |(version, _)| version)
            .into()
    }
}

impl core::fmt::Display for Step {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.0.name())
    }
}

struct InTransaction;

impl MigrationMetadata for InTransaction {}
