//! A ledger that answers in time, or counts as unreachable.
//!
//! Invariant: each call ends. Absent: what else takes its time: the key store, entries by the million.

use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::timeout;

use crate::ledger::{Ledger, LedgerEntry, LedgerError, LedgerHead};

/// Over a ledger that may hang.
#[derive(Debug)]
pub(super) struct InTime {
    ledger: Arc<dyn Ledger>,
    within: Duration,
}

impl InTime {
    pub(super) fn over(ledger: impl Ledger, within: Duration) -> Self {
        Self {
            ledger: Arc::new(ledger),
            within,
        }
    }

    async fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, LedgerError>>,
    ) -> Result<T, LedgerError> {
        let silent = |_| {
            let seconds = self.within.as_secs();
            Err(LedgerError::unavailable(format!(
                "no answer within {seconds} seconds"
            )))
        };
        timeout(self.within, answer).await.unwrap_or_else(silent)
    }
}

#[async_trait]
impl Ledger for InTime {
    async fn head(&self) -> Result<LedgerHead, LedgerError> {
        self.wait(self.ledger.head()).await
    }

    async fn append(
        &self,
        expected: &LedgerHead,
        kind: &str,
        payload: &[u8],
    ) -> Result<LedgerHead, LedgerError> {
        self.wait(self.ledger.append(expected, kind, payload)).await
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Vec<LedgerEntry>, LedgerError> {
        self.wait(self.ledger.read(after, limit)).await
    }
}
