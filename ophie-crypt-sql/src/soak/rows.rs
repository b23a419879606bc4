//! Rows of a column in a soak: counted, and read in the order of their keys; and the cursor among them.
//!
//! Invariant: a row is read in one statement. Absent: which are sealed (`pass`), keys.

use ophie_crypt::{
    CanonicalId, ModelError,
    soak::{Rows, SoakColumn, SoakState, SoakedRow},
};

use super::{
    shape::{FINGERPRINTS, Shape},
    states::Number,
};
use crate::{
    Begin, Cells, Connection, Dialect, Driver, Failure, Record, Statement,
    driver::there,
    models::{ModelTables, error, sql::waits_briefly},
    run::{read, run},
};

impl<D: Driver> ModelTables<D> {
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
        let statement = next(&shape, &whole(&shape), &shape.any(), [after], limit);
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
    pub async fn verified(
        &self,
        soak: &SoakColumn,
        version: i64,
        clean: bool,
    ) -> Result<(), ModelError> {
        // Who writes the table may hold its state; a verify that was not remembered is begun again.
        let waits = waits_briefly(D::DIALECT);
        // What is wrong is wrong in each version.
        let (verified, of) = match clean {
            true => ("$1", "version = $1"),
            false => ("NULL", "$1 > 0"),
        };
        let sql = format!(
            "{waits}UPDATE ophie_crypt_soaks SET verified = {verified} \
             WHERE table_name = $2 AND column_name = $3 AND {of}"
        );
        let column = soak.column();
        let statement = Statement::new(D::DIALECT, sql).bind(version);
        let statement = statement.bind(column.table()).bind(column.name());
        self.write(statement).await.map(drop)
    }
}

/// Where the cursor is in the present state, and this.
#[derive(Clone, Default)]
pub(super) struct At {
    pub(super) position: Option<String>,
    pub(super) state: Option<SoakState>,
    pub(super) since: i64,
    pub(super) closed: bool,
    /// In which lane it moves on.
    pub(super) lane: i64,
}

impl Record for At {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self {
            position: cells.text("position")?,
            state: cells.text("state")?.as_deref().and_then(SoakState::of),
            since: there(cells.int("since")?)?,
            closed: there(cells.int("closed")?)? != 0,
            lane: 0,
        })
    }
}

/// Where the worker is that is furthest.
pub(super) fn cursor(shape: &Shape, soak: &SoakColumn) -> Statement {
    let sql = format!(
        "SELECT c.position, s.state, s.since, s.closed FROM ophie_crypt_soaks AS s \
         LEFT JOIN ophie_crypt_soak_cursors AS c ON c.table_name = s.table_name AND c.column_name = s.column_name \
         AND c.since = s.since WHERE s.table_name = $1 AND s.column_name = $2 \
         ORDER BY c.position IS NULL, {} DESC LIMIT 1",
        shape.key_of("c.position")
    );
    let column = soak.column();
    Statement::new(shape.dialect, sql)
        .bind(column.table())
        .bind(column.name())
}

pub(super) async fn at<D: Driver>(
    tx: &mut D::Transaction,
    cursor: Statement,
) -> Result<At, Failure> {
    let rows: Vec<At> = tx.fetch(cursor).await?;
    Ok(rows.into_iter().next().unwrap_or_default())
}

