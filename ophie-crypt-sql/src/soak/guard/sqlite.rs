//! The guard on SQLite, whose triggers change no row that is being written.
//!
//! Absent: the refusing trigger, names (the parent).

use super::{ALONE, Guard, NO_ENVELOPE, NO_PLAINTEXT, SHREDDED};
use crate::soak::shape::Shape;

impl Guard<'_> {
    /// Bytes that are no envelope. SQLite adds no CHECK to a table that is there.
    pub(super) fn no_envelope_on_sqlite(&self) -> String {
        let column = &self.shape.column;
        format!(
            "NEW.{column} IS NOT NULL AND NOT (typeof(NEW.{column}) = 'blob' AND length(NEW.{column}) >= 45 \
             AND substr(NEW.{column}, 1, 1) BETWEEN x'FA' AND x'FD')"
        )
    }

    /// SQLite's triggers do not change the row that is being written: one refuses before, another mends after.
    pub(super) fn guard_on_sqlite(&self) -> String {
        let Shape {
            table,
            column,
            twin,
            fingerprints,
            ..
        } = self.shape;
        let changed = format!("NOT ({} AND {})", self.same("plain"), self.same("owner"));
        let resealed = format!("NOT ({})", self.same("sealed"));
        let state = self.state("s.state");
        let refuse = |changed: &str, resealed: &str, left_alone: &str| {
            let checks = [
                (NO_ENVELOPE, self.no_envelope_on_sqlite()),
                (
                    SHREDDED,
                    format!(
                        "{changed} AND NEW.{twin} IS NOT NULL AND EXISTS ({})",
                        self.buried()
                    ),
                ),
                (
                    ALONE,
                    format!(
                        "NEW.{twin} IS NOT NULL AND {left_alone} AND ({}) = 0 \
                         AND ({changed} AND ({state}) IN ('backfill', 'verify', 'soak') \
                         OR ({changed} OR {resealed}) AND ({state}) IN ('sealed', 'retired'))",
                        self.state("s.admits_old")
                    ),
                ),
                (
                    NO_PLAINTEXT,
                    format!(
                        "NEW.{twin} IS NULL AND NEW.{column} IS NOT NULL AND {resealed} \
                         AND (({state}) NOT IN ('sealed', 'retired') OR ({}) = 1)",
                        self.state("s.admits_old")
                    ),
                ),
            ];
            let lines = checks.map(|(message, condition)| {
                format!("    SELECT RAISE(ABORT, '{message}') WHERE {condition};\n")
            });
            lines.concat()
        };
        let empty: Vec<String> = fingerprints
            .iter()
            .map(|name| format!("{name} = NULL"))
            .collect();
        let stray: Vec<String> = fingerprints
            .iter()
            .map(|name| format!("NEW.{name} IS NOT NULL"))
            .collect();
        let mut all = vec![format!("{column} = NULL")];
        all.extend(empty.iter().cloned());
        let left_alone = format!("(NEW.{column} IS NULL OR NOT {resealed})");
        let insert = refuse("1", "1", &format!("NEW.{column} IS NULL"));
        let mut sql = format!(
            "CREATE TRIGGER {} BEFORE INSERT ON {table} BEGIN\n{insert}END;\n\
             CREATE TRIGGER {} BEFORE UPDATE ON {table} BEGIN\n{}END;\n\
             CREATE TRIGGER {} AFTER UPDATE ON {table} WHEN {changed} AND NOT {resealed} AND NEW.{column} IS NOT NULL BEGIN\n    \
             UPDATE {table} SET {} WHERE rowid = NEW.rowid;\nEND;\n",
            self.trigger("gi"),
            self.trigger("gu"),
            refuse(&changed, &resealed, &left_alone),
            self.trigger("ge"),
            all.join(", "),
        );
        if !empty.is_empty() {
            let forgotten = |name: &String| self.forgotten(name, &format!("({state})"));
            let kept: Vec<String> = fingerprints
                .iter()
                .map(|name| format!("{name} = iif({}, NULL, {name})", forgotten(name)))
                .collect();
            let forgotten: Vec<String> = fingerprints.iter().map(forgotten).collect();
            sql.push_str(&format!(
                "CREATE TRIGGER {} AFTER UPDATE ON {table} WHEN {changed} AND {resealed} AND ({}) BEGIN\n    \
                 UPDATE {table} SET {} WHERE rowid = NEW.rowid;\nEND;\n",
                self.trigger("gs"),
                forgotten.join(" OR "),
                kept.join(", ")
            ));
            // Of a row that has no ciphertext no fingerprint vouches for anything.
            for (name, operation) in [("gf", "INSERT"), ("gn", "UPDATE")] {
                sql.push_str(&format!(
                    "CREATE TRIGGER {} AFTER {operation} ON {table} WHEN NEW.{column} IS NULL AND ({}) BEGIN\n    \
                     UPDATE {table} SET {} WHERE rowid = NEW.rowid;\nEND;\n",
                    self.trigger(name),
                    stray.join(" OR "),
                    empty.join(", ")
                ));
            }
        }
        sql
    }
}
