//! Checkpoints: heads of chains in the ledger.
//!
//! Invariant: a head that was not taken by the ledger is tried again with the next checkpoint; it goes only
//! behind the entry before it.
//! Absent: when (`writer`), what it proves (`verify`).

use core::time::Duration;
use std::sync::Arc;

use tokio::{
    sync::{Mutex, watch},
    time::sleep,
};

use super::chain::{Head, WriterId};
use crate::{
    hazmat::fill_random,
    ledger::{Ledger, LedgerEntry, LedgerError, LedgerHead},
};

/// The kind of a checkpoint's entry.
pub(super) const KIND: &str = "audit-heads";

/// Heads in one entry: ledgers take 64 KiB. There are many where a store refused one chain after another.
const MOST: usize = 1000;
/// Others add entries too.
const TRIES: usize = 64;

pub(super) struct Checkpoints {
    ledger: Arc<dyn Ledger>,
    heads: watch::Receiver<Vec<Head>>,
    done: Mutex<Done>,
}

#[derive(Default)]
struct Done {
    vouched: Vec<Head>,
    last: Option<LedgerHead>,
}

impl Checkpoints {
    pub(super) fn new(ledger: Arc<dyn Ledger>, heads: watch::Receiver<Vec<Head>>) -> Self {
        Self {
            ledger,
            heads,
            done: Mutex::default(),
        }
    }

    /// Until nobody writes any more.
    pub(super) async fn ended(&self) {
        let mut heads = self.heads.clone();
        while heads.changed().await.is_ok() {}
    }

    /// Adds the heads that moved since the last time.
    pub(super) async fn make(&self) -> Result<(), LedgerError> {
        let mut done = self.done.lock().await;
        let heads = self.heads.borrow().clone();
        let mut moved = heads.clone();
        moved.retain(|head| !done.vouched.contains(head));
        for some in moved.chunks(MOST) {
            done.last = Some(self.add(done.last, &encode(some)).await?);
            done.vouched.extend_from_slice(some);
        }
        done.vouched = heads;
        Ok(())
    }

    /// One entry, behind the last that we know.
    async fn add(
        &self,
        last: Option<LedgerHead>,
        payload: &[u8],
    ) -> Result<LedgerHead, LedgerError> {
        let known = match last {
            Some(head) => head,
            None => self.ledger.head().await?,
        };
        let mut head = known;
        for _ in 0..TRIES {
            match self.ledger.append(&head, KIND, payload).await {
                Err(LedgerError::Moved { .. }) => {
                    sleep(jitter()?).await;
                    head = self.ledger.head().await?;
                    self.leads_through(&known).await?;
                }
                added => return added,
            }
        }
        Err(LedgerError::unavailable("others kept adding entries"))
    }

    /// Ours go onto no other ledger, however long it is.
    async fn leads_through(&self, known: &LedgerHead) -> Result<(), LedgerError> {
        let position = known.position();
        let Some(before) = position.checked_sub(1) else {
            return Ok(());
        };
        let entries = self.ledger.read(before, 1).await?;
        if entries.first().map(LedgerEntry::head) == Some(known) {
            return Ok(());
        }
        Err(LedgerError::Forked { position })
    }
}

/// Or the fastest of many would always win.
fn jitter() -> Result<Duration, LedgerError> {
    let mut random = [0; 1];
    fill_random(&mut random).map_err(LedgerError::unavailable)?;
    Ok(Duration::from_micros(80).saturating_mul(u8::from_ne_bytes(random).into()))
}

const HEAD: usize = 16 + 8 + 32;

fn encode(heads: &[Head]) -> Vec<u8> {
    heads.iter().fold(Vec::new(), |mut bytes, head| {
        bytes.extend_from_slice(head.writer.as_bytes());
        bytes.extend_from_slice(&head.seq.to_be_bytes());
        bytes.extend_from_slice(&head.mac);
        bytes
    })
}

/// `None` if it is no checkpoint.
pub(super) fn decode(payload: &[u8]) -> Option<Vec<Head>> {
    let (heads, rest) = payload.as_chunks::<HEAD>();
    let head = |bytes: &[u8; HEAD]| {
        let (writer, rest) = bytes.split_first_chunk::<16>()?;
        let (seq, rest) = rest.split_first_chunk::<8>()?;
        Some(Head {
            writer: WriterId::from_bytes(*writer),
            seq: u64::from_be_bytes(*seq),
            mac: rest.try_into().ok()?,
        })
    };
    let heads = heads.iter().map(head).collect::<Option<_>>();
    heads.filter(|_| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FileLedger;

    /// Whoever may add records can take a process's next place again and again, and so begin its chains.
    #[tokio::test]
    async fn any_number_of_chains_is_vouched_for() {
        let mut id = [0; 16];
        fill_random(&mut id).unwrap();
        let file = std::env::temp_dir().join(format!("ophie-crypt-{}", crate::hex::to_hex(&id)));
        let ledger = Arc::new(FileLedger::open_or_create(&file).unwrap());
        let heads = (0..2500_u64).map(|seq| Head {
            writer: WriterId::from_bytes(id),
            seq,
            mac: [7; 32],
        });
        let heads: Vec<_> = heads.collect();
        let (_tell, told) = watch::channel(heads.clone());
        let checkpoints = Checkpoints::new(Arc::<FileLedger>::clone(&ledger), told);
        checkpoints.make().await.unwrap();
        checkpoints.make().await.unwrap();
        let entries = ledger.read(0, 10).await.unwrap();
        assert_eq!(entries.len(), 3, "one entry for a thousand, each once");
        let stored = entries
            .iter()
            .flat_map(|entry| decode(entry.payload()).unwrap());
        assert!(stored.eq(heads));
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn who_was_late_waits_for_another_time_than_others() {
        let waits: Vec<_> = (0..64).map(|_| jitter().unwrap()).collect();
        assert!(waits.iter().any(|time| *time != waits[0]));
        assert!(waits.iter().all(|time| *time < Duration::from_millis(21)));
    }
}
