//! The write fence on PostgreSQL: one function for each table.
//!
//! Invariant: whoever writes decides nothing of what the function's names mean. Every table, function, operator and type has
//! its schema before it, so that neither a `search_path` nor a temporary table reaches in; a path of the function's own
//! would hold the same, and be set and taken back for each row. Absent: the other databases (`fence`).

use ophie_crypt::ModelError;

use super::{Column, Fenced, REFUSAL, SHREDDED, Word, short};
use crate::{
    Dialect, Driver, Statement,
    models::{ModelTables, error, sql::quoted},
    run::read,
};

impl<D: Driver> ModelTables<D> {
    /// The schema of the library's tables, quoted.
    pub(super) async fn schema(&self) -> Result<String, ModelError> {
        let statement = Statement::new(
            D::DIALECT,
            "SELECT quote_ident(CAST(nsp.nspname AS text)) AS word FROM pg_class AS rel \
             JOIN pg_namespace AS nsp ON nsp.oid = rel.relnamespace WHERE rel.oid = to_regclass('ophie_crypt_deks')",
        );
        let schema: Vec<Word> = read(&self.driver, statement).await.map_err(error)?;
        let schema = schema.into_iter().next().map(|word| word.0);
        schema.ok_or_else(|| {
            ModelError::unavailable("the library's tables are not there; migrate the key store")
        })
    }

    /// The canonical bytes of the row's owner, as SQL: by the type of its column, of a domain by what that is of.
    pub(super) async fn owner_on_postgres(&self, fenced: &Fenced) -> Result<String, ModelError> {
        let owner = fenced.model.owner();
        let statement = Statement::new(
            D::DIALECT,
            "WITH RECURSIVE base AS ( \
                 SELECT typ.oid, typ.typbasetype FROM pg_attribute AS att JOIN pg_type AS typ ON typ.oid = att.atttypid \
                 WHERE att.attrelid = to_regclass($1) AND att.attname = CAST($2 AS text) AND NOT att.attisdropped \
                 UNION ALL \
                 SELECT typ.oid, typ.typbasetype FROM base JOIN pg_type AS typ ON typ.oid = base.typbasetype) \
             SELECT format_type(oid, NULL) AS word FROM base WHERE typbasetype = 0",
        );
        let statement = statement
            .bind(&*quoted(D::DIALECT, owner.table()))
            .bind(owner.name());
        let types: Vec<Word> = read(&self.driver, statement).await.map_err(error)?;
        let Some(Word(data_type)) = types.first() else {
            return Err(ModelError::NoColumn { column: owner });
        };
        let name = quoted(D::DIALECT, owner.name());
        let (tag, bytes) = match &**data_type {
            "bigint" | "integer" | "smallint" => (
                "69",
                format!("int8send(CAST(NEW.{name} AS pg_catalog.int8))"),
            ),
            "uuid" => ("75", format!("uuid_send(NEW.{name})")),
            _ => (
                "74",
                format!("convert_to(CAST(NEW.{name} AS pg_catalog.text), 'UTF8')"),
            ),
        };
        Ok(format!(
            "(CAST('\\x{tag}' AS pg_catalog.bytea) OPERATOR(pg_catalog.||) pg_catalog.{bytes})"
        ))
    }
}

impl Column {
    /// What finds the key of the new value `NEW.name`, if that is the owner's and of use. A shredded owner has none: the
    /// INSERT that shreds destroys its DEKs and deletes its index keys, by a trigger.
    fn key_on_postgres(&self, name: &str, schema: &str, owner: &str) -> String {
        match self {
            Self::Index(_) => format!(
                "FROM {schema}.ophie_crypt_index_keys AS ind
        WHERE ind.owner OPERATOR(pg_catalog.=) {owner}
            AND ind.generation OPERATOR(pg_catalog.=) CASE WHEN pg_catalog.octet_length(NEW.{name}) OPERATOR(pg_catalog.=) 17
                THEN pg_catalog.get_byte(NEW.{name}, 0) END
            AND ind.state OPERATOR(pg_catalog.=) ANY (ARRAY['announced', 'writing', 'draining'])"
            ),
            Self::Sealed(_) => format!(
                "FROM {schema}.ophie_crypt_deks AS dek
        WHERE dek.key_id OPERATOR(pg_catalog.=) pg_catalog.substr(NEW.{name}, 2, 16)
            AND dek.owner OPERATOR(pg_catalog.=) {owner}
            AND dek.state OPERATOR(pg_catalog.=) ANY (ARRAY['announced', 'sealing', 'draining'])"
            ),
        }
    }

