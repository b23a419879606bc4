//! What the application's tables lack for its models, as SQL for a migration of the application's own, up and down.
//!
//! Invariant: it only reads, and the way back drops nothing but what the way there adds. Absent: the fence's triggers
//! (`fence`), a soak's (`soak`).

use ophie_crypt::{ColumnInfo, ColumnRef, Kind, ModelError, soak::SoakColumn};

use super::{ModelTables, error, short, sql::quoted};
use crate::{
    Cells, Dialect, Driver, Failure, Record, Statement, driver::there, run::read, soak::only_before,
};

/// A migration of the application's own tables.
///
/// ```
/// let none = ophie_crypt_sql::TableChanges::default();
/// assert!(none.is_empty());
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TableChanges {
    /// What adds what is missing.
    pub up: String,
    /// What takes it away again.
    pub down: String,
}

impl TableChanges {
    /// Whether nothing is missing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.up.is_empty()
    }

    /// The way back begins with what the way there ends with.
    fn add(&mut self, up: &str, down: &str) {
        self.up.push_str(up);
        self.down.insert_str(0, down);
    }
}

impl<D: Driver> ModelTables<D> {
    /// What the tables lack: encrypted columns and fingerprints with their CHECKs, indexes, the beginning of each soak of
    /// which there is none yet, and the write fence, if it is asked for. The tables themselves and their owner columns are
    /// there.
    ///
    /// A column is added so that it takes NULL, as a table that is there has rows. The SQL is for this database as it is
    /// now: types of columns, and on PostgreSQL the schemas, were looked up in it.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn changes(&self, fenced: bool) -> Result<TableChanges, ModelError> {
        let mut changes = TableChanges::default();
        let mut refuses = TableChanges::default();
        let soaks = match self.soaking_models() {
            true => self.soaks().await?,
            false => Vec::new(),
        };
        let mut tables: Vec<&'static str> = Vec::new();
        for model in self.models.iter() {
            if !tables.contains(&model.table()) {
                tables.push(model.table());
            }
        }
        for table in tables {
            let columns = self.columns_of(table)?;
            let there = self.table(table, &columns).await?;
            for info in &columns {
                let column = info.column();
                let begun = soaks.iter().any(|row| {
                    row.is_of(&column) && row.state != ophie_crypt::soak::SoakState::Plain
                });
                if begun {
                    continue;
                }
                if let Some(soak) = SoakColumn::of(&self.models, table, column.name()) {
                    let begins = self.expansion(&soak).await?;
                    let what = format!(
                        "\n-- The soak of {column}, whose plaintext column is `{}`.\n",
                        soak.twin()
                    );
                    changes.add(&(what.clone() + &begins.up), &(what + &begins.down));
                    // Where each statement is committed by itself, before any other.
                    let late = format!(
                        "-- Fails, by the table's CHECK, where the soak of {column} is further.\n{}",
                        only_before(&soak, "is further")
                    );
                    refuses.add(&late, &late);
                }
            }
            for info in &columns {
                self.add_column(&mut changes, &there, info, &columns);
            }
            self.add_indexes(&mut changes, &there, table, &columns);
        }
        if fenced && self.models.sealed_columns().next().is_some() {
            let what = "-- The write fence: only what the row's owner may write gets in.";
            changes.add(
                &format!("\n{what}\n{}", self.fence().await?),
                &format!("{what}\n{}\n", self.lowering()?),
            );
        }
        changes.up.insert_str(0, &refuses.up);
        changes.down.insert_str(0, &refuses.down);
        Ok(changes)
    }

    fn soaking_models(&self) -> bool {
        let mut columns = self.models.iter().flat_map(|model| model.columns());
        columns.any(|info| info.twin().is_some())
    }

    /// Each encrypted column and fingerprint once, whichever struct names it.
    fn columns_of(&self, table: &'static str) -> Result<Vec<ColumnInfo>, ModelError> {
        let mut columns: Vec<ColumnInfo> = Vec::new();
        let of_table = self.models.iter().filter(|model| model.table() == table);
        for info in of_table.flat_map(|model| model.columns()) {
            let name = info.column().name();
            let known = columns.iter().any(|known| known.column().name() == name);
            if info.kind() != Kind::Owner && !known {
                self.model(&info.column())?; // no name that a statement would take for a parameter
                columns.push(*info);
            }
        }
        Ok(columns)
    }

    /// The table as it is.
    async fn table(
        &self,
        table: &'static str,
        columns: &[ColumnInfo],
    ) -> Result<Table, ModelError> {
        let owner = self.models.of_table(table).map(|model| model.owner());
        let owner = owner.ok_or(ModelError::Unknown { table })?;
        let (schema, name) = match table.rsplit_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, table),
        };
        let of = |sql: &'static str| match D::DIALECT {
            Dialect::Postgres => {
                Statement::new(D::DIALECT, sql).bind(quoted(D::DIALECT, table).as_str())
            }
            Dialect::MySql | Dialect::Sqlite => {
                Statement::new(D::DIALECT, sql).bind(schema).bind(name)
            }
        };
        let rows: Vec<There> = read(&self.driver, of(columns_there(D::DIALECT)))
            .await
            .map_err(error)?;
        let indexes: Vec<Indexed> = read(&self.driver, of(indexes_there(D::DIALECT)))
            .await
            .map_err(error)?;
        let owner_type = rows.iter().find(|row| row.name == owner.name());
        let owner_type = owner_type.ok_or(ModelError::NoColumn { column: owner })?;
        let of_model = |row: &&There| {
            let named = |info: &ColumnInfo| info.column().name() == row.name;
            columns.iter().any(named)
        };
        Ok(Table {
            owner,
            owner_type: owner_type.kind.clone(),
            columns: rows
                .iter()
                .filter(of_model)
                .map(|row| row.name.clone())
                .collect(),
            indexes,
        })
    }

    /// A column that is missing, and that no soak adds.
    fn add_column(
        &self,
        changes: &mut TableChanges,
        there: &Table,
        info: &ColumnInfo,
        columns: &[ColumnInfo],
    ) {
        let column = info.column();
        let soaks = |info: &ColumnInfo| info.twin().is_some();
        let of_soak = soaks(info)
            || info.index_of().is_some_and(|(of, _)| {
                let indexed = columns
                    .iter()
                    .find(|info| info.column().name() == of.name());
                indexed.is_some_and(soaks)
            });
        if of_soak || there.columns.iter().any(|name| name == column.name()) {
            return;
        }
        let (table, name) = (
            quoted(D::DIALECT, column.table()),
            quoted(D::DIALECT, column.name()),
        );
        let (kind, form) = form(D::DIALECT, info.kind(), &name);
        let check = named("check", column);
        let note = match info.is_nullable() {
            true => "",
            false => {
                "-- Its field takes no NULL: write it in every row, then make the column NOT NULL.\n"
            }
        };
        let (and, first) = match D::DIALECT {
            // MariaDB names no CHECK of a column, and drops no column that a CHECK names.
            Dialect::MySql => (", ADD", format!("DROP CONSTRAINT {check}, ")),
            Dialect::Postgres | Dialect::Sqlite => ("", String::new()),
        };
        changes.add(
            &format!("\n{note}ALTER TABLE {table} ADD COLUMN {name} {kind}{and} CONSTRAINT {check} CHECK ({form});\n"),
            &format!("-- With all that is sealed in it.\nALTER TABLE {table} {first}DROP COLUMN {name};\n"),
        );
    }

    /// Jobs read by owner, and look-ups by owner and fingerprint.
    fn add_indexes(
        &self,
        changes: &mut TableChanges,
        there: &Table,
        table: &'static str,
        columns: &[ColumnInfo],
    ) {
        let (quoted_table, owner) = (
            quoted(D::DIALECT, table),
            quoted(D::DIALECT, there.owner.name()),
        );
        // MySQL indexes the beginning of a text.
        let long = there.owner_type.ends_with("text") || there.owner_type.ends_with("blob");
        let owner = match D::DIALECT {
            Dialect::MySql if long => format!("{owner}(191)"),
            _ => owner,
        };
        let mut has_owner = there.begins_with(there.owner.name());
        let mut add = |column: ColumnRef, names: String| {
            let name = named("index", column);
            let down = match (D::DIALECT, table.rsplit_once('.')) {
                (Dialect::MySql, _) => format!("DROP INDEX {name} ON {quoted_table};\n"),
                (_, Some((schema, _))) => {
                    format!("DROP INDEX {}.{name};\n", quoted(D::DIALECT, schema))
                }
                (_, None) => format!("DROP INDEX {name};\n"),
            };
            let up = format!("CREATE INDEX {name} ON {quoted_table} ({names});\n");
            changes.add(&up, &down);
        };
        for info in columns
            .iter()
            .filter(|info| info.kind() == Kind::BlindIndex)
        {
            let column = info.column();
            if !there.finds(column.name()) {
                add(
                    column,
                    format!("{owner}, {}", quoted(D::DIALECT, column.name())),
                );
                has_owner = true;
            }
        }
        if !has_owner {
            add(there.owner, owner);
        }
    }
}

