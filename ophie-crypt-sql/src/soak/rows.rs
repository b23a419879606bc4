//! Rows of a column in a soak: read in the order of their keys, sealed, compared.
//!
//! Invariant: the cursor moves in the transaction of its rows, and passes none that others hold for good: whoever is at the
//! end looks whether any is pending. Absent: keys.

use ophie_crypt::{
    CanonicalId, ModelError,
    soak::{Filled, PlainRow, Rows, SealRows, Sealing, SoakColumn, SoakState, SoakedRow},
};

use super::{
    filling::filling,
    shape::{FINGERPRINTS, Shape, shape_in},
    states::Number,
};
use crate::{
    Begin, Cells, Connection, Dialect, Driver, Failure, Record, Statement,
    driver::there,
    models::{ModelTables, error, sql::waits_briefly},
    run::{read, run},
};

impl<D: Driver> ModelTables<D> {
    /// See [`SoakStore::owners_ahead`](ophie_crypt::soak::SoakStore::owners_ahead).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn owners_ahead(
        &self,
        soak: &SoakColumn,
        limit: u32,
    ) -> Result<Vec<CanonicalId>, ModelError> {
        let shape = self.shape(soak).await?;
        let cursor = cursor(D::DIALECT, soak);
        let rows = run(&self.driver, Begin::Read, move |tx| {
            let (shape, cursor) = (shape.clone(), cursor.clone());
            Box::pin(async move {
                let at = at::<D>(tx, cursor).await?;
                let owner = shape.owner_bytes("");
                let head = format!(
                    "SELECT DISTINCT o FROM (SELECT {owner} AS o FROM {} WHERE ",
                    shape.table
                );
                let mut ahead = next(
                    &shape,
                    &head,
                    &shape.pending(),
                    at.position.as_deref(),
                    limit,
                );
                ahead.push(") AS ahead");
                tx.fetch::<Owner>(ahead).await
            })
        });
        let rows = rows.await.map_err(error)?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// See [`SoakStore::fill`](ophie_crypt::soak::SoakStore::fill).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn fill(
        &self,
        soak: &SoakColumn,
        limit: u32,
        seal: SealRows,
    ) -> Result<Filled, ModelError> {
        let (cursor, column) = (cursor(D::DIALECT, soak), soak.clone());
        let filled = run(&self.driver, Begin::Write, move |tx| {
            let (cursor, seal, column) = (cursor.clone(), seal.clone(), column.clone());
            Box::pin(async move {
                let shape = match shape_in::<D>(tx, &column).await? {
                    Ok(shape) => shape,
                    Err(error) => return Ok(Err(error)),
                };
                let at = at::<D>(tx, cursor).await?;
                if !at.state.is_some_and(SoakState::is_filled) {
                    return Ok(Ok(Filled::default()));
                }
                let rows = next_plain::<D>(tx, &shape, at.position.as_deref(), limit).await?;
                let mut filled = Filled {
                    admitted: true,
                    ..Filled::default()
                };
                let (mut last, mut sealed) = (None, Vec::new());
                for (row, sealing) in rows.iter().zip(seal(&rows)) {
                    match sealing {
                        Sealing::Sealed(new) => sealed.push((row.key.as_str(), new)),
                        Sealing::Skip => {}
                        Sealing::Stop => break,
                    }
                    filled.read = filled.read.saturating_add(1);
                    last = Some(row.key.as_str());
                }
                for statement in filling(&shape, &sealed) {
                    let written = tx.execute(statement).await?;
                    filled.written = filled.written.saturating_add(written);
                }
                if let Some(last) = last {
                    let written = i64::try_from(filled.written).unwrap_or(i64::MAX);
                    tx.execute(moving(&shape, &column, &at, last, written))
                        .await?;
                }
                Ok(Ok(filled))
            })
        });
        filled.await.map_err(error)?
    }

    /// See [`SoakStore::rewind`](ophie_crypt::soak::SoakStore::rewind).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn rewind(&self, soak: &SoakColumn) -> Result<(), ModelError> {
        let sql = "UPDATE ophie_crypt_soak_cursors SET position = NULL WHERE table_name = $1 AND column_name = $2";
        let column = soak.column();
        let statement = Statement::new(D::DIALECT, sql);
        let statement = statement.bind(column.table()).bind(column.name());
        self.write(statement).await.map(drop)
    }

    /// See [`SoakStore::count`](ophie_crypt::soak::SoakStore::count).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn count_rows(&self, soak: &SoakColumn, rows: Rows) -> Result<u64, ModelError> {
        let shape = self.shape(soak).await?;
        if !shape.has_twin {
            return Ok(0); // it was dropped
        }
        self.sees_every_row(soak.column().table()).await?;
        let condition = match rows {
            Rows::All => shape.any(),
            Rows::Pending => shape.pending(),
            Rows::Undecrypted => shape.undecrypted(),
            Rows::WithTwin => format!("{} IS NOT NULL", shape.twin),
        };
        let sql = format!(
            "SELECT count(*) AS number FROM {} WHERE {condition}",
            shape.table
        );
        let counted: Vec<Number> = read(&self.driver, Statement::new(D::DIALECT, sql))
            .await
            .map_err(error)?;
        Ok(counted.first().map_or(u64::MAX, |row| row.0))
    }

    /// See [`SoakStore::page`](ophie_crypt::soak::SoakStore::page).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn page(
        &self,
        soak: &SoakColumn,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<SoakedRow>, ModelError> {
        let shape = self.shape(soak).await?;
        let statement = next(&shape, &whole(&shape), &shape.any(), after, limit);
        let rows: Vec<Whole> = read(&self.driver, statement).await.map_err(error)?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// See [`SoakStore::reread`](ophie_crypt::soak::SoakStore::reread).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn reread(
        &self,
        soak: &SoakColumn,
        key: &str,
    ) -> Result<Option<SoakedRow>, ModelError> {
        let shape = self.shape(soak).await?;
        let waits = waits_briefly(D::DIALECT);
        let mut statement = Statement::new(
            D::DIALECT,
            format!("{waits}{}{} = ", whole(&shape), shape.key.name),
        );
        let place = statement.place(key);
        statement.push(&shape.key_of(&place));
        statement.push(lock(D::DIALECT, ""));
        let rows = run(&self.driver, Begin::Write, move |tx| {
            let statement = statement.clone();
            Box::pin(tx.fetch::<Whole>(statement))
        });
        let rows = rows.await.map_err(error)?;
        Ok(rows.into_iter().next().map(|row| row.0))
    }

    /// See [`SoakStore::verified`](ophie_crypt::soak::SoakStore::verified).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn verified(&self, soak: &SoakColumn, version: i64) -> Result<(), ModelError> {
        // Who writes the table may hold its state; a verify that was not remembered is begun again.
        let waits = waits_briefly(D::DIALECT);
        let sql = format!(
            "{waits}UPDATE ophie_crypt_soaks SET verified = $1 \
             WHERE table_name = $2 AND column_name = $3 AND version = $1"
        );
        let column = soak.column();
        let statement = Statement::new(D::DIALECT, sql).bind(version);
        let statement = statement.bind(column.table()).bind(column.name());
        self.write(statement).await.map(drop)
    }
}

