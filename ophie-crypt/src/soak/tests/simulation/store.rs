//! The table in memory as a store: what watches and tools ask it for.
//!
//! Absent: statements of steps (`steps`) and of jobs (`jobs`).

use core::fmt;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use async_trait::async_trait;

use super::{
    super::super::{
        Beat, Decrypted, Heartbeat, Rows, SoakColumn, SoakMigration, SoakPass, SoakProcess,
        SoakRow, SoakState, SoakStore, SoakedRow,
    },
    database::{Database, is_any_sealed, is_pending},
    protections::Protection,
    world::World,
};
use crate::{
    column::ColumnRef,
    model::Models,
    owner::CanonicalId,
    store::{ModelError, unasked::only_models},
};

/// For how long a heartbeat counts, in microseconds.
pub(super) const LIVES: i64 = 30_000_000;

/// What becomes of what a process says and asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Up,
    /// Nothing gets there.
    Down,
    /// It gets there, and no answer comes back.
    Deaf,
    /// It gets there once the wire is up.
    Hangs,
}

/// A connection to the database.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) world: Arc<World>,
    models: Models,
    wire: Arc<Mutex<Wire>>,
    /// When heartbeats were looked at through it.
    pub(super) looked_at: Arc<AtomicU64>,
    /// Whether it lies where a protection is switched off.
    lies: bool,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

impl Handle {
    pub(super) fn of_process(world: &Arc<World>, models: Models, wire: &Arc<Mutex<Wire>>) -> Self {
        Self {
            world: Arc::clone(world),
            models,
            wire: Arc::clone(wire),
            looked_at: Arc::default(),
            lies: false,
        }
    }

    pub(super) fn of_tool(world: &Arc<World>, models: Models) -> Self {
        Self {
            lies: true,
            ..Self::of_process(world, models, &Arc::new(Mutex::new(Wire::Up)))
        }
    }

    fn wire(&self) -> Wire {
        *self.wire.lock().unwrap()
    }

    /// One statement that waits for nobody.
    pub(super) async fn call<T>(
        &self,
        run: impl FnOnce(&mut Database) -> T + Send,
    ) -> Result<T, ModelError> {
        self.world.turn().await;
        while self.wire() == Wire::Hangs {
            self.world.turn().await;
        }
        if self.wire() == Wire::Down {
            return Err(ModelError::unavailable("down"));
        }
        let done = run(&mut self.world.database());
        self.world.turn().await;
        if self.wire() == Wire::Deaf {
            return Err(ModelError::unavailable("deaf"));
        }
        Ok(done)
    }

    fn is_off(&self, database: &Database, protection: Protection) -> bool {
        self.lies && !database.without.has(protection)
    }
}

/// Whether a row is one of these.
pub(super) fn is_of(database: &Database, row: &super::super::guard::Row, rows: Rows) -> bool {
    match rows {
        Rows::All => is_any(database, row),
        Rows::Undecrypted => {
            row.plain.is_none() && row.sealed.is_some() && !database.buried.contains(&row.owner)
        }
        Rows::Pending => is_pending(row),
        Rows::WithTwin => row.plain.is_some(),
    }
}

/// Whether it is not NULL everywhere, without what nothing opens any more.
fn is_any(database: &Database, row: &super::super::guard::Row) -> bool {
    row.plain.is_some() || (is_any_sealed(row) && !database.buried.contains(&row.owner))
}

pub(super) fn soaked(key: i64, row: &super::super::guard::Row) -> SoakedRow {
    SoakedRow {
        key: key.to_string(),
        owner: CanonicalId::integer(row.owner),
        plain: row.plain.clone().map(Into::into),
        sealed: row.sealed.clone(),
        fingerprints: vec![row.fingerprint.clone()],
    }
}

only_models!(Handle);

#[async_trait]
impl SoakStore for Handle {
    async fn soaks(&self) -> Result<Vec<SoakRow>, ModelError> {
        self.call(|database| {
            let mut row = database.soak.clone();
            row.admits_old &= !self.is_off(database, Protection::NoOldBinaries);
            if self.is_off(database, Protection::Verified) {
                row.verified = Some(row.version);
            }
            database.known.then_some(row).into_iter().collect()
        })
        .await
    }

    async fn beat(&self, process: SoakProcess, beats: &[Beat]) -> Result<(), ModelError> {
        let Some(beat) = beats.first().copied() else {
            return Ok(()); // the database is not asked
        };
        self.call(|database| {
            let ahead = !database.without.has(Protection::AppliesFirst);
            let heartbeat = Heartbeat {
                process,
                beat_at: database.now,
                lives: true,
                version: if ahead {
                    database.soak.version
                } else {
                    beat.version
                },
                knows_twin: beat.knows_twin,
                floor: beat.floor,
                pending: beat.pending,
                odd: beat.odd,
            };
            let stamp = database.next();
            let mut all = database.beats.iter_mut();
            let before = all.find(|found| found.process == process);
            let said = database.said_at.insert(process.0, database.elapsed);
            let expired = said.is_none_or(|said| database.elapsed - said >= LIVES);
            if before.is_none() || expired {
                database.lives_since.insert(process.0, stamp);
            }
            match before {
                Some(found) => *found = heartbeat,
                None => database.beats.push(heartbeat),
            }
        })
        .await
    }