/// The application's table, as it is.
struct Table {
    owner: ColumnRef,
    owner_type: String,
    /// Those of the model that are there.
    columns: Vec<String>,
    indexes: Vec<Indexed>,
}

impl Table {
    /// Whether an index begins with this column.
    fn begins_with(&self, name: &str) -> bool {
        let mut first = self.indexes.iter().filter(|part| part.place == 1);
        first.any(|part| part.column == name)
    }

    /// Whether an index begins with this column, or with the owner and this column.
    fn finds(&self, name: &str) -> bool {
        let behind_owner = |part: &Indexed| {
            let mut first = self.indexes.iter().filter(|first| first.place == 1);
            first.any(|first| first.index == part.index && first.column == self.owner.name())
        };
        let mut parts = self.indexes.iter().filter(|part| part.column == name);
        parts.any(|part| part.place == 1 || (part.place == 2 && behind_owner(part)))
    }
}

/// A name for what is added for a column.
fn named(what: &str, column: ColumnRef) -> String {
    format!("ophie_crypt_{what}_{}", short(&column.to_string()))
}

/// The type of a column, and what it admits.
fn form(dialect: Dialect, kind: Kind, name: &str) -> (&'static str, String) {
    let kinds = match dialect {
        Dialect::MySql => ("LONGBLOB", "VARBINARY(17)"),
        Dialect::Postgres => ("bytea", "bytea"),
        Dialect::Sqlite => ("BLOB", "BLOB"),
    };
    let (kind, form) = match (kind, dialect) {
        (Kind::BlindIndex, Dialect::Sqlite) => (
            kinds.1,
            format!("typeof({name}) = 'blob' AND length({name}) = 17"),
        ),
        (Kind::BlindIndex, _) => (kinds.1, format!("octet_length({name}) = 17")),
        (_, Dialect::MySql) => (
            kinds.0,
            format!("octet_length({name}) >= 45 AND ord(substr({name}, 1, 1)) BETWEEN 250 AND 253"),
        ),
        (_, Dialect::Postgres) => (
            kinds.0,
            format!("octet_length({name}) >= 45 AND get_byte({name}, 0) BETWEEN 250 AND 253"),
        ),
        (_, Dialect::Sqlite) => (
            kinds.0,
            format!(
                "typeof({name}) = 'blob' AND length({name}) >= 45 AND substr({name}, 1, 1) BETWEEN x'FA' AND x'FD'"
            ),
        ),
    };
    (kind, format!("{name} IS NULL OR ({form})"))
}

