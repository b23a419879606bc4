//! The triggers of a column in a soak: the guard, and the refusing trigger that takes its place once a column that is
//! `Retired` is closed.
//!
//! Invariant: ciphertext never stands beside plaintext that changed without it, and the refusing trigger never touches
//! ciphertext. Absent: when one takes the other's place (`states`).

mod mysql;
mod postgres;
mod sqlite;

use ophie_crypt::soak::{SoakColumn, SoakState};

use super::shape::Shape;
use crate::{Dialect, models::short};

/// Texts of at most 128 characters, which is what MySQL takes.
const SHREDDED: &str = "plaintext of an owner whose keys were destroyed is not written any more";
const ALONE: &str =
    "plaintext without ciphertext: old binaries are not admitted any more in this soak";
const NO_PLAINTEXT: &str =
    "ciphertext without plaintext, in a state of this soak in which plaintext counts";
const RETIRED: &str = "no plaintext is written here any more: the column is retired";
const NO_ENVELOPE: &str = "bytes that are no envelope, in an encrypted column";

/// What the triggers of one column are made for.
pub(super) struct Guard<'a> {
    shape: &'a Shape,
    soak: &'a SoakColumn,
    name: String,
    /// Where PostgreSQL finds the library's tables.
    path: &'a str,
}

impl<'a> Guard<'a> {
    pub(super) fn new(shape: &'a Shape, soak: &'a SoakColumn, path: &'a str) -> Self {
        let column = soak.column();
        let name = short(&format!("{}.{}", column.table(), column.name()));
        Self {
            shape,
            soak,
            name,
            path,
        }
    }

    /// Puts the guard up; it must be down, but on MariaDB, where it takes the place of one that stands.
    pub(super) fn raise(&self, state: SoakState, admits_old: bool) -> String {
        match self.shape.dialect {
            Dialect::MySql => self.guard_on_mysql(),
            Dialect::Postgres => self.told(state, admits_old) + &self.guard_on_postgres(),
            Dialect::Sqlite => self.guard_on_sqlite(),
        }
    }

    /// Tells the guard the state that it goes by from now on, where it does not read it: on PostgreSQL a transaction that
    /// began before a step reads the state of before for as long as it likes, but calls the function of now.
    pub(super) fn tell(&self, state: SoakState, admits_old: bool) -> String {
        match self.shape.dialect {
            Dialect::Postgres => self.told(state, admits_old),
            Dialect::MySql | Dialect::Sqlite => String::new(),
        }
    }

    /// Puts the refusing trigger up; it must be down, but on MariaDB, where it takes the place of one that stands.
    pub(super) fn refuse(&self) -> String {
        let (table, column) = (&self.shape.table, &self.shape.column);
        let not_null = format!("NEW.{} IS NOT NULL", self.shape.twin);
        // What is left of the plaintext stands beside its own ciphertext until it goes.
        let update = format!(
            "{not_null} AND (NOT ({}) OR NOT ({}) OR (NEW.{column} IS NULL AND OLD.{column} IS NOT NULL))",
            self.same("plain"),
            self.same("owner")
        );
        match self.shape.dialect {
            Dialect::Postgres => {
                let function = format!("ophie_crypt_soak_r_{}", self.name);
                format!(
                    "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $soak$
BEGIN
    RAISE EXCEPTION USING MESSAGE = '{RETIRED}', ERRCODE = 'restrict_violation';
END $soak$;
CREATE TRIGGER {} BEFORE INSERT ON {table}
    FOR EACH ROW WHEN ({not_null}) EXECUTE FUNCTION {function}();
CREATE TRIGGER {} BEFORE UPDATE ON {table}
    FOR EACH ROW WHEN ({update}) EXECUTE FUNCTION {function}();
",
                    self.trigger("ri"),
                    self.trigger("ru")
                )
            }
            Dialect::MySql => {
                let one = |name: &str, operation: &str, condition: &str| {
                    format!(
                        "CREATE OR REPLACE TRIGGER {} BEFORE {operation} ON {table} FOR EACH ROW BEGIN\n    IF {condition} THEN\n        \
                         SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{RETIRED}';\n    END IF;\nEND;\n",
                        self.trigger(name)
                    )
                };
                one("ri", "INSERT", &not_null) + &one("ru", "UPDATE", &update)
            }
            Dialect::Sqlite => {
                let envelope = self.no_envelope_on_sqlite();
                let one = |name: &str, operation: &str, condition: &str| {
                    format!(
                        "CREATE TRIGGER {} BEFORE {operation} ON {table} BEGIN\n    \
                         SELECT RAISE(ABORT, '{RETIRED}') WHERE {condition};\n    \
                         SELECT RAISE(ABORT, '{NO_ENVELOPE}') WHERE {envelope};\nEND;\n",
                        self.trigger(name)
                    )
                };
                one("ri", "INSERT", &not_null) + &one("ru", "UPDATE", &update)
            }
        }
    }

