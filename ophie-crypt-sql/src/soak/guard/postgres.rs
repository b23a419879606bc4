//! The guard on PostgreSQL: a function that is told the state, and the triggers that call it.
//!
//! Absent: the refusing trigger, names (the parent).

use ophie_crypt::soak::SoakState;

use super::{ALONE, Guard, NO_PLAINTEXT, SHREDDED};
use crate::{Dialect, Statement, soak::shape::Shape};

impl Guard<'_> {
    /// What the guard calls on PostgreSQL.
    pub(super) fn told(&self, state: SoakState, admits_old: bool) -> String {
        let Shape {
            column,
            twin,
            fingerprints,
            ..
        } = self.shape;
        let empty: String = fingerprints
            .iter()
            .map(|name| format!("        NEW.{name} := NULL;\n"))
            .collect();
        let empty = if empty.is_empty() {
            "        NULL;\n".to_owned()
        } else {
            empty
        };
        let forgotten: String = fingerprints
            .iter()
            .map(|name| {
                let forgotten = self.forgotten(name, "state");
                format!("            IF {forgotten} THEN\n                NEW.{name} := NULL;\n            END IF;\n")
            })
            .collect();
        let forgotten = match forgotten.is_empty() {
            true => forgotten,
            false => format!("        IF changed AND resealed THEN\n{forgotten}        END IF;\n"),
        };
        let refuse = |message: &str| {
            format!("RAISE EXCEPTION USING MESSAGE = '{message}', ERRCODE = 'restrict_violation';")
        };
        format!(
            "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger
    LANGUAGE plpgsql SET search_path = {path} AS $soak$
DECLARE
    state CONSTANT text := '{state}';
    admits_old CONSTANT boolean := {admits_old};
    changed boolean := true;
    resealed boolean := true;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        changed := NOT ({plain} AND {owner});
        resealed := NOT ({sealed});
        IF changed AND NOT resealed THEN
            NEW.{column} := NULL;
        END IF;
{forgotten}    END IF;
    IF NEW.{column} IS NULL THEN
{empty}    END IF;
    IF changed AND NEW.{twin} IS NOT NULL THEN
        PERFORM {buried};
        IF FOUND THEN
            {shredded}
        END IF;
    END IF;
    IF NEW.{twin} IS NOT NULL AND NEW.{column} IS NULL AND NOT admits_old
        AND (changed AND state IN ('backfill', 'verify', 'soak') OR (changed OR resealed) AND state IN ('sealed', 'retired')) THEN
        {alone}
    END IF;
    IF NEW.{twin} IS NULL AND NEW.{column} IS NOT NULL AND (changed OR resealed)
        AND (state NOT IN ('sealed', 'retired') OR admits_old) THEN
        {no_plaintext}
    END IF;
    RETURN NEW;
END $soak$;
",
            function = self.function(),
            path = self.path,
            plain = self.same("plain"),
            owner = self.same("owner"),
            sealed = self.same("sealed"),
            buried = self.buried().trim_start_matches("SELECT "),
            shredded = refuse(SHREDDED),
            alone = refuse(ALONE),
            no_plaintext = refuse(NO_PLAINTEXT),
        )
    }

    /// Which transaction told it last.
    pub(in crate::soak) fn told_by(&self) -> Statement {
        let sql = format!(
            "SELECT CAST(xmin AS text) AS word FROM pg_proc WHERE oid = CAST('{}' AS regproc)",
            self.function()
        );
        Statement::new(Dialect::Postgres, sql)
    }

    /// Its name.
    pub(super) fn function(&self) -> String {
        format!("ophie_crypt_soak_g_{}", self.name)
    }

    /// It fires only where it would do something: ciphertext beside plaintext that stays, which a backfill writes row by
    /// row, passes without a call.
    pub(super) fn guard_on_postgres(&self) -> String {
        let (table, column, twin) = (&self.shape.table, &self.shape.column, &self.shape.twin);
        let changes: Vec<String> = self
            .shape
            .written()
            .map(|name| format!("OLD.{name} IS DISTINCT FROM NEW.{name}"))
            .collect();
        format!(
            "CREATE TRIGGER {insert} BEFORE INSERT ON {table}
    FOR EACH ROW EXECUTE FUNCTION {function}();
CREATE TRIGGER {update} BEFORE UPDATE ON {table}
    FOR EACH ROW WHEN (NOT ({plain} AND {owner}) OR (NEW.{column} IS NULL AND ({changes})) OR (NEW.{twin} IS NULL AND NOT ({sealed})))
    EXECUTE FUNCTION {function}();
",
            insert = self.trigger("gi"),
            update = self.trigger("gu"),
            function = self.function(),
            plain = self.same("plain"),
            owner = self.same("owner"),
            sealed = self.same("sealed"),
            changes = changes.join(" OR "),
        )
    }
}
