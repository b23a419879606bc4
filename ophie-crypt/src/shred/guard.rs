//! Looks for a database that was put back to before a shred, and destroys again what came back.
//!
//! Invariant: no key is made or unwrapped unless every owner whom the ledger names is shredded in this database, and the
//! ledger was verified from its beginning. Absent: how entries get into the ledger (`shredder`).

use core::{fmt, time::Duration};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::{
    entry::{NotAdded, View},
    in_time::InTime,
    record::{Installation, Shred},
    store::ShredStore,
};
use crate::{
    clock::{Clock, Moment},
    hazmat::fill_random,
    ledger::{Ledger, LedgerError},
    owner::CanonicalId,
    store::StoreError,
};

/// Owners in one question to the store.
const CHUNK: usize = 500;
/// Then a ledger counts as unreachable.
const WITHIN: Duration = Duration::from_secs(5);
/// How long a look at the ledger holds.
const EVERY: Duration = Duration::from_secs(30);

/// Compares the key store with the ledger, before any key is made or unwrapped and every 30 seconds while keys are.
///
/// A backup brings back keys that were destroyed after it was made. The ledger lies elsewhere and still names their
/// owners: an owner whom it names and the database does not know as shredded proves a restore. Such an owner's keys are
/// destroyed again at once, and the epoch is raised, as a restored database has also forgotten how many values were
/// sealed: no key seals before it is rotated.
///
/// | the ledger | what opens |
/// |---|---|
/// | names owners whom the database lacks | after they are destroyed again |
/// | is unreachable | goes on, as long as this process verified it before and the database is the same; else nothing |
/// | lacks what it had, or what the database knows of it | nothing: [`RestoreError`] |
/// | belongs to another key store | nothing |
/// | names a later epoch, and this process verified the same database before | nothing: a copy writes it as well |
///
/// A running process notices within 30 seconds that its database was put back under it, or at its next look at the keys
/// if the database lost what it knew of the ledger.
///
/// ```
/// use std::sync::Arc;
/// use ophie_crypt::{FileLedger, Keyring, LocalKms, MemoryKeyStore, RestoreGuard};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = std::env::temp_dir().join(format!("ophie-crypt-guard-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// let store = Arc::new(MemoryKeyStore::new()); // testing only
/// let ledger = FileLedger::open_or_create(dir.join("ledger"))?; // not in the database's backup
/// let keyring = Keyring::builder()
///     .kms(LocalKms::ephemeral()?) // testing only
///     .key_store(Arc::clone(&store))
///     .restore_guard(RestoreGuard::new(store, ledger))
///     .build()?;
/// keyring.provision("ada").await?;
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok(()) }
/// ```
///
/// # Security
///
/// It holds for programs that use it. Whoever has a backup and the right to use the KMS can unwrap what the backup
/// holds, until that backup is gone.
pub struct RestoreGuard {
    store: Arc<dyn ShredStore>,
    ledger: Arc<dyn Ledger>,
    clock: Clock,
    every: Duration,
    seen: Mutex<Seen>,
}

struct Seen {
    view: View,
    /// What was verified last. A failure does not make it forgotten.
    verified: Option<Verified>,
    /// When, or when the ledger could not be reached after that; `None` after any other failure.
    at: Option<Moment>,
}

/// A database that was compared with the ledger.
#[derive(Clone, Copy)]
struct Verified {
    /// As it was seen last: it never knows less of the ledger again.
    database: Installation,
    /// Up to this entry.
    compared: u64,
    /// How many shreds it had at least.
    shreds: u64,
}

impl RestoreGuard {
    /// Over the key store of the keyring, on the primary, and the ledger.
    #[must_use]
    pub fn new(store: impl ShredStore, ledger: impl Ledger) -> Self {
        Self {
            store: Arc::new(store),
            ledger: Arc::new(InTime::over(ledger, WITHIN)),
            clock: Clock::default(),
            every: EVERY,
            seen: Mutex::new(Seen {
                view: View::new(),
                verified: None,
                at: None,
            }),
        }
    }

    /// How long a look at the ledger holds: at most, and by default, 30 seconds.
    #[must_use]
    pub fn every(mut self, period: Duration) -> Self {
        self.every = period.min(EVERY);
        self
    }

