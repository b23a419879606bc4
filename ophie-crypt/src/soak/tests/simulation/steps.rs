//! Steps, as the library's statements take them on each database (`ophie-crypt-sql/src/soak/{steps,barrier,expanding}.rs`).
//!
//! Invariant: between two statements that count by themselves there, others have their turns here. Absent: rows (`jobs`).

use std::sync::atomic::Ordering::SeqCst;

use super::{
    super::super::{Heartbeat, SoakRow, SoakState},
    database::{Database, Kind, is_pending},
    protections::Protection,
    store::{Handle, LIVES},
    world::Transaction,
};
use crate::{soak::Rows, store::ModelError};

/// A state, and whether old binaries are admitted.
type Told = (SoakState, bool);
type Hindrance = fn(&Database) -> bool;

fn pending(database: &Database) -> bool {
    database.behind(None).any(|(_, row)| is_pending(row))
}

fn undecrypted(database: &Database) -> bool {
    let mut rows = database.behind(None);
    rows.any(|(_, row)| super::store::is_of(database, row, Rows::Undecrypted))
}

fn stands(database: &Database, from: &SoakRow) -> bool {
    database.soak.version == from.version || !database.without.has(Protection::AtVersion)
}

fn step(database: &mut Database, to: SoakState, looked_at: u64) {
    let soak = &mut database.soak;
    database.is_back = soak.state == SoakState::Retired;
    if to < soak.state || to == SoakState::Dropped {
        database.looked_at = looked_at; // for floors, and for who knows the plaintext
    }
    soak.version += 1;
    (soak.state, soak.since) = (to, soak.version);
    database.closed = false;
}

impl Handle {
    fn kind(&self) -> Kind {
        self.world.database().kind
    }

    /// When gates were.
    fn looked_at(&self) -> u64 {
        self.looked_at.load(SeqCst)
    }

    /// Where each statement on triggers counts by itself.
    async fn statement(&self) {
        if self.kind() == Kind::MariaDb {
            self.world.turn().await;
        }
    }

    pub(super) async fn expanding(&self) -> Result<bool, ModelError> {
        self.world.turn().await;
        let _lock = Transaction::exclusive(&self.world).await?;
        if self.world.database().known && self.world.database().soak.state != SoakState::Plain {
            return Ok(false);
        }
        {
            // Late statements of a soak of before wrote it.
            let mut database = self.world.database();
            rewrite(&mut database, |row| {
                if row.plain.is_some() || row.sealed.is_none() {
                    (row.sealed, row.fingerprint) = (None, None);
                }
            });
            database.guard = true;
            database.tell(SoakState::Expand, true);
        }
        self.statement().await;
        {
            let mut database = self.world.database();
            step(&mut database, SoakState::Expand, 0);
            database.known = true;
            (database.soak.admits_old, database.soak.verified) = (true, None);
        }
        drop(_lock);
        self.world.turn().await;
        Ok(true)
    }

    pub(super) async fn stepping(&self, from: &SoakRow, to: SoakState) -> Result<bool, ModelError> {
        self.world.turn().await;
        let hindrance: Option<Hindrance> = match (from.state, to) {
            (_, SoakState::Retired) => Some(pending),
            (SoakState::Sealed, SoakState::Soak) => Some(undecrypted),
            _ => None,
        };
        let kind = self.kind();
        let looks = self.world.database().without.has(Protection::LooksAgain);
        let hindrance = hindrance.filter(|_| looks);
        if let (Kind::Postgres, Some(hindrance)) = (kind, hindrance) {
            let meanwhile = (to, from.admits_old && to != SoakState::Retired);
            let then = (to, from.admits_old);
            let looked_at = self.looked_at();
            let stepping = |database: &mut Database| step(database, to, looked_at);
            return self
                .barred(from, meanwhile, then, hindrance, stepping)
                .await;
        }
        let changes_triggers = from.state == SoakState::Retired || to == SoakState::Plain;
        let lock = match kind {
            Kind::Postgres if !changes_triggers => None,
            _ => Some(Transaction::exclusive(&self.world).await?),
        };
        {
            let mut database = self.world.database();
            let hindered = hindrance.is_some_and(|hindrance| hindrance(&database));
            if hindered || !stands(&database, from) {
                return Ok(false);
            }
            if to == SoakState::Plain {
                step(&mut database, to, self.looked_at());
                database.tell(to, from.admits_old);
            } else {
                database.closed = false;
            }
        }
        self.statement().await;
        {
            let mut database = self.world.database();
            if to == SoakState::Plain {
                (database.guard, database.refusing) = (false, false);
                database.bared += 1;
                database.swept.clear(); // plaintext may be written of whomever
                rewrite(&mut database, |row| {
                    (row.sealed, row.fingerprint) = (None, None);
                });
            } else if changes_triggers || kind == Kind::MariaDb {
                database.guard = true;
            }
        }
        self.statement().await;
        if to != SoakState::Plain {
            self.world.database().refusing = false;
            self.statement().await;
            let mut database = self.world.database();
            if !stands(&database, from) {
                return Ok(false);
            }
            step(&mut database, to, self.looked_at());
            database.tell(to, from.admits_old);
        }
        drop(lock);
        self.world.turn().await;
        Ok(true)
    }