    async fn leave(&self, process: SoakProcess) -> Result<(), ModelError> {
        self.call(|database| {
            let beats = &mut database.beats;
            beats.retain(|beat| beat.process != process || beat.odd > 0);
            for beat in beats.iter_mut().filter(|beat| beat.process == process) {
                beat.beat_at = 0;
            }
        })
        .await
    }

    async fn heartbeats(&self, _: &ColumnRef) -> Result<Vec<Heartbeat>, ModelError> {
        self.call(|database| {
            let off = |protection| self.is_off(database, protection);
            let read = |beat: &Heartbeat| {
                let mut beat = *beat;
                beat.lives = database.now - beat.beat_at <= LIVES;
                if off(Protection::Deaths) && !beat.lives {
                    beat.beat_at = 0;
                }
                if off(Protection::Acknowledged) {
                    beat.version = database.soak.version;
                }
                if off(Protection::Floor) {
                    (beat.floor, beat.knows_twin) = (SoakState::Plain, true);
                }
                beat.knows_twin &= !off(Protection::TwinUnknown);
                if off(Protection::Quiet) {
                    beat.odd = 0;
                }
                beat
            };
            let beats = database.beats.iter().map(read).collect();
            self.looked_at.store(database.next(), SeqCst);
            beats
        })
        .await
    }

    async fn expand(&self, _: &SoakColumn) -> Result<bool, ModelError> {
        self.expanding().await
    }

    async fn expansion(&self, _: &SoakColumn) -> Result<SoakMigration, ModelError> {
        unreachable!("nobody asks for it here")
    }

    async fn step(
        &self,
        _: &SoakColumn,
        from: &SoakRow,
        to: SoakState,
    ) -> Result<bool, ModelError> {
        self.stepping(from, to).await
    }

    async fn close(&self, _: &SoakColumn, from: &SoakRow) -> Result<bool, ModelError> {
        self.closing(from).await
    }

    async fn admit_old(
        &self,
        _: &SoakColumn,
        from: &SoakRow,
        admit: bool,
    ) -> Result<bool, ModelError> {
        self.admitting(from, admit).await
    }

    async fn pass(&self, _: &SoakColumn) -> Result<Box<dyn SoakPass>, ModelError> {
        self.passing().await
    }

    async fn empty_buried(&self, _: &SoakColumn, limit: u32) -> Result<u64, ModelError> {
        self.emptying_buried(limit).await
    }

    async fn empty_sealed(
        &self,
        _: &SoakColumn,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, ModelError> {
        self.unsealing(after, limit).await
    }

    async fn rewind(&self, _: &SoakColumn) -> Result<(), ModelError> {
        self.call(|database| {
            if let Some(cursor) = &mut database.cursor {
                cursor.position = None;
            }
        })
        .await
    }

    async fn count(&self, _: &SoakColumn, rows: Rows) -> Result<u64, ModelError> {
        self.call(|database| {
            let gate = match rows {
                Rows::All => None,
                Rows::Undecrypted => Some(Protection::Decrypted),
                Rows::Pending => Some(Protection::NothingPending),
                Rows::WithTwin => Some(Protection::Emptied),
            };
            let lies = gate.is_some_and(|gate| self.is_off(database, gate));
            if lies || !database.has_twin {
                return 0;
            }
            let all = database.behind(None);
            let found = all.filter(|(_, row)| is_of(database, row, rows)).count();
            u64::try_from(found).unwrap()
        })
        .await
    }

    async fn page(
        &self,
        _: &SoakColumn,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<SoakedRow>, ModelError> {
        self.call(|database| {
            let rows = database.behind(after);
            let rows = rows.filter(|(_, row)| is_any(database, row));
            let rows = rows.take(limit.try_into().unwrap());
            rows.map(|(key, row)| soaked(key, row)).collect()
        })
        .await
    }

    async fn reread(&self, _: &SoakColumn, key: &str) -> Result<Option<SoakedRow>, ModelError> {
        self.reading(key.parse().unwrap()).await
    }

    async fn verified(&self, _: &SoakColumn, version: i64, clean: bool) -> Result<(), ModelError> {
        self.verifying(version, clean).await
    }

    async fn empty(&self, _: &SoakColumn, limit: u32) -> Result<Option<u64>, ModelError> {
        self.emptying(limit).await
    }

    async fn decrypted(&self, _: &SoakColumn, rows: Vec<Decrypted>) -> Result<u64, ModelError> {
        self.decrypting(rows).await
    }

    async fn drop_twin(&self, _: &SoakColumn, from: &SoakRow) -> Result<bool, ModelError> {
        self.dropping(from).await
    }

    async fn rewrite(&self, _: &SoakColumn) -> Result<(), ModelError> {
        self.call(|_| ()).await
    }

    fn residue(&self) -> &'static [&'static str] {
        &[]
    }
}
