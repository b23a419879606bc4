//! A ledger in a table of a second database.
//!
//! Invariant: a place in the ledger is taken once, by its primary key, and what is read follows from what stands before
//! it. Absent: statements (`sql`), what entries mean (the core), protection from who owns the table: keep heads elsewhere.

mod sql;

use std::sync::{Arc, Mutex, PoisonError};

use ophie_crypt::{LedgerEntry, LedgerError, LedgerHead};

use crate::{
    Begin, Cells, Connection, Driver, Failure, FailureKind, Record, Statement, Transaction,
    driver::there,
    run::{read, run},
};

/// Entries read at a time.
const PAGE: i64 = 500;

/// The table of a ledger over a driver. Its methods are those of [`Ledger`](ophie_crypt::Ledger), which
/// [`ledger!`](crate::ledger!) implements with them.
#[derive(Clone, Debug)]
pub struct LedgerTable<D> {
    driver: D,
    /// The head that was seen last.
    seen: Arc<Mutex<LedgerHead>>,
}

impl<D: Driver> LedgerTable<D> {
    /// Over this driver.
    #[must_use]
    pub fn new(driver: D) -> Self {
        Self {
            driver,
            seen: Arc::new(Mutex::new(LedgerHead::EMPTY)),
        }
    }

    /// Makes the table, if it is not there.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn create(&self) -> Result<(), LedgerError> {
        let made = run(&self.driver, Begin::Migrate, |tx| {
            Box::pin(async move {
                let is_there = Statement::new(D::DIALECT, sql::is_there(D::DIALECT));
                let there: Vec<Number> = tx.fetch(is_there).await?;
                if there.first().is_some_and(|row| row.0 > 0) {
                    return Ok(());
                }
                tx.batch(sql::create(D::DIALECT).to_owned()).await
            })
        });
        made.await.map_err(error)
    }

    /// See [`Ledger::head`](ophie_crypt::Ledger::head).
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn head(&self) -> Result<LedgerHead, LedgerError> {
        let before = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut head = LedgerHead::EMPTY;
        if before.position() > 0 {
            let rows = self.rows(before.position(), 1).await?;
            let there = rows.first().map(|entry| *entry.head());
            head = there
                .filter(|there| *there == before)
                .ok_or(LedgerError::Forked {
                    position: before.position(),
                })?;
        }
        loop {
            let page = self.rows(head.position().saturating_add(1), PAGE).await?;
            let Some(last) = follow(head, &page)? else {
                break;
            };
            head = last;
        }
        self.saw(head);
        Ok(head)
    }

    /// From now on it must be there.
    fn saw(&self, head: LedgerHead) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.position() < head.position() {
            *seen = head;
        }
    }

    /// See [`Ledger::append`](ophie_crypt::Ledger::append).
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn append(
        &self,
        expected: &LedgerHead,
        kind: &str,
        payload: &[u8],
    ) -> Result<LedgerHead, LedgerError> {
        LedgerEntry::check(kind, payload)?;
        let head = self.head().await?;
        if head != *expected {
            return Err(LedgerError::Moved { head });
        }
        let next = expected.next(kind, payload);
        let insert = Statement::new(D::DIALECT, sql::INSERT)
            .bind(number(next.position())?)
            .bind(kind)
            .bind(payload)
            .bind(next.hash().as_slice());
        let inserted = run(&self.driver, Begin::Write, move |tx| {
            let insert = insert.clone();
            Box::pin(tx.execute(insert))
        });
        match inserted.await {
            Err(failure) if failure.kind() != FailureKind::Duplicate => Err(error(failure)),
            Ok(1) => {
                self.saw(next);
                Ok(next)
            }
            _ => Err(LedgerError::Moved {
                head: self.head().await?,
            }),
        }
    }

    /// See [`Ledger::read`](ophie_crypt::Ledger::read).
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn read(&self, after: u64, limit: usize) -> Result<Vec<LedgerEntry>, LedgerError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (before, mut entries) = if after == 0 {
            (LedgerHead::EMPTY, self.rows(1, limit).await?)
        } else {
            let mut rows = self.rows(after, limit.saturating_add(1)).await?;
            if rows
                .first()
                .is_none_or(|entry| entry.head().position() != after)
            {
                return match rows.first() {
                    None => Ok(rows),
                    Some(_) => Err(LedgerError::Damaged { position: after }),
                };
            }
            (*rows.remove(0).head(), rows)
        };
        // What stands before the damage is told first.
        let mut head = before;
        let whole = entries.iter().take_while(|entry| {
            let follows = entry.follows(&head);
            head = *entry.head();
            follows
        });
        let whole = whole.count();
        if whole == 0 && !entries.is_empty() {
            let position = before.position().saturating_add(1);
            return Err(LedgerError::Damaged { position });
        }
        entries.truncate(whole);
        Ok(entries)
    }

    /// From a position on, as they stand there.
    async fn rows(&self, from: u64, limit: i64) -> Result<Vec<LedgerEntry>, LedgerError> {
        let statement = Statement::new(D::DIALECT, sql::READ)
            .bind(number(from)?)
            .bind(limit);
        let rows: Vec<Row> = read(&self.driver, statement).await.map_err(error)?;
        rows.into_iter().map(Row::entry).collect()
    }
}

