//! Columns with envelopes that no model names, found by their contents.
//!
//! Invariant: it only reads, of each column a hundred values at most, and nothing of a value but its length and its first
//! byte leaves the database's own comparison. Absent: the columns that models name (`schema`).

use std::collections::BTreeSet;

use ophie_crypt::Models;

use super::{Database, DatabaseError, number, schema::Mistake};

/// As many values decide what a column holds.
const LOOKED_AT: u32 = 100;

/// A column that may hold bytes: the table's schema and name, and its own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place(String, String, String);

/// What was found.
#[derive(Default)]
pub(crate) struct Unnamed {
    pub(crate) envelopes: Vec<Mistake>,
    /// What the role may not read.
    pub(crate) unread: Vec<Mistake>,
}

impl Database {
    /// Columns of which most values look like envelopes, in tables that no model names, or beside those that one does. Of
    /// the library's own tables none is looked at.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub(crate) async fn unnamed(&self, models: &Models) -> Result<Unnamed, DatabaseError> {
        let (mut named, mut tables) = (BTreeSet::new(), BTreeSet::new());
        for model in models.iter() {
            if let Some((schema, table)) = self.found(model.table()).await? {
                for info in model.columns() {
                    let column = info.column().name().to_owned();
                    named.insert(Place(schema.clone(), table.clone(), column));
                }
                tables.insert((schema, table));
            }
        }
        let mut unnamed = Unnamed::default();
        for place in self.of_bytes().await? {
            if named.contains(&place) {
                continue;
            }
            let holds = self.holds_envelopes(&place).await;
            let Place(schema, table, column) = place;
            let at = format!("{schema}.{table}.{column}");
            match holds {
                Ok(true) => {}
                Ok(false) => continue,
                Err(DatabaseError::Failed(sqlx::Error::Database(_))) => {
                    let what =
                        "this role may not read it, so nobody looked whether it holds envelopes"
                            .to_owned();
                    unnamed.unread.push(Mistake { column: at, what });
                    continue;
                }
                Err(error) => return Err(error),
            }
            let what = if tables.contains(&(schema.clone(), table.clone())) {
                "no model of this program names it, and it holds what looks like envelopes: no rotation counts them, and \
                 the keys that they are under are destroyed beneath them; name the column in the table's model"
            } else {
                "no model of this program names its table, and it holds what looks like envelopes: no shred deletes such \
                 rows, and no rotation counts them; put the model into `Models`, or drop the copy"
            };
            let what = what.to_owned();
            unnamed.envelopes.push(Mistake { column: at, what });
        }
        Ok(unnamed)
    }

    /// Where a model's table is.
    async fn found(&self, table: &str) -> Result<Option<(String, String)>, DatabaseError> {
        let sql = self.of(
            "SELECT CAST(coalesce(nullif(?, ''), database()) AS CHAR), CAST(? AS CHAR)",
            "SELECT CAST(nspname AS text), CAST(relname AS text) FROM pg_catalog.pg_class AS rel \
             JOIN pg_catalog.pg_namespace AS nsp ON nsp.oid = rel.relnamespace WHERE rel.oid = to_regclass($1)",
            "SELECT coalesce(nullif(?1, ''), 'main'), ?2",
        );
        let rows = self.of_table(sql, table).await?;
        let mut cells = rows.into_iter().flatten().flatten();
        Ok(cells.next().zip(cells.next()))
    }

    /// All columns of bytes, but for the library's and the database's own. A partition's rows are its table's; a view's are
    /// another's, unless it keeps them.
    async fn of_bytes(&self) -> Result<Vec<Place>, DatabaseError> {
        let sql = self.of(
            "SELECT CAST(col.table_schema AS CHAR), CAST(col.table_name AS CHAR), CAST(col.column_name AS CHAR) \
             FROM information_schema.columns AS col JOIN information_schema.tables AS tab \
             ON tab.table_schema = col.table_schema AND tab.table_name = col.table_name \
             WHERE col.table_schema = database() AND tab.table_schema = database() AND tab.table_type = 'BASE TABLE' \
             AND col.data_type IN ('tinyblob', 'blob', 'mediumblob', 'longblob', 'varbinary', 'binary') \
             AND col.table_name NOT LIKE 'ophie\\_crypt\\_%' ORDER BY 1, 2, 3",
            "SELECT CAST(nspname AS text), CAST(relname AS text), CAST(attname AS text) FROM pg_catalog.pg_attribute AS att \
             JOIN pg_catalog.pg_class AS rel ON rel.oid = att.attrelid \
             JOIN pg_catalog.pg_namespace AS nsp ON nsp.oid = rel.relnamespace \
             JOIN pg_catalog.pg_type AS typ ON typ.oid = att.atttypid \
             WHERE rel.relkind IN ('r', 'p', 'm') AND NOT rel.relispartition AND att.attnum > 0 AND NOT att.attisdropped \
             AND CAST('bytea' AS regtype) IN (typ.oid, typ.typbasetype) \
             AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%' AND relname NOT LIKE 'ophie\\_crypt\\_%' \
             ORDER BY 1, 2, 3",
            "SELECT 'main', tab.name, col.name FROM main.sqlite_schema AS tab, pragma_table_info(tab.name, 'main') AS col \
             WHERE tab.type = 'table' AND (col.type = '' OR upper(col.type) LIKE '%BLOB%') \
             AND tab.name NOT LIKE 'ophie\\_crypt\\_%' ESCAPE '\\' AND tab.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
             ORDER BY 1, 2, 3",
        );
        let rows = self.texts(sql.to_owned(), &[]).await;
        let rows = rows.map_err(DatabaseError::Failed)?.into_iter();
        let places = rows.filter_map(|row| {
            let mut cells = row.into_iter().flatten();
            Some(Place(cells.next()?, cells.next()?, cells.next()?))
        });
        Ok(places.collect())
    }

    /// By most of the values: of random bytes one in 64 begins as an envelope does.
    async fn holds_envelopes(&self, place: &Place) -> Result<bool, DatabaseError> {
        let Place(schema, table, column) = place;
        let (schema, table) = (self.quoted(schema), self.quoted(table));
        let column = self.quoted(column);
        let looks = self.of(
            "octet_length(value) >= 45 AND ord(substr(value, 1, 1)) BETWEEN 250 AND 253",
            "octet_length(value) >= 45 AND substr(value, 1, 1) BETWEEN '\\xfa' AND '\\xfd'",
            "typeof(value) = 'blob' AND length(value) >= 45 AND substr(value, 1, 1) BETWEEN x'FA' AND x'FD'",
        );
        let text = self.of("CHAR", "text", "TEXT");
        let sql = format!(
            "SELECT CAST(coalesce(sum(CASE WHEN {looks} THEN 1 ELSE -1 END), -1) AS {text}) FROM \
             (SELECT {column} AS value FROM {schema}.{table} WHERE {column} IS NOT NULL LIMIT {LOOKED_AT}) AS looked"
        );
        let rows = self.texts(sql, &[]).await;
        let rows = rows.map_err(DatabaseError::Failed)?;
        Ok(number(rows.first().and_then(|row| row.first())) >= 0)
    }
}
