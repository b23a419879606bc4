//! What a table of the application looks like to a soak, in SQL: its key, its owner, and the plaintext in its codec's bytes.
//!
//! Invariant: plaintext is compared byte by byte, whatever the column's collation or type says is equal.
//! Absent: statements.

use ophie_crypt::{ModelError, OwnerKind, soak::SoakColumn};

use crate::{
    Cells, Dialect, Driver, Failure, Param, Record, Statement,
    driver::there,
    models::{ModelTables, error, sql::quoted},
    run::read,
};

/// As many fingerprints as one column may have.
pub(super) const FINGERPRINTS: [&str; 8] = ["f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7"];

/// A table, as statements about one of its columns need it.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) dialect: Dialect,
    /// Quoted names.
    pub(super) table: String,
    pub(super) column: String,
    pub(super) twin: String,
    pub(super) owner: String,
    pub(super) fingerprints: Vec<String>,
    pub(super) key: Key,
    codec: &'static str,
    owner_kind: Option<OwnerKind>,
    /// Types of the columns, as the database names them.
    owner_type: String,
    pub(super) twin_type: String,
    /// Whether the twin is there, and takes no NULL.
    pub(super) has_twin: bool,
    pub(super) twin_required: bool,
    /// Columns that are there already, by their unquoted names.
    pub(super) there: Vec<String>,
}

/// The expression around the place of a parameter.
pub(super) type Around = fn(&Shape, &str) -> String;

/// What tells rows apart and puts them in an order.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: String,
    kind: String,
}

/// A column in the catalogue.
struct Column {
    name: String,
    kind: String,
    required: bool,
    keyed: bool,
}

impl Record for Column {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self {
            name: there(cells.text("word")?)?,
            kind: there(cells.text("kind")?)?.to_lowercase(),
            required: there(cells.int("required")?)? != 0,
            keyed: there(cells.int("keyed")?)? != 0,
        })
    }
}

impl<D: Driver> ModelTables<D> {
    /// Looks at the table.
    pub(super) async fn shape(&self, soak: &SoakColumn) -> Result<Shape, ModelError> {
        soakable::<D>(soak)?;
        let columns = columns(D::DIALECT, soak.column().table());
        let columns = read(&self.driver, columns).await.map_err(error)?;
        shape_of::<D>(soak, &columns)
    }
}

/// Whether its names can stand in triggers.
fn soakable<D: Driver>(soak: &SoakColumn) -> Result<(), ModelError> {
    let (column, owner) = (soak.column(), soak.owner());
    let unsupported = |reason| ModelError::CannotSoak { column, reason };
    for name in [column.table(), column.name(), owner.name(), soak.twin()] {
        if name.contains(['$', '\'', '\\']) {
            return Err(ModelError::Dollar { column });
        }
    }
    if soak.indexes().len() > FINGERPRINTS.len() {
        return Err(unsupported("more than eight blind indexes"));
    }
    if D::DIALECT == Dialect::Sqlite && column.table().contains('.') {
        return Err(unsupported(
            "a table of an attached database, which triggers do not reach",
        ));
    }
    Ok(())
}

fn shape_of<D: Driver>(soak: &SoakColumn, columns: &[Column]) -> Result<Shape, ModelError> {
    let (column, owner) = (soak.column(), soak.owner());
    let unsupported = |reason| ModelError::CannotSoak { column, reason };
    let find = |name: &str| columns.iter().find(|column| column.name == name);
    let owner_column = find(owner.name()).ok_or(ModelError::NoColumn { column: owner })?;
    let twin = find(soak.twin());
    let mut keyed = columns.iter().filter(|column| column.keyed);
    let key = match (D::DIALECT, keyed.next(), keyed.next()) {
        (Dialect::Sqlite, ..) => Key {
            name: "rowid".to_owned(),
            kind: String::new(),
        },
        (_, Some(key), None) => Key {
            name: quoted(D::DIALECT, &key.name),
            kind: key.kind.clone(),
        },
        _ => return Err(unsupported("a table without a primary key of one column")),
    };
    let codec = soak.codec().id();
    let known = match D::DIALECT {
        Dialect::Postgres => ["bool", "bytes", "f64", "int", "json", "text", "uuid"].as_slice(),
        Dialect::MySql | Dialect::Sqlite => {
            ["bool", "bytes", "int", "json", "text", "uuid"].as_slice()
        }
    };
    if !known.contains(&codec) {
        return Err(unsupported(
            "a type whose plaintext this database does not give byte by byte",
        ));
    }
    Ok(Shape {
        dialect: D::DIALECT,
        table: quoted(D::DIALECT, column.table()),
        column: quoted(D::DIALECT, column.name()),
        twin: quoted(D::DIALECT, soak.twin()),
        owner: quoted(D::DIALECT, owner.name()),
        fingerprints: soak
            .indexes()
            .iter()
            .map(|index| quoted(D::DIALECT, index.column().name()))
            .collect(),
        key,
        codec,
        owner_kind: soak.owner_kind(),
        owner_type: owner_column.kind.clone(),
        twin_type: twin.map_or_else(String::new, |twin| twin.kind.clone()),
        has_twin: twin.is_some(),
        twin_required: twin.is_some_and(|twin| twin.required),
        there: columns.iter().map(|column| column.name.clone()).collect(),
    })
}

