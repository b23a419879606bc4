//! The worker that finishes shreds, step by step.
//!
//! Invariant: the ledger has the owner before anything else is done; each step may be done again, by anyone, after a
//! death anywhere. Absent: the first step, which destroys the keys (`keyring`), and the restore guard (`guard`).

use core::{fmt, time::Duration};
use std::sync::Arc;

use tokio::{
    sync::{Mutex, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    builder::{ShredderBuilder, ShredderError},
    entry::View,
    receipt::{Reach, Receipt, ReceiptError, Terms},
    record::{Shred, ShredStep, Shreds},
    shares::SecondShares,
    store::{RowStore, ShredStore},
    tombstones::tombstone,
};
use crate::{
    ledger::{Ledger, LedgerError},
    owner::{CanonicalId, OwnerId},
    shares::ShareStore,
    store::StoreError,
    vectors::VectorStore,
};

/// Rows in one statement.
const BATCH: u32 = 1000;
/// A worker that died with a shred holds it for so long.
const CLAIM: Duration = Duration::from_secs(60);
/// After a failure, doubled from the first to the last.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));
/// So often in a row a shred fails before it is a dead letter.
const STUCK_AFTER: u32 = 10;
/// Shreds that one call works at.
const PAGE: u32 = 100;
/// Calls of one vector store until it is empty, in one attempt.
const CALLS: u32 = 1000;
/// Then a ledger counts as unreachable.
const LEDGER_WITHIN: Duration = Duration::from_secs(30);

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

    /// Works at each shred that is due, once.
    ///
    /// # Errors
    ///
    /// [`StoreError`] of the key store. Whatever else fails is counted, and noted with its shred.
    pub async fn work(&self) -> Result<Worked, StoreError> {
        let (mut worked, mut after) = (Worked::default(), None);
        let mut shares = self.0.second_shares();
        loop {
            let page = self
                .0
                .store
                .shreds(Shreds::Due, after.as_ref(), PAGE)
                .await?;
            let Some(last) = page.last() else {
                return Ok(worked);
            };
            after = Some(last.owner.clone());
            let mut finished = Vec::new();
            for shred in &page {
                if !self.0.store.claim(&shred.owner, CLAIM).await? {
                    continue; // another has it
                }
                match self.0.finish(shred, &mut shares).await {
                    Ok(()) => finished.push(&shred.owner),
                    Err(error) => {
                        worked.failed = worked.failed.saturating_add(1);
                        self.0.postpone(shred, &error).await?;
                    }
                }
            }
            if finished.is_empty() {
                continue;
            }
            // Once for all of them, and in the one store also if there is nothing to do in the other.
            let (of_shares, of_keys) = (shares.vacuum().await, self.0.store.vacuum().await?);
            let vacuumed = of_keys && of_shares;
            for owner in finished {
                if vacuumed {
                    self.0.store.note(owner, ShredStep::Vacuumed).await?;
                }
                self.0.store.note(owner, ShredStep::Done).await?;
                worked.done = worked.done.saturating_add(1);
            }
        }
    }

    /// Deletes the rows of shredded owners, those whose horizon has passed, in batches; and once a day again, for rows
    /// that came late: from a queue, from a process that had the key in memory.
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
        let mut shares = self.0.second_shares();
        loop {
            let page = self.0.store.shreds(which, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(worked);
            };
            after = Some(last.owner.clone());
            for shred in &page {
                let (owner, rows) = (&shred.owner, &mut worked.rows);
                match self.0.sweep(owner, rows, &mut shares).await {
                    Ok(()) => {
                        self.0.store.note(owner, ShredStep::Swept).await?;
                        worked.done = worked.done.saturating_add(1);
                    }
                    Err(error) => {
                        worked.failed = worked.failed.saturating_add(1);
                        self.0.postpone(shred, &error).await?;
                    }
                }
            }
        }
    }

    /// Works and sweeps until the handle is dropped. Failures are logged, and tried again.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does.
    #[must_use = "it stops when this is dropped"]
    pub fn start(&self, every: Duration) -> ShredderTask {
        let (stop, mut stopped) = watch::channel(());
        let shredder = self.clone();
        let task = tokio::spawn(async move {
            loop {
                // A step is not cut off in the middle: only between two rounds one is stopped.
                if let Err(error) = shredder.work().await {
                    tracing::warn!(target: "ophie_crypt::shred", %error, "shreds were not worked at");
                }
                if let Err(error) = shredder.sweep().await {
                    tracing::warn!(target: "ophie_crypt::shred", %error, "rows were not swept");
                }
                tokio::select! {
                    _ = stopped.changed() => return,
                    () = sleep(every) => {}
                }
            }
        });
        ShredderTask { _stop: stop, task }
    }

    /// The dead letters: shreds that failed ten times without going forward. They are still tried, once an hour.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn stuck(&self) -> Result<Vec<Shred>, StoreError> {
        let stuck = self.0.store.shreds(Shreds::Stuck(STUCK_AFTER), None, PAGE);
        stuck.await
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
        let followed = timeout(LEDGER_WITHIN, view.follow(&*self.0.ledger)).await;
        followed.map_err(|_| slow())??;
        if !view.is_of(&installation.id) {
            return Err(ReceiptError::Foreign);
        }
        let entry = view.shred(&owner).and_then(|known| known.entry);
        let entry = entry.ok_or(ReceiptError::TooEarly)?;
        let appended_at = shred.appended_at.ok_or(ReceiptError::TooEarly)?;
        let head = view.head;
        drop(view);
        let mut reach = Reach::of(&self.0.rows, &self.0.vectors);
        reach.shares = self.0.second_shares().destroyed_at(&owner).await?;
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
        let (mut first, mut shares) = (None, self.0.second_shares());
        loop {
            let page = self.0.store.shreds(Shreds::All, after.as_ref(), PAGE);
            let page = page.await?;
            let Some(last) = page.last() else {
                return first.map_or(Ok(owners), Err);
            };
            after = Some(last.owner.clone());
            for shred in page.iter().filter(|shred| shred.appended_at.is_some()) {
                let destroyed = async {
                    self.0.must_know(&shred.owner).await?;
                    Ok(shares.destroy(&shred.owner).await?)
                };
                match destroyed.await {
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

impl Inner {
    /// All steps that concern this owner alone.
    async fn finish(
        &self,
        shred: &Shred,
        shares: &mut SecondShares<'_>,
    ) -> Result<(), ShredderError> {
        let owner = &shred.owner;
        if shred.appended_at.is_none() {
            self.append(shred).await?;
        }
        // Their store says what was done there. No other step waits for it, and no receipt is whole without it.
        let destroyed = shares.destroy(owner).await;
        // It waits for transactions of the application; vectors do not.
        let tombstoned = if shred.tombstoned_at.is_none() {
            tombstone(&self.rows, owner).await
        } else {
            Ok(())
        };
        if shred.tombstoned_at.is_none() && tombstoned.is_ok() {
            self.store.note(owner, ShredStep::Tombstoned).await?;
        }
        if shred.emptied_at.is_none() {
            self.empty(owner).await?;
            self.store.note(owner, ShredStep::Emptied).await?;
        }
        tombstoned?;
        Ok(destroyed?)
    }

    fn second_shares(&self) -> SecondShares<'_> {
        SecondShares::of_round(self.shares.as_deref())
    }

    /// The database says so of itself; the ledger must too.
    async fn must_know(&self, owner: &CanonicalId) -> Result<(), ShredderError> {
        let installation = self.store.installation().await?;
        let mut view = self.view.lock().await;
        if view.shred(owner).is_none() {
            let followed = timeout(LEDGER_WITHIN, view.follow(&*self.ledger)).await;
            followed.map_err(|_| slow())??;
        }
        if !view.is_of(&installation.id) {
            return Err(ShredderError::Foreign);
        }
        match view.shred(owner) {
            Some(_) => Ok(()),
            None => Err(ShredderError::NotInLedger),
        }
    }

    async fn append(&self, shred: &Shred) -> Result<(), ShredderError> {
        let installation = self.store.installation().await?;
        let mut view = self.view.lock().await;
        let added = view.add_shred(&*self.ledger, &installation.id, shred);
        let entry = timeout(LEDGER_WITHIN, added).await.map_err(|_| slow())??;
        let head = view.head;
        drop(view);
        let step = ShredStep::Appended { entry, head };
        Ok(self.store.note(&shred.owner, step).await?)
    }

    async fn empty(&self, owner: &CanonicalId) -> Result<(), ShredderError> {
        for (name, vectors) in &self.vectors {
            let mut calls = 0_u32;
            while !vectors.delete_owner(owner).await?.verified_empty() {
                calls = calls.saturating_add(1);
                if calls == CALLS {
                    return Err(ShredderError::NotEmpty {
                        name: Arc::clone(name),
                    });
                }
            }
        }
        Ok(())
    }

    /// Counts rows as they go.
    async fn sweep(
        &self,
        owner: &CanonicalId,
        deleted: &mut u64,
        shares: &mut SecondShares<'_>,
    ) -> Result<(), ShredderError> {
        self.must_know(owner).await?;
        // A store that was put back has them again. No row waits for one that is out of reach.
        let destroyed = shares.destroy(owner).await;
        for rows in &self.rows {
            rows.bury(owner).await?;
            for table in rows.models().deleted_tables() {
                loop {
                    let some = rows.sweep(owner, table, BATCH).await?;
                    *deleted = deleted.saturating_add(some);
                    if some == 0 {
                        break;
                    }
                }
            }
        }
        self.empty(owner).await?; // those too may come late
        Ok(destroyed?)
    }

    async fn postpone(&self, shred: &Shred, error: &ShredderError) -> Result<(), StoreError> {
        let doubled = 1_u32.checked_shl(shred.attempts).unwrap_or(u32::MAX);
        let pause = PAUSES.0.saturating_mul(doubled).min(PAUSES.1);
        let why = reason(error);
        tracing::warn!(
            target: "ophie_crypt::shred",
            shred = %shred.id,
            attempts = shred.attempts.saturating_add(1),
            why,
            "a shred did not go forward"
        );
        self.store.postpone(&shred.owner, pause, &why).await
    }
}

/// The error and its causes, in a line.
fn reason(error: &ShredderError) -> String {
    const MOST: usize = 1000;
    let mut text = error.to_string();
    let mut cause = core::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.chars().take(MOST).collect()
}

fn slow() -> LedgerError {
    LedgerError::unavailable("no answer within thirty seconds")
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

impl fmt::Debug for Shredder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shredder").finish_non_exhaustive()
    }
}
