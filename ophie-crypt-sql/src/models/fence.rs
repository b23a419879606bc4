//! The write fence: triggers on the application's tables that admit only envelopes which the row's owner may write.
//!
//! Invariant: an envelope that was not there before stands under a key of the row's living owner that may still seal, and a
//! fingerprint under an index key of that owner's that is in use. Absent: who may open it; the column types refuse what is another's when it is read.

mod postgres;

use ophie_crypt::{ColumnRef, ModelError, ModelInfo, OwnerKind};

use super::{ModelTables, error, sql::quoted};
use crate::{
    Begin, Cells, Dialect, Driver, Failure, Record, Statement, Transaction,
    run::{read, run},
};

/// Of at most 128 characters, which is what MySQL takes.
const REFUSAL: &str = "the write fence refused a value that the owner of this row cannot have sealed now; write it in a \
    session of that owner";
/// No session of the owner's mends that.
const SHREDDED: &str = "the write fence refused a value: the keys of its owner were destroyed; nothing of that owner is written any more";

/// An owner's id in canonical bytes, for every type that a column of owners has.
pub(crate) const POSTGRES_OWNER: &str = "\
CREATE OR REPLACE FUNCTION ophie_crypt_owner(bigint) RETURNS bytea
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$SELECT '\\x69'::bytea || int8send($1)$$;
CREATE OR REPLACE FUNCTION ophie_crypt_owner(text) RETURNS bytea
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$SELECT '\\x74'::bytea || convert_to($1, 'UTF8')$$;
CREATE OR REPLACE FUNCTION ophie_crypt_owner(uuid) RETURNS bytea
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$SELECT '\\x75'::bytea || uuid_send($1)$$;
";

impl<D: Driver> ModelTables<D> {
    /// See [`WriteFence::fence`](ophie_crypt::WriteFence::fence).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn fence(&self) -> Result<String, ModelError> {
        let mut sql = String::new();
        let schema = match D::DIALECT {
            Dialect::Postgres => self.schema().await?,
            Dialect::MySql | Dialect::Sqlite => String::new(),
        };
        for fenced in self.fenced()? {
            sql.push_str(&fenced.lower(D::DIALECT));
            sql.push_str(&match D::DIALECT {
                Dialect::MySql => fenced.on_mysql(&self.owner_on_mysql(&fenced).await?),
                Dialect::Postgres => {
                    fenced.on_postgres(&self.owner_on_postgres(&fenced).await?, &schema)
                }
                Dialect::Sqlite => fenced.on_sqlite(),
            });
        }
        Ok(sql)
    }

    /// See [`WriteFence::raise_fence`](ophie_crypt::WriteFence::raise_fence).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn raise_fence(&self) -> Result<(), ModelError> {
        self.batch(self.fence().await?).await
    }

    /// See [`WriteFence::lower_fence`](ophie_crypt::WriteFence::lower_fence).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn lower_fence(&self) -> Result<(), ModelError> {
        self.batch(self.lowering()?).await
    }

    /// What takes the fence down, as SQL.
    pub(super) fn lowering(&self) -> Result<String, ModelError> {
        let fenced = self.fenced()?;
        let lower = fenced.iter().map(|fenced| fenced.lower(D::DIALECT));
        Ok(lower.collect())
    }

    async fn batch(&self, sql: String) -> Result<(), ModelError> {
        let done = run(&self.driver, Begin::Migrate, move |tx| {
            let sql = sql.clone();
            Box::pin(tx.batch(sql))
        });
        done.await.map_err(error)
    }

    /// The tables, each once, with all of its sealed columns and its indexes.
    fn fenced(&self) -> Result<Vec<Fenced>, ModelError> {
        let mut fenced: Vec<Fenced> = Vec::new();
        let sealed = self.models.sealed_columns().map(Column::Sealed);
        let indexes = self.models.indexed_columns();
        let indexes = indexes.map(|indexed| Column::Index(indexed.index()));
        for column in sealed.chain(indexes) {
            self.model(column.at())?; // no name that a statement would take for a parameter
            let table = column.at().table();
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

    /// Where PostgreSQL finds the library's tables now. Temporary tables of the same names come last: anyone may make
    /// some.
    pub(crate) async fn search_path(&self) -> Result<String, ModelError> {
        if D::DIALECT != Dialect::Postgres {
            return Ok(String::new());
        }
        let statement = Statement::new(
            D::DIALECT,
            "SELECT array_to_string(ARRAY(SELECT quote_ident(CAST(name AS text)) \
             FROM unnest(current_schemas(false)) AS name) || ARRAY['pg_temp'], ', ') AS word",
        );
        let path: Vec<Word> = read(&self.driver, statement).await.map_err(error)?;
        Ok(path.into_iter().map(|word| word.0).collect())
    }

    /// The canonical bytes of the row's owner, as SQL.
    async fn owner_on_mysql(&self, fenced: &Fenced) -> Result<String, ModelError> {
        let owner = fenced.model.owner();
        let name = quoted(D::DIALECT, owner.name());
        let (schema, table) = match owner.table().rsplit_once('.') {
            Some((schema, table)) => (Some(schema), table),
            None => (None, owner.table()),
        };
        let statement = Statement::new(
            D::DIALECT,
            "SELECT lower(data_type) AS word FROM information_schema.columns \
             WHERE table_schema = coalesce($1, database()) AND table_name = $2 AND column_name = $3",
        );
        let statement = statement.bind(schema).bind(table).bind(owner.name());
        let types: Vec<Word> = read(&self.driver, statement).await.map_err(error)?;
        let Some(Word(data_type)) = types.first() else {
            return Err(ModelError::NoColumn { column: owner });
        };
        let is_uuid = fenced.model.owner_kind() == Some(OwnerKind::Uuid);
        Ok(canonical_on_mysql(
            &format!("NEW.{name}"),
            data_type,
            is_uuid,
        ))
    }
}

/// The canonical bytes of an owner in a column of this type.
pub(crate) fn canonical_on_mysql(name: &str, data_type: &str, is_uuid: bool) -> String {
    match data_type {
        "char" | "varchar" if is_uuid => {
            format!("concat('u', unhex(replace({name}, '-', '')))")
        }
        "binary" | "varbinary" => format!("concat('u', {name})"),
        "uuid" => format!("concat('u', unhex(replace(CAST({name} AS CHAR), '-', '')))"),
        "bigint" | "int" | "mediumint" | "smallint" | "tinyint" => {
            format!("concat('i', unhex(lpad(hex(CAST({name} AS SIGNED)), 16, '0')))")
        }
        _ => format!("CAST(concat('t', convert({name} USING utf8mb4)) AS BINARY)"),
    }
}

struct Word(String);

impl Record for Word {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self(cells.text("word")?.unwrap_or_default()))
    }
}

