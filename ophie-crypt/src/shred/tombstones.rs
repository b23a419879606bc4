//! Tombstones on the rows of a shredded owner.
//!
//! Invariant: a row that was being written when its owner was buried is tombstoned too, or it is not said that all are.
//! Absent: when it is done, and what else (`shredder`).

use core::time::Duration;
use std::sync::Arc;

use tokio::time::sleep;

use super::store::RowStore;
use crate::{owner::CanonicalId, store::ModelError};

/// Rows in one statement.
const BATCH: u32 = 1000;
/// How often one looks whether those who write have ended, and how long between two looks.
const LOOKS: (u32, Duration) = (40, Duration::from_millis(50));

/// In all tables, of every application.
pub(super) async fn tombstone(
    all: &[Arc<dyn RowStore>],
    owner: &CanonicalId,
) -> Result<(), ModelError> {
    for rows in all {
        rows.bury(owner).await?;
        // Who wrote before that may not have seen it, and its rows are passed over until they are committed.
        let writers = rows.writers().await?;
        tombstone_in(&**rows, owner).await?;
        if !writers.is_empty() {
            ended(&**rows, &writers).await?;
            tombstone_in(&**rows, owner).await?;
        }
    }
    Ok(())
}

async fn tombstone_in(rows: &dyn RowStore, owner: &CanonicalId) -> Result<(), ModelError> {
    // Also where rows are kept: what is kept of them is not the plaintext of an encrypted column.
    let kept = rows.models().kept().map(|(table, _)| table);
    for table in rows.models().deleted_tables().chain(kept) {
        while rows.tombstone(owner, table, BATCH).await? > 0 {}
    }
    Ok(())
}

/// Waits for transactions, not for long: it is tried again.
async fn ended(rows: &dyn RowStore, writers: &[String]) -> Result<(), ModelError> {
    for _ in 0..LOOKS.0 {
        let now = rows.writers().await?;
        if !now.iter().any(|writer| writers.contains(writer)) {
            return Ok(());
        }
        sleep(LOOKS.1).await;
    }
    Err(ModelError::Busy)
}

#[cfg(test)]
mod tests;
