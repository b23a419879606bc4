//! The rows of before, sealed batch after batch.
//!
//! Invariant: the KMS is asked while no row is locked, and the database alone knows how far it is, so that a backfill may be
//! killed anywhere and several may run. Absent: SQL (`store`), how a row is sealed (`seal`).

use core::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use std::sync::Arc;

use futures_util::future::try_join_all;
use tokio::{sync::Mutex, time::sleep};

use super::{
    Rows, SealRows, SoakColumn, SoakJobError, SoakPass, Soaker,
    seal::{RETRY, seal_rows},
    sessions::Sessions,
    worker::not_now,
};
use crate::store::ModelError;

/// What a backfill did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backfilled {
    /// Rows that it sealed.
    pub written: u64,
    /// Rows that are pending still: their owners have no keys, an old binary writes on, or it was stopped.
    pub pending: u64,
    /// Whether it was stopped.
    pub stopped: bool,
}

impl Soaker {
    /// Seals the rows of before, until none is pending or nothing more can be done: also once it only meets what binaries
    /// of before write meanwhile, row by row, and after three passes from the first row, whoever writes. Owners without keys get
    /// some, unless they were shredded: then their plaintext goes, which nothing else would take before their rows are swept.
    ///
    /// # Errors
    ///
    /// [`SoakJobError`]; what was done stays done.
    pub async fn backfill(&self, table: &str, column: &str) -> Result<Backfilled, SoakJobError> {
        let (soak, row) = self.known(table, column).await?;
        if !row.state.is_filled() {
            return Err(not_now(&soak.column(), &row));
        }
        while !self.is_stopped() {
            match self.store.empty_buried(&soak, self.batch).await {
                Ok(0) => break,
                Ok(_) => self.rest().await,
                Err(ModelError::Busy) => sleep(RETRY).await,
                Err(error) => return Err(error.into()),
            }
        }
        let total = if self.is_watched() {
            self.store.count(&soak, Rows::Pending).await?
        } else {
            0
        };
        let mut passes = self.hired(&soak).await?;
        let work = Work {
            sessions: Mutex::new(Sessions::new(&self.keyring, self.provisions)),
            sealed: AtomicU64::new(0),
            total,
        };
        let mut done = Backfilled::default();
        for whole in 0.. {
            let workers = passes.iter_mut();
            let workers = workers.map(|pass| self.pass(&soak, pass.as_mut(), &work));
            try_join_all(workers).await?;
            let written = work.sealed.load(Relaxed).saturating_sub(done.written);
            done.written = done.written.saturating_add(written);
            done.pending = self.store.count(&soak, Rows::Pending).await?;
            done.stopped = self.is_stopped();
            // A whole pass that wrote nothing met only rows that cannot be sealed, or that others hold.
            let is_over = whole > 0 && (written == 0 || whole == WHOLE);
            if done.stopped || done.pending == 0 || is_over {
                break;
            }
            // From the first row, also where another worker moves the cursor: behind it are those that were passed over.
            for pass in &mut passes {
                pass.restart();
            }
        }
        Ok(done)
    }

    /// As many as were asked for, and as the database takes.
    async fn hired(&self, soak: &SoakColumn) -> Result<Vec<Box<dyn SoakPass>>, SoakJobError> {
        let mut first = self.store.pass(soak).await?;
        let others = (1..self.workers).map_while(|_| first.beside());
        let others: Vec<_> = others.collect();
        Ok(core::iter::once(first).chain(others).collect())
    }

    /// From where the cursor is to the end of the table, or until it only follows those who write there.
    async fn pass(
        &self,
        soak: &SoakColumn,
        pass: &mut dyn SoakPass,
        work: &Work,
    ) -> Result<(), SoakJobError> {
        // What it asks for may be taken by any of them before it comes to it.
        let taken = self.batch.saturating_mul(self.workers);
        let mut known = Arc::default();
        let (mut stuck, mut short) = (0_u32, 0_u32);
        // After a full batch of owners who were known before, the next is most likely theirs, too: one that meets others
        // ends before their rows.
        let mut asks = true;
        loop {
            if self.is_stopped() {
                break;
            }
            let (asked, mut met) = (asks, false);
            if asked {
                let mut sessions = work.sessions.lock().await;
                if self.is_stopped() {
                    break; // while it waited
                }
                let ahead = pass.owners_ahead(taken).await?;
                if ahead.is_empty() {
                    break;
                }
                met = sessions.open_all(&ahead, self.batch).await?;
                known = sessions.snapshot();
            }
            let (known, column) = (Arc::clone(&known), soak.clone());
            let seal: SealRows = Arc::new(move |rows| seal_rows(&column, &known, rows));
            let filled = match pass.fill(self.batch, seal).await {
                Err(ModelError::Busy) => {
                    sleep(RETRY).await;
                    continue;
                }
                filled => filled?,
            };
            if !filled.admitted {
                return Err(SoakJobError::Interrupted);
            }
            let before = work.sealed.fetch_add(filled.written, Relaxed);
            self.tell(before.saturating_add(filled.written), work.total);
            let is_short = filled.read < u64::from(self.batch);
            asks = met || is_short;
            if is_short && !asked {
                continue;
            }
            // Rows that are ahead and that others hold: they are met again in the next pass, after a rest.
            stuck = if filled.read == 0 {
                stuck.saturating_add(1)
            } else {
                0
            };
            short = if is_short { short.saturating_add(1) } else { 0 };
            if stuck > HELD || short > HELD {
                break;
            }
            if stuck > 0 {
                sleep(RETRY.min(FIRST_RETRY.saturating_mul(stuck))).await;
            } else {
                self.rest().await;
            }
        }
        Ok(())
    }
}

/// What those who seal side by side share.
struct Work {
    sessions: Mutex<Sessions>,
    /// Rows that they have sealed.
    sealed: AtomicU64,
    /// Of how many.
    total: u64,
}

/// What another worker holds is free as soon as it is written.
pub(super) const FIRST_RETRY: Duration = Duration::from_millis(10);

/// From the first row, so many times: then only those are left that others held each time, or have written since.
const WHOLE: u32 = 3;

/// How often rows that others hold are looked at before they are left for the next pass; and how many batches in a row are not
/// full before the end counts as reached.
const HELD: u32 = 25;