const fn columns_there(dialect: Dialect) -> &'static str {
    dialect.of(
        "SELECT column_name AS word, lower(data_type) AS kind FROM information_schema.columns \
         WHERE table_schema = coalesce($1, database()) AND table_name = $2",
        "SELECT CAST(attname AS text) AS word, format_type(atttypid, atttypmod) AS kind FROM pg_attribute \
         WHERE attrelid = to_regclass(CAST($1 AS text)) AND attnum > 0 AND NOT attisdropped",
        "SELECT name AS word, lower(type) AS kind FROM pragma_table_info($2, coalesce($1, 'main'))",
    )
}

/// The first two columns of each index.
const fn indexes_there(dialect: Dialect) -> &'static str {
    dialect.of(
        "SELECT index_name AS word, column_name AS kind, CAST(seq_in_index AS SIGNED) AS place \
         FROM information_schema.statistics \
         WHERE table_schema = coalesce($1, database()) AND table_name = $2 AND seq_in_index <= 2",
        "SELECT CAST(indexrelid AS text) AS word, CAST(attname AS text) AS kind, CAST(n AS bigint) AS place \
         FROM pg_index JOIN generate_series(1, 2) AS n ON true \
         JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[n - 1] \
         WHERE indrelid = to_regclass(CAST($1 AS text)) AND indpred IS NULL AND indisvalid",
        "SELECT list.name AS word, info.name AS kind, info.seqno + 1 AS place \
         FROM pragma_index_list($2, coalesce($1, 'main')) AS list, pragma_index_info(list.name, coalesce($1, 'main')) AS info \
         WHERE info.seqno < 2 AND list.partial = 0 AND info.name IS NOT NULL",
    )
}

/// A column of the table.
struct There {
    name: String,
    kind: String,
}

impl Record for There {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self {
            name: there(cells.text("word")?)?,
            kind: there(cells.text("kind")?)?,
        })
    }
}

/// A column's place in an index.
struct Indexed {
    index: String,
    column: String,
    place: i64,
}

impl Record for Indexed {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self {
            index: there(cells.text("word")?)?,
            column: there(cells.text("kind")?)?,
            place: there(cells.int("place")?)?,
        })
    }
}
