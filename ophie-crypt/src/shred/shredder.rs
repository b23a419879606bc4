//! The worker that finishes shreds: whom it works at, and when.
//!
//! Invariant: no shred waits for another owner's rows and vectors before it is in the ledger. Absent: the steps
//! themselves (`round`), the first, which destroys the keys (`keyring`), and the restore guard (`guard`).

use core::{fmt, time::Duration};
use std::sync::Arc;

use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
    time::sleep,
};

use super::{
    builder::{ShredderBuilder, ShredderError},
    entry::View,
    receipt::{Reach, Receipt, ReceiptError, Terms},
    record::{Residue, Shred, ShredStep, Shreds},
    round::{Round, reason, warn},
    shares::SecondShares,
    store::{RowStore, ShredStore},
};
use crate::{
    clock::Clock, ledger::Ledger, owner::OwnerId, shares::ShareStore, store::StoreError,
    vectors::VectorStore,
};

/// A worker that died with a shred holds it for so long: longer than one whose vectors do not go is held up by them.
const CLAIM: Duration = Duration::from_secs(300);
/// So often in a row a shred fails before it is a dead letter.
const STUCK_AFTER: u32 = 10;
/// Shreds that are read at a time.
const PAGE: u32 = 100;

/// Finishes what a shred begins: the ledger, tombstones, vectors, vacuum; and sweeps the rows at the horizon.
///
/// Any number of processes may each have one. A step that fails is tried again, with pauses up to an hour, for ever;
/// [`stuck`](Self::stuck) lists those that do not go forward.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use ophie_crypt::{FileLedger, Keyring, LocalKms, MemoryKeyStore, Shredder};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = std::env::temp_dir().join(format!("ophie-crypt-shredder-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// let store = Arc::new(MemoryKeyStore::new()); // testing only
/// let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(Arc::clone(&store)).build()?;
/// let ledger = FileLedger::open_or_create(dir.join("ledger"))?; // not in the database's backup
/// let shredder = Shredder::builder(store, ledger)
///     .horizon(Duration::from_secs(35 * 24 * 3600)) // how long backups are kept
///     // `.rows(..)` names the application's tables, `.vectors(..)` its vector stores: this one has none
///     .build();
///
/// keyring.provision("ada").await?;
/// keyring.shred("ada").await?;
/// assert!(shredder.receipt("ada").await.is_err()); // too early: a restore would forget it
/// shredder.work().await?;
/// let receipt = shredder.receipt("ada").await?.to_string();
/// assert!(receipt.contains("no table was named") && receipt.contains("no vector store was named"));
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Shredder(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) store: Arc<dyn ShredStore>,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) rows: Vec<Arc<dyn RowStore>>,
    pub(super) vectors: Vec<(Arc<str>, Arc<dyn VectorStore>)>,
    pub(super) shares: Option<Arc<dyn ShareStore>>,
    pub(super) terms: Terms,
    pub(super) again: Duration,
    pub(super) clock: Clock,
    pub(super) view: Mutex<View>,
}

/// What one call did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Worked {
    /// Shreds that are done now.
    pub done: u32,
    /// Attempts that failed, and are tried again.
    pub failed: u32,
    /// Rows that were deleted, also for owners of whom some are left.
    pub rows: u64,
}

impl Shredder {
    /// Over the key store and the ledger. Name the application's tables too, or nothing of them is deleted.
    pub fn builder(store: impl ShredStore, ledger: impl Ledger) -> ShredderBuilder {
        ShredderBuilder::new(store, ledger)
    }