    /// `barrier.rs`: the guard is told first, rows are looked for in a transaction of their own, and the step sees whether
    /// it was told something else meanwhile.
    async fn barred(
        &self,
        from: &SoakRow,
        meanwhile: Told,
        then: Told,
        hindrance: Hindrance,
        stepping: impl FnOnce(&mut Database) + Send,
    ) -> Result<bool, ModelError> {
        let lock = Transaction::exclusive(&self.world).await?;
        let by = {
            let mut database = self.world.database();
            if !stands(&database, from) {
                return Ok(false);
            }
            match database.without.has(Protection::TellsFirst) {
                true => database.tell(meanwhile.0, meanwhile.1),
                false => database.told.1,
            }
        };
        drop(lock);
        self.world.turn().await;
        let found = hindrance(&self.world.database());
        self.world.turn().await;
        let stepped = {
            let mut database = self.world.database();
            let by_itself = database.told.1 == by || !database.without.has(Protection::ByItself);
            if !stands(&database, from) || !by_itself {
                return Ok(false);
            }
            if found {
                database.tell(from.state, from.admits_old);
            } else {
                database.tell(then.0, then.1);
                stepping(&mut database);
            }
            !found
        };
        self.world.turn().await;
        Ok(stepped)
    }

    pub(super) async fn closing(&self, from: &SoakRow) -> Result<bool, ModelError> {
        self.world.turn().await;
        let _lock = Transaction::exclusive(&self.world).await?;
        {
            let mut database = self.world.database();
            if !stands(&database, from) {
                return Ok(false);
            }
            database.refusing = database.without.has(Protection::GuardGoes);
        }
        self.statement().await;
        {
            let mut database = self.world.database();
            database.guard &= !database.refusing;
        }
        self.statement().await;
        let mut database = self.world.database();
        database.closed = database.soak.state == SoakState::Retired && stands(&database, from);
        drop(database);
        Ok(true)
    }

    pub(super) async fn admitting(&self, from: &SoakRow, admit: bool) -> Result<bool, ModelError> {
        self.world.turn().await;
        let (kind, looks) = {
            let database = self.world.database();
            let looks = database.without.has(Protection::LooksAgain);
            (database.kind, looks)
        };
        let barred = admit && from.state == SoakState::Sealed && looks;
        let admitting = |database: &mut Database| {
            database.soak.version += 1;
            database.soak.admits_old = admit;
        };
        if barred && kind == Kind::Postgres {
            // There, neither of the two is written alone.
            let (meanwhile, then) = ((SoakState::Soak, false), (from.state, admit));
            return self
                .barred(from, meanwhile, then, undecrypted, admitting)
                .await;
        }
        // Who writes the table may hold its state.
        let lock = match kind {
            Kind::Postgres => None,
            _ => Some(Transaction::exclusive(&self.world).await?),
        };
        {
            let mut database = self.world.database();
            if (barred && undecrypted(&database)) || !stands(&database, from) {
                return Ok(false);
            }
            admitting(&mut database);
            database.tell(from.state, admit);
        }
        drop(lock);
        self.world.turn().await;
        Ok(true)
    }

    pub(super) async fn dropping(&self, from: &SoakRow) -> Result<bool, ModelError> {
        if self.world.database().has_twin {
            if !self.closing(from).await? {
                return Ok(false);
            }
            self.world.turn().await;
            let left = self
                .world
                .database()
                .behind(None)
                .any(|(_, row)| row.plain.is_some());
            if left && self.world.database().without.has(Protection::Emptied) {
                return Ok(false);
            }
        }
        let _lock = Transaction::exclusive(&self.world).await?;
        {
            let mut database = self.world.database();
            let lives = |beat: &Heartbeat| database.now - beat.beat_at <= LIVES;
            let knowing = database
                .beats
                .iter()
                .any(|beat| beat.knows_twin && lives(beat));
            let looks = database.without.has(Protection::DropLooks);
            if (knowing && looks) || !stands(&database, from) {
                return Ok(false);
            }
            rewrite(&mut database, |row| row.plain = None);
            database.has_twin = false;
            // Just now, but by the database's clock alone.
            database.looked_at = match database.is_set {
                true => self.looked_at(),
                false => database.next(),
            };
        }
        self.statement().await;
        let mut database = self.world.database();
        (database.guard, database.refusing) = (false, false);
        if !stands(&database, from) {
            return Ok(false);
        }
        let looked_at = database.looked_at;
        step(&mut database, SoakState::Dropped, looked_at);
        Ok(true)
    }
}

/// What DDL, or an UPDATE while no trigger stands, makes of every row.
fn rewrite(database: &mut Database, change: impl Fn(&mut super::super::guard::Row)) {
    let stamp = database.next();
    for stored in database.rows.values_mut() {
        change(&mut stored.row);
        stored.stamp = stamp;
    }
}
