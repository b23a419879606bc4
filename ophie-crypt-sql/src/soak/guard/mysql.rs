//! The guard on MariaDB, which reads the state.
//!
//! Absent: the refusing trigger, names (the parent).

use super::{ALONE, Guard, NO_PLAINTEXT, SHREDDED};
use crate::soak::shape::Shape;

impl Guard<'_> {
    pub(super) fn guard_on_mysql(&self) -> String {
        let Shape {
            table,
            column,
            twin,
            fingerprints,
            ..
        } = self.shape;
        let empty: String = fingerprints
            .iter()
            .map(|name| format!("        SET NEW.{name} = NULL;\n"))
            .collect();
        let empty = if empty.is_empty() {
            String::new()
        } else {
            format!("    IF NEW.{column} IS NULL THEN\n{empty}    END IF;\n")
        };
        let refuse =
            |message: &str| format!("SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{message}';");
        let trigger = |name: &str, operation: &str, begin: &str| {
            format!(
                "CREATE OR REPLACE TRIGGER {name} BEFORE {operation} ON {table} FOR EACH ROW BEGIN
    DECLARE state VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT (SELECT s.state FROM ophie_crypt_soaks AS s WHERE s.table_name = '{of}' AND s.column_name = '{col}');
    DECLARE admits BIGINT DEFAULT ({admits});
    DECLARE changed, resealed BOOLEAN DEFAULT TRUE;
{begin}{empty}    IF changed AND NEW.{twin} IS NOT NULL THEN
        IF EXISTS ({buried}) THEN
            {shredded}
        END IF;
    END IF;
    IF NEW.{twin} IS NOT NULL AND NEW.{column} IS NULL AND admits = 0
        AND (changed AND state IN ('backfill', 'verify', 'soak') OR (changed OR resealed) AND state IN ('sealed', 'retired')) THEN
        {alone}
    END IF;
    IF NEW.{twin} IS NULL AND NEW.{column} IS NOT NULL AND (changed OR resealed)
        AND (state NOT IN ('sealed', 'retired') OR admits = 1) THEN
        {no_plaintext}
    END IF;
END;
",
                name = self.trigger(name),
                of = self.soak.column().table(),
                col = self.soak.column().name(),
                admits = self.state("s.admits_old"),
                buried = self.buried(),
                shredded = refuse(SHREDDED),
                alone = refuse(ALONE),
                no_plaintext = refuse(NO_PLAINTEXT),
            )
        };
        let forgotten: String = fingerprints
            .iter()
            .map(|name| {
                let forgotten = self.forgotten(name, "state");
                format!(
                    "    IF changed AND resealed AND {forgotten} THEN\n        SET NEW.{name} = NULL;\n    END IF;\n"
                )
            })
            .collect();
        let update = format!(
            "    SET changed = NOT ({} AND {}), resealed = NOT ({});
    IF changed AND NOT resealed THEN
        SET NEW.{column} = NULL;
    END IF;
{forgotten}",
            self.same("plain"),
            self.same("owner"),
            self.same("sealed")
        );
        trigger("gi", "INSERT", "") + &trigger("gu", "UPDATE", &update)
    }
}
