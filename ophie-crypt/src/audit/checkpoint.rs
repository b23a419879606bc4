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
        let moved = heads.iter().filter(|head| !done.vouched.contains(head));
        let payload = encode(moved);
        if payload.is_empty() {
            return Ok(());
        }
        let known = match done.last {
            Some(head) => head,
            None => self.ledger.head().await?,
        };
        let mut head = known;
        for _ in 0..TRIES {
            match self.ledger.append(&head, KIND, &payload).await {
                Ok(head) => {
                    *done = Done {
                        vouched: heads,
                        last: Some(head),
                    };
                    return Ok(());
                }
                Err(LedgerError::Moved { .. }) => {
                    sleep(jitter()?).await;
                    head = self.ledger.head().await?;
                    self.leads_through(&known).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(LedgerError::unavailable("others kept adding entries"))
    }
}

impl Checkpoints {
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

fn encode<'a>(heads: impl Iterator<Item = &'a Head>) -> Vec<u8> {
    heads.fold(Vec::new(), |mut bytes, head| {
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
