//! How a soak begins: what it adds to a table, run here or in a migration of the application's own.
//!
//! Invariant: a soak that has begun is not begun again, whichever of the two is run.
//! Absent: the steps behind it (`steps`), triggers (`guard`).

use ophie_crypt::{
    ModelError,
    soak::{SoakColumn, SoakMigration, SoakState},
};

use super::{
    guard::Guard,
    jobs::unsealing,
    shape::Shape,
    states::Number,
    steps::{any, keep_writers_out, let_writers_in},
};
use crate::{
    Begin, Cells, Connection, Dialect, Driver, Failure, Record, Statement, Transaction,
    driver::there,
    models::{ModelTables, POSTGRES_OWNER, error, sql::quoted},
    run::{read, run},
};

impl<D: Driver> ModelTables<D> {
    /// See [`SoakStore::expand`](ophie_crypt::soak::SoakStore::expand).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn expand(&self, soak: &SoakColumn) -> Result<bool, ModelError> {
        let (shape, path) = (self.checked(soak).await?, self.search_path().await?);
        let sql = expanding(soak, &shape, &Guard::new(&shape, soak, &path));
        let (begun, claim) = (begun(soak), claiming(D::DIALECT, soak));
        let table = shape.table.clone();
        let done = run(&self.driver, Begin::Write, move |tx| {
            let (sql, begun, claim) = (sql.clone(), begun.clone(), claim.clone());
            let table = table.clone();
            Box::pin(async move {
                if D::DIALECT == Dialect::MySql {
                    // Each statement is committed by itself there: a column is said to stand once it does.
                    keep_writers_out::<D>(tx, &table).await?;
                    let expanded = async {
                        if any::<D>(tx, begun).await? {
                            return Ok(false);
                        }
                        tx.batch(sql).await?;
                        tx.execute(claim).await.map(|_| true)
                    }
                    .await;
                    let_writers_in::<D>(tx).await?;
                    return expanded;
                }
                if tx.execute(claim).await? == 0 {
                    return Ok(false);
                }
                tx.batch(sql).await.map(|()| true)
            })
        });
        done.await.map_err(error)
    }

    /// See [`SoakStore::expansion`](ophie_crypt::soak::SoakStore::expansion).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn expansion(&self, soak: &SoakColumn) -> Result<SoakMigration, ModelError> {
        let (shape, path) = (self.checked(soak).await?, self.search_path().await?);
        let guard = Guard::new(&shape, soak, &path);
        let column = soak.column();
        let literals = [
            column.table(),
            column.name(),
            soak.twin(),
            soak.floor().as_str(),
        ];
        let literals = literals.map(|text| format!("'{text}'"));
        let up = [
            only_before(soak, "has begun"),
            expanding(soak, &shape, &guard),
            claim(D::DIALECT, &literals.each_ref().map(String::as_str)),
            ";\n".to_owned(),
        ];
        let dropping: String = missing(soak, &shape)
            .map(|(name, _)| format!("ALTER TABLE {} DROP COLUMN {name};\n", shape.table))
            .collect();
        let down = [
            only_before(soak, "is further"),
            guard.lower(),
            guard.admit(),
            guard.uncheck(),
            dropping,
            format!("DELETE FROM ophie_crypt_soak_cursors WHERE {};\n", of(soak)),
            format!("DELETE FROM ophie_crypt_soaks WHERE {};\n", of(soak)),
        ];
        Ok(SoakMigration {
            up: up.concat(),
            down: down.concat(),
        })
    }

    /// Looks at a table, whose column can soak.
    async fn checked(&self, soak: &SoakColumn) -> Result<Shape, ModelError> {
        let shape = self.shape(soak).await?;
        let cannot = |reason| {
            Err(ModelError::CannotSoak {
                column: soak.column(),
                reason,
            })
        };
        if !shape.has_twin {
            return cannot("the table has no plaintext column of that name");
        }
        if shape.twin_required && D::DIALECT != Dialect::Postgres {
            return cannot(
                "its plaintext column is NOT NULL, and would have to be emptied; let it take NULL first",
            );
        }
        let codec = soak.codec().id();
        if codec == "json" && !soak.indexes().is_empty() {
            return cannot("a blind index over JSON, which databases write in their own way");
        }
        match D::DIALECT {
            Dialect::Postgres if shape.twin_type.starts_with("character(") => {
                return cannot(
                    "its plaintext column is padded with blanks, which are none of a value's; make it `text` first",
                );
            }
            Dialect::Postgres if codec == "uuid" && shape.twin_type != "uuid" => {
                return cannot("its plaintext column is no `uuid`; make it one first");
            }
            Dialect::Postgres => {
                let table = quoted(D::DIALECT, soak.column().table());
                let inherits = Statement::new(D::DIALECT, INHERITS).bind(table.as_str());
                if self.finds(inherits).await? {
                    return cannot(
                        "its table inherits from another, or another from it, and triggers are not inherited",
                    );
                }
            }
            Dialect::MySql => {
                let (schema, table) = match soak.column().table().rsplit_once('.') {
                    Some((schema, table)) => (Some(schema), table),
                    None => (None, soak.column().table()),
                };
                let cascades = Statement::new(D::DIALECT, CASCADES)
                    .bind(schema)
                    .bind(table)
                    .bind(soak.owner().name())
                    .bind(soak.twin());
                if self.finds(cascades).await? {
                    return cannot(
                        "a foreign key changes its plaintext column or its owner, and fires no trigger; let it restrict changes first",
                    );
                }
            }
            Dialect::Sqlite => {
                let statement = Statement::new(D::DIALECT, NOT_ON_SQLITE)
                    .bind(soak.column().table())
                    .bind(soak.twin())
                    .bind(codec);
                let found: Vec<NotOnSqlite> = read(&self.driver, statement).await.map_err(error)?;
                match found.first() {
                    Some(found) if found.is_wide => {
                        return cannot("a database whose texts are not kept in UTF-8");
                    }
                    Some(found) if found.has_no_rowid => {
                        return cannot(
                            "its table is WITHOUT ROWID, and the guard names rows by their rowid",
                        );
                    }
                    Some(found) if found.has_other_rowid => {
                        return cannot(
                            "its table has a column of the name rowid that is not its integer key, and the guard names rows by their rowid",
                        );
                    }
                    Some(found) if found.has_default => {
                        return cannot(
                            "its plaintext column has a DEFAULT, which would be written where no plaintext may; take it away first",
                        );
                    }
                    _ => {}
                }
            }
        }
        Ok(shape)
    }

    /// Whether it counts any.
    async fn finds(&self, counting: Statement) -> Result<bool, ModelError> {
        let found: Vec<Number> = read(&self.driver, counting).await.map_err(error)?;
        Ok(found.first().is_none_or(|found| found.0 > 0))
    }
}

