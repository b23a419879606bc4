//! The write fence: triggers on the application's tables that admit only envelopes which the row's owner may write.
//!
//! Invariant: an envelope that was not there before stands under a key of the row's living owner that may still seal.
//! Absent: who may open it; the column types refuse what is another's when it is read.

use ophie_crypt::{ColumnRef, ModelError, ModelInfo};

use super::{ModelTables, error, sql::quoted};
use crate::{
    Begin, Cells, Dialect, Driver, Failure, Record, Statement, Transaction,
    run::{read, run},
};

/// Of at most 128 characters, which is what MySQL takes.
const REFUSAL: &str = "the write fence refused a value that the owner of this row cannot have sealed now; write it in a \
    session of that owner";

/// An owner's id in canonical bytes, for every type that a column of owners has.
const POSTGRES_OWNER: &str = "\
CREATE OR REPLACE FUNCTION ophie_crypt_owner(bigint) RETURNS bytea
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$SELECT '\\x69'::bytea || int8send($1)$$;
CREATE OR REPLACE FUNCTION ophie_crypt_owner(text) RETURNS bytea
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$SELECT '\\x74'::bytea || convert_to($1, 'UTF8')$$;
CREATE OR REPLACE FUNCTION ophie_crypt_owner(uuid) RETURNS bytea
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$SELECT '\\x75'::bytea || uuid_send($1)$$;
";

impl<D: Driver> ModelTables<D> {
    /// See [`ModelStore::fence`](ophie_crypt::ModelStore::fence).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn fence(&self) -> Result<String, ModelError> {
        let mut sql = String::new();
        if D::DIALECT == Dialect::Postgres {
            sql.push_str(POSTGRES_OWNER);
        }
        for fenced in self.fenced()? {
            let owner = self.canonical_owner(&fenced).await?;
            sql.push_str(&fenced.lower(D::DIALECT));
            sql.push_str(&fenced.raise(D::DIALECT, &owner));
        }
        Ok(sql)
    }

    /// See [`ModelStore::raise_fence`](ophie_crypt::ModelStore::raise_fence).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn raise_fence(&self) -> Result<(), ModelError> {
        self.batch(self.fence().await?).await
    }

    /// See [`ModelStore::lower_fence`](ophie_crypt::ModelStore::lower_fence).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn lower_fence(&self) -> Result<(), ModelError> {
        let fenced = self.fenced()?;
        let lower = fenced.iter().map(|fenced| fenced.lower(D::DIALECT));
        self.batch(lower.collect()).await
    }

    async fn batch(&self, sql: String) -> Result<(), ModelError> {
        let done = run(&self.driver, Begin::Migrate, move |tx| {
            let sql = sql.clone();
            Box::pin(tx.batch(sql))
        });
        done.await.map_err(error)
    }

    /// The tables, each once, with all of its sealed columns.
    fn fenced(&self) -> Result<Vec<Fenced>, ModelError> {
        let mut fenced: Vec<Fenced> = Vec::new();
        for column in self.models.sealed_columns() {
            self.owner_column(&column)?; // no name that a statement would take for a parameter
            let table = column.table();
            match fenced
                .iter_mut()
                .find(|fenced| fenced.model.table() == table)
            {
                Some(fenced) => fenced.columns.push(column),
                None => {
                    let model = self.models.of_table(table);
                    fenced.push(Fenced {
                        model: *model.ok_or(ModelError::Unknown { table })?,
                        columns: vec![column],
                    });
                }
            }
        }
        Ok(fenced)
    }

    /// The canonical bytes of the row's owner, as SQL.
    async fn canonical_owner(&self, fenced: &Fenced) -> Result<String, ModelError> {
        let owner = fenced.model.owner();
        let name = quoted(D::DIALECT, owner.name());
        match D::DIALECT {
            Dialect::Postgres => return Ok(format!("ophie_crypt_owner(NEW.{name})")),
            Dialect::Sqlite => return Ok(String::new()),
            Dialect::MySql => {}
        }
        let table = owner.table().rsplit('.').next().unwrap_or_default();
        let statement = Statement::new(
            D::DIALECT,
            "SELECT lower(data_type) AS data_type FROM information_schema.columns \
             WHERE table_schema = database() AND table_name = $1 AND column_name = $2",
        );
        let types: Vec<DataType> = read(&self.driver, statement.bind(table).bind(owner.name()))
            .await
            .map_err(error)?;
        let Some(DataType(data_type)) = types.first() else {
            return Err(ModelError::NoColumn { column: owner });
        };
        Ok(match data_type.as_str() {
            "binary" | "varbinary" => format!("concat('u', NEW.{name})"),
            "uuid" => format!("concat('u', unhex(replace(CAST(NEW.{name} AS CHAR), '-', '')))"),
            "bigint" | "int" | "mediumint" | "smallint" | "tinyint" => {
                format!("concat('i', unhex(lpad(hex(CAST(NEW.{name} AS SIGNED)), 16, '0')))")
            }
            _ => format!("CAST(concat('t', convert(NEW.{name} USING utf8mb4)) AS BINARY)"),
        })
    }
}

struct DataType(String);

impl Record for DataType {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        // MySQL gives the names of its own tables as bytes.
        let text = cells.bytes("data_type")?.unwrap_or_default();
        Ok(Self(String::from_utf8_lossy(&text).into_owned()))
    }
}

