//! Shreds in memory.
//!
//! Absent: persistence.

use core::time::Duration;
use std::{collections::BTreeMap, time::UNIX_EPOCH};

use async_trait::async_trait;

use super::MemoryKeyStore;
use crate::{
    clock::Clock,
    hazmat::fill_random,
    ledger::LedgerHead,
    owner::CanonicalId,
    shred::{Installation, Residue, Shred, ShredId, ShredStep, ShredStore, Shreds},
    store::{OwnerRecord, StoreError},
};

/// What a database's tables hold of them.
#[derive(Default)]
pub(super) struct Graves {
    shreds: BTreeMap<CanonicalId, Grave>,
    installation: Option<Installation>,
    #[cfg(test)]
    vacuum_hangs: bool,
}

struct Grave {
    shred: Shred,
    due_at: i64,
}

fn random() -> Result<[u8; 16], StoreError> {
    let mut bytes = [0; 16];
    fill_random(&mut bytes).map_err(StoreError::unavailable)?;
    Ok(bytes)
}

fn now() -> i64 {
    let since = Clock::default().now().wall().duration_since(UNIX_EPOCH);
    micros(since.unwrap_or_default())
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

impl MemoryKeyStore {
    pub(crate) fn shred_known(&self, owner: &CanonicalId) -> Result<Option<ShredId>, StoreError> {
        if !self.owners().contains_key(owner) {
            return Ok(None);
        }
        let requested = Shred::requested(owner.clone(), ShredId::from_bytes(random()?), now());
        Ok(Some(self.bury(requested)))
    }

    /// Whoever was first stays.
    fn bury(&self, shred: Shred) -> ShredId {
        let owner = shred.owner.clone();
        let mut graves = self.graves();
        let grave = Grave { shred, due_at: 0 };
        let id = graves.shreds.entry(owner.clone()).or_insert(grave).shred.id;
        drop(graves);
        let mut owners = self.owners();
        let kept = owners.entry(owner).or_insert_with(super::Kept::none);
        if !kept.record.is_shredded() {
            kept.record = OwnerRecord::shredded(kept.record.version().saturating_add(1));
        }
        drop(owners);
        self.changed.notify_waiters();
        id
    }

    #[cfg(test)]
    async fn look(&self, owners: usize) {
        let pause = {
            let mut looks = self.looks.lock().unwrap();
            looks.1.push(owners);
            looks.0
        };
        tokio::time::sleep(pause).await;
    }

    /// Forgets a shred, as a restore from before it would.
    #[cfg(test)]
    pub(crate) fn unremember(&self, owner: &CanonicalId) {
        self.graves().shreds.remove(owner);
    }

    #[cfg(test)]
    pub(crate) fn hang_vacuum(&self, hangs: bool) {
        self.graves().vacuum_hangs = hangs;
    }

    /// When the owner's shred is worked at again, in microseconds.
    #[cfg(test)]
    pub(crate) fn due_at(&self, owner: &CanonicalId) -> i64 {
        self.graves().shreds[owner].due_at
    }

    fn installed(&self) -> Result<Installation, StoreError> {
        let id = random()?;
        let fresh = || Installation {
            id,
            epoch: 1,
            ledger: LedgerHead::EMPTY,
        };
        Ok(*self.graves().installation.get_or_insert_with(fresh))
    }
}

#[async_trait]
impl ShredStore for MemoryKeyStore {
    async fn shreds_of(&self, owners: &[CanonicalId]) -> Result<Vec<Shred>, StoreError> {
        #[cfg(test)]
        self.look(owners.len()).await;
        let graves = self.graves();
        let found = owners.iter().filter_map(|owner| graves.shreds.get(owner));
        Ok(found.map(|grave| grave.shred.clone()).collect())
    }

    async fn shreds(
        &self,
        which: Shreds,
        after: Option<&CanonicalId>,
        limit: u32,
    ) -> Result<Vec<Shred>, StoreError> {
        let now = now();
        let fits = |grave: &Grave| {
            let (shred, undone) = (&grave.shred, grave.shred.done_at.is_none());
            match which {
                Shreds::All => true,
                Shreds::Due => undone && grave.due_at <= now,
                Shreds::Stuck(least) => shred.attempts >= least,
                Shreds::Unappended => undone && shred.entry.is_none() && grave.due_at <= now,
                Shreds::Sweepable { after, again } => {
                    let rested = |at: i64| at.saturating_add(again) <= now;
                    shred.entry.is_some()
                        && (undone || grave.due_at <= now)
                        && shred.requested_at.saturating_add(after) <= now
                        && shred.swept_at.is_none_or(rested)
                }
            }
        };
        let graves = self.graves();
        let behind = graves
            .shreds
            .iter()
            .filter(|(owner, _)| Some(*owner) > after);
        let found = behind.filter(|(_, grave)| fits(grave));
        let found = found.take(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(found.map(|(_, grave)| grave.shred.clone()).collect())
    }

    async fn claim(&self, shred: &Shred, life: Duration) -> Result<bool, StoreError> {
        let (now, done) = (now(), shred.done_at.is_some());
        let mut graves = self.graves();
        let due = |grave: &&mut Grave| grave.shred.done_at.is_some() == done && grave.due_at <= now;
        let Some(grave) = graves.shreds.get_mut(&shred.owner).filter(due) else {
            return Ok(false);
        };
        grave.due_at = now.saturating_add(micros(life));
        grave.shred.attempts = grave.shred.attempts.saturating_add(1);
        Ok(true)
    }

    async fn note(&self, owner: &CanonicalId, step: ShredStep) -> Result<(), StoreError> {
        self.installed()?;
        let mut graves = self.graves();
        if let (ShredStep::Appended { head, .. }, Some(installation)) =
            (step, &mut graves.installation)
            && installation.ledger.position() < head.position()
        {
            installation.ledger = head;
        }
        let Some(grave) = graves.shreds.get_mut(owner) else {
            return Ok(());
        };
        let shred = &mut grave.shred;
        let at = match step {
            ShredStep::Appended { entry, .. } => {
                shred.entry.get_or_insert(entry);
                &mut shred.appended_at
            }
            ShredStep::Done => {
                grave.due_at = 0;
                &mut shred.done_at
            }
            ShredStep::Emptied => &mut shred.emptied_at,
            ShredStep::Swept { rest } => {
                shred.swept_at = Some(now());
                if shred.done_at.is_none() {
                    return Ok(());
                }
                grave.due_at = now().saturating_add(micros(rest));
                &mut shred.swept_at
            }
            ShredStep::Tombstoned => &mut shred.tombstoned_at,
            ShredStep::Vacuumed => &mut shred.vacuumed_at,
        };
        at.get_or_insert_with(now);
        (shred.attempts, shred.failure) = (0, None);
        Ok(())
    }

    async fn postpone(
        &self,
        owner: &CanonicalId,
        pause: Duration,
        why: &str,
    ) -> Result<(), StoreError> {
        if let Some(grave) = self.graves().shreds.get_mut(owner) {
            grave.due_at = now().saturating_add(micros(pause));
            grave.shred.failure = Some(why.to_owned());
        }
        Ok(())
    }

    async fn remember(&self, shreds: &[Shred]) -> Result<(), StoreError> {
        for shred in shreds {
            let mut requested = Shred::requested(shred.owner.clone(), shred.id, shred.requested_at);
            (requested.entry, requested.appended_at) = (shred.entry, Some(now()));
            self.bury(requested);
        }
        Ok(())
    }

    async fn installation(&self) -> Result<Installation, StoreError> {
        self.installed()
    }

    async fn count_shreds(&self) -> Result<u64, StoreError> {
        Ok(self.graves().shreds.len().try_into().unwrap_or(u64::MAX))
    }

    async fn raise_epoch(&self, epoch: u64, head: &LedgerHead) -> Result<(), StoreError> {
        self.installed()?;
        if let Some(installation) = &mut self.graves().installation {
            installation.epoch = installation.epoch.max(epoch);
            if installation.ledger.position() < head.position() {
                installation.ledger = *head;
            }
        }
        Ok(())
    }

    async fn adopt(&self, installation: &Installation) -> Result<(), StoreError> {
        let epoch = self.installed()?.epoch.max(installation.epoch);
        self.graves().installation = Some(Installation {
            epoch,
            ..*installation
        });
        Ok(())
    }

    async fn vacuum(&self) -> Result<Residue, StoreError> {
        #[cfg(test)]
        if self.graves().vacuum_hangs {
            core::future::pending::<()>().await;
        }
        Ok(Residue::Unknown)
    }
}
