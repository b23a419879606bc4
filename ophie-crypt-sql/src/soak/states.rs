//! How far columns are, who knows it, and the steps between.
//!
//! Invariant: a step is taken from the version that was looked at, or not at all; the triggers change with the state.
//! Absent: whether one may step (the core), rows (`rows`, `jobs`).

use ophie_crypt::{
    ColumnRef, ModelError,
    soak::{Beat, Heartbeat, SoakColumn, SoakProcess, SoakRow, SoakState},
};

use super::{guard::Guard, shape::Shape};
use crate::{
    Begin, Cells, Connection, Dialect, Driver, Failure, FailureKind, Record, Statement,
    Transaction,
    driver::there,
    models::{ModelTables, POSTGRES_OWNER, error},
    run::{read, run},
};

impl<D: Driver> ModelTables<D> {
    /// See [`SoakStore::soaks`](ophie_crypt::soak::SoakStore::soaks).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn soaks(&self) -> Result<Vec<SoakRow>, ModelError> {
        let statement = Statement::new(
            D::DIALECT,
            "SELECT table_name AS t, column_name AS c, twin, state, version, admits_old, verified, filled \
             FROM ophie_crypt_soaks ORDER BY table_name, column_name",
        );
        let rows: Vec<State> = read(&self.driver, statement).await.map_err(error)?;
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
        let sql = "DELETE FROM ophie_crypt_soak_heartbeats WHERE process = $1";
        let statement = Statement::new(D::DIALECT, sql).bind(process.as_bytes().as_slice());
        self.write(statement).await.map(drop)
    }

    /// See [`SoakStore::heartbeats`](ophie_crypt::soak::SoakStore::heartbeats).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn heartbeats(&self, column: &ColumnRef) -> Result<Vec<Heartbeat>, ModelError> {
        let now = now(D::DIALECT);
        let sql = format!(
            "SELECT process, version, knows_twin, floor, pending, odd, {now} - beat_at AS age \
             FROM ophie_crypt_soak_heartbeats WHERE table_name = $1 AND column_name = $2"
        );
        let statement = Statement::new(D::DIALECT, sql);
        let statement = statement.bind(column.table()).bind(column.name());
        let rows: Vec<Beaten> = read(&self.driver, statement).await.map_err(error)?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// See [`SoakStore::expand`](ophie_crypt::soak::SoakStore::expand).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn expand(&self, soak: &SoakColumn) -> Result<(), ModelError> {
        let (shape, path) = (self.shape(soak).await?, self.search_path().await?);
        if !shape.has_twin {
            return Err(ModelError::CannotSoak {
                column: soak.column(),
                reason: "the table has no plaintext column of that name",
            });
        }
        if shape.twin_required && D::DIALECT != Dialect::Postgres {
            return Err(ModelError::CannotSoak {
                column: soak.column(),
                reason: "its plaintext column is NOT NULL, and would have to be emptied; let it take NULL first",
            });
        }
        let guard = Guard::new(&shape, soak, &path);
        let mut sql = String::new();
        if D::DIALECT == Dialect::Postgres {
            sql.push_str(POSTGRES_OWNER);
        }
        sql.push_str(&adding(soak, &shape));
        sql.push_str(&guard.check());
        sql.push_str(&guard.lower());
        sql.push_str(&guard.admit());
        sql.push_str(&guard.raise());
        let column = soak.column();
        let (clash, set) = match D::DIALECT {
            Dialect::MySql => ("DUPLICATE KEY UPDATE", ""),
            Dialect::Postgres | Dialect::Sqlite => (
                "CONFLICT (table_name, column_name) DO UPDATE SET",
                "ophie_crypt_soaks.",
            ),
        };
        let sql_row = format!(
            "INSERT INTO ophie_crypt_soaks (table_name, column_name, twin, state, floor) \
             VALUES ($1, $2, $3, 'expand', $4) ON {clash} version = {set}version + 1, twin = $3, state = 'expand', \
             floor = $4, admits_old = 1, verified = NULL, position = NULL"
        );
        let row = Statement::new(D::DIALECT, sql_row)
            .bind(column.table())
            .bind(column.name())
            .bind(soak.twin())
            .bind(soak.floor().as_str());
        let done = run(&self.driver, Begin::Write, move |tx| {
            let (sql, row) = (sql.clone(), row.clone());
            Box::pin(async move {
                // On MySQL each statement is committed by itself; again, it finds done what is done.
                tx.batch(sql).await?;
                tx.execute(row).await.map(drop)
            })
        });
        done.await.map_err(error)
    }

    /// See [`SoakStore::step`](ophie_crypt::soak::SoakStore::step).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn step(
        &self,
        soak: &SoakColumn,
        from: &SoakRow,
        to: SoakState,
    ) -> Result<bool, ModelError> {
        let (shape, path) = (self.shape(soak).await?, self.search_path().await?);
        let guard = Guard::new(&shape, soak, &path);
        let retires = to == SoakState::Retired;
        let sql = match (from.state, to) {
            (_, SoakState::Retired) => {
                let required = shape.twin_required && D::DIALECT == Dialect::Postgres;
                let nullable = if required {
                    format!(
                        "ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL;\n",
                        shape.table, shape.twin
                    )
                } else {
                    String::new()
                };
                // The refusing trigger first: where each statement counts at once, there is no moment without one.
                [nullable, guard.admit(), guard.refuse(), guard.lower()].concat()
            }
            (SoakState::Retired, _) => [guard.lower(), guard.raise(), guard.admit()].concat(),
            (_, SoakState::Plain) => guard.lower(),
            _ => String::new(),
        };
        let locked = !sql.is_empty();
        let pending = Statement::new(
            D::DIALECT,
            format!(
                "SELECT count(*) AS number FROM (SELECT 1 AS one FROM {} WHERE {} LIMIT 1) AS pending",
                shape.table,
                shape.pending()
            ),
        );
        let stepping = stepping(D::DIALECT, from, to);
        let table = shape.table.clone();
        let done = run(&self.driver, Begin::Write, move |tx| {
            let (sql, pending, stepping) = (sql.clone(), pending.clone(), stepping.clone());
            let table = table.clone();
            Box::pin(async move {
                if locked {
                    keep_writers_out::<D>(tx, &table).await?;
                }
                let stepped = async {
                    if retires {
                        let rows: Vec<Number> = tx.fetch(pending).await?;
                        if rows.first().is_none_or(|row| row.0 > 0) {
                            return Ok(false);
                        }
                    }
                    if D::DIALECT == Dialect::MySql && locked {
                        // DDL cannot be taken back there, so the state follows the triggers.
                        tx.batch(sql).await?;
                        return Ok(tx.execute(stepping).await? > 0);
                    }
                    if tx.execute(stepping).await? == 0 {
                        return Ok(false);
                    }
                    if locked {
                        tx.batch(sql).await?;
                    }
                    Ok(true)
                }
                .await;
                if locked {
                    let_writers_in::<D>(tx).await?;
                }
                stepped
            })
        });
        done.await.map_err(error)
    }

    /// See [`SoakStore::admit_old`](ophie_crypt::soak::SoakStore::admit_old).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn admit_old(&self, soak: &SoakColumn, admit: bool) -> Result<(), ModelError> {
        let sql = "UPDATE ophie_crypt_soaks SET admits_old = $1, version = version + 1 \
                   WHERE table_name = $2 AND column_name = $3 AND admits_old <> $1";
        let column = soak.column();
        let statement = Statement::new(D::DIALECT, sql).bind(i64::from(admit));
        let statement = statement.bind(column.table()).bind(column.name());
        self.write(statement).await.map(drop)
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