/// Rows behind all of these keys, in the order of their keys: `head`, a condition, the end.
pub(super) fn next<'k>(
    shape: &Shape,
    head: &str,
    condition: &str,
    behind: impl IntoIterator<Item = Option<&'k str>>,
    limit: u32,
) -> Statement {
    let mut statement = Statement::new(shape.dialect, head);
    statement.push(condition);
    for after in behind.into_iter().flatten() {
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
pub(super) fn next_locked<'k>(
    shape: &Shape,
    columns: &str,
    condition: &str,
    behind: impl IntoIterator<Item = Option<&'k str>>,
    limit: u32,
) -> Statement {
    let (table, key, order) = (&shape.table, &shape.key.name, shape.order());
    let head = format!("{}SELECT {columns} FROM ", waits_briefly(shape.dialect));
    let mut statement = if shape.dialect == Dialect::MySql {
        // It locks what it looks at, and not only what it finds: keys are looked for without a lock.
        let head = format!("{head}(SELECT {key} AS ophie_crypt_key FROM {table} WHERE ");
        let mut statement = next(shape, &head, condition, behind, limit);
        statement.push(&format!(
            ") AS ahead STRAIGHT_JOIN {table} ON {order} = ophie_crypt_key WHERE {condition} ORDER BY {order}"
        ));
        statement
    } else {
        next(
            shape,
            &format!("{head}{table} WHERE "),
            condition,
            behind,
            limit,
        )
    };
    statement.push(lock(shape.dialect, "skip"));
    statement
}

/// Moves a lane's cursor of this state forward, and counts. Another worker in that lane may be ahead already.
pub(super) fn moving(
    shape: &Shape,
    soak: &SoakColumn,
    at: &At,
    to: &str,
    written: i64,
) -> Statement {
    let mut statement = Statement::new(shape.dialect, "");
    let written = statement.place(written);
    moving_by(&mut statement, &written, shape, soak, at, to);
    statement
}

/// The same behind what a statement does already, by what `written` says of it.
pub(super) fn moving_by(
    statement: &mut Statement,
    written: &str,
    shape: &Shape,
    soak: &SoakColumn,
    at: &At,
    to: &str,
) {
    let column = soak.column();
    let (of, clash) = match shape.dialect {
        Dialect::MySql => ("", "DUPLICATE KEY UPDATE"),
        Dialect::Postgres | Dialect::Sqlite => (
            "ophie_crypt_soak_cursors.",
            "CONFLICT (table_name, column_name, lane) DO UPDATE SET",
        ),
    };
    let to = statement.place(to);
    let (table, name) = (
        statement.place(column.table()),
        statement.place(column.name()),
    );
    let (since, lane) = (statement.place(at.since), at.lane);
    let (there, here) = (shape.key_of(&format!("{of}position")), shape.key_of(&to));
    // MySQL assigns from left to right: whose state it is comes last.
    statement.push(&format!(
        "INSERT INTO ophie_crypt_soak_cursors (filled, position, table_name, column_name, since, lane) \
         VALUES ({written}, {to}, {table}, {name}, {since}, {lane}) ON {clash} filled = {of}filled + {written}, \
         position = CASE WHEN {of}since = {since} AND {there} >= {here} THEN {of}position ELSE {to} END, since = {since}"
    ));
}

/// The furthest row that a worker has sealed in this state, among them one that was sealed up to `to`.
pub(super) fn furthest(
    statement: &mut Statement,
    shape: &Shape,
    soak: &SoakColumn,
    at: &At,
    to: &str,
) {
    let column = soak.column();
    let to = statement.place(to);
    let (table, name) = (
        statement.place(column.table()),
        statement.place(column.name()),
    );
    let (since, key) = (statement.place(at.since), shape.key_of("position"));
    statement.push(&format!(
        "(SELECT position FROM (SELECT position FROM ophie_crypt_soak_cursors \
         WHERE table_name = {table} AND column_name = {name} AND since = {since} AND position IS NOT NULL \
         UNION ALL SELECT CAST({to} AS text)) AS cursors ORDER BY {key} DESC LIMIT 1) AS furthest"
    ));
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

pub(super) struct Owner(pub(super) CanonicalId);

impl Record for Owner {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self(owner(cells)?))
    }
}

/// A row without an owner is nobody's: an empty id, for which there are no keys.
pub(super) fn owner(cells: &dyn Cells) -> Result<CanonicalId, Failure> {
    let bytes = cells.bytes("o")?.unwrap_or_default();
    Ok(CanonicalId::from_bytes(&bytes))
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
