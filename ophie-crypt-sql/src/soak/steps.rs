//! The steps between states.
//!
//! Invariant: a step is taken from the version that was looked at, or not at all; the triggers change with the state, and
//! what a step needs of the rows is looked for while nobody writes them, or where nobody can take it away any more
//! (`barrier`). Absent: whether one may step (the core), the first step (`expanding`), rows (`rows`, `jobs`).

use ophie_crypt::{
    ModelError,
    soak::{SoakColumn, SoakRow, SoakState},
};

use super::{barrier::Barred, guard::Guard, jobs::unsealing, shape::Shape, states::Number};
use crate::{
    Begin, Connection, Dialect, Driver, Failure, Statement, Transaction,
    models::{ModelTables, error, sql::waits_briefly},
    run::run,
};

impl<D: Driver> ModelTables<D> {
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
        let sql = match (from.state, to) {
            (SoakState::Retired, _) => anew(D::DIALECT, &guard, to, from.admits_old),
            (_, SoakState::Plain) => {
                // Nothing keeps it beside its plaintext from here on, and a soak may begin again.
                let emptying = unsealing(&shape) + &shape.any_sealed() + ";\n";
                [guard.lower(), guard.admit(), emptying].concat()
            }
            // A step that was cut off may have left those of another state, where DDL cannot be taken back.
            _ if D::DIALECT == Dialect::MySql => anew(D::DIALECT, &guard, to, from.admits_old),
            _ => guard.tell(to, from.admits_old),
        };
        let hindrance = match (from.state, to) {
            (_, SoakState::Retired) => Some(shape.pending()),
            // Who goes by `Retired` until its transaction ends has written ciphertext alone.
            (SoakState::Sealed, SoakState::Soak) => Some(shape.undecrypted()),
            _ => None,
        };
        let hindrance = hindrance.map(|condition| rows(&shape, &condition));
        let (stands, stepping) = (standing(D::DIALECT, from), stepping(D::DIALECT, from, to));
        let (bares, opening) = (to == SoakState::Plain, closed(D::DIALECT, from, false));
        let hindrance = match hindrance {
            Some(hindrance) if D::DIALECT == Dialect::Postgres => {
                let admits_old = from.admits_old && to != SoakState::Retired;
                return self
                    .barred(Barred {
                        shape: &shape,
                        guard: &guard,
                        from,
                        meanwhile: (to, admits_old),
                        then: (to, from.admits_old),
                        hindrance,
                        stepping,
                    })
                    .await;
            }
            hindrance => hindrance,
        };
        // What the guard is told takes no lock.
        let locked = D::DIALECT == Dialect::MySql
            || from.state == SoakState::Retired
            || to == SoakState::Plain
            || hindrance.is_some();
        let table = shape.table.clone();
        let done = run(&self.driver, Begin::Write, move |tx| {
            let (sql, hindrance) = (sql.clone(), hindrance.clone());
            let (stands, stepping, table) = (stands.clone(), stepping.clone(), table.clone());
            let opening = opening.clone();
            Box::pin(async move {
                if locked {
                    keep_writers_out::<D>(tx, &table).await?;
                }
                let stepped = async {
                    if let Some(hindrance) = hindrance
                        && any::<D>(tx, hindrance).await?
                    {
                        return Ok(false);
                    }
                    if D::DIALECT == Dialect::MySql && !bares {
                        // DDL cannot be taken back there, so the version is looked at before, and the state follows. Of a
                        // tool that dies in between the next null-out closes the column again.
                        if !any::<D>(tx, stands).await? {
                            return Ok(false);
                        }
                        tx.execute(opening).await?;
                        tx.batch(sql).await?;
                        return Ok(tx.execute(stepping).await? > 0);
                    }
                    // Where it goes to `Plain`, a tool that dies in between leaves triggers, and never none.
                    if tx.execute(stepping).await? == 0 {
                        return Ok(false);
                    }
                    if !sql.is_empty() {
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

    /// See [`SoakStore::close`](ophie_crypt::soak::SoakStore::close).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn close(&self, soak: &SoakColumn, from: &SoakRow) -> Result<bool, ModelError> {
        let (shape, path) = (self.shape(soak).await?, self.search_path().await?);
        let guard = Guard::new(&shape, soak, &path);
        // A default would be plaintext to the refusing trigger; SQLite's columns that soak have none.
        let default = match D::DIALECT {
            Dialect::Sqlite => String::new(),
            Dialect::MySql | Dialect::Postgres => format!(
                "ALTER TABLE {} ALTER COLUMN {} SET DEFAULT NULL;\n",
                shape.table, shape.twin
            ),
        };
        let sql = default + &closing(D::DIALECT, &guard);
        let closing = closed(D::DIALECT, from, true);
        let stands = standing(D::DIALECT, from);
        let table = shape.table.clone();
        let done = run(&self.driver, Begin::Write, move |tx| {
            let (sql, closing, stands) = (sql.clone(), closing.clone(), stands.clone());
            let table = table.clone();
            Box::pin(async move {
                keep_writers_out::<D>(tx, &table).await?;
                let closed = async {
                    // Once it is closed, an UPDATE that changes nothing says so on MySQL.
                    if !any::<D>(tx, stands).await? {
                        return Ok(false);
                    }
                    tx.batch(sql).await?;
                    tx.execute(closing).await.map(|_| true)
                }
                .await;
                let_writers_in::<D>(tx).await?;
                closed
            })
        });
        done.await.map_err(error)
    }

    /// See [`SoakStore::admit_old`](ophie_crypt::soak::SoakStore::admit_old).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn admit_old(
        &self,
        soak: &SoakColumn,
        from: &SoakRow,
        admit: bool,
    ) -> Result<bool, ModelError> {
        let (shape, path) = (self.shape(soak).await?, self.search_path().await?);
        let guard = Guard::new(&shape, soak, &path);
        let telling = guard.tell(from.state, admit);
        // Who writes the table may hold its state.
        let waits = waits_briefly(D::DIALECT);
        let sql = format!(
            "{waits}UPDATE ophie_crypt_soaks SET admits_old = $1, version = version + 1 \
             WHERE table_name = $2 AND column_name = $3 AND version = $4"
        );
        let admitting = Statement::new(D::DIALECT, sql)
            .bind(i64::from(admit))
            .bind(from.table.as_str())
            .bind(from.column.as_str())
            .bind(from.version);
        // To old binaries, ciphertext alone is NULL.
        let locked = admit && from.state == SoakState::Sealed;
        let undecrypted = rows(&shape, &shape.undecrypted());
        if locked && D::DIALECT == Dialect::Postgres {
            return self
                .barred(Barred {
                    shape: &shape,
                    guard: &guard,
                    from,
                    // There, neither of the two is written alone.
                    meanwhile: (SoakState::Soak, false),
                    then: (from.state, admit),
                    hindrance: undecrypted,
                    stepping: admitting,
                })
                .await;
        }
        let table = shape.table.clone();
        let done = run(&self.driver, Begin::Write, move |tx| {
            let (admitting, undecrypted) = (admitting.clone(), undecrypted.clone());
            let (table, telling) = (table.clone(), telling.clone());
            Box::pin(async move {
                if locked {
                    keep_writers_out::<D>(tx, &table).await?;
                }
                let admitted = async {
                    if locked && any::<D>(tx, undecrypted).await? {
                        return Ok(false);
                    }
                    if tx.execute(admitting).await? == 0 {
                        return Ok(false);
                    }
                    if !telling.is_empty() {
                        tx.batch(telling).await?;
                    }
                    Ok(true)
                }
                .await;
                if locked {
                    let_writers_in::<D>(tx).await?;
                }
                admitted
            })
        });
        done.await.map_err(error)
    }
}

/// The guard, whatever stands. Where each statement counts at once, there is no moment with neither of the triggers.
fn anew(dialect: Dialect, guard: &Guard<'_>, state: SoakState, admits_old: bool) -> String {
    let (raise, admit) = (guard.raise(state, admits_old), guard.admit());
    match dialect {
        Dialect::MySql => raise + &admit,
        Dialect::Postgres | Dialect::Sqlite => guard.lower() + &raise + &admit,
    }
}

/// The refusing trigger, whatever stands; the same holds of it.
fn closing(dialect: Dialect, guard: &Guard<'_>) -> String {
    let (refuse, lower) = (guard.refuse(), guard.lower());
    match dialect {
        Dialect::MySql => refuse + &lower,
        Dialect::Postgres | Dialect::Sqlite => guard.admit() + &refuse + &lower,
    }
}

/// Whether nothing but the refusing trigger stands, which null-outs go by.
fn closed(dialect: Dialect, from: &SoakRow, closed: bool) -> Statement {
    let sql = "UPDATE ophie_crypt_soaks SET closed = $1 \
               WHERE table_name = $2 AND column_name = $3 AND version = $4 AND state = 'retired'";
    Statement::new(dialect, sql)
        .bind(i64::from(closed))
        .bind(from.table.as_str())
        .bind(from.column.as_str())
        .bind(from.version)
}

/// Until the transaction ends, or until writers are let in, nobody else writes the table, and triggers may be changed. What
/// is written is waited for, not for long.
pub(super) async fn keep_writers_out<D: Driver>(
    tx: &mut D::Transaction,
    table: &str,
) -> Result<(), Failure> {
    let sql = match D::DIALECT {
        // It is the only writer.
        Dialect::Sqlite => return Ok(()),
        // DDL commits there, and would end a lock of a transaction.
        Dialect::MySql => format!(
            "SET SESSION lock_wait_timeout = 4; LOCK TABLES {table} WRITE, ophie_crypt_soaks WRITE, \
             ophie_crypt_soak_heartbeats READ, ophie_crypt_tombstones AS b READ; \
             SET SESSION lock_wait_timeout = DEFAULT"
        ),
        // At once as triggers need it: who has read the table and waits to write it would be in each other's way.
        Dialect::Postgres => format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"),
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
    let sql = "UPDATE ophie_crypt_soaks SET state = $1, since = version + 1, version = version + 1, closed = 0 \
               WHERE table_name = $2 AND column_name = $3 AND version = $4";
    Statement::new(dialect, sql)
        .bind(to.as_str())
        .bind(from.table.as_str())
        .bind(from.column.as_str())
        .bind(from.version)
}

/// Whether there are any.
pub(super) async fn any<D: Driver>(
    tx: &mut D::Transaction,
    counting: Statement,
) -> Result<bool, Failure> {
    let rows: Vec<Number> = tx.fetch(counting).await?;
    Ok(rows.first().is_none_or(|row| row.0 > 0))
}

/// Of rows that meet a condition, at most one.
pub(super) fn rows(shape: &Shape, condition: &str) -> Statement {
    let sql = format!(
        "SELECT count(*) AS number FROM (SELECT 1 AS one FROM {} WHERE {condition} LIMIT 1) AS found",
        shape.table
    );
    Statement::new(shape.dialect, sql)
}

/// Whether it is still what was looked at.
pub(super) fn standing(dialect: Dialect, from: &SoakRow) -> Statement {
    let sql = "SELECT count(*) AS number FROM ophie_crypt_soaks \
               WHERE table_name = $1 AND column_name = $2 AND version = $3";
    Statement::new(dialect, sql)
        .bind(from.table.as_str())
        .bind(from.column.as_str())
        .bind(from.version)
}
