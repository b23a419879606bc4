//! The indexes of the application's tables, against what the models look up and what a soak takes away.
//!
//! Invariant: only the catalogue is read. Absent: which columns there are (`schema`).

use ophie_crypt::{Kind, ModelInfo, Models};

use super::{Database, DatabaseError, schema::Mistake};

/// A column's place in an index: 1 if it comes first, 0 in an expression or a predicate.
struct Part {
    index: String,
    column: String,
    place: i64,
    unique: bool,
}

impl Database {
    /// Fingerprints that no index finds, and indexes that hold plaintext columns unique.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub(crate) async fn index_mistakes(
        &self,
        models: &Models,
    ) -> Result<Vec<Mistake>, DatabaseError> {
        let mut mistakes: Vec<Mistake> = Vec::new();
        for model in models.iter() {
            let columns = self.column_names(model.table()).await?;
            let parts = self.parts(model.table()).await?;
            // Another struct of the table may have said so already.
            for mistake in found(model, &columns, &parts) {
                let same =
                    |known: &Mistake| known.column == mistake.column && known.what == mistake.what;
                if !mistakes.iter().any(same) {
                    mistakes.push(mistake);
                }
            }
        }
        Ok(mistakes)
    }

    async fn parts(&self, table: &str) -> Result<Vec<Part>, DatabaseError> {
        let sql = self.of(
            "SELECT CAST(index_name AS CHAR), CAST(column_name AS CHAR), CAST(seq_in_index AS CHAR), \
             CAST(non_unique = 0 AS CHAR) FROM information_schema.statistics \
             WHERE table_schema = coalesce(nullif(?, ''), database()) AND table_name = ? AND column_name IS NOT NULL",
            "SELECT CAST(relname AS text), CAST(attname AS text), CAST(place AS text), \
             CASE WHEN indisunique THEN '1' ELSE '0' END FROM pg_catalog.pg_index \
             JOIN pg_catalog.pg_class AS c ON c.oid = indexrelid \
             JOIN LATERAL (SELECT indkey[n - 1] AS attnum, n AS place FROM generate_series(1, CAST(indnkeyatts AS int)) AS n \
             UNION SELECT refobjsubid, 0 FROM pg_catalog.pg_depend WHERE classid = CAST('pg_class' AS regclass) \
             AND objid = indexrelid AND refobjid = indrelid) AS part ON true \
             JOIN pg_catalog.pg_attribute AS a ON a.attrelid = indrelid AND a.attnum = part.attnum \
             WHERE indrelid = to_regclass($1) AND indisvalid ORDER BY relname, place DESC",
            "SELECT list.name, info.name, CAST(info.seqno + 1 AS TEXT), CAST(list.\"unique\" AS TEXT) \
             FROM pragma_index_list(?2, coalesce(nullif(?1, ''), 'main')) AS list, \
             pragma_index_info(list.name, coalesce(nullif(?1, ''), 'main')) AS info WHERE info.name IS NOT NULL",
        );
        let rows = self.of_table(sql, table).await?;
        let parts = rows.into_iter().filter_map(|row| {
            let mut cells = row.into_iter().flatten();
            Some(Part {
                index: cells.next()?,
                column: cells.next()?,
                place: cells.next()?.parse().ok()?,
                unique: cells.next()? == "1",
            })
        });
        Ok(parts.collect())
    }
}

fn found(model: &ModelInfo, columns: &[String], parts: &[Part]) -> Vec<Mistake> {
    let (table, owner) = (model.table(), model.owner().name());
    let mut mistakes = Vec::new();
    for info in model.columns() {
        let name = info.column().name();
        let is_there = columns.iter().any(|column| column == name);
        if info.kind() == Kind::BlindIndex && is_there && !finds(parts, owner, name) {
            mistakes.push(Mistake {
                column: format!("{table}.{name}"),
                what: format!(
                    "no index finds it, so that each look-up reads the whole table; make one on ({owner}, {name})"
                ),
            });
        }
        let Some(twin) = info.twin() else { continue };
        let mut indexes: Vec<&str> = Vec::new();
        for part in parts
            .iter()
            .filter(|part| part.unique && part.column == twin)
        {
            if indexes.contains(&part.index.as_str()) {
                continue;
            }
            indexes.push(&part.index);
            mistakes.push(Mistake {
                column: format!("{table}.{twin}"),
                what: format!(
                    "the unique index `{}` holds this plaintext column: nothing is unique by it once the plaintext is NULL, and \
                     the drop takes it away or is refused; if it is needed, make one on ({owner}, fingerprint) after `soak verify`",
                    part.index
                ),
            });
        }
    }
    mistakes
}

/// Whether an index begins with this column, or with the owner and this column.
fn finds(parts: &[Part], owner: &str, name: &str) -> bool {
    let behind_owner = |part: &Part| {
        let mut first = parts.iter().filter(|first| first.place == 1);
        first.any(|first| first.index == part.index && first.column == owner)
    };
    let mut of_column = parts.iter().filter(|part| part.column == name);
    of_column.any(|part| part.place == 1 || (part.place == 2 && behind_owner(part)))
}