/// A column that the fence looks at.
enum Column {
    Index(ColumnRef),
    Sealed(ColumnRef),
}

impl Column {
    const fn at(&self) -> &ColumnRef {
        match self {
            Self::Index(column) | Self::Sealed(column) => column,
        }
    }

    /// What finds the key of the new value `NEW.name`, if that is the owner's and of use. Of an index, also by the
    /// value's form. A shredded owner has none, as on PostgreSQL.
    fn key_on_mysql(&self, name: &str, owner: &str) -> String {
        match self {
            Self::Index(_) => format!(
                "FROM ophie_crypt_index_keys AS ind
        WHERE ind.owner = {owner}
            AND ind.generation = CASE WHEN octet_length(NEW.{name}) = 17 THEN ord(substr(NEW.{name}, 1, 1)) END
            AND ind.state IN ('announced', 'writing', 'draining')"
            ),
            Self::Sealed(_) => format!(
                "FROM ophie_crypt_deks AS dek
        WHERE dek.key_id = substr(NEW.{name}, 2, 16) AND dek.owner = {owner}
            AND dek.state IN ('announced', 'sealing', 'draining')"
            ),
        }
    }
}

/// A table and what the fence looks at in it.
struct Fenced {
    model: ModelInfo,
    columns: Vec<Column>,
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

    /// A name for a trigger; with the table's where names are one for all tables. On MySQL a trigger is in the schema of
    /// its table.
    fn name(&self, dialect: Dialect, operation: &str) -> String {
        let name = format!(
            "ophie_crypt_fence_{operation}_{}",
            short(self.model.table())
        );
        match (dialect, self.model.table().rsplit_once('.')) {
            (Dialect::Postgres, _) => format!("ophie_crypt_fence_{operation}"),
            (_, None) => quoted(dialect, &name),
            (_, Some((schema, _))) => {
                format!("{}.{}", quoted(dialect, schema), quoted(dialect, &name))
            }
        }
    }

    fn on_mysql(&self, owner: &str) -> String {
        let dialect = Dialect::MySql;
        let table = quoted(dialect, self.model.table());
        let owner_column = quoted(dialect, self.model.owner().name());
        let trigger = |operation: &str| {
            let mut checks = String::new();
            for column in &self.columns {
                let name = quoted(dialect, column.at().name());
                let key = column.key_on_mysql(&name, owner);
                let changed = match operation {
                    "insert" => String::new(),
                    _ => format!(
                        " AND NOT (NEW.{name} <=> OLD.{name} AND NEW.{owner_column} <=> OLD.{owner_column})"
                    ),
                };
                let form = match column {
                    Column::Index(_) => String::new(),
                    Column::Sealed(_) => format!(
                        "octet_length(NEW.{name}) >= 45 AND ord(substr(NEW.{name}, 1, 1)) BETWEEN 250 AND 253 AND "
                    ),
                };
                checks.push_str(&format!(
                    "    IF NEW.{name} IS NOT NULL{changed} AND NOT ({form}EXISTS (SELECT 1 {key})) THEN
        IF EXISTS (SELECT 1 FROM ophie_crypt_owners AS own WHERE own.owner = {owner} AND own.state = 'shredded') THEN
            SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{SHREDDED}';
        END IF;
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
        let not_ours: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                let name = quoted(dialect, column.at().name());
                let form = match column {
                    Column::Index(_) => {
                        format!("length(NEW.{name}) = 17 AND substr(NEW.{name}, 1, 1) <> x'00'")
                    }
                    Column::Sealed(_) => format!(
                        "length(NEW.{name}) >= 45 AND substr(NEW.{name}, 1, 1) BETWEEN x'FA' AND x'FD'"
                    ),
                };
                format!(
                    "NEW.{name} IS NOT NULL AND NOT (typeof(NEW.{name}) = 'blob' AND {form})"
                )
            })
            .collect();
        let not_ours = not_ours.join(" OR ");
        let trigger = |operation: &str| {
            format!(
                "CREATE TRIGGER {} AFTER {} ON {table} WHEN {not_ours} BEGIN\n    \
                 SELECT RAISE(ABORT, '{REFUSAL}');\nEND;\n",
                self.name(dialect, operation),
                operation.to_uppercase()
            )
        };
        [trigger("insert"), trigger("update")].concat()
    }
}

/// A table's name in at most 37 letters: databases cut longer names, or refuse them. Two tables of one beginning differ
/// behind it (FNV-1a, 64 bits).
pub(crate) fn short(table: &str) -> String {
    let letters = table.chars().take(20);
    let letters = letters.map(|c| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '_'
        }
    });
    let hash = table.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{}_{hash:016x}", letters.collect::<String>())
}