/// Where the cursor is in the present state, and this.
pub(super) struct At {
    pub(super) position: Option<String>,
    pub(super) state: Option<SoakState>,
    pub(super) since: i64,
    pub(super) closed: bool,
}

impl Record for At {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self {
            position: cells.text("position")?,
            state: cells.text("state")?.as_deref().and_then(SoakState::of),
            since: there(cells.int("since")?)?,
            closed: there(cells.int("closed")?)? != 0,
        })
    }
}

pub(super) fn cursor(dialect: Dialect, soak: &SoakColumn) -> Statement {
    let sql = "SELECT c.position, s.state, s.since, s.closed FROM ophie_crypt_soaks AS s \
               LEFT JOIN ophie_crypt_soak_cursors AS c ON c.table_name = s.table_name AND c.column_name = s.column_name \
               AND c.since = s.since WHERE s.table_name = $1 AND s.column_name = $2";
    let column = soak.column();
    Statement::new(dialect, sql)
        .bind(column.table())
        .bind(column.name())
}

pub(super) async fn at<D: Driver>(
    tx: &mut D::Transaction,
    cursor: Statement,
) -> Result<At, Failure> {
    let rows: Vec<At> = tx.fetch(cursor).await?;
    Ok(rows.into_iter().next().unwrap_or(At {
        position: None,
        state: None,
        since: 0,
        closed: false,
    }))
}

/// Rows behind a key, in the order of their keys: `head`, a condition, the end.
pub(super) fn next(
    shape: &Shape,
    head: &str,
    condition: &str,
    after: Option<&str>,
    limit: u32,
) -> Statement {
    let mut statement = Statement::new(shape.dialect, head);
    statement.push(condition);
    if let Some(after) = after {
        let place = statement.place(after);
        statement.push(&format!(
            " AND {} > {}",
            shape.key.name,
            shape.key_of(&place)
        ));
    }
    statement.push(&format!(" ORDER BY {} LIMIT {limit}", shape.order()));
    statement
}

/// The same rows, locked, but for those that others hold.
pub(super) fn next_locked(
    shape: &Shape,
    columns: &str,
    condition: &str,
    after: Option<&str>,
    limit: u32,
) -> Statement {
    let (table, key, order) = (&shape.table, &shape.key.name, shape.order());
    let head = format!("{}SELECT {columns} FROM ", waits_briefly(shape.dialect));
    let mut statement = if shape.dialect == Dialect::MySql {
        // It locks what it looks at, and not only what it finds: keys are looked for without a lock.
        let head = format!("{head}(SELECT {key} AS ophie_crypt_key FROM {table} WHERE ");
        let mut statement = next(shape, &head, condition, after, limit);
        statement.push(&format!(
            ") AS ahead STRAIGHT_JOIN {table} ON {order} = ophie_crypt_key WHERE {condition} ORDER BY {order}"
        ));
        statement
    } else {
        next(
            shape,
            &format!("{head}{table} WHERE "),
            condition,
            after,
            limit,
        )
    };
    statement.push(lock(shape.dialect, "skip"));
    statement
}

