//! A table in memory as its triggers, locks and transactions make it, and the library's tables beside it.
//!
//! Invariant: a row is read as it was committed, and written by who holds its lock. Absent: what the library's statements do
//! (`steps`, `rows`), turns.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{
        super::{Heartbeat, SoakRow, SoakState},
        guard::{Refusal, Row, Told, is_closed_to, mended, refusals},
    },
    model::{COLUMN, TABLE, TWIN},
    protections::{Protection, Without},
};

/// How a database locks, and from where its guard knows the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Each statement on triggers counts at once; who writes the table holds its state.
    MariaDb,
    /// The guard is told; a step that changes no trigger locks nothing.
    Postgres,
    /// One writer at a time.
    Sqlite,
}

/// What was written last, to whoever reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) owner: i64,
    pub(super) text: Option<String>,
    pub(super) fingerprint: Option<Vec<u8>>,
}

/// A committed row.
pub(super) struct Stored {
    pub(super) row: Row,
    /// When: no two commits have the same.
    pub(super) stamp: u64,
}

#[derive(Default)]
pub(super) struct Tx {
    changed: BTreeMap<i64, Option<Row>>,
    locks: BTreeSet<i64>,
    meant: Vec<(i64, Option<Value>)>,
}

pub(super) struct Cursor {
    pub(super) position: Option<String>,
    pub(super) since: i64,
}

pub(super) struct Database {
    pub(super) kind: Kind,
    pub(super) without: Without,
    /// In microseconds.
    pub(super) now: i64,
    /// Whether its clock was set.
    pub(super) is_set: bool,
    /// How much time has passed, in microseconds, whatever its clock says.
    pub(super) elapsed: i64,
    pub(super) rows: BTreeMap<i64, Stored>,
    /// Whether the library's tables have the soak.
    pub(super) known: bool,
    pub(super) soak: SoakRow,
    pub(super) closed: bool,
    /// Whether `Sealed` was stepped back to, which the library's tables do not say.
    pub(super) is_back: bool,
    pub(super) told: (Told, u64),
    pub(super) guard: bool,
    pub(super) refusing: bool,
    pub(super) has_twin: bool,
    pub(super) cursor: Option<Cursor>,
    pub(super) beats: Vec<Heartbeat>,
    /// Since which stamp a process says that it lives.
    pub(super) lives_since: BTreeMap<[u8; 16], u64>,
    /// After how much time it said so last.
    pub(super) said_at: BTreeMap<[u8; 16], i64>,
    /// When the tool that took the last step had looked at heartbeats.
    pub(super) looked_at: u64,
    pub(super) buried: BTreeSet<i64>,
    /// Owners whose rows a shred has taken, while triggers stood.
    pub(super) swept: BTreeSet<i64>,
    /// How often the triggers went.
    pub(super) bared: u64,
    /// Whether all plaintext went, in this version of `Retired`.
    pub(super) emptied: Option<i64>,
    pub(super) txs: BTreeMap<u64, Tx>,
    pub(super) locked_by: Option<u64>,
    /// Whether the next batch is ended to solve a deadlock.
    pub(super) deadlock: bool,
    pub(super) written: BTreeMap<i64, Value>,
    pub(super) stamp: u64,
}

/// Why a statement was not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    By(Refusal),
    /// It names a column that is gone.
    NoColumn,
}

impl Database {
    pub(super) fn new(kind: Kind, state: SoakState, without: Without) -> Self {
        let told = Told {
            state,
            admits_old: state < SoakState::Retired,
        };
        Self {
            kind,
            without,
            now: 1_000_000_000,
            is_set: false,
            elapsed: 0,
            rows: BTreeMap::new(),
            known: state > SoakState::Plain,
            soak: SoakRow {
                table: TABLE.to_owned(),
                column: COLUMN.to_owned(),
                twin: TWIN.to_owned(),
                state,
                version: 7,
                since: 7,
                admits_old: told.admits_old,
                verified: None,
                filled: 0,
            },
            closed: false,
            is_back: state == SoakState::Sealed,
            told: (told, 0),
            guard: SoakState::Expand <= state && state <= SoakState::Retired,
            refusing: false,
            has_twin: state < SoakState::Dropped,
            cursor: None,
            beats: Vec::new(),
            lives_since: BTreeMap::new(),
            said_at: BTreeMap::new(),
            looked_at: 0,
            buried: BTreeSet::new(),
            swept: BTreeSet::new(),
            bared: 0,
            emptied: None,
            txs: BTreeMap::new(),
            locked_by: None,
            deadlock: false,
            written: BTreeMap::new(),
            stamp: 0,
        }
    }

    /// A number that nothing has had.
    pub(super) const fn next(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }

    pub(super) fn begin(&mut self) -> u64 {
        let id = self.next();
        self.txs.insert(id, Tx::default());
        id
    }

    fn others(&self, id: u64) -> impl Iterator<Item = &Tx> {
        let all = self.txs.iter();
        all.filter(move |(other, _)| **other != id)
            .map(|(_, tx)| tx)
    }

    /// Whether somebody else has written in a transaction that goes on.
    pub(super) fn others_write(&self, id: u64) -> bool {
        self.others(id).any(|tx| !tx.locks.is_empty())
    }

    /// Takes a row's lock, if nobody else has it.
    pub(super) fn try_lock(&mut self, id: u64, key: i64) -> bool {
        let kept_out = self.locked_by.is_some_and(|by| by != id);
        let alone = self.kind == Kind::Sqlite && self.others_write(id);
        let held = self.others(id).any(|tx| tx.locks.contains(&key));
        let free = !(kept_out || alone || held);
        if free && let Some(tx) = self.txs.get_mut(&id) {
            tx.locks.insert(key);
        }
        free
    }

