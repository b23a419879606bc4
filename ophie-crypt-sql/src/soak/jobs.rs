//! Plaintext that goes, or comes back.
//!
//! Invariant: of a row whose plaintext goes, the ciphertext is there before and the same afterwards, or nothing is done.
//! Absent: keys.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;

use ophie_crypt::{
    ModelError,
    soak::{Decrypted, SealedRow, SoakColumn, SoakRow, SoakState, SoakedRow},
};

use super::{
    guard::Guard,
    rows::{at, cursor, moving, next, next_locked},
    shape::Shape,
    states::{LIVES, now},
    steps::{any, keep_writers_out, let_writers_in, rows, standing, stepping},
};
use crate::{
    Begin, Cells, Connection, Dialect, Driver, Failure, FailureKind, Record, Statement,
    Transaction,
    driver::there,
    models::{ModelTables, error, sql::waits_briefly},
    run::{read, run},
};

impl<D: Driver> ModelTables<D> {
    /// See [`SoakStore::empty`](ophie_crypt::soak::SoakStore::empty).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn empty(&self, soak: &SoakColumn, limit: u32) -> Result<Option<u64>, ModelError> {
        let shape = self.shape(soak).await?;
        let (cursor, column) = (cursor(&shape, soak), soak.clone());
        let touched = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&touched);
        let emptied = run(&self.driver, Begin::Write, move |tx| {
            let (shape, cursor, touched) = (shape.clone(), cursor.clone(), Arc::clone(&seen));
            let column = column.clone();
            Box::pin(async move {
                let at = at::<D>(tx, cursor).await?;
                if at.state != Some(SoakState::Retired) || !at.closed {
                    return Ok(0);
                }
                let before = both::<D>(tx, &shape, at.position.as_deref(), limit).await?;
                let Some(last) = before.last() else {
                    return Ok(0);
                };
                let last = last.key.clone();
                tx.execute(emptying(&shape, &before)).await?;
                let after: Vec<Both> = tx.fetch(of_keys(&shape, &before)).await?;
                let same = before.len() == after.len()
                    && before.iter().zip(&after).all(|(before, after)| {
                        before.key == after.key && before.sealed == after.sealed
                    });
                if !same {
                    touched.store(true, Relaxed);
                    let text = "a null-out would have changed ciphertext";
                    return Err(Failure::new(FailureKind::Refused, text)); // rolls back
                }
                tx.execute(moving(&shape, &column, &at, &last, 0)).await?;
                Ok(u64::try_from(before.len()).unwrap_or_default())
            })
        });
        match emptied.await {
            Err(_) if touched.load(Relaxed) => Ok(None),
            emptied => emptied.map(Some).map_err(error),
        }
    }

    /// See [`SoakStore::empty_buried`](ophie_crypt::soak::SoakStore::empty_buried).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn empty_buried(&self, soak: &SoakColumn, limit: u32) -> Result<u64, ModelError> {
        let shape = self.shape(soak).await?;
        self.sees_every_row(soak.column().table()).await?;
        let (twin, table) = (&shape.twin, &shape.table);
        let condition = format!("{twin} IS NOT NULL AND {}", shape.buried());
        // MySQL would lock what it looks at, and not only what it finds.
        let head = format!("SELECT {} FROM {table} WHERE ", columns(&shape));
        let finding = next(&shape, &head, &condition, [], limit);
        let found: Vec<Both> = read(&self.driver, finding).await.map_err(error)?;
        if found.is_empty() {
            return Ok(0);
        }
        // The guard takes the ciphertext with it.
        let waits = waits_briefly(D::DIALECT);
        let head = format!("{waits}UPDATE {table} SET {twin} = NULL WHERE {condition} AND ");
        let mut statement = Statement::new(D::DIALECT, head);
        among(&mut statement, &shape, found.iter().map(|row| &*row.key));
        self.write(statement).await
    }

    /// See [`SoakStore::empty_sealed`](ophie_crypt::soak::SoakStore::empty_sealed).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn empty_sealed(
        &self,
        soak: &SoakColumn,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, ModelError> {
        let shape = self.shape(soak).await?;
        let (cursor, after) = (cursor(&shape, soak), after.map(str::to_owned));
        let emptied = run(&self.driver, Begin::Write, move |tx| {
            let (shape, cursor, after) = (shape.clone(), cursor.clone(), after.clone());
            Box::pin(async move {
                if at::<D>(tx, cursor).await?.state != Some(SoakState::Expand) {
                    return Ok(Vec::new());
                }
                let (key, any) = (shape.key_text(), format!("({})", shape.any_sealed()));
                let found = next_locked(
                    &shape,
                    &format!("{key} AS k"),
                    &any,
                    [after.as_deref()],
                    limit,
                );
                let found: Vec<Key> = tx.fetch(found).await?;
                let keys: Vec<String> = found.into_iter().map(|row| row.0).collect();
                if !keys.is_empty() {
                    let mut statement = Statement::new(D::DIALECT, unsealing(&shape));
                    among(&mut statement, &shape, keys.iter().map(String::as_str));
                    tx.execute(statement).await?;
                }
                Ok(keys)
            })
        });
        emptied.await.map_err(error)
    }

    /// See [`SoakStore::decrypted`](ophie_crypt::soak::SoakStore::decrypted).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn decrypted(
        &self,
        soak: &SoakColumn,
        rows: Vec<Decrypted>,
    ) -> Result<u64, ModelError> {
        let shape = self.shape(soak).await?;
        let mut statements = Vec::with_capacity(rows.len());
        for Decrypted { row, plain, anew } in &rows {
            let Some(old) = &row.sealed else { continue };
            let Some((param, around)) = shape.twin_of(plain) else {
                continue; // no value of this type
            };
            let Shape {
                table,
                column,
                twin,
                key,
                ..
            } = &shape;
            // As strict as can be: otherwise values that are too long are cut off there.
            let strict = match D::DIALECT {
                Dialect::MySql => {
                    "/*M! SET STATEMENT sql_mode = concat(@@sql_mode, ',STRICT_ALL_TABLES') FOR */ "
                }
                Dialect::Postgres | Dialect::Sqlite => "",
            };
            let mut statement =
                Statement::new(D::DIALECT, format!("{strict}UPDATE {table} SET {twin} = "));
            let value = statement.place(param);
            statement.push(&around(&shape, &value));
            statement.push(&format!(", {column} = "));
            statement.push_bind(anew.sealed.as_slice());
            let place = statement.place(row.key.as_str());
            // Whoever changed the plaintext has changed this, or the guard has.
            let old = statement.place(old.as_slice());
            statement.push(&format!(
                " WHERE {} = {} AND {column} = {old}",
                key.name,
                shape.key_of(&place)
            ));
            shape.fitting(&mut statement, around, &value, plain);
            // The guard has emptied what stands under the plaintext of before.
            let again = row
                .plain
                .as_ref()
                .map(|_| fingerprinting(&shape, row, anew));
            statements.push((statement, again.flatten()));
        }
        let written = run(&self.driver, Begin::Write, move |tx| {
            let statements = statements.clone();
            Box::pin(async move {
                let mut written = 0_u64;
                for (statement, again) in statements {
                    written = written.saturating_add(tx.execute(statement).await?);
                    if let Some(again) = again {
                        tx.execute(again).await?;
                    }
                }
                Ok(written)
            })
        });
        written.await.map_err(error)
    }

    /// See [`SoakStore::drop_twin`](ophie_crypt::soak::SoakStore::drop_twin).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn drop_twin(&self, soak: &SoakColumn, from: &SoakRow) -> Result<bool, ModelError> {
        let (shape, path) = (self.shape(soak).await?, self.search_path().await?);
        let guard = Guard::new(&shape, soak, &path);
        if shape.has_twin {
            // Closed, nobody brings plaintext any more, and all rows are looked at without a lock.
            if !self.close(soak, from).await? {
                return Ok(false);
            }
            let left = rows(&shape, &format!("{} IS NOT NULL", shape.twin));
            let left = run(&self.driver, Begin::Read, move |tx| {
                let left = left.clone();
                Box::pin(any::<D>(tx, left))
            });
            if left.await.map_err(error)? {
                return Ok(false);
            }
        }
        let sql = dropping(&shape, &guard);
        let stands = standing(D::DIALECT, from);
        let stepping = stepping(D::DIALECT, from, SoakState::Dropped);
        let table = shape.table.clone();
        let knowing = knowing(D::DIALECT, soak);
        let done = run(&self.driver, Begin::Write, move |tx| {
            let (sql, stepping) = (sql.clone(), stepping.clone());
            let (stands, table, knowing) = (stands.clone(), table.clone(), knowing.clone());
            Box::pin(async move {
                keep_writers_out::<D>(tx, &table).await?;
                let dropped = async {
                    if any::<D>(tx, knowing).await? {
                        return Ok(false);
                    }
                    if D::DIALECT == Dialect::MySql {
                        // Each statement is committed by itself there: the column is said to be gone once it is.
                        if !any::<D>(tx, stands).await? {
                            return Ok(false);
                        }
                        tx.batch(sql).await?;
                        return Ok(tx.execute(stepping).await? > 0);
                    }
                    if tx.execute(stepping).await? == 0 {
                        return Ok(false);
                    }
                    tx.batch(sql).await.map(|()| true)
                }
                .await;
                let_writers_in::<D>(tx).await?;
                dropped
            })
        });
        done.await.map_err(error)
    }

    /// See [`SoakStore::rewrite`](ophie_crypt::soak::SoakStore::rewrite).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn rewrite(&self, soak: &SoakColumn) -> Result<(), ModelError> {
        let table = crate::models::sql::quoted(D::DIALECT, soak.column().table());
        let sql = match D::DIALECT {
            // OPTIMIZE says in a row, and not in an error, that it failed.
            Dialect::MySql => format!("ALTER TABLE {table} FORCE"),
            Dialect::Postgres => format!("VACUUM (FULL, ANALYZE) {table}"),
            Dialect::Sqlite => "VACUUM".to_owned(),
        };
        self.driver.outside(&sql).await.map_err(error)
    }

    /// See [`SoakStore::residue`](ophie_crypt::soak::SoakStore::residue).
    #[must_use]
    pub const fn residue(&self) -> &'static [&'static str] {
        match D::DIALECT {
            Dialect::MySql => &[
                "the binary log and the redo log, until they are purged and written over",
                "undo logs and the doublewrite buffer, until they are written over",
                "the general log and the slow query log, with the statements that wrote plaintext",
                "freed pages of a shared tablespace, where innodb_file_per_table is off",
                "histograms (mysql.column_stats) that were taken of the column",
                "replicas, and backups of before",
            ],
            Dialect::Postgres => &[
                "WAL and its archive, until its segments are removed; those that are recycled keep their bytes until they \
                 are written over (wal_recycle = off removes them)",
                "dead rows of pg_statistic, until it is vacuumed: run `VACUUM FULL pg_statistic` as a superuser",
                "files of the table of before, until the next checkpoint",
                "the server's log, where it prints parameters of statements (log_parameter_max_length, auto_explain)",
                "replicas, and backups of before",
            ],
            Dialect::Sqlite => &[
                "the write-ahead log, until a checkpoint truncates it: run `PRAGMA wal_checkpoint(TRUNCATE)`",
                "free blocks of the file system under the database",
                "backups of before",
            ],
        }
    }
}