/// Moves the cursor of this state forward, and counts. Another worker may be ahead already.
pub(super) fn moving(
    shape: &Shape,
    soak: &SoakColumn,
    at: &At,
    to: &str,
    written: i64,
) -> Statement {
    let column = soak.column();
    let (of, clash) = match shape.dialect {
        Dialect::MySql => ("", "DUPLICATE KEY UPDATE"),
        Dialect::Postgres | Dialect::Sqlite => (
            "ophie_crypt_soak_cursors.",
            "CONFLICT (table_name, column_name) DO UPDATE SET",
        ),
    };
    let (there, here) = (shape.key_of(&format!("{of}position")), shape.key_of("$2"));
    // MySQL assigns from left to right: whose state it is comes last.
    let sql = format!(
        "INSERT INTO ophie_crypt_soak_cursors (filled, position, table_name, column_name, since) \
         VALUES ($1, $2, $3, $4, $5) ON {clash} filled = {of}filled + $1, \
         position = CASE WHEN {of}since = $5 AND {there} >= {here} THEN {of}position ELSE $2 END, since = $5"
    );
    Statement::new(shape.dialect, sql)
        .bind(written)
        .bind(to)
        .bind(column.table())
        .bind(column.name())
        .bind(at.since)
}

/// What locks rows, and passes over those that others hold. On PostgreSQL others may go on to refer to them, as no job
/// writes their keys.
pub(super) const fn lock(dialect: Dialect, skip: &'static str) -> &'static str {
    match (dialect, skip.is_empty()) {
        (Dialect::Sqlite, _) => "", // it is the only writer
        (Dialect::MySql, true) => " FOR UPDATE",
        (Dialect::MySql, false) => " FOR UPDATE SKIP LOCKED",
        (Dialect::Postgres, true) => " FOR NO KEY UPDATE",
        (Dialect::Postgres, false) => " FOR NO KEY UPDATE SKIP LOCKED",
    }
}

async fn next_plain<D: Driver>(
    tx: &mut D::Transaction,
    shape: &Shape,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<PlainRow>, Failure> {
    let columns = format!(
        "{} AS k, {} AS o, {} AS p",
        shape.key_text(),
        shape.owner_bytes(""),
        shape.plain("")
    );
    let statement = next_locked(shape, &columns, &shape.pending(), after, limit);
    let rows: Vec<Plain> = tx.fetch(statement).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

fn whole(shape: &Shape) -> String {
    let mut head = format!(
        "SELECT {} AS k, {} AS o, {} AS p, {} AS c, {} AS n",
        shape.key_text(),
        shape.owner_bytes(""),
        shape.plain(""),
        shape.column,
        integer(shape.dialect, shape.fingerprints.len()),
    );
    for (name, alias) in shape.fingerprints.iter().zip(FINGERPRINTS) {
        head.push_str(&format!(", {name} AS {alias}"));
    }
    head.push_str(&format!(" FROM {} WHERE ", shape.table));
    head
}

fn integer(dialect: Dialect, number: usize) -> String {
    match dialect {
        Dialect::MySql => format!("CAST({number} AS SIGNED)"),
        Dialect::Postgres => format!("CAST({number} AS bigint)"),
        Dialect::Sqlite => number.to_string(),
    }
}

struct Owner(CanonicalId);

impl Record for Owner {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self(owner(cells)?))
    }
}

/// A row without an owner is nobody's: an empty id, for which there are no keys.
fn owner(cells: &dyn Cells) -> Result<CanonicalId, Failure> {
    let bytes = cells.bytes("o")?.unwrap_or_default();
    Ok(CanonicalId::from_bytes(&bytes))
}

struct Plain(PlainRow);

impl Record for Plain {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self(PlainRow {
            key: there(cells.text("k")?)?,
            owner: owner(cells)?,
            // No value of its type: NULL to the database, and to its codec no bytes.
            plain: cells.bytes("p")?.unwrap_or_default().into(),
        }))
    }
}

struct Whole(SoakedRow);

impl Record for Whole {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        let count = usize::try_from(there(cells.int("n")?)?).unwrap_or_default();
        let fingerprints = FINGERPRINTS.into_iter().take(count);
        Ok(Self(SoakedRow {
            key: there(cells.text("k")?)?,
            owner: owner(cells)?,
            plain: cells.bytes("p")?.map(Into::into),
            sealed: cells.bytes("c")?,
            fingerprints: fingerprints
                .map(|name| cells.bytes(name))
                .collect::<Result<_, _>>()?,
        }))
    }
}
