//! The beginning of a soak as part of a migration of the application's own, up and down.
//!
//! Invariant: neither way runs where the soak has gone on: there the one would take the triggers of another state away, and
//! the other the only copy of values. Absent: what else the tables lack (`models::changes`).

use ophie_crypt::{ModelError, soak::SoakColumn};

use super::{
    guard::Guard,
    steps::{expanding, missing},
};
use crate::{Dialect, Driver, models::ModelTables};

/// Statements of the two ways. Where each is committed by itself, those that refuse come before all others.
pub(crate) struct Beginning {
    pub(crate) up: String,
    pub(crate) up_refuses: String,
    pub(crate) down: String,
    pub(crate) down_refuses: String,
}

impl<D: Driver> ModelTables<D> {
    /// What [`expand`](Self::expand) does, and the way back.
    pub(crate) async fn beginning(&self, soak: &SoakColumn) -> Result<Beginning, ModelError> {
        let (shape, path) = (self.shape(soak).await?, self.search_path().await?);
        let guard = Guard::new(&shape, soak, &path);
        let (of, column) = (of(soak), soak.column());
        let up = format!(
            "\n-- The soak of {column}, whose plaintext column is `{}`, begins.\n{}{}",
            soak.twin(),
            expanding(soak, &shape, &guard)?,
            claim(D::DIALECT, soak)
        );
        let table = &shape.table;
        let mut down = [guard.lower(), guard.admit(), guard.unchecked()].concat();
        for (name, _) in missing(soak, &shape) {
            down.push_str(&format!("ALTER TABLE {table} DROP COLUMN {name};\n"));
        }
        down.push_str(&format!(
            "DELETE FROM ophie_crypt_soak_heartbeats WHERE {of};\nDELETE FROM ophie_crypt_soaks WHERE {of};\n"
        ));
        Ok(Beginning {
            up,
            up_refuses: format!(
                "-- Fails, by the table's CHECK, where the soak of {column} has begun.\n\
                 UPDATE ophie_crypt_soaks SET state = 'begun already' WHERE {of} AND state <> 'plain';\n"
            ),
            down,
            down_refuses: format!(
                "-- Fails, by the table's CHECK, where the soak of {column} has gone on: `ophie-crypt soak back` comes first.\n\
                 UPDATE ophie_crypt_soaks SET state = 'past expand' WHERE {of} AND state NOT IN ('plain', 'expand');\n"
            ),
        })
    }
}

/// The soak's row. No name has a quote in it: `shape` looked.
fn of(soak: &SoakColumn) -> String {
    let column = soak.column();
    format!(
        "table_name = '{}' AND column_name = '{}'",
        column.table(),
        column.name()
    )
}

/// As `claiming` has it, without parameters.
fn claim(dialect: Dialect, soak: &SoakColumn) -> String {
    let (column, twin, floor) = (soak.column(), soak.twin(), soak.floor());
    let (clash, version) = match dialect {
        Dialect::MySql => ("DUPLICATE KEY UPDATE", "version"),
        Dialect::Postgres | Dialect::Sqlite => (
            "CONFLICT (table_name, column_name) DO UPDATE SET",
            "ophie_crypt_soaks.version",
        ),
    };
    format!(
        "INSERT INTO ophie_crypt_soaks (table_name, column_name, twin, state, floor)\n    \
         VALUES ('{}', '{}', '{twin}', 'expand', '{floor}')\n    \
         ON {clash} since = {version} + 1, version = {version} + 1, twin = '{twin}', state = 'expand',\n    \
         floor = '{floor}', admits_old = 1, verified = NULL, position = NULL;\n",
        column.table(),
        column.name()
    )
}