/// The columns of a table.
fn columns(dialect: Dialect, table: &str) -> Statement {
    let (schema, name) = match table.rsplit_once('.') {
        Some((schema, name)) => (Some(schema), name),
        None => (None, table),
    };
    match dialect {
        Dialect::MySql => Statement::new(
            dialect,
            "SELECT column_name AS word, column_type AS kind, CAST(is_nullable = 'NO' AS SIGNED) AS required, \
             CAST(column_key = 'PRI' AS SIGNED) AS keyed FROM information_schema.columns \
             WHERE table_schema = coalesce($1, database()) AND table_name = $2 ORDER BY ordinal_position",
        )
        .bind(schema)
        .bind(name),
        Dialect::Postgres => Statement::new(
            dialect,
            "SELECT CAST(attname AS text) AS word, format_type(atttypid, atttypmod) AS kind, \
             CAST(CAST(attnotnull AS int) AS bigint) AS required, \
             CAST(CAST(EXISTS (SELECT 1 FROM pg_index WHERE indrelid = attrelid AND indisprimary \
             AND attnum = ANY (indkey)) AS int) AS bigint) AS keyed FROM pg_attribute \
             WHERE attrelid = CAST(CAST($1 AS text) AS regclass) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        )
        .bind(quoted(dialect, table).as_str()),
        Dialect::Sqlite => Statement::new(
            dialect,
            "SELECT name AS word, type AS kind, \"notnull\" AS required, pk AS keyed \
             FROM pragma_table_info($1, coalesce($2, 'main')) ORDER BY cid",
        )
        .bind(name)
        .bind(schema),
    }
}

impl Shape {
    /// The row's key as text.
    pub(super) fn key_text(&self) -> String {
        let Key { name, kind } = &self.key;
        match self.dialect {
            Dialect::MySql if is_binary(kind) => format!("hex({name})"),
            Dialect::MySql => format!("CAST({name} AS CHAR)"),
            Dialect::Postgres => format!("CAST({name} AS text)"),
            Dialect::Sqlite => "CAST(rowid AS TEXT)".to_owned(),
        }
    }

    /// The key to order by: with the table's name, as statements give names of their own to what they select.
    pub(super) fn order(&self) -> String {
        format!("{}.{}", self.table, self.key.name)
    }

    /// A key of a text, in the key's type.
    pub(super) fn key_of(&self, text: &str) -> String {
        let kind = &self.key.kind;
        match self.dialect {
            Dialect::MySql if is_binary(kind) => format!("unhex({text})"),
            Dialect::MySql if kind.contains("int") && kind.contains("unsigned") => {
                format!("CAST({text} AS UNSIGNED)")
            }
            Dialect::MySql if kind.contains("int") => format!("CAST({text} AS SIGNED)"),
            // As it compares one with a text, both are floats, of 53 bits.
            Dialect::MySql if kind.starts_with("decimal") => {
                let precise = kind.find(')').and_then(|end| kind.get(..=end));
                format!("CAST({text} AS {})", precise.unwrap_or(kind))
            }
            Dialect::MySql => text.to_owned(),
            Dialect::Postgres => format!("CAST(CAST({text} AS text) AS {kind})"),
            Dialect::Sqlite => format!("CAST({text} AS INTEGER)"),
        }
    }

    /// The canonical bytes of the row's owner; `row` is `NEW.`, or nothing.
    pub(super) fn owner_bytes(&self, row: &str) -> String {
        let name = format!("{row}{}", self.owner);
        let is_uuid = self.owner_kind == Some(OwnerKind::Uuid);
        match self.dialect {
            Dialect::Postgres => format!("ophie_crypt_owner({name})"),
            Dialect::MySql => canonical_on_mysql(&name, &self.owner_type, is_uuid),
            Dialect::Sqlite => {
                let text = if is_uuid {
                    format!("'75' || replace({name}, '-', '')")
                } else {
                    format!("'74' || hex({name})")
                };
                format!(
                    "unhex(CASE typeof({name}) WHEN 'integer' THEN '69' || printf('%016X', {name}) \
                     WHEN 'blob' THEN '75' || hex({name}) ELSE {text} END)"
                )
            }
        }
    }

    /// The plaintext as its codec writes it, NULL where it is NULL; `row` is `NEW.`, `OLD.`, a table's name, or nothing.
    pub(super) fn plain(&self, row: &str) -> String {
        self.plain_of(format!("{row}{}", self.twin))
    }

    /// The same of an expression.
    fn plain_of(&self, name: String) -> String {
        let yes_no = |yes: &str, no: &str| {
            format!("CASE WHEN {name} IS NULL THEN NULL WHEN {name} THEN {yes} ELSE {no} END")
        };
        match (self.codec, self.dialect) {
            ("bytes", _) => name,
            ("bool", Dialect::Postgres) => yes_no("'\\x01'::bytea", "'\\x00'::bytea"),
            ("bool", _) => yes_no("x'01'", "x'00'"),
            ("int", Dialect::Postgres) => format!("int8send(CAST({name} AS bigint))"),
            ("int", Dialect::MySql) => format!("unhex(lpad(hex(CAST({name} AS SIGNED)), 16, '0'))"),
            ("int", Dialect::Sqlite) => {
                format!(
                    "CASE WHEN {name} IS NULL THEN NULL ELSE unhex(printf('%016X', {name})) END"
                )
            }
            ("uuid", Dialect::Postgres) => format!("uuid_send(CAST({name} AS uuid))"),
            ("uuid", Dialect::MySql) if is_binary(&self.twin_type) => name,
            ("uuid", Dialect::MySql) => format!("unhex(replace(CAST({name} AS CHAR), '-', ''))"),
            ("uuid", Dialect::Sqlite) => format!(
                "CASE typeof({name}) WHEN 'text' THEN unhex(replace({name}, '-', '')) ELSE {name} END"
            ),
            ("f64", _) => format!("float8send(CAST({name} AS double precision))"),
            (_, Dialect::Postgres) => format!("convert_to(CAST({name} AS text), 'UTF8')"),
            (_, Dialect::MySql) => format!("CAST(convert({name} USING utf8mb4) AS BINARY)"),
            (_, Dialect::Sqlite) => format!("CAST({name} AS BLOB)"),
        }
    }

    /// What is the same of two rows only if the plaintext is: cheaper, where there is such a thing, as each write asks for it.
    pub(super) fn plain_alike(&self, row: &str) -> String {
        match (self.codec, self.dialect) {
            ("text", Dialect::Postgres) => in_bytes(&format!("{row}{}", self.twin)),
            _ => self.plain(row),
        }
    }

    /// The same of the row's owner.
    pub(super) fn owner_alike(&self, row: &str) -> String {
        let name = format!("{row}{}", self.owner);
        match (self.dialect, &*self.owner_type) {
            (Dialect::Postgres, "bigint" | "integer" | "uuid") => name,
            (Dialect::Postgres, "text") => in_bytes(&name),
            _ => self.owner_bytes(row),
        }
    }

    /// A plaintext for the twin out of what its codec wrote: a parameter, and the expression around its place.
    pub(super) fn twin_of(&self, plain: &[u8]) -> Option<(Param, Around)> {
        let text = |text: &str| -> (Param, Around) {
            (text.into(), |shape, place| match shape.dialect {
                Dialect::Postgres => format!("CAST(CAST({place} AS text) AS {})", shape.twin_type),
                Dialect::MySql | Dialect::Sqlite => place.to_owned(),
            })
        };
        Some(match self.codec {
            "bytes" => (plain.into(), |_, place| place.to_owned()),
            "bool" => {
                let number = i64::from(*plain.first()?);
                (number.into(), |shape, place| match shape.dialect {
                    Dialect::Postgres => format!("(CAST({place} AS bigint) <> 0)"),
                    Dialect::MySql | Dialect::Sqlite => place.to_owned(),
                })
            }
            "int" => {
                let number = i64::from_be_bytes(plain.try_into().ok()?);
                (number.into(), |_, place| place.to_owned())
            }
            "f64" => {
                let number = f64::from_bits(u64::from_be_bytes(plain.try_into().ok()?));
                text(&format!("{number:?}"))
            }
            "uuid"
                if self.dialect != Dialect::Postgres
                    && !self.twin_type.contains("char")
                    && !self.twin_type.contains("text")
                    && self.twin_type != "uuid" =>
            {
                (plain.into(), |_, place| place.to_owned())
            }
            "uuid" => text(&crate::models::sql::hyphenated(plain)),
            _ => text(core::str::from_utf8(plain).ok()?),
        })
    }

    /// Only if the twin takes this plaintext whole, where the database does not say so itself. `value` is the place of
    /// what the twin gets.
    pub(super) fn fitting(
        &self,
        statement: &mut Statement,
        around: Around,
        value: &str,
        plain: &[u8],
    ) {
        if !matches!(self.codec, "f64" | "json" | "text" | "uuid") {
            return;
        }
        match self.dialect {
            // A cast cuts off what is too long. JSON's own types write it in their way.
            Dialect::Postgres if !self.twin_type.starts_with("json") => {
                let taken = self.plain_of(around(self, value));
                statement.push(&format!(" AND {taken} = "));
                statement.push_bind(plain);
            }
            // Blanks at the end are cut off without an error.
            Dialect::MySql if self.twin_type.contains("char(") => {
                if let Some(length) = self.twin_type.split(['(', ')']).nth(1) {
                    statement.push(&format!(" AND char_length({value}) <= {length}"));
                }
            }
            _ => {}
        }
    }

    /// Rows with plaintext, and without ciphertext or one of the fingerprints.
    pub(super) fn pending(&self) -> String {
        format!("({} IS NOT NULL AND ({}))", self.twin, self.unsealed(""))
    }

    /// Rows with ciphertext that opens, and without plaintext.
    pub(super) fn undecrypted(&self) -> String {
        let (twin, column) = (&self.twin, &self.column);
        format!(
            "({twin} IS NULL AND {column} IS NOT NULL AND NOT {})",
            self.buried()
        )
    }

    /// The columns that a backfill writes: ciphertext, then fingerprints.
    pub(super) fn written(&self) -> impl Iterator<Item = &String> {
        core::iter::once(&self.column).chain(&self.fingerprints)
    }

    /// Without ciphertext, or without one of the fingerprints.
    pub(super) fn unsealed(&self, row: &str) -> String {
        let parts: Vec<String> = self
            .written()
            .map(|name| format!("{row}{name} IS NULL"))
            .collect();
        parts.join(" OR ")
    }

    /// With ciphertext or a fingerprint.
    pub(super) fn any_sealed(&self) -> String {
        let parts: Vec<String> = self
            .written()
            .map(|name| format!("{name} IS NOT NULL"))
            .collect();
        parts.join(" OR ")
    }

    /// Not NULL everywhere, without what nothing opens any more.
    pub(super) fn any(&self) -> String {
        let (twin, sealed) = (&self.twin, self.any_sealed());
        format!(
            "({twin} IS NOT NULL OR (({sealed}) AND NOT {}))",
            self.buried()
        )
    }

    /// Of an owner whose keys were destroyed.
    pub(super) fn buried(&self) -> String {
        // With the table's name, as tombstones have an owner too.
        let owner = self.owner_bytes(&format!("{}.", self.table));
        format!("EXISTS (SELECT 1 FROM ophie_crypt_tombstones AS b WHERE b.owner = {owner})")
    }
}

/// A text that PostgreSQL compares byte by byte.
fn in_bytes(name: &str) -> String {
    format!("CAST({name} AS text) COLLATE \"C\"")
}

fn is_binary(kind: &str) -> bool {
    kind.contains("binary") || kind.contains("blob")
}

/// As the write fence has it.
fn canonical_on_mysql(name: &str, kind: &str, is_uuid: bool) -> String {
    let kind = kind.split('(').next().unwrap_or_default();
    let kind = kind.split(' ').next().unwrap_or_default();
    crate::models::canonical_on_mysql(name, kind, is_uuid)
}
