//! What everybody reads, after each turn.
//!
//! Invariant: a row is read again once it was written, or once its reader goes by another state: nothing else changes what
//! it reads. Absent: turns.

use std::sync::{Arc, atomic::Ordering::SeqCst};

use super::{
    super::{
        super::{SoakError, SoakState},
        guard::Row,
    },
    database::{Database, Value},
    fault::{Fault, Seen},
    model::Release,
    process::Process,
};
use crate::error::Error;

/// What was checked last.
#[derive(Default)]
pub(super) struct Checked {
    stamp: u64,
    version: i64,
    old: Option<u64>,
}

impl Checked {
    pub(super) fn check(
        &mut self,
        database: &Database,
        processes: &[Arc<Process>],
        old: bool,
    ) -> Result<(), Fault> {
        states(database, processes)?;
        if (self.stamp, self.version) != (database.stamp, database.soak.version) {
            gone(database)?;
            every_row(database)?;
            (self.stamp, self.version) = (database.stamp, database.soak.version);
        }
        for process in processes.iter().filter(|process| !process.is_suspended()) {
            reads(database, process)?;
        }
        let old_reads = old && database.soak.state < SoakState::Retired;
        if !old_reads {
            self.old = None;
        } else if self.old != Some(database.stamp) {
            let before = self.old.replace(database.stamp).unwrap_or_default();
            for (key, value, row) in pairs(database, before) {
                if row.plain.as_deref() != value.text.as_ref().map(String::as_bytes) {
                    let what = format!("{key} is {row:?}, and was written as {value:?}");
                    return Err(Fault::new(Seen::OldRead, what));
                }
            }
        }
        Ok(())
    }
}

/// At most two adjacent ones.
fn states(database: &Database, processes: &[Arc<Process>]) -> Result<(), Fault> {
    let mut live = vec![database.soak.state];
    live.extend(processes.iter().filter_map(|process| process.state()));
    live.sort_unstable();
    live.dedup();
    match live.as_slice() {
        [_] => Ok(()),
        [a, b] if a.next() == Some(*b) => Ok(()),
        _ => Err(Fault::new(Seen::States, format!("{live:?}"))),
    }
}

/// No plaintext where it went.
fn gone(database: &Database) -> Result<(), Fault> {
    // A step back that was cut off has opened the column again.
    let emptied = (database.closed && database.emptied == Some(database.soak.version))
        || database.soak.state == SoakState::Dropped;
    for (key, row) in database.behind(None) {
        let swept = database.swept.contains(&row.owner);
        if row.plain.is_some() && (emptied || swept) {
            let what = format!("{key} is {row:?} in {}", database.soak.state);
            return Err(Fault::new(Seen::CameBack, what));
        }
    }
    Ok(())
}

/// Rows that were written are there, and no others.
fn every_row(database: &Database) -> Result<(), Fault> {
    let alive = |row: &Row| !database.buried.contains(&row.owner);
    let there = database.behind(None).filter(|(_, row)| alive(row));
    let there: Vec<(i64, i64)> = there.map(|(key, row)| (key, row.owner)).collect();
    let written = database.written.iter();
    let written: Vec<(i64, i64)> = written.map(|(key, value)| (*key, value.owner)).collect();
    if there == written {
        return Ok(());
    }
    Err(Fault::new(
        Seen::Read,
        format!("{there:?} are there of {written:?}"),
    ))
}

/// Rows that were committed since then, with what was written to them.
fn pairs(database: &Database, since: u64) -> impl Iterator<Item = (i64, &Value, &Row)> {
    let rows = database
        .rows
        .iter()
        .filter(move |(_, stored)| stored.stamp > since);
    rows.filter_map(|(key, stored)| {
        let value = database.written.get(key)?;
        Some((*key, value, &stored.row))
    })
}

fn reads(database: &Database, process: &Process) -> Result<(), Fault> {
    let now = process.state();
    let mut read = process.read.lock().unwrap();
    if *read == (database.stamp, now) {
        return Ok(());
    }
    let since = if read.1 == now { read.0 } else { 0 };
    *read = (database.stamp, now);
    drop(read);
    let up = now.is_some_and(|state| state >= process.release.floor());
    let was_up = process.was_up.fetch_or(up, SeqCst);
    if process.release == Release::Twinless && (now.is_none() || !(was_up || up)) {
        return Ok(()); // it reads no state, and is stopped; or `SoakWatch::start` does not let it start
    }
    // Nobody waits for a process that is started below its floor, or that starts or wakes up behind the look at
    // heartbeats: it says so, or that a column is gone.
    let lives_since = database.lives_since.get(process.watch.process().as_bytes());
    let was_looked_at = was_up && lives_since.is_some_and(|since| *since <= database.looked_at);
    for (key, value, row) in pairs(database, since) {
        let fault = |what: String| Err(Fault::new(Seen::Read, format!("{key} in {now:?}: {what}")));
        let knows = process.release != Release::Twinless;
        if knows && up && !database.has_twin {
            match was_looked_at {
                true => return fault("the column is gone".to_owned()),
                false => continue,
            }
        }
        match process.reads(row) {
            None => {}
            Some(Ok(text)) if up && text == value.text => {}
            Some(Ok(text)) => return fault(format!("{text:?} instead of {value:?}, {row:?}")),
            Some(Err(Error::Soak(SoakError::Stale { .. }))) if now.is_none() => continue,
            Some(Err(Error::Soak(SoakError::BelowFloor { .. }))) if !up && !was_looked_at => {
                continue;
            }
            Some(Err(error)) => return fault(format!("{error:?} instead of {value:?}, {row:?}")),
        }
        // In `Plain` nothing empties a fingerprint beside plaintext that changed.
        let is_guarded = database.soak.state > SoakState::Plain;
        if let Some(state) = now.filter(|state| is_guarded && *state > SoakState::Plain)
            && !is_found(state, knows, value, row)
        {
            return fault(format!("{value:?} is not found in {row:?}"));
        }
    }
    Ok(())
}

/// By a look-up of its value: `lookup`, or the fingerprint alone where the release knows no plaintext.
fn is_found(state: SoakState, knows: bool, value: &Value, row: &Row) -> bool {
    match (&value.fingerprint, &row.fingerprint) {
        (None, _) if value.text.is_some() => true, // its owner's keys have gone
        (None, found) => found.is_none(),          // NULL is equal to nothing
        (written, Some(found)) => written.as_ref() == Some(found),
        (Some(_), None) => {
            let text = value.text.as_ref().map(String::as_bytes);
            knows && state.writes_twin() && row.plain.as_deref() == text
        }
    }
}