/// A table and its sealed columns.
struct Fenced {
    model: ModelInfo,
    columns: Vec<ColumnRef>,
}

impl Fenced {
    /// Takes the triggers away, if they are there.
    fn lower(&self, dialect: Dialect) -> String {
        let table = quoted(dialect, self.model.table());
        let names = [self.name(dialect, "insert"), self.name(dialect, "update")];
        let drop = |name: &String| match dialect {
            Dialect::Postgres => format!("DROP TRIGGER IF EXISTS {name} ON {table};\n"),
            Dialect::MySql | Dialect::Sqlite => format!("DROP TRIGGER IF EXISTS {name};\n"),
        };
        names.iter().map(drop).collect()
    }

    /// Makes them.
    fn raise(&self, dialect: Dialect, owner: &str) -> String {
        match dialect {
            Dialect::MySql => self.on_mysql(owner),
            Dialect::Postgres => self.on_postgres(owner),
            Dialect::Sqlite => self.on_sqlite(),
        }
    }

    /// A name for a trigger; with the table's where names are one for all tables.
    fn name(&self, dialect: Dialect, operation: &str) -> String {
        let table = self.model.table().replace('.', "_");
        match dialect {
            Dialect::Postgres => format!("ophie_crypt_fence_{operation}"),
            _ => quoted(dialect, &format!("ophie_crypt_fence_{operation}_{table}")),
        }
    }

    fn on_postgres(&self, owner: &str) -> String {
        let dialect = Dialect::Postgres;
        let table = quoted(dialect, self.model.table());
        let function = quoted(
            dialect,
            &format!("ophie_crypt_fence_{}", self.model.table().replace('.', "_")),
        );
        let owner_column = quoted(dialect, self.model.owner().name());
        let (mut checks, mut changed) = (String::new(), vec![owner_column.clone()]);
        for column in &self.columns {
            let name = quoted(dialect, column.name());
            checks.push_str(&format!(
                "    IF NEW.{name} IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.{name} IS DISTINCT FROM OLD.{name}
        OR NEW.{owner_column} IS DISTINCT FROM OLD.{owner_column}) THEN
        PERFORM 1 FROM ophie_crypt_deks AS dek JOIN ophie_crypt_owners AS own ON own.owner = dek.owner
        WHERE dek.key_id = substr(NEW.{name}, 2, 16) AND dek.owner = {owner} AND dek.state IN ('sealing', 'draining')
            AND own.state = 'living' AND octet_length(NEW.{name}) >= 45 AND get_byte(NEW.{name}, 0) BETWEEN 250 AND 253;
        IF NOT FOUND THEN
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
            "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger
    LANGUAGE plpgsql SET search_path FROM CURRENT AS $fence$
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

    fn on_mysql(&self, owner: &str) -> String {
        let dialect = Dialect::MySql;
        let table = quoted(dialect, self.model.table());
        let owner_column = quoted(dialect, self.model.owner().name());
        let trigger = |operation: &str| {
            let mut checks = String::new();
            for column in &self.columns {
                let name = quoted(dialect, column.name());
                let changed = match operation {
                    "insert" => String::new(),
                    _ => format!(
                        " AND NOT (NEW.{name} <=> OLD.{name} AND NEW.{owner_column} <=> OLD.{owner_column})"
                    ),
                };
                checks.push_str(&format!(
                    "    IF NEW.{name} IS NOT NULL{changed} AND NOT (octet_length(NEW.{name}) >= 45
        AND ord(substr(NEW.{name}, 1, 1)) BETWEEN 250 AND 253 AND EXISTS (
            SELECT 1 FROM ophie_crypt_deks AS dek JOIN ophie_crypt_owners AS own ON own.owner = dek.owner
            WHERE dek.key_id = substr(NEW.{name}, 2, 16) AND dek.owner = {owner}
                AND dek.state IN ('sealing', 'draining') AND own.state = 'living')) THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{REFUSAL}';
    END IF;
"
                ));
            }
            format!(
                "CREATE TRIGGER {} AFTER {} ON {table} FOR EACH ROW BEGIN\n{checks}END;\n",
                self.name(dialect, operation),
                operation.to_uppercase()
            )
        };
        [trigger("insert"), trigger("update")].concat()
    }

    /// Of its form alone: the keys are in another file.
    fn on_sqlite(&self) -> String {
        let dialect = Dialect::Sqlite;
        let table = quoted(dialect, self.model.table());
        let no_envelope: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                let name = quoted(dialect, column.name());
                format!(
                    "NEW.{name} IS NOT NULL AND NOT (typeof(NEW.{name}) = 'blob' AND length(NEW.{name}) >= 45 \
                     AND substr(NEW.{name}, 1, 1) BETWEEN x'FA' AND x'FD')"
                )
            })
            .collect();
        let no_envelope = no_envelope.join(" OR ");
        let trigger = |operation: &str| {
            format!(
                "CREATE TRIGGER {} AFTER {} ON {table} WHEN {no_envelope} BEGIN\n    \
                 SELECT RAISE(ABORT, '{REFUSAL}');\nEND;\n",
                self.name(dialect, operation),
                operation.to_uppercase()
            )
        };
        [trigger("insert"), trigger("update")].concat()
    }
}