/// The column and the triggers, which go with it; where each statement counts at once, behind it: MariaDB drops a column
/// that they name, and until they are gone too refuses what is written.
fn dropping(shape: &Shape, guard: &Guard<'_>) -> String {
    let drop = match shape.has_twin {
        true => format!("ALTER TABLE {} DROP COLUMN {};\n", shape.table, shape.twin),
        false => String::new(),
    };
    let triggers = guard.lower() + &guard.admit();
    match shape.dialect {
        Dialect::MySql => drop + &triggers,
        Dialect::Postgres | Dialect::Sqlite => triggers + &drop,
    }
}

/// Fingerprints of a row that was given this envelope; `None` where there are none.
fn fingerprinting(shape: &Shape, row: &SoakedRow, anew: &SealedRow) -> Option<Statement> {
    let (table, column) = (&shape.table, &shape.column);
    let mut statement = Statement::new(shape.dialect, format!("UPDATE {table} SET "));
    for (n, (name, made)) in shape
        .fingerprints
        .iter()
        .zip(&anew.fingerprints)
        .enumerate()
    {
        let comma = if n == 0 { "" } else { ", " };
        statement.push(&format!("{comma}{name} = "));
        statement.push_bind(made.as_slice());
    }
    let key = shape.key_of(&statement.place(row.key.as_str()));
    let sealed = statement.place(anew.sealed.as_slice());
    statement.push(&format!(
        " WHERE {} = {key} AND {column} = {sealed}",
        shape.key.name
    ));
    (!shape.fingerprints.is_empty()).then_some(statement)
}

