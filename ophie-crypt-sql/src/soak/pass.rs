//! One worker's pass through the pending rows of a column.
//!
//! Invariant: rows are read, sealed and written, and the cursor is moved, in one transaction, which looks at the column's state
//! in the statement that locks the rows. A pass only goes forward, past rows that others hold or have come by, until it begins
//! anew. Absent: what is written (`filling`), the cursors' table (`rows`).

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::Arc;

use async_trait::async_trait;
use ophie_crypt::{
    CanonicalId, ModelError,
    soak::{Filled, PlainRow, SealRows, Sealing, SoakColumn, SoakPass, SoakState},
};

use tokio::sync::{Mutex, MutexGuard};

use super::{
    filling::write,
    rows::{At, Owner, at, cursor, next, next_locked, owner},
    shape::Shape,
};
use crate::{
    Begin, Cells, Connection, Dialect, Driver, Failure, Record,
    driver::there,
    models::{ModelTables, error},
    run::{read, run},
};

/// See [`SoakPass`].
struct Pass<D> {
    driver: D,
    column: SoakColumn,
    /// Looked at once: if what it says is so no longer, statements fail.
    shape: Shape,
    /// How far this worker is, and in which state.
    at: At,
    /// Whether it began anew, and does not go on where the furthest worker is.
    whole: bool,
    /// Where others of this process go on, if there are any.
    taken: Option<Arc<Mutex<Taken>>>,
}

/// The last row that a worker of this process has taken, and in which state: what they hold would be passed over row by row.
#[derive(Default)]
struct Taken {
    since: i64,
    last: Option<String>,
}

impl Taken {
    fn last_in(&self, since: i64) -> Option<&str> {
        self.last.as_deref().filter(|_| self.since == since)
    }
}

/// Workers side by side seldom share one: a cursor is locked until its transaction is over.
const LANES: u32 = 16;

/// Another one for each pass of a process, and most likely for each process.
fn lane() -> i64 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Relaxed);
    i64::from(std::process::id().wrapping_add(next) % LANES)
}

impl<D: Driver> ModelTables<D> {
    /// See [`SoakStore::pass`](ophie_crypt::soak::SoakStore::pass).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn pass(&self, soak: &SoakColumn) -> Result<Box<dyn SoakPass>, ModelError> {
        let shape = self.shape(soak).await?;
        let begun: Vec<At> = read(&self.driver, cursor(&shape, soak))
            .await
            .map_err(error)?;
        let mut at = begun.into_iter().next().unwrap_or_default();
        at.lane = lane();
        Ok(Box::new(Pass {
            driver: self.driver.clone(),
            column: soak.clone(),
            shape,
            at,
            whole: false,
            taken: None,
        }))
    }
}

#[async_trait]
impl<D: Driver> SoakPass for Pass<D> {
    async fn owners_ahead(&mut self, limit: u32) -> Result<Vec<CanonicalId>, ModelError> {
        let Self { shape, at, .. } = &*self;
        let taken = match &self.taken {
            Some(taken) => {
                let taken = taken.lock().await;
                taken.last_in(at.since).map(str::to_owned)
            }
            None => None,
        };
        let head = format!(
            "SELECT DISTINCT o FROM (SELECT {} AS o FROM {} WHERE ",
            shape.owner_bytes(""),
            shape.table
        );
        let behind = [at.position.as_deref(), taken.as_deref()];
        let mut ahead = next(shape, &head, &shape.pending(), behind, limit);
        ahead.push(") AS ahead");
        let rows: Vec<Owner> = read(&self.driver, ahead).await.map_err(error)?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    async fn fill(&mut self, limit: u32, seal: SealRows) -> Result<Filled, ModelError> {
        let (shape, column, from) = (self.shape.clone(), self.column.clone(), self.at.clone());
        let (whole, taken) = (self.whole, self.taken.clone());
        let filled = run(&self.driver, Begin::Write, move |tx| {
            let (shape, column, seal) = (shape.clone(), column.clone(), seal.clone());
            let (mut from, taken) = (from.clone(), taken.clone());
            Box::pin(async move {
                // Until it is clear which rows this one takes.
                let mut taken = match &taken {
                    Some(taken) => Some(taken.lock().await),
                    None => None,
                };
                let last_in = |taken: &Option<MutexGuard<'_, Taken>>, since| {
                    let last = taken.as_ref().and_then(|taken| taken.last_in(since));
                    last.map(str::to_owned)
                };
                let behind = last_in(&taken, from.since);
                let mut rows =
                    next_plain::<D>(tx, &shape, &column, &from, behind.as_deref(), limit).await?;
                if rows.is_empty() {
                    // At the end, or the column is in another state.
                    let now = at::<D>(tx, cursor(&shape, &column)).await?;
                    if !now.is_filled() {
                        return Ok((Filled::default(), now));
                    }
                    if now.since != from.since {
                        from = At {
                            lane: from.lane,
                            position: now.position.filter(|_| !whole),
                            ..now
                        };
                        let behind = last_in(&taken, from.since);
                        rows =
                            next_plain::<D>(tx, &shape, &column, &from, behind.as_deref(), limit)
                                .await?;
                    }
                }
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
                let Some(last) = last else {
                    return Ok((filled, from));
                };
                if let Some(taken) = &mut taken {
                    **taken = Taken {
                        since: from.since,
                        last: Some(last.to_owned()),
                    };
                }
                drop(taken);
                let (written, furthest) =
                    write::<D>(tx, &shape, &column, &from, &sealed, last).await?;
                filled.written = written;
                let furthest = furthest.filter(|_| !whole);
                from.position = Some(furthest.unwrap_or_else(|| last.to_owned()));
                Ok((filled, from))
            })
        });
        let (filled, at) = filled.await.map_err(error)?;
        self.at = at;
        Ok(filled)
    }

    fn restart(&mut self) {
        self.at.position = None;
        self.whole = true;
        self.taken = None; // a batch that failed is met again
    }

    fn beside(&mut self) -> Option<Box<dyn SoakPass>> {
        if D::DIALECT == Dialect::Sqlite {
            return None; // it is the only writer
        }
        let taken = self.taken.get_or_insert_default();
        Some(Box::new(Self {
            driver: self.driver.clone(),
            column: self.column.clone(),
            shape: self.shape.clone(),
            at: At {
                lane: lane(),
                ..self.at.clone()
            },
            whole: self.whole,
            taken: Some(Arc::clone(taken)),
        }))
    }
}

/// The next rows, if the column is still in the state of then.
async fn next_plain<D: Driver>(
    tx: &mut D::Transaction,
    shape: &Shape,
    column: &SoakColumn,
    from: &At,
    taken: Option<&str>,
    limit: u32,
) -> Result<Vec<PlainRow>, Failure> {
    if !from.is_filled() {
        return Ok(Vec::new());
    }
    let columns = format!(
        "{} AS k, {} AS o, {} AS p",
        shape.key_text(),
        shape.owner_bytes(""),
        shape.plain("")
    );
    let of = column.column();
    // Names that may stand in a trigger may stand here.
    let condition = format!(
        "{} AND EXISTS (SELECT 1 FROM ophie_crypt_soaks AS s \
         WHERE s.table_name = '{}' AND s.column_name = '{}' AND s.since = {})",
        shape.pending(),
        of.table(),
        of.name(),
        from.since
    );
    let behind = [from.position.as_deref(), taken];
    let statement = next_locked(shape, &columns, &condition, behind, limit);
    let rows: Vec<Plain> = tx.fetch(statement).await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

impl At {
    fn is_filled(&self) -> bool {
        self.state.is_some_and(SoakState::is_filled)
    }
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
