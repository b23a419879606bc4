//! The end of an owner's data: its keys, then everything that the keys do not cover, and the memory that outlives a
//! restore.
//!
//! Invariant: keys are destroyed first; a receipt exists only once the ledger has the owner; what was put back by a
//! restore is destroyed again before any key is unwrapped. Absent: SQL (the adapters), ledgers (`ledger`).

mod builder;
mod entry;
mod guard;
mod in_time;
mod receipt;
mod record;
mod round;
mod shares;
mod shredder;
mod store;
#[cfg(test)]
mod tests;
mod tombstones;

pub use self::{
    builder::{ShredderBuilder, ShredderError},
    guard::{RestoreError, RestoreGuard, restore_adopt, restore_replay},
    receipt::{Receipt, ReceiptError, SignedReceipt},
    record::{Installation, Residue, Shred, ShredId, ShredStep, Shreds},
    shredder::{Shredder, ShredderTask, Worked},
    store::{RowStore, ShredStore},
};