    /// Whether keys may be made and unwrapped now. A keyring asks by itself.
    ///
    /// # Errors
    ///
    /// [`RestoreError`].
    pub async fn admit(&self) -> Result<(), RestoreError> {
        let mut seen = self.seen.lock().await;
        let seen = &mut *seen;
        // Behind the lock: who waited for another's look must see what it left.
        let mut now = self.store.installation().await?;
        let known = seen.verified.filter(|then| same(&then.database, &now));
        if let Some(then) = known {
            let database = now;
            seen.verified = Some(Verified { database, ..then });
            let holds = |at| self.clock.now().since(&at) < self.every;
            if seen.at.is_some_and(holds) {
                return Ok(());
            }
        }
        let mut proven = false;
        let looked = self.look(&mut seen.view, &mut now, known, &mut proven);
        match looked.await {
            Ok(verified) => {
                seen.verified = Some(verified);
                seen.at = Some(self.clock.now());
            }
            // The database is the one that was verified: who lives there lived then.
            Err(RestoreError::Ledger(LedgerError::Unavailable { .. }))
                if known.is_some() && seen.at.is_some() && !proven =>
            {
                tracing::warn!(target: "ophie_crypt::restore", "the ledger is unreachable; keys go on, receipts wait");
                seen.at = Some(self.clock.now());
            }
            Err(error) => {
                seen.at = None;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Sets `proven` once it knows that the database was put back, whatever fails then.
    async fn look(
        &self,
        view: &mut View,
        now: &mut Installation,
        known: Option<Verified>,
        proven: &mut bool,
    ) -> Result<Verified, RestoreError> {
        let (store, ledger) = (&*self.store, &*self.ledger);
        follow(store, ledger, view, now).await?;
        let (known, last) = (known.filter(|then| same(&then.database, now)), view.epoch());
        if known.is_some() && last > now.epoch {
            // This database was not put back, so another raised it. What that one shredded lives here.
            let epoch = now.epoch;
            return Err(RestoreError::Shared { epoch, last });
        }
        let shreds = store.count_shreds().await?;
        // None is ever taken away, so that one that has no fewer has those that it had.
        let has_all = |then: &Verified| shreds >= then.shreds && shreds >= view.count();
        let compared = known.filter(has_all).map_or(0, |then| then.compared);
        let restored = lacking(store, view, compared).await?;
        if !restored.is_empty() || last != now.epoch {
            let epoch = if restored.is_empty() && last < now.epoch {
                now.epoch // which the ledger does not know yet
            } else {
                tracing::warn!(
                    target: "ophie_crypt::restore",
                    owners = restored.len(),
                    "the database was put back to before shreds; their owners' keys are destroyed again, and the epoch is raised"
                );
                next(view, now)
            };
            *proven = !restored.is_empty() || last > now.epoch;
            settle(store, ledger, view, now, epoch, &restored).await?;
        }
        Ok(Verified {
            database: *now,
            compared: view.head.position(),
            shreds,
        })
    }
}

/// Whether the database is still the one of then: the same history, and it has forgotten nothing of the ledger.
fn same(then: &Installation, now: &Installation) -> bool {
    (then.id, then.epoch) == (now.id, now.epoch) && then.ledger.position() <= now.ledger.position()
}

/// Behind every epoch that either of them knows.
fn next(view: &View, now: &Installation) -> u64 {
    now.epoch.max(view.epoch()).saturating_add(1)
}

/// Verifies the ledger, and that it leads on from what the store knows of it.
pub(super) async fn follow(
    store: &dyn ShredStore,
    ledger: &dyn Ledger,
    view: &mut View,
    now: &mut Installation,
) -> Result<(), RestoreError> {
    view.follow(ledger).await?;
    if view.epoch() > now.epoch {
        // Perhaps another process of this database's raised it since: in the database first.
        *now = store.installation().await?;
        view.follow(ledger).await?;
    }
    if !view.is_of(&now.id) {
        return Err(RestoreError::Foreign);
    }
    let (known, end) = (now.ledger.position(), view.head.position());
    if known > end {
        return Err(RestoreError::Behind { known, end });
    }
    if !view.leads_through(ledger, &now.ledger).await? {
        return Err(LedgerError::Forked { position: known }.into());
    }
    Ok(())
}

/// The shreds behind this entry that the ledger knows and the store does not.
async fn lacking(
    store: &dyn ShredStore,
    view: &View,
    behind: u64,
) -> Result<Vec<Shred>, RestoreError> {
    let all: Vec<&Shred> = view.shreds_behind(behind).collect();
    let mut lacking = Vec::new();
    for chunk in all.chunks(CHUNK) {
        let owners: Vec<CanonicalId> = chunk.iter().map(|shred| shred.owner.clone()).collect();
        let known = store.shreds_of(&owners).await?;
        let known: std::collections::HashSet<_> = known.iter().map(|shred| &shred.owner).collect();
        let lacks = chunk.iter().filter(|shred| !known.contains(&shred.owner));
        lacking.extend(lacks.map(|shred| (*shred).clone()));
    }
    Ok(lacking)
}

async fn destroy(store: &dyn ShredStore, shreds: &[Shred]) -> Result<(), RestoreError> {
    for chunk in shreds.chunks(CHUNK) {
        store.remember(chunk).await?;
    }
    Ok(())
}

/// The epoch first: once the keys are destroyed, nothing else proves the restore, and a replica, which takes no writes,
/// says nothing to the ledger. The ledger last: until it has the epoch, this fails, and nothing opens.
async fn settle(
    store: &dyn ShredStore,
    ledger: &dyn Ledger,
    view: &mut View,
    now: &mut Installation,
    epoch: u64,
    restored: &[Shred],
) -> Result<(), RestoreError> {
    store.raise_epoch(epoch, &now.ledger).await?;
    destroy(store, restored).await?;
    view.add_installation(ledger, &now.id, epoch).await?;
    store.raise_epoch(epoch, &view.head).await?;
    *now = store.installation().await?;
    Ok(())
}

/// Destroys again what a restore brought back, and raises the epoch: what a [`RestoreGuard`] does by itself, for
/// whoever restores a database and wants it done before the application starts. Says how many owners' keys were
/// destroyed. The epoch is raised each time, also where no shred was lost, which a guard cannot tell from no restore: a
/// database that was put back has forgotten how many values were sealed, so each key must be rotated before it seals.
///
/// # Errors
///
/// [`RestoreError`]; a ledger that cannot be reached is one.
pub async fn restore_replay(
    store: &dyn ShredStore,
    ledger: &dyn Ledger,
) -> Result<usize, RestoreError> {
    let (mut view, mut now) = (View::new(), store.installation().await?);
    follow(store, ledger, &mut view, &mut now).await?;
    let restored = lacking(store, &view, 0).await?;
    let epoch = next(&view, &now);
    settle(store, ledger, &mut view, &mut now, epoch, &restored).await?;
    Ok(restored.len())
}

/// Declares that this database begins a new history with this ledger: a clone that gets a ledger of its own, a ledger
/// that was lost, a failover that lost the last commits. Shreds of both sides are brought to the other, and the epoch is
/// raised, so that each key must be rotated before it seals. Gives the new epoch.
///
/// With a ledger that names no installation yet, the database becomes one of its own, with a new id: from then on it and
/// the ledger that it had before refuse each other. With the ledger that is its own already, the id stays.
///
/// The store's role needs UPDATE of the column `id` too.
///
/// # Errors
///
/// [`RestoreError`]: a ledger that is damaged or another key store's is not adopted.
///
/// # Security
///
/// With another ledger than before, shreds that only the old one knew are forgotten: a database that was put back at the
/// same time keeps their keys. Ask for it only where that cannot be.
pub async fn restore_adopt(
    store: &dyn ShredStore,
    ledger: &dyn Ledger,
) -> Result<u64, RestoreError> {
    let (mut view, mut now) = (View::new(), store.installation().await?);
    view.follow(ledger).await?;
    if !view.is_of(&now.id) {
        return Err(RestoreError::Foreign);
    }
    if view.installation.is_none() {
        fill_random(&mut now.id).map_err(StoreError::unavailable)?;
    }
    destroy(store, &lacking(store, &view, 0).await?).await?;
    let mut after: Option<CanonicalId> = None;
    loop {
        let page = store
            .shreds(super::Shreds::All, after.as_ref(), 500)
            .await?;
        for shred in &page {
            view.add_shred(ledger, &now.id, shred).await?;
        }
        match page.last() {
            Some(last) => after = Some(last.owner.clone()),
            None => break,
        }
    }
    now.epoch = next(&view, &now);
    view.add_installation(ledger, &now.id, now.epoch).await?;
    now.ledger = view.head;
    // The database last: until it has taken the id, the ledger is another's, and nothing opens.
    store.adopt(&now).await?;
    Ok(now.epoch)
}

/// Keys are neither made nor unwrapped, because this may be a database that was put back.
///
/// ```
/// let error = ophie_crypt::RestoreError::Behind { known: 7, end: 5 };
/// assert!(error.to_string().contains("`restore_adopt`"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The ledger lacks entries that the database knows: it was put back, or this is an old copy of it.
    #[error(
        "the ledger ends at entry {end}, and the database knows of entry {known}; put the whole ledger there, or call `restore_adopt` with a new one if it is lost"
    )]
    Behind {
        /// The last entry of which the database knows.
        known: u64,
        /// The last entry of the ledger.
        end: u64,
    },
    /// The ledger belongs to another key store.
    #[error(
        "the ledger belongs to another key store; give each one a ledger of its own, and call `restore_adopt` with a clone's"
    )]
    Foreign,
    /// The ledger is damaged or forked, or was never verified and cannot be reached.
    #[error("the ledger does not say whether this database was put back; see its error")]
    Ledger(#[from] LedgerError),
    /// The ledger names a later epoch than this database has, which was verified before and has forgotten nothing since:
    /// another database writes the ledger as well, a copy that was put up for a trial, say. What was shredded there lives
    /// here, and nobody's keys are destroyed.
    #[error(
        "another database writes this ledger: it names epoch {last}, and this database, which was not put back, is in epoch {epoch}; stop the copy that was given this ledger, then call `restore_adopt` here with a new one, before any process starts anew"
    )]
    Shared {
        /// This database's.
        epoch: u64,
        /// The ledger's.
        last: u64,
    },
    /// The key store failed.
    #[error("the key store was not compared with the ledger; see its error, then try again")]
    Store(#[from] StoreError),
}

impl From<NotAdded> for RestoreError {
    fn from(error: NotAdded) -> Self {
        match error {
            NotAdded::Foreign => Self::Foreign,
            NotAdded::Ledger(error) => Self::Ledger(error),
        }
    }
}

impl fmt::Debug for RestoreGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestoreGuard").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
