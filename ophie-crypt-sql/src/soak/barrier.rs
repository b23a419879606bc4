//! Steps from `Sealed` that a row may stand in the way of, on PostgreSQL: the whole table is looked at while others write it.
//!
//! Invariant: no row comes to stand in the way once it was looked for. Absent: steps that look for none (`steps`).

use ophie_crypt::{
    ModelError,
    soak::{SoakRow, SoakState},
};

use super::{guard::Guard, shape::Shape, steps::any};
use crate::{
    Begin, Cells, Connection, Driver, Failure, Record, Statement, Transaction,
    driver::there,
    models::{ModelTables, error},
    run::run,
};

/// What the guard goes by: a state, and whether old binaries are admitted.
pub(super) type Told = (SoakState, bool);

/// A step before which rows are looked for.
pub(super) struct Barred<'s> {
    pub(super) shape: &'s Shape,
    pub(super) guard: &'s Guard<'s>,
    /// The version that was looked at.
    pub(super) from: &'s SoakRow,
    /// What the guard is told before they are looked for: it refuses all that `from` refuses, and each such row.
    pub(super) meanwhile: Told,
    /// What it is told with the step.
    pub(super) then: Told,
    /// Whether there is one.
    pub(super) hindrance: Statement,
    pub(super) stepping: Statement,
}

impl<D: Driver> ModelTables<D> {
    /// Whether it stepped.
    ///
    /// The guard is told first, and the lock is a mere barrier: who wrote the table before it has ended, and who writes it
    /// after it calls the function of now, however old its snapshot. So no row that the guard refuses can come in behind the
    /// look at all of them, for as long as nobody tells it anything else, which the step sees. A tool that dies in between
    /// leaves a guard that is stricter than the state, which every step tells anew.
    ///
    /// A fingerprint alone may come to be missing, as it may right after the step: no guard refuses that.
    pub(super) async fn barred(&self, step: Barred<'_>) -> Result<bool, ModelError> {
        let tell = |(state, admits_old)| step.guard.tell(state, admits_old);
        let (stands, said) = (held(step.from), step.guard.told_by());
        let lock = format!(
            "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE;\n",
            step.shape.table
        );
        let telling = tell(step.meanwhile);
        let (holding, saying) = (stands.clone(), said.clone());
        let told = run(&self.driver, Begin::Write, move |tx| {
            let (lock, telling) = (lock.clone(), telling.clone());
            let (holding, saying) = (holding.clone(), saying.clone());
            Box::pin(async move {
                tx.batch(lock).await?;
                if tx.fetch::<Here>(holding).await?.is_empty() {
                    return Ok(None);
                }
                tx.batch(telling).await?;
                let rows: Vec<By> = tx.fetch(saying).await?;
                Ok(rows.into_iter().next())
            })
        });
        let Some(told) = told.await.map_err(error)? else {
            return Ok(false);
        };

        let hindrance = step.hindrance;
        let looked = run(&self.driver, Begin::Read, move |tx| {
            let hindrance = hindrance.clone();
            Box::pin(any::<D>(tx, hindrance))
        });
        let looked = looked.await;
        // What could not be looked for may be there.
        let steps = matches!(looked, Ok(false));
        let telling = match steps {
            true => tell(step.then),
            false => tell((step.from.state, step.from.admits_old)),
        };
        let stepping = step.stepping;
        let stepped = run(&self.driver, Begin::Write, move |tx| {
            let (stands, said, told) = (stands.clone(), said.clone(), told.clone());
            let (telling, stepping) = (telling.clone(), stepping.clone());
            Box::pin(async move {
                if tx.fetch::<Here>(stands).await?.is_empty() {
                    return Ok(false);
                }
                let rows: Vec<By> = tx.fetch(said).await?;
                if rows.first() != Some(&told) {
                    return Ok(false); // another tool looks for other rows
                }
                tx.batch(telling).await?;
                Ok(steps && tx.execute(stepping).await? > 0)
            })
        });
        let stepped = stepped.await;
        looked.map_err(error)?;
        stepped.map_err(error)
    }
}

/// The soak's row if it is still what was looked at: for this transaction alone.
fn held(from: &SoakRow) -> Statement {
    let sql = "SELECT CAST(1 AS bigint) AS number FROM ophie_crypt_soaks \
               WHERE table_name = $1 AND column_name = $2 AND version = $3 FOR UPDATE";
    Statement::new(crate::Dialect::Postgres, sql)
        .bind(from.table.as_str())
        .bind(from.column.as_str())
        .bind(from.version)
}

struct Here;

impl Record for Here {
    fn read(_: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self)
    }
}

/// The transaction that told the guard.
#[derive(Clone, PartialEq, Eq)]
struct By(String);

impl Record for By {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self(there(cells.text("word")?)?))
    }
}
