//! The models against the tables as they are.

use ophie_crypt::{Kind, ModelInfo, Models, OwnerKind};

use super::{Database, DatabaseError};

/// What is wrong with a column.
pub(crate) struct Mistake {
    pub(crate) column: String,
    pub(crate) what: String,
}

/// A column as the database describes it: name, type, whether it takes NULL.
struct Column(String, String, bool);

impl Database {
    /// Columns that are missing or of a type that does not hold what the model says.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub(crate) async fn mistakes(&self, models: &Models) -> Result<Vec<Mistake>, DatabaseError> {
        let mut mistakes = Vec::new();
        for model in models.iter() {
            let columns = self.columns(model.table()).await?;
            mistakes.extend(self.compared(model, &columns));
        }
        Ok(mistakes)
    }

    /// Whether the columns that soak are written down in this database.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub(crate) async fn has_soaks(&self) -> Result<bool, DatabaseError> {
        Ok(!self.columns("ophie_crypt_soaks").await?.is_empty())
    }

    /// Names of the columns of a table; none of one that is not there.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub(super) async fn column_names(&self, table: &str) -> Result<Vec<String>, DatabaseError> {
        let columns = self.columns(table).await?.into_iter();
        Ok(columns.map(|Column(name, ..)| name).collect())
    }

    async fn columns(&self, table: &str) -> Result<Vec<Column>, DatabaseError> {
        let sql = self.of(
            "SELECT CAST(column_name AS CHAR), CAST(column_type AS CHAR), CAST(is_nullable AS CHAR) \
             FROM information_schema.columns \
             WHERE table_schema = coalesce(nullif(?, ''), database()) AND table_name = ?",
            "SELECT CAST(attname AS text), format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'NO' ELSE 'YES' END \
             FROM pg_catalog.pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
            "SELECT name, type, CASE \"notnull\" WHEN 1 THEN 'NO' ELSE 'YES' END \
             FROM pragma_table_info(?2, coalesce(nullif(?1, ''), 'main'))",
        );
        let columns = self.of_table(sql, table).await?.into_iter();
        let columns = columns.filter_map(|row| {
            let mut cells = row.into_iter().flatten();
            let name = cells.next()?;
            let kind = cells.next()?.to_lowercase();
            Some(Column(name, kind, cells.next()? == "YES"))
        });
        Ok(columns.collect())
    }

    /// Rows about a table, which the models may name with its schema. Parameters are the schema, or an empty text, and the
    /// name; on PostgreSQL it is one, for `to_regclass`.
    pub(super) async fn of_table(
        &self,
        sql: &str,
        table: &str,
    ) -> Result<Vec<Vec<Option<String>>>, DatabaseError> {
        let quoted = self.table(table);
        let (schema, name) = table.rsplit_once('.').unwrap_or(("", table));
        let params = match self {
            Self::Postgres(_) => vec![quoted.as_str()],
            Self::MySql(_) | Self::Sqlite(_) => vec![schema, name],
        };
        let rows = self.texts(sql.to_owned(), &params).await;
        rows.map_err(DatabaseError::Failed)
    }

    fn compared(&self, model: &ModelInfo, columns: &[Column]) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let mut add = |name: &str, what: String| {
            mistakes.push(Mistake {
                column: format!("{}.{name}", model.table()),
                what,
            });
        };
        if columns.is_empty() {
            add("*", "there is no such table".to_owned());
            return mistakes;
        }
        let find = |name: &str| columns.iter().find(|Column(known, ..)| known == name);
        for info in model.columns() {
            let name = info.column().name();
            let Some(Column(_, kind, nullable)) = find(name) else {
                add(name, "there is no such column".to_owned());
                continue;
            };
            if let Some(fitting) = self.unfit(info.kind(), model.owner_kind(), kind) {
                add(name, format!("it is {kind}, and should be {fitting}"));
            }
            if info.is_nullable() && !nullable {
                add(
                    name,
                    "the model takes NULL there, and the table does not".to_owned(),
                );
            }
        }
        for name in model
            .tombstone()
            .into_iter()
            .chain(model.columns().iter().filter_map(|info| info.twin()))
        {
            if find(name).is_none() {
                add(name, "there is no such column".to_owned());
            }
        }
        mistakes
    }

    /// What a column should be, if it is not.
    fn unfit(&self, kind: Kind, owner: Option<OwnerKind>, is: &str) -> Option<&'static str> {
        let (fits, should): (&[&str], _) = match (kind, owner) {
            (Kind::Owner, Some(OwnerKind::Integer)) => (
                self.kinds(
                    &["bigint", "int", "smallint", "mediumint", "tinyint"],
                    &["bigint", "integer", "smallint"],
                    &["int"],
                ),
                "an integer",
            ),
            (Kind::Owner, Some(OwnerKind::Uuid)) => (
                self.kinds(&["binary(16)"], &["uuid"], &["blob"]),
                self.of("binary(16)", "uuid", "blob"),
            ),
            (Kind::Owner, Some(OwnerKind::Text)) => (
                self.kinds(
                    &["varchar", "text", "varbinary", "char", "longtext"],
                    &["text", "character varying"],
                    &["text", "varchar", "char"],
                ),
                "a text that is not padded",
            ),
            (Kind::BlindIndex, _) => (
                self.kinds(&["binary(17)", "varbinary", "blob"], &["bytea"], &["blob"]),
                self.of("binary(17)", "bytea", "blob"),
            ),
            (Kind::Encrypted | Kind::Sealed, _) => (
                self.kinds(
                    &["blob", "tinyblob", "mediumblob", "longblob", "varbinary"],
                    &["bytea"],
                    &["blob"],
                ),
                self.of("blob", "bytea", "blob"),
            ),
            _ => return None,
        };
        (!fits.iter().any(|fit| is.starts_with(fit))).then_some(should)
    }

    const fn kinds<'a>(
        &self,
        mysql: &'a [&'a str],
        postgres: &'a [&'a str],
        sqlite: &'a [&'a str],
    ) -> &'a [&'a str] {
        match self {
            Self::MySql(_) => mysql,
            Self::Postgres(_) => postgres,
            Self::Sqlite(_) => sqlite,
        }
    }
}