    /// That `NEW.name` has not the form of an envelope. By a part of it: `get_byte` would read all of what PostgreSQL keeps
    /// elsewhere, as it does with two kilobytes and more.
    fn formless_on_postgres(&self, name: &str) -> String {
        match self {
            Self::Index(_) => String::new(),
            Self::Sealed(_) => format!(
                " OR NOT (pg_catalog.octet_length(NEW.{name}) OPERATOR(pg_catalog.>=) 45
            AND pg_catalog.substr(NEW.{name}, 1, 1) OPERATOR(pg_catalog.>=) '\\xfa'
            AND pg_catalog.substr(NEW.{name}, 1, 1) OPERATOR(pg_catalog.<=) '\\xfd')"
            ),
        }
    }
}

impl Fenced {
    pub(super) fn on_postgres(&self, owner: &str, schema: &str) -> String {
        let dialect = Dialect::Postgres;
        let table = quoted(dialect, self.model.table());
        let function = format!("ophie_crypt_fence_{}", short(self.model.table()));
        let owner_column = quoted(dialect, self.model.owner().name());
        let (mut checks, mut changed) = (String::new(), vec![owner_column.clone()]);
        for column in &self.columns {
            let name = quoted(dialect, column.at().name());
            let key = column.key_on_postgres(&name, schema, owner);
            let formless = column.formless_on_postgres(&name);
            // `PERFORM` is a little quicker than a subquery, which has a plan of its own.
            checks.push_str(&format!(
                "    IF NEW.{name} IS NOT NULL AND (TG_OP OPERATOR(pg_catalog.=) 'INSERT'
        OR (NEW.{name} OPERATOR(pg_catalog.=) OLD.{name}) IS NOT TRUE
        OR (NEW.{owner_column} OPERATOR(pg_catalog.=) OLD.{owner_column}) IS NOT TRUE) THEN
        PERFORM 1 {key};
        IF NOT FOUND{formless} THEN
            PERFORM 1 FROM {schema}.ophie_crypt_owners AS own
            WHERE own.owner OPERATOR(pg_catalog.=) {owner} AND own.state OPERATOR(pg_catalog.=) 'shredded';
            IF FOUND THEN
                RAISE EXCEPTION USING MESSAGE = '{SHREDDED}', ERRCODE = 'restrict_violation';
            END IF;
            RAISE EXCEPTION USING MESSAGE = '{REFUSAL}', ERRCODE = 'restrict_violation';
        END IF;
    END IF;
"
            ));
            changed.push(name);
        }
        let changed: Vec<String> = changed
            .iter()
            .map(|name| format!("OLD.{name} IS DISTINCT FROM NEW.{name}"))
            .collect();
        // Behind every trigger that changes the row, so that it sees what will stand there.
        format!(
            "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $fence$
BEGIN
{checks}    RETURN NULL;
END $fence$;
CREATE TRIGGER ophie_crypt_fence_insert AFTER INSERT ON {table}
    FOR EACH ROW EXECUTE FUNCTION {function}();
CREATE TRIGGER ophie_crypt_fence_update AFTER UPDATE ON {table}
    FOR EACH ROW WHEN ({}) EXECUTE FUNCTION {function}();
",
            changed.join(" OR ")
        )
    }
}
