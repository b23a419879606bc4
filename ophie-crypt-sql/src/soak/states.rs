//! How far columns are, and who knows it.
//!
//! Invariant: which heartbeats live, the database's clock says. Absent: steps (`steps`), rows (`rows`, `jobs`).

use ophie_crypt::{
    ColumnRef, ModelError,
    soak::{Beat, Heartbeat, SoakProcess, SoakRow, SoakState},
};

use crate::{
    Begin, Cells, Connection, Dialect, Driver, Failure, FailureKind, Record, Statement,
    driver::there,
    models::{ModelTables, error},
    run::{read, run},
};

impl<D: Driver> ModelTables<D> {
    /// See [`SoakStore::soaks`](ophie_crypt::soak::SoakStore::soaks).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn soaks(&self) -> Result<Vec<SoakRow>, ModelError> {
        let integer = match D::DIALECT {
            Dialect::MySql => "SIGNED",
            Dialect::Postgres | Dialect::Sqlite => "bigint",
        };
        let sql = format!(
            "SELECT s.table_name AS t, s.column_name AS c, s.twin, s.state, s.version, s.since, s.admits_old, s.verified, \
             CAST(coalesce((SELECT sum(c.filled) FROM ophie_crypt_soak_cursors AS c \
             WHERE c.table_name = s.table_name AND c.column_name = s.column_name), 0) AS {integer}) AS filled \
             FROM ophie_crypt_soaks AS s ORDER BY s.table_name, s.column_name"
        );
        let rows: Vec<State> = read(&self.driver, Statement::new(D::DIALECT, sql))
            .await
            .map_err(error)?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// See [`SoakStore::beat`](ophie_crypt::soak::SoakStore::beat).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn beat(&self, process: SoakProcess, beats: &[Beat]) -> Result<(), ModelError> {
        let statements: Vec<Statement> = beats
            .iter()
            .map(|beat| beating(D::DIALECT, process, beat))
            .collect();
        if statements.is_empty() {
            return Ok(());
        }
        let written = run(&self.driver, Begin::Write, move |tx| {
            let statements = statements.clone();
            Box::pin(async move {
                for statement in statements {
                    tx.execute(statement).await?;
                }
                Ok(())
            })
        });
        written.await.map_err(error)
    }

    /// See [`SoakStore::leave`](ophie_crypt::soak::SoakStore::leave).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn leave(&self, process: SoakProcess) -> Result<(), ModelError> {
        // What it counted stays: a step waits for what was odd, whoever saw it.
        let statements = [
            "DELETE FROM ophie_crypt_soak_heartbeats WHERE process = $1 AND odd = 0",
            "UPDATE ophie_crypt_soak_heartbeats SET beat_at = 0 WHERE process = $1",
        ];
        for sql in statements {
            let statement = Statement::new(D::DIALECT, sql).bind(process.as_bytes().as_slice());
            self.write(statement).await?;
        }
        Ok(())
    }

    /// See [`SoakStore::heartbeats`](ophie_crypt::soak::SoakStore::heartbeats).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn heartbeats(&self, column: &ColumnRef) -> Result<Vec<Heartbeat>, ModelError> {
        let now = now(D::DIALECT);
        let sql = format!(
            "SELECT process, version, knows_twin, floor, pending, odd, beat_at, {now} - beat_at AS age \
             FROM ophie_crypt_soak_heartbeats WHERE table_name = $1 AND column_name = $2"
        );
        let statement = Statement::new(D::DIALECT, sql);
        let statement = statement.bind(column.table()).bind(column.name());
        let rows: Vec<Beaten> = read(&self.driver, statement).await.map_err(error)?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// Runs one statement.
    pub(super) async fn write(&self, statement: Statement) -> Result<u64, ModelError> {
        let done = run(&self.driver, Begin::Write, move |tx| {
            let statement = statement.clone();
            Box::pin(tx.execute(statement))
        });
        done.await.map_err(error)
    }
}

fn beating(dialect: Dialect, process: SoakProcess, beat: &Beat) -> Statement {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let clash = match dialect {
        Dialect::MySql => "DUPLICATE KEY UPDATE",
        Dialect::Postgres | Dialect::Sqlite => {
            "CONFLICT (process, table_name, column_name) DO UPDATE SET"
        }
    };
    let now = now(dialect);
    let sql = format!(
        "INSERT INTO ophie_crypt_soak_heartbeats \
         (process, table_name, column_name, version, knows_twin, floor, pending, odd, beat_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, {now}) ON {clash} version = $4, knows_twin = $5, floor = $6, \
         pending = $7, odd = $8, beat_at = {now}"
    );
    Statement::new(dialect, sql)
        .bind(process.as_bytes().as_slice())
        .bind(beat.column.table())
        .bind(beat.column.name())
        .bind(beat.version)
        .bind(i64::from(beat.knows_twin))
        .bind(beat.floor.as_str())
        .bind(number(beat.pending))
        .bind(number(beat.odd))
}

/// Microseconds since 1970, by the database's clock.
pub(super) const fn now(dialect: Dialect) -> &'static str {
    dialect.of(
        "timestampdiff(MICROSECOND, '1970-01-01 00:00:00', utc_timestamp(6))",
        "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)",
        "(CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000)",
    )
}

/// How long a heartbeat counts, in microseconds.
pub(super) const LIVES: i64 = 30_000_000;

struct State(SoakRow);

impl Record for State {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        let filled = there(cells.int("filled")?)?;
        Ok(Self(SoakRow {
            table: there(cells.text("t")?)?,
            column: there(cells.text("c")?)?,
            twin: there(cells.text("twin")?)?,
            state: state(&there(cells.text("state")?)?)?,
            version: there(cells.int("version")?)?,
            since: there(cells.int("since")?)?,
            admits_old: there(cells.int("admits_old")?)? != 0,
            verified: cells.int("verified")?,
            filled: u64::try_from(filled).unwrap_or_default(),
        }))
    }
}

struct Beaten(Heartbeat);

impl Record for Beaten {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        let number = |column| -> Result<u64, Failure> {
            let number = there(cells.int(column)?)?;
            Ok(u64::try_from(number).unwrap_or_default())
        };
        let process = there(cells.bytes("process")?)?.try_into();
        let process = process
            .map_err(|_| Failure::new(FailureKind::Unavailable, "a heartbeat of no process"))?;
        Ok(Self(Heartbeat {
            process: SoakProcess::from_bytes(process),
            beat_at: there(cells.int("beat_at")?)?,
            lives: there(cells.int("age")?)? <= LIVES,
            version: there(cells.int("version")?)?,
            knows_twin: number("knows_twin")? != 0,
            floor: state(&there(cells.text("floor")?)?)?,
            pending: number("pending")?,
            odd: number("odd")?,
        }))
    }
}

fn state(name: &str) -> Result<SoakState, Failure> {
    SoakState::of(name).ok_or_else(|| {
        let text = "a state of a soak that this release does not know; use the newer one";
        Failure::new(FailureKind::Unavailable, text)
    })
}

/// A count.
pub(super) struct Number(pub(super) u64);

impl Record for Number {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        let number = there(cells.int("number")?)?;
        Ok(Self(u64::try_from(number).unwrap_or_default()))
    }
}
