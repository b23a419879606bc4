//! Several processes on one PostgreSQL, with one KMS: races, kills, outages, removals.
//!
//! The processes are `worker/`; what they did is read from the database, from the KMS's log and from files
//! that they append to. Needs the servers that `tests/run` starts. Absent: one process alone (`kms/`).

#![cfg(test)]
#![allow(
    clippy::arithmetic_side_effects,
    reason = "counts of processes and rows, far from any limit"
)]

mod audited;
mod budgets;
mod cold_start;
mod journal;
mod kills;
mod kms;
mod late;
mod meeting;
mod outages;
mod proxy;
mod reindexing;
mod removal;
mod rotation;
mod shredding;
mod sqlite;
mod workers;

use std::{fmt, io::Write};

use tokio::sync::{Mutex, MutexGuard};

/// Held by tests that keep the machine busy: two at once, and one's time-outs would be the other's doing.
async fn busy() -> MutexGuard<'static, ()> {
    static BUSY: Mutex<()> = Mutex::const_new(());
    BUSY.lock().await
}

/// Shows what was measured, also of a test that passes.
fn tell(what: fmt::Arguments<'_>) {
    writeln!(std::io::stderr(), "    {what}").expect("standard error takes a line");
}