    /// Takes the guard down, if it is up.
    pub(super) fn lower(&self) -> String {
        let names: &[&str] = match self.shape.dialect {
            Dialect::Sqlite => &["gi", "gu", "ge", "gf", "gn", "gs"],
            Dialect::MySql | Dialect::Postgres => &["gi", "gu"],
        };
        self.drop(names, "g")
    }

    /// Takes the refusing trigger down, if it is up.
    pub(super) fn admit(&self) -> String {
        self.drop(&["ri", "ru"], "r")
    }

    /// A CHECK that admits envelopes only. SQLite's is in the triggers, as it adds none to a table that is there.
    pub(super) fn check(&self) -> String {
        let (table, column) = (&self.shape.table, &self.shape.column);
        let name = self.constraint("c");
        let envelope = |first: &str| {
            format!(
                "{column} IS NULL OR (octet_length({column}) >= 45 AND {first} BETWEEN 250 AND 253)"
            )
        };
        match self.shape.dialect {
            Dialect::MySql => format!(
                "{}ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({});\n",
                self.uncheck(),
                envelope(&format!("ord(substr({column}, 1, 1))"))
            ),
            Dialect::Postgres => format!(
                "{}ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({}) NOT VALID;\n",
                self.uncheck(),
                envelope(&format!("get_byte({column}, 0)"))
            ),
            Dialect::Sqlite => String::new(),
        }
    }

    /// Takes that CHECK away.
    pub(super) fn uncheck(&self) -> String {
        let (table, name) = (&self.shape.table, self.constraint("c"));
        match self.shape.dialect {
            Dialect::MySql | Dialect::Postgres => {
                format!("ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name};\n")
            }
            Dialect::Sqlite => String::new(),
        }
    }

    /// A name for a constraint.
    fn constraint(&self, kind: &str) -> String {
        format!("ophie_crypt_soak_{kind}_{}", self.name)
    }

    /// A name for a trigger. PostgreSQL fires them in the order of their names: this one sees what others have changed.
    fn trigger(&self, kind: &str) -> String {
        let name = format!("zz_ophie_crypt_soak_{kind}_{}", self.name);
        match (
            self.shape.dialect,
            self.soak.column().table().rsplit_once('.'),
        ) {
            (Dialect::Postgres, _) | (_, None) => name,
            (dialect, Some((schema, _))) => {
                format!("{}.{name}", crate::models::sql::quoted(dialect, schema))
            }
        }
    }

    fn drop(&self, names: &[&str], function: &str) -> String {
        let table = &self.shape.table;
        let mut sql = String::new();
        for name in names {
            let name = self.trigger(name);
            sql.push_str(&match self.shape.dialect {
                Dialect::Postgres => format!("DROP TRIGGER IF EXISTS {name} ON {table};\n"),
                Dialect::MySql | Dialect::Sqlite => format!("DROP TRIGGER IF EXISTS {name};\n"),
            });
        }
        if self.shape.dialect == Dialect::Postgres {
            let function = format!("ophie_crypt_soak_{function}_{}", self.name);
            sql.push_str(&format!("DROP FUNCTION IF EXISTS {function}();\n"));
        }
        sql
    }

    /// Whether plaintext, ciphertext or owner is as it was, byte by byte.
    fn same(&self, what: &str) -> String {
        let of = |row: &str| match what {
            "plain" => self.shape.plain_alike(row),
            "sealed" => format!("{row}{}", self.shape.column),
            _ => self.shape.owner_alike(row),
        };
        let (new, old) = (of("NEW."), of("OLD."));
        let same = match self.shape.dialect {
            Dialect::MySql => format!("({new}) <=> ({old})"),
            Dialect::Postgres => format!("({new}) IS NOT DISTINCT FROM ({old})"),
            Dialect::Sqlite => format!("({new}) IS ({old})"),
        };
        if what != "owner" {
            return same;
        }
        // Without plaintext, the ciphertext is all there is: it is left for its owner.
        format!("({same} OR NEW.{} IS NULL)", self.shape.twin)
    }

    /// Whether it is that of a plaintext of before, where both plaintext and ciphertext are new: one that an UPDATE forgot.
    /// Plaintext that comes back has its own, and a retired row gets no other.
    fn forgotten(&self, fingerprint: &str, state: &str) -> String {
        let (twin, is) = (
            &self.shape.twin,
            self.shape.dialect.of("<=>", "IS NOT DISTINCT FROM", "IS"),
        );
        format!(
            "OLD.{twin} IS NOT NULL AND NEW.{twin} IS NOT NULL AND NEW.{fingerprint} {is} OLD.{fingerprint} \
             AND {state} <> 'retired'"
        )
    }

    /// The state, or whether old binaries are admitted.
    fn state(&self, of: &str) -> String {
        let column = self.soak.column();
        format!(
            "SELECT {of} FROM ophie_crypt_soaks AS s WHERE s.table_name = '{}' AND s.column_name = '{}'",
            column.table(),
            column.name()
        )
    }

    fn buried(&self) -> String {
        format!(
            "SELECT 1 FROM ophie_crypt_tombstones AS b WHERE b.owner = {}",
            self.shape.owner_bytes("NEW.")
        )
    }
}