    /// Works at each shred that is due, once. All of them are appended to the ledger first, and those that come meanwhile
    /// as soon as it goes on to the next owner: what takes long, rows and vectors, holds up no entry.
    ///
    /// # Errors
    ///
    /// [`StoreError`] of the key store. Whatever else fails is counted, and noted with its shred.
    pub async fn work(&self) -> Result<Worked, StoreError> {
        let (mut worked, mut after) = (Worked::default(), None);
        let mut round = Round::of(&self.0);
        self.append(&mut round, &mut worked).await?;
        loop {
            let page = self.0.store.shreds(Shreds::Due, after.as_ref(), PAGE);
            let page = page.await?;
            let Some(last) = page.last() else {
                return Ok(worked);
            };
            after = Some(last.owner.clone());
            let mut finished = Vec::new();
            for shred in page.iter().filter(|shred| shred.appended_at.is_some()) {
                if !self.0.store.claim(shred, CLAIM).await? {
                    continue; // another has it
                }
                match round.finish(shred).await {
                    Ok(()) => finished.push(shred),
                    Err(error) => {
                        worked.failed = worked.failed.saturating_add(1);
                        self.0.postpone(shred, &error).await?;
                    }
                }
                self.append(&mut round, &mut worked).await?;
            }
            if finished.is_empty() {
                continue;
            }
            let residue = round.vacuum().await;
            for shred in finished {
                match residue {
                    Residue::Gone => {
                        self.0.store.note(&shred.owner, ShredStep::Vacuumed).await?;
                    }
                    Residue::Held => {
                        worked.failed = worked.failed.saturating_add(1);
                        self.0.postpone(shred, &ShredderError::Residue).await?;
                        continue;
                    }
                    Residue::Unknown => {}
                }
                self.0.store.note(&shred.owner, ShredStep::Done).await?;
                worked.done = worked.done.saturating_add(1);
            }
        }
    }

