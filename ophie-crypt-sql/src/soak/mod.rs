//! Columns in a soak: the library's tables of their states, triggers on the application's, and jobs row by row.
//!
//! Invariant: a job writes a row only where what it read of it still stands. Absent: keys, and what is decided (the core).

mod barrier;
mod expanding;
mod filling;
mod guard;
mod jobs;
mod lag;
mod pass;
mod rows;
mod shape;
mod states;
mod steps;
mod store;

pub(crate) use self::expanding::only_before;
use crate::Dialect;

/// The tables of states and heartbeats, for where the keys have a database of their own: of the migration all but the
/// number.
pub(crate) fn tables(dialect: Dialect) -> &'static str {
    let up = crate::Migration::all(dialect)
        .iter()
        .find(|migration| migration.number() == NUMBER)
        .map_or("", crate::Migration::up);
    up.split_once("UPDATE ophie_crypt_installation")
        .map_or(up, |(tables, _)| tables)
}

/// Of the migration that makes these tables.
const NUMBER: i64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_those_of_the_migration() {
        for dialect in [Dialect::MySql, Dialect::Postgres, Dialect::Sqlite] {
            let tables = tables(dialect);
            assert_eq!(tables.matches("CREATE TABLE IF NOT EXISTS").count(), 3);
            assert!(!tables.contains("schema_version"));
        }
    }
}