/// Until the transaction ends, or until writers are let in, nobody else writes the table. What is written is waited for,
/// not for long.
pub(super) async fn keep_writers_out<D: Driver>(
    tx: &mut D::Transaction,
    table: &str,
) -> Result<(), Failure> {
    let sql = match D::DIALECT {
        // It is the only writer.
        Dialect::Sqlite => return Ok(()),
        // DDL commits there, and would end a lock of a transaction.
        Dialect::MySql => format!(
            "SET SESSION lock_wait_timeout = 4; LOCK TABLES {table} WRITE, ophie_crypt_soaks WRITE; \
             SET SESSION lock_wait_timeout = DEFAULT"
        ),
        Dialect::Postgres => format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"),
    };
    match tx.batch(sql).await {
        Err(failure) if D::DIALECT == Dialect::MySql => {
            let_writers_in::<D>(tx).await?;
            Err(failure)
        }
        done => done,
    }
}

/// See [`keep_writers_out`]. A connection that goes back to its pool with locked tables would keep everybody out.
pub(super) async fn let_writers_in<D: Driver>(tx: &mut D::Transaction) -> Result<(), Failure> {
    if D::DIALECT != Dialect::MySql {
        return Ok(());
    }
    let sql = "UNLOCK TABLES; SET SESSION lock_wait_timeout = DEFAULT";
    tx.batch(sql.to_owned()).await
}

/// From the version that was looked at.
pub(super) fn stepping(dialect: Dialect, from: &SoakRow, to: SoakState) -> Statement {
    let sql = "UPDATE ophie_crypt_soaks SET state = $1, version = version + 1, position = NULL \
               WHERE table_name = $2 AND column_name = $3 AND version = $4";
    Statement::new(dialect, sql)
        .bind(to.as_str())
        .bind(from.table.as_str())
        .bind(from.column.as_str())
        .bind(from.version)
}

/// The columns that are missing.
fn adding(soak: &SoakColumn, shape: &Shape) -> String {
    let (sealed, fingerprint) = match shape.dialect {
        Dialect::MySql => ("LONGBLOB", "VARBINARY(17)"),
        Dialect::Postgres => ("bytea", "bytea"),
        Dialect::Sqlite => ("BLOB", "BLOB"),
    };
    let names = core::iter::once((soak.column().name(), &shape.column, sealed));
    let indexes = soak.indexes().iter().zip(&shape.fingerprints);
    let names =
        names.chain(indexes.map(|(index, quoted)| (index.column().name(), quoted, fingerprint)));
    names
        .filter(|(name, ..)| !shape.there.iter().any(|there| there == name))
        .map(|(_, quoted, kind)| {
            format!("ALTER TABLE {} ADD COLUMN {quoted} {kind};\n", shape.table)
        })
        .collect()
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
const fn now(dialect: Dialect) -> &'static str {
    dialect.of(
        "timestampdiff(MICROSECOND, '1970-01-01 00:00:00', utc_timestamp(6))",
        "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)",
        "(CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000)",
    )
}

/// How long a heartbeat counts, in microseconds.
const LIVES: i64 = 30_000_000;

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