/// Tables above or below one, other than those of which it is a part.
const INHERITS: &str = "\
    SELECT count(*) AS number FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid \
    WHERE CAST(CAST($1 AS text) AS regclass) IN (i.inhrelid, i.inhparent) AND NOT c.relispartition";

/// Foreign keys that write a table's columns: of its schema, its name, and two of them. Both sides name the table, or MariaDB
/// opens every table of every database.
const CASCADES: &str = "\
    SELECT count(*) AS number FROM information_schema.key_column_usage AS k \
    JOIN information_schema.referential_constraints AS r ON r.constraint_name = k.constraint_name \
    WHERE k.table_schema = coalesce($1, database()) AND k.table_name = $2 AND k.column_name IN ($3, $4) \
    AND r.constraint_schema = coalesce($1, database()) AND r.table_name = $2 \
    AND (r.update_rule IN ('CASCADE', 'SET NULL') OR r.delete_rule = 'SET NULL')";

/// What keeps a column from soaking there: of the table, the plaintext column and the codec.
const NOT_ON_SQLITE: &str = "\
    SELECT (SELECT count(*) FROM pragma_encoding WHERE encoding <> 'UTF-8' AND $3 IN ('text', 'json')) AS wide, \
           (SELECT count(*) FROM pragma_table_list WHERE lower(name) = lower($1) AND wr = 1) AS without_rowid, \
           (SELECT count(*) FROM pragma_table_xinfo($1) WHERE lower(name) = 'rowid' AND NOT (pk = 1 AND upper(type) = 'INTEGER' \
            AND (SELECT count(*) FROM pragma_table_info($1) WHERE pk > 0) = 1)) AS other_rowid, \
           (SELECT count(*) FROM pragma_table_info($1) WHERE lower(name) = lower($2) \
            AND dflt_value IS NOT NULL AND upper(dflt_value) <> 'NULL') AS defaults";

struct NotOnSqlite {
    is_wide: bool,
    has_no_rowid: bool,
    has_other_rowid: bool,
    has_default: bool,
}

impl Record for NotOnSqlite {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        let is_any = |name| Ok::<_, Failure>(there(cells.int(name)?)? > 0);
        Ok(Self {
            is_wide: is_any("wide")?,
            has_no_rowid: is_any("without_rowid")?,
            has_other_rowid: is_any("other_rowid")?,
            has_default: is_any("defaults")?,
        })
    }
}