/// Live processes that know the plaintext column.
fn knowing(dialect: Dialect, soak: &SoakColumn) -> Statement {
    let (column, now) = (soak.column(), now(dialect));
    let sql = format!(
        "SELECT count(*) AS number FROM ophie_crypt_soak_heartbeats \
         WHERE table_name = $1 AND column_name = $2 AND knows_twin = 1 AND {now} - beat_at <= {LIVES}"
    );
    Statement::new(dialect, sql)
        .bind(column.table())
        .bind(column.name())
}

/// A row's key and ciphertext.
struct Both {
    key: String,
    sealed: Option<Vec<u8>>,
}

impl Record for Both {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self {
            key: there(cells.text("k")?)?,
            sealed: cells.bytes("c")?,
        })
    }
}

struct Key(String);

impl Record for Key {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self(there(cells.text("k")?)?))
    }
}

/// Rows with both, locked.
async fn both<D: Driver>(
    tx: &mut D::Transaction,
    shape: &Shape,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Both>, Failure> {
    let condition = format!(
        "{} IS NOT NULL AND {} IS NOT NULL",
        shape.twin, shape.column
    );
    let statement = next_locked(shape, &columns(shape), &condition, [after], limit);
    tx.fetch(statement).await
}

fn columns(shape: &Shape) -> String {
    format!("{} AS k, {} AS c", shape.key_text(), shape.column)
}

/// The same rows again.
fn of_keys(shape: &Shape, rows: &[Both]) -> Statement {
    let (columns, table) = (columns(shape), &shape.table);
    let head = format!("SELECT {columns} FROM {table} WHERE ");
    let mut statement = Statement::new(shape.dialect, head);
    among(&mut statement, shape, rows.iter().map(|row| &*row.key));
    statement.push(&format!(" ORDER BY {}", shape.order()));
    statement
}

fn emptying(shape: &Shape, rows: &[Both]) -> Statement {
    let Shape {
        table,
        column,
        twin,
        ..
    } = shape;
    let mut statement = Statement::new(
        shape.dialect,
        format!(
            "UPDATE {table} SET {twin} = NULL WHERE {twin} IS NOT NULL AND {column} IS NOT NULL AND "
        ),
    );
    among(&mut statement, shape, rows.iter().map(|row| &*row.key));
    statement
}

/// Takes ciphertext and fingerprints where what follows holds.
pub(super) fn unsealing(shape: &Shape) -> String {
    let empty: Vec<String> = shape
        .written()
        .map(|name| format!("{name} = NULL"))
        .collect();
    format!("UPDATE {} SET {} WHERE ", shape.table, empty.join(", "))
}

fn among<'r>(statement: &mut Statement, shape: &Shape, keys: impl Iterator<Item = &'r str>) {
    statement.push(&format!("{} IN (", shape.key.name));
    for (n, key) in keys.enumerate() {
        let place = statement.place(key);
        statement.push(if n == 0 { "" } else { ", " });
        statement.push(&shape.key_of(&place));
    }
    statement.push(")");
}
