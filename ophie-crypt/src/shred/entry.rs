//! What the ledger says of shreds and of the installation, and a copy of it in memory.
//!
//! Invariant: a view is a prefix of one ledger whose every hash was checked; it never goes back.
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
    /// The first installation's id, and its last epoch.
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

    pub(super) fn shreds(&self) -> impl Iterator<Item = &Shred> {
        self.shreds.values()
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
                let mut shred = decode_shred(entry.payload()).ok_or_else(damaged)?;
                shred.entry = Some(position);
                self.shreds.entry(shred.owner.clone()).or_insert(shred);
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
    ) -> Result<u64, LedgerError> {
        let payload = encode_shred(installation, shred);
        for _ in 0..TRIES {
            self.follow(ledger).await?;
            if let Some(entry) = self.shred(&shred.owner).and_then(|known| known.entry) {
                return Ok(entry);
            }
            match ledger.append(&self.head, SHRED, &payload).await {
                Ok(_) | Err(LedgerError::Moved { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(LedgerError::unavailable("others kept adding entries"))
    }

    /// Says which installation, in which epoch.
    pub(super) async fn add_installation(
        &mut self,
        ledger: &dyn Ledger,
        id: &[u8; 16],
        epoch: u64,
    ) -> Result<(), LedgerError> {
        let payload = [id.as_slice(), &epoch.to_be_bytes()].concat();
        for _ in 0..TRIES {
            self.follow(ledger).await?;
            match self.installation {
                Some((first, _)) if first != *id => {
                    return Err(LedgerError::unavailable("it is another key store's"));
                }
                Some((_, last)) if last >= epoch => return Ok(()),
                _ => {}
            }
            match ledger.append(&self.head, INSTALLATION, &payload).await {
                Ok(_) | Err(LedgerError::Moved { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(LedgerError::unavailable("others kept adding entries"))
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

fn decode_shred(payload: &[u8]) -> Option<Shred> {
    let (_, rest) = payload.split_first_chunk::<16>()?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (at, owner) = rest.split_first_chunk::<8>()?;
    let owner = (!owner.is_empty()).then(|| CanonicalId::from_bytes(owner))?;
    let (id, at) = (ShredId::from_bytes(*id), i64::from_be_bytes(*at));
    Some(Shred::requested(owner, id, at))
}

fn decode_installation(payload: &[u8]) -> Option<([u8; 16], u64)> {
    let (id, epoch) = payload.split_first_chunk::<16>()?;
    let epoch = epoch.try_into().ok().map(u64::from_be_bytes)?;
    Some((*id, epoch))
}