    /// All that the ledger lacks and that are due.
    async fn append(&self, round: &mut Round<'_>, worked: &mut Worked) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = self
                .0
                .store
                .shreds(Shreds::Unappended, after.as_ref(), PAGE);
            let page = page.await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.owner.clone());
            for shred in &page {
                // Without a claim: whoever adds it at the same time, there is one entry.
                if let Err(error) = round.append(shred).await
                    && self.0.store.claim(shred, CLAIM).await?
                {
                    worked.failed = worked.failed.saturating_add(1);
                    self.0.postpone(shred, &error).await?;
                }
            }
        }
    }

    /// Deletes the rows of shredded owners, those whose horizon has passed, in batches; and again, for rows that came
    /// late: from a queue, from a process that had the key in memory. First after a day, then more and more seldom: see
    /// [`sweep_again`](ShredderBuilder::sweep_again).
    ///
    /// # Errors
    ///
    /// [`StoreError`] of the key store. Whatever else fails is counted, and noted with its shred; the others go on.
    pub async fn sweep(&self) -> Result<Worked, StoreError> {
        let which = Shreds::Sweepable {
            after: micros(self.0.terms.horizon()),
            again: micros(self.0.again),
        };
        let (mut worked, mut after) = (Worked::default(), None);
        let mut round = Round::of(&self.0);
        loop {
            let page = self.0.store.shreds(which, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(worked);
            };
            after = Some(last.owner.clone());
            for shred in &page {
                // One that is not done is work's to claim, and to put off: its rows wait for neither.
                let done = shred.done_at.is_some();
                if done && !self.0.store.claim(shred, CLAIM).await? {
                    continue; // another has it
                }
                match round.sweep(shred, &mut worked.rows).await {
                    Ok(found) => {
                        let rest = self.0.rest(shred, found);
                        let step = ShredStep::Swept { rest };
                        self.0.store.note(&shred.owner, step).await?;
                        worked.done = worked.done.saturating_add(1);
                    }
                    Err(error) => {
                        worked.failed = worked.failed.saturating_add(1);
                        match done {
                            true => self.0.postpone(shred, &error).await?,
                            false => warn(shred, &reason(&error)),
                        }
                    }
                }
            }
        }
    }

    /// Works, and beside that sweeps, until the handle is dropped. Failures are logged, and tried again.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does.
    #[must_use = "it stops when this is dropped"]
    pub fn start(&self, every: Duration) -> ShredderTask {
        let (stop, stopped) = watch::channel(());
        let shredder = self.clone();
        let task = tokio::spawn(async move {
            // Two rounds at once: a sweep may be long, and the ledger waits for none.
            let work = rounds(every, stopped.clone(), "shreds were not worked at", || {
                shredder.work()
            });
            let sweep = rounds(every, stopped, "rows were not swept", || shredder.sweep());
            tokio::join!(work, sweep);
        });
        ShredderTask { _stop: stop, task }
    }

    /// The dead letters: shreds that failed ten times without going forward, and owners whose sweep did. They are still
    /// tried, once an hour.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn stuck(&self) -> Result<Vec<Shred>, StoreError> {
        let (mut stuck, mut after) = (Vec::new(), None);
        loop {
            let which = Shreds::Stuck(STUCK_AFTER);
            let page = self.0.store.shreds(which, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(stuck);
            };
            after = Some(last.owner.clone());
            stuck.extend(page);
        }
    }

    /// What can be said of an owner's deletion now.
    ///
    /// # Errors
    ///
    /// [`ReceiptError`], as long as the ledger does not have the owner.
    pub async fn receipt(&self, owner: &(impl OwnerId + ?Sized)) -> Result<Receipt, ReceiptError> {
        let owner = owner.canonical();
        let shreds = self
            .0
            .store
            .shreds_of(core::slice::from_ref(&owner))
            .await?;
        let shred = shreds.into_iter().next().ok_or(ReceiptError::NotShredded)?;
        let installation = self.0.store.installation().await?;
        // Not what the database says of the ledger: what stands there.
        let mut view = self.0.view.lock().await;
        view.follow(&*self.0.ledger).await?;
        if !view.is_of(&installation.id) {
            return Err(ReceiptError::Foreign);
        }
        let entry = view.shred(&owner).and_then(|known| known.entry);
        let entry = entry.ok_or(ReceiptError::TooEarly)?;
        let appended_at = shred.appended_at.ok_or(ReceiptError::TooEarly)?;
        let head = view.head;
        drop(view);
        let mut reach = Reach::of(&self.0.rows, &self.0.vectors);
        let shares = SecondShares::of_round(self.0.shares.as_deref());
        reach.shares = shares.destroyed_at(&owner).await?;
        let terms = &self.0.terms;
        Ok(Receipt::new(shred, appended_at, entry, head, terms, reach))
    }

    /// Destroys the second shares of every shredded owner, again. For after the share store was put back: what came back
    /// in it would open, with a backup of the database from before a shred. Says how many owners there are.
    ///
    /// # Errors
    ///
    /// [`ShredderError`], the first; all other owners were done.
    pub async fn destroy_shares_again(&self) -> Result<u64, ShredderError> {
        let (mut owners, mut after) = (0_u64, None);
        let (mut first, mut round) = (None, Round::of(&self.0));
        loop {
            let page = self.0.store.shreds(Shreds::All, after.as_ref(), PAGE);
            let page = page.await?;
            let Some(last) = page.last() else {
                return first.map_or(Ok(owners), Err);
            };
            after = Some(last.owner.clone());
            for shred in page.iter().filter(|shred| shred.appended_at.is_some()) {
                match round.destroy_shares(&shred.owner).await {
                    Ok(()) => owners = owners.saturating_add(1),
                    Err(error) => drop(first.get_or_insert(error)),
                }
            }
        }
    }
}

/// The background task of [`Shredder::start`]. It ends between two steps once this is dropped.
#[derive(Debug)]
pub struct ShredderTask {
    _stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl ShredderTask {
    /// Stops, and waits for the step that is under way.
    pub async fn stop(self) {
        let Self { _stop, task } = self;
        drop(_stop);
        task.await.ok(); // it panicked, and said so
    }
}

/// Round after round, until it is told to stop.
async fn rounds<F: Future<Output = Result<Worked, StoreError>>>(
    every: Duration,
    mut stopped: watch::Receiver<()>,
    failed: &str,
    round: impl Fn() -> F,
) {
    loop {
        // A step is not cut off in the middle: only between two rounds one is stopped.
        if let Err(error) = round().await {
            tracing::warn!(target: "ophie_crypt::shred", %error, "{failed}");
        }
        tokio::select! {
            _ = stopped.changed() => return,
            () = sleep(every) => {}
        }
    }
}

pub(super) fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

impl fmt::Debug for Shredder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shredder").finish_non_exhaustive()
    }
}