/// The head behind these entries; `None` if there are none.
fn follow(before: LedgerHead, page: &[LedgerEntry]) -> Result<Option<LedgerHead>, LedgerError> {
    let mut head = before;
    for entry in page {
        if !entry.follows(&head) {
            return Err(LedgerError::Damaged {
                position: head.position().saturating_add(1),
            });
        }
        head = *entry.head();
    }
    Ok((!page.is_empty()).then_some(head))
}

struct Number(i64);

impl Record for Number {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self(there(cells.int("number")?)?))
    }
}

struct Row {
    position: i64,
    kind: String,
    payload: Vec<u8>,
    hash: Vec<u8>,
}

impl Record for Row {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self {
            position: there(cells.int("entry")?)?,
            kind: there(cells.text("kind")?)?,
            payload: there(cells.bytes("payload")?)?,
            hash: there(cells.bytes("hash")?)?,
        })
    }
}

impl Row {
    fn entry(self) -> Result<LedgerEntry, LedgerError> {
        let position = u64::try_from(self.position).unwrap_or_default();
        let damaged = |_| LedgerError::Damaged { position };
        let hash = self.hash.try_into().map_err(damaged)?;
        let head = LedgerHead::new(position, hash);
        Ok(LedgerEntry::new(self.kind, self.payload, head))
    }
}

fn number(position: u64) -> Result<i64, LedgerError> {
    position.try_into().map_err(LedgerError::unavailable)
}

fn error(failure: Failure) -> LedgerError {
    LedgerError::unavailable(failure.into_source())
}

/// Implements [`Ledger`](ophie_crypt::Ledger) and `Debug` for a type with a field `table`, a [`LedgerTable`].
#[macro_export]
macro_rules! ledger {
    ($ledger:ident $(<$param:ident: $bound:path>)?) => {
        #[$crate::private::async_trait]
        impl $(<$param: $bound>)? $crate::private::ophie_crypt::Ledger for $ledger $(<$param>)? {
            async fn head(
                &self,
            ) -> Result<
                $crate::private::ophie_crypt::LedgerHead,
                $crate::private::ophie_crypt::LedgerError,
            > {
                self.table.head().await
            }

            async fn append(
                &self,
                expected: &$crate::private::ophie_crypt::LedgerHead,
                kind: &str,
                payload: &[u8],
            ) -> Result<
                $crate::private::ophie_crypt::LedgerHead,
                $crate::private::ophie_crypt::LedgerError,
            > {
                self.table.append(expected, kind, payload).await
            }

            async fn read(
                &self,
                after: u64,
                limit: usize,
            ) -> Result<
                Vec<$crate::private::ophie_crypt::LedgerEntry>,
                $crate::private::ophie_crypt::LedgerError,
            > {
                self.table.read(after, limit).await
            }
        }

        impl $(<$param: $bound>)? ::core::fmt::Debug for $ledger $(<$param>)? {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(stringify!($ledger)).finish_non_exhaustive()
            }
        }
    };
}