    /// Locks the table, if nobody writes it.
    pub(super) fn try_lock_table(&mut self, id: u64) -> bool {
        let waits = self.without.has(Protection::KeepsOut) && self.others_write(id);
        let free = self.locked_by.is_none() && !waits;
        if free {
            self.locked_by = Some(id);
        }
        free
    }

    /// A row as a transaction sees it.
    pub(super) fn seen(&self, id: u64, key: i64) -> Option<Row> {
        let changed = self.txs.get(&id).and_then(|tx| tx.changed.get(&key));
        let committed = || self.rows.get(&key).map(|stored| stored.row.clone());
        changed.map_or_else(committed, Clone::clone)
    }

    /// What the guard goes by.
    fn told(&self) -> Told {
        match self.kind {
            Kind::Postgres => self.told.0,
            Kind::MariaDb | Kind::Sqlite => Told {
                state: self.soak.state,
                admits_old: self.soak.admits_old,
            },
        }
    }

    /// Writes a row whose lock the transaction has, as far as the triggers let it; `None` deletes it.
    pub(super) fn write(&mut self, id: u64, key: i64, new: Option<Row>) -> Result<(), Refused> {
        let row = match new {
            Some(new) => {
                let old = self.seen(id, key);
                Some(self.admitted(old.as_ref(), new)?)
            }
            None => None,
        };
        if let Some(tx) = self.txs.get_mut(&id) {
            tx.changed.insert(key, row);
        }
        Ok(())
    }

    fn admitted(&self, old: Option<&Row>, mut new: Row) -> Result<Row, Refused> {
        if self.guard && self.without.has(Protection::Guard) {
            let (told, buried) = (self.told(), self.buried.contains(&new.owner));
            let mut refusals = refusals(told, buried, old, &new);
            let stands = |refusal: &Refusal| self.without.has(Protection::Refusal(*refusal));
            if let Some(refusal) = refusals.find(stands) {
                return Err(Refused::By(refusal));
            }
            new = mended(told, old, new);
        }
        let refuses = self.refusing && self.without.has(Protection::RefusingTrigger);
        if refuses && is_closed_to(old, &new) {
            return Err(Refused::By(Refusal::Retired));
        }
        Ok(new)
    }

    /// What the transaction has written to whoever reads it.
    pub(super) fn means(&mut self, id: u64, key: i64, value: Option<Value>) {
        if let Some(tx) = self.txs.get_mut(&id) {
            tx.meant.push((key, value));
        }
    }

    pub(super) fn commit(&mut self, id: u64) {
        let Some(tx) = self.txs.remove(&id) else {
            return;
        };
        for (key, row) in tx.changed {
            let stamp = self.next();
            match row {
                Some(row) => self.rows.insert(key, Stored { row, stamp }),
                None => self.rows.remove(&key),
            };
        }
        for (key, value) in tx.meant {
            match value.filter(|value| !self.buried.contains(&value.owner)) {
                Some(value) => self.written.insert(key, value),
                None => self.written.remove(&key),
            };
        }
    }

    /// It ends, by itself or because whoever had it is no more.
    pub(super) fn roll_back(&mut self, id: u64) {
        self.txs.remove(&id);
        if self.locked_by == Some(id) {
            self.locked_by = None;
        }
    }

    /// Tells the guard what it goes by, where it does not read it.
    pub(super) const fn tell(&mut self, state: SoakState, admits_old: bool) -> u64 {
        let by = self.next();
        self.told = (Told { state, admits_old }, by);
        by
    }

    /// Since when triggers stand, if they do.
    pub(super) fn is_guarded_since(&self) -> Option<u64> {
        (self.soak.state > SoakState::Plain).then_some(self.bared)
    }

    /// The committed rows behind a key.
    pub(super) fn behind(&self, after: Option<&str>) -> impl Iterator<Item = (i64, &Row)> {
        let after = after.map_or(i64::MIN, |after| after.parse::<i64>().unwrap() + 1);
        let rows = self.rows.range(after..);
        rows.map(|(key, stored)| (*key, &stored.row))
    }
}

/// For whoever looks at one interleaving.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let soak = &self.soak;
        let (state, version, old) = (soak.state, soak.version, soak.admits_old);
        let verified = soak.verified;
        writeln!(
            f,
            "{:?}: {state} {version}, old: {old}, verified: {verified:?}, told: {:?}, guard: {}, refusing: {}, closed: {}",
            self.kind, self.told, self.guard, self.refusing, self.closed
        )?;
        for (key, stored) in &self.rows {
            let text = |bytes: &Option<Vec<u8>>| {
                bytes
                    .as_deref()
                    .map(String::from_utf8_lossy)
                    .map(String::from)
            };
            let short = |bytes: &Option<Vec<u8>>| {
                bytes
                    .as_deref()
                    .map(|bytes| bytes[bytes.len() - 2..].to_vec())
            };
            let (row, value) = (&stored.row, self.written.get(key));
            writeln!(
                f,
                "    {key} of {}: {:?} {:?} {:?}, written {:?}",
                row.owner,
                text(&row.plain),
                short(&row.sealed),
                short(&row.fingerprint),
                value.map(|value| (value.owner, &value.text))
            )?;
        }
        for (id, tx) in &self.txs {
            writeln!(f, "    {id} has {:?}", tx.locks)?;
        }
        Ok(())
    }
}

pub(super) const fn is_pending(row: &Row) -> bool {
    row.plain.is_some() && (row.sealed.is_none() || row.fingerprint.is_none())
}

pub(super) const fn is_any_sealed(row: &Row) -> bool {
    row.sealed.is_some() || row.fingerprint.is_some()
}