/// The soak's row.
fn of(soak: &SoakColumn) -> String {
    let column = soak.column();
    format!(
        "table_name = '{}' AND column_name = '{}'",
        column.table(),
        column.name()
    )
}

/// What ends a migration that comes too late, on every database: the CHECK of states admits no such word.
pub(crate) fn only_before(soak: &SoakColumn, word: &str) -> String {
    format!(
        "UPDATE ophie_crypt_soaks SET state = '{word}' WHERE {} AND state NOT IN ('plain', 'expand');\n",
        of(soak)
    )
}

/// What is added.
fn expanding(soak: &SoakColumn, shape: &Shape, guard: &Guard<'_>) -> String {
    let mut sql = String::new();
    if shape.dialect == Dialect::Postgres {
        sql.push_str(POSTGRES_OWNER);
    }
    if shape.twin_required {
        // The shred of an owner empties it in every state.
        let (table, twin) = (&shape.table, &shape.twin);
        sql.push_str(&format!(
            "ALTER TABLE {table} ALTER COLUMN {twin} DROP NOT NULL;\n"
        ));
    }
    let missing: Vec<_> = missing(soak, shape).collect();
    for (name, kind) in &missing {
        sql.push_str(&format!(
            "ALTER TABLE {} ADD COLUMN {name} {kind};\n",
            shape.table
        ));
    }
    if missing.len() < shape.written().count() {
        // Late statements of a soak of before wrote it, and nothing has kept it beside its plaintext since. What stands
        // alone is left to verify, but for fingerprints of nothing.
        let (twin, column, any) = (&shape.twin, &shape.column, shape.any_sealed());
        let unsealing = unsealing(shape);
        sql.push_str(&format!(
            "{unsealing}({twin} IS NOT NULL OR {column} IS NULL) AND ({any});\n"
        ));
    }
    sql.push_str(&guard.check());
    sql.push_str(&guard.lower());
    sql.push_str(&guard.admit());
    // As the soak's row has it then.
    sql.push_str(&guard.raise(SoakState::Expand, true));
    sql
}

/// The columns that are missing, and their types.
fn missing<'a>(
    soak: &'a SoakColumn,
    shape: &'a Shape,
) -> impl Iterator<Item = (&'a str, &'static str)> {
    let (sealed, fingerprint) = match shape.dialect {
        Dialect::MySql => ("LONGBLOB", "VARBINARY(17)"),
        Dialect::Postgres => ("bytea", "bytea"),
        Dialect::Sqlite => ("BLOB", "BLOB"),
    };
    let names = core::iter::once((soak.column().name(), &shape.column, sealed));
    let indexes = soak.indexes().iter().zip(&shape.fingerprints);
    let names = names
        .chain(indexes.map(move |(index, quoted)| (index.column().name(), quoted, fingerprint)));
    names
        .filter(|(name, ..)| !shape.there.iter().any(|there| there == name))
        .map(|(_, quoted, kind)| (quoted.as_str(), kind))
}

/// Whether a soak of the column has begun, on MySQL.
fn begun(soak: &SoakColumn) -> Statement {
    let sql = "SELECT count(*) AS number FROM ophie_crypt_soaks \
               WHERE table_name = $1 AND column_name = $2 AND state <> 'plain'";
    let column = soak.column();
    Statement::new(Dialect::MySql, sql)
        .bind(column.table())
        .bind(column.name())
}

/// Begins the soak of a column, of which none has begun.
fn claiming(dialect: Dialect, soak: &SoakColumn) -> Statement {
    let column = soak.column();
    Statement::new(dialect, claim(dialect, &["$1", "$2", "$3", "$4"]))
        .bind(column.table())
        .bind(column.name())
        .bind(soak.twin())
        .bind(soak.floor().as_str())
}

/// The same around table, column, plaintext column and floor. MySQL's INSERT takes no condition: whether a soak has begun
/// is looked for before.
fn claim(dialect: Dialect, [table, column, twin, floor]: &[&str; 4]) -> String {
    let (clash, set, unless) = match dialect {
        Dialect::MySql => ("DUPLICATE KEY UPDATE", "", ""),
        Dialect::Postgres | Dialect::Sqlite => (
            "CONFLICT (table_name, column_name) DO UPDATE SET",
            "ophie_crypt_soaks.",
            " WHERE ophie_crypt_soaks.state = 'plain'",
        ),
    };
    format!(
        "INSERT INTO ophie_crypt_soaks (table_name, column_name, twin, state, floor) \
         VALUES ({table}, {column}, {twin}, 'expand', {floor}) ON {clash} since = {set}version + 1, \
         version = {set}version + 1, twin = {twin}, state = 'expand', floor = {floor}, admits_old = 1, closed = 0, \
         verified = NULL{unless}"
    )
}
