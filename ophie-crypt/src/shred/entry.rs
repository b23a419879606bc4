//! What the ledger says of shreds and of the installation, and a copy of it in memory.
//!
//! Invariant: a view is a prefix of one ledger whose every hash was checked; it never goes back. A ledger belongs to the
//! installation that it names first, and no other's entry counts or is added.
//! Absent: what is done about it (`shredder`, `guard`).

use std::collections::BTreeMap;

use super::record::{Shred, ShredId};
use crate::{
    ledger::{Ledger, LedgerEntry, LedgerError, LedgerHead},
    owner::CanonicalId,
};

/// `installation id, shred id, time, owner`: an owner, never a key.
const SHRED: &str = "shred";
/// `installation id, epoch`.
const INSTALLATION: &str = "installation";
/// Entries read at a time.
const PAGE: usize = 500;
/// Others add entries too.
const TRIES: u32 = 64;

/// What was read of a ledger.
#[derive(Debug)]
pub(super) struct View {
    pub(super) head: LedgerHead,
    /// The id of the installation that is named first, by a shred too, and its last epoch: 0 if only shreds name it.
    pub(super) installation: Option<([u8; 16], u64)>,
    shreds: BTreeMap<CanonicalId, Shred>,
}

impl View {
    pub(super) const fn new() -> Self {
        Self {
            head: LedgerHead::EMPTY,
            installation: None,
            shreds: BTreeMap::new(),
        }
    }

    /// The owner's entry; of several, the first counts.
    pub(super) fn shred(&self, owner: &CanonicalId) -> Option<&Shred> {
        self.shreds.get(owner)
    }

    /// Those whose entries stand behind this position.
    pub(super) fn shreds_behind(&self, position: u64) -> impl Iterator<Item = &Shred> {
        let shreds = self.shreds.values();
        shreds.filter(move |shred| shred.entry > Some(position))
    }

    /// How many owners it names.
    pub(super) fn count(&self) -> u64 {
        self.shreds.len().try_into().unwrap_or(u64::MAX)
    }

    /// The last epoch that it names, of the installation that is named first.
    pub(super) fn epoch(&self) -> u64 {
        self.installation.map_or(0, |(_, last)| last)
    }

    /// Whether it is this installation's, or nobody's yet.
    pub(super) fn is_of(&self, installation: &[u8; 16]) -> bool {
        self.installation
            .is_none_or(|(first, _)| first == *installation)
    }

    /// Reads on to the end.
    pub(super) async fn follow(&mut self, ledger: &dyn Ledger) -> Result<(), LedgerError> {
        let end = ledger.head().await?;
        let forked = LedgerError::Forked {
            position: self.head.position(),
        };
        if end.position() < self.head.position() {
            return Err(forked);
        }
        if end.position() == self.head.position() {
            return if end == self.head {
                Ok(())
            } else {
                Err(forked)
            };
        }
        while self.head.position() < end.position() {
            let page = ledger.read(self.head.position(), PAGE).await?;
            let before = self.head;
            for entry in &page {
                self.take(entry)?;
            }
            if self.head == before {
                return Err(LedgerError::Damaged {
                    position: before.position().saturating_add(1),
                });
            }
        }
        Ok(())
    }

    fn take(&mut self, entry: &LedgerEntry) -> Result<(), LedgerError> {
        let position = entry.head().position();
        if !entry.follows(&self.head) {
            return Err(LedgerError::Damaged { position });
        }
        let damaged = || LedgerError::Damaged { position };
        match entry.kind() {
            SHRED => {
                let (id, mut shred) = decode_shred(entry.payload()).ok_or_else(damaged)?;
                shred.entry = Some(position);
                // Another's owner of the same name lives on.
                if self.installation.get_or_insert((id, 0)).0 == id {
                    self.shreds.entry(shred.owner.clone()).or_insert(shred);
                }
            }
            INSTALLATION => {
                let (id, epoch) = decode_installation(entry.payload()).ok_or_else(damaged)?;
                let (first, last) = self.installation.get_or_insert((id, epoch));
                // Another's counts for nothing: the guard refuses whoever is not the first.
                if *first == id {
                    *last = epoch.max(*last);
                }
            }
            _ => {}
        }
        self.head = *entry.head();
        Ok(())
    }

    /// Whether this head is one of the ledger's, up to here.
    pub(super) async fn leads_through(
        &self,
        ledger: &dyn Ledger,
        head: &LedgerHead,
    ) -> Result<bool, LedgerError> {
        let Some(before) = head.position().checked_sub(1) else {
            return Ok(true);
        };
        if *head == self.head {
            return Ok(true);
        }
        let entries = ledger.read(before, 1).await?;
        Ok(entries.first().map(LedgerEntry::head) == Some(head))
    }

    /// The position of the owner's entry, which is added if there is none. Whoever adds it at the same time, or died
    /// after it: there is one.
    pub(super) async fn add_shred(
        &mut self,
        ledger: &dyn Ledger,
        installation: &[u8; 16],
        shred: &Shred,
    ) -> Result<u64, NotAdded> {
        let payload = encode_shred(installation, shred);
        for _ in 0..TRIES {
            self.follow(ledger).await?;
            if !self.is_of(installation) {
                return Err(NotAdded::Foreign);
            }
            if let Some(entry) = self.shred(&shred.owner).and_then(|known| known.entry) {
                return Ok(entry);
            }
            match ledger.append(&self.head, SHRED, &payload).await {
                Ok(_) | Err(LedgerError::Moved { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(LedgerError::unavailable("others kept adding entries").into())
    }

    /// Says which installation, in which epoch.
    pub(super) async fn add_installation(
        &mut self,
        ledger: &dyn Ledger,
        id: &[u8; 16],
        epoch: u64,
    ) -> Result<(), NotAdded> {
        let payload = [id.as_slice(), &epoch.to_be_bytes()].concat();
        for _ in 0..TRIES {
            self.follow(ledger).await?;
            if !self.is_of(id) {
                return Err(NotAdded::Foreign);
            }
            if self.installation.is_some_and(|(_, last)| last >= epoch) {
                return Ok(());
            }
            match ledger.append(&self.head, INSTALLATION, &payload).await {
                Ok(_) | Err(LedgerError::Moved { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(LedgerError::unavailable("others kept adding entries").into())
    }
}

/// Why no entry was added.
#[derive(Debug)]
pub(super) enum NotAdded {
    /// The ledger belongs to another installation.
    Foreign,
    Ledger(LedgerError),
}

impl From<LedgerError> for NotAdded {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

fn encode_shred(installation: &[u8; 16], shred: &Shred) -> Vec<u8> {
    let at = shred.requested_at.to_be_bytes();
    [
        installation.as_slice(),
        shred.id.as_bytes(),
        &at,
        shred.owner.as_bytes(),
    ]
    .concat()
}

fn decode_shred(payload: &[u8]) -> Option<([u8; 16], Shred)> {
    let (installation, rest) = payload.split_first_chunk::<16>()?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (at, owner) = rest.split_first_chunk::<8>()?;
    let owner = (!owner.is_empty()).then(|| CanonicalId::from_bytes(owner))?;
    let (id, at) = (ShredId::from_bytes(*id), i64::from_be_bytes(*at));
    Some((*installation, Shred::requested(owner, id, at)))
}

fn decode_installation(payload: &[u8]) -> Option<([u8; 16], u64)> {
    let (id, epoch) = payload.split_first_chunk::<16>()?;
    let epoch = epoch.try_into().ok().map(u64::from_be_bytes)?;
    Some((*id, epoch))
}

#[cfg(test)]
pub(super) mod tests;
