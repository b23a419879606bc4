//! Random interleavings of writers, jobs, crashes and steps, against a plain map.
//!
//! Invariant: what any live process reads is what was written last. A seed that failed is named; with
//! `OPHIE_CRYPT_TEST_SEED` it runs alone, and `OPHIE_CRYPT_TEST_INTERLEAVINGS` says how many there are.

mod beginning;
mod checks;
mod random;

use std::collections::BTreeMap;

use ophie_crypt::{
    CanonicalId, RowStore,
    soak::{Rows, SoakJobError, SoakState, SoakStore},
};
use ophie_crypt_sqlx::{Encrypted, Owner, Soak};
use sqlx::Arguments;

use self::random::Random;
use super::{
    INTERLEAVINGS, SAME, db,
    controls::Broken,
    diesel_writer::Diesel,
    world::{Process, World, person},
};

type Bound = <db::Db as sqlx::Database>::Arguments;

const OWNERS: [i64; 2] = [7, 8];
const NAMES: [Option<&str>; 5] = [None, Some(""), Some("Mom"), Some("mom"), Some("slept badly")];
/// Of one interleaving.
pub(super) const STEPS: u32 = 60;

/// A statement whose values are bound, and that has not run.
struct Pending {
    sql: String,
    bound: Bound,
    id: i32,
    owner: i64,
    name: Option<&'static str>,
}

pub(super) struct Run {
    pub(super) world: World,
    processes: Vec<Process>,
    /// Both processes have Diesel too.
    diesel: Diesel,
    /// What is switched off.
    broken: Broken,
    /// What a worker has read of a pending row, without a lock.
    unlocked: Option<(i32, i64, String)>,
    /// Of each process, whether it is suspended, and what it has bound.
    suspended: Vec<bool>,
    /// Those that are suspended and do not know it: where that is switched off.
    unaware: Vec<bool>,
    bound: Vec<Option<Pending>>,
    /// What was written last, and whose it is.
    rows: BTreeMap<i32, (i64, Option<&'static str>)>,
    shredded: Vec<i64>,
    old: bool,
    /// Whether all plaintext went, in `Retired`.
    emptied: bool,
    random: Random,
    /// How often each state was seen.
    seen: BTreeMap<SoakState, u32>,
    refused: u32,
}

impl Run {
    pub(super) async fn new(seed: u64, broken: Broken) -> Self {
        let world = World::new().await;
        let processes = vec![world.process(), world.process()];
        Self {
            suspended: vec![false; 2],
            unaware: vec![false; 2],
            bound: vec![None, None],
            rows: BTreeMap::new(),
            shredded: Vec::new(),
            old: true,
            emptied: false,
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            seen: BTreeMap::new(),
            refused: 0,
            diesel: Diesel::new(world.database.url()),
            broken,
            unlocked: None,
            processes,
            world,
        }
    }

    fn owner(&mut self) -> i64 {
        self.random.of(&OWNERS)
    }

    /// A row of an owner: one that is there, or a new one.
    fn row(&mut self) -> (i32, i64, bool) {
        let id = i32::try_from(self.random.below(8)).unwrap();
        match self.rows.get(&id) {
            Some((owner, _)) => (id, *owner, true),
            None => (id, self.owner(), false),
        }
    }

    /// The release of before, which knows nothing of the soak.
    async fn old_writer(&mut self) {
        let (id, owner, there) = self.row();
        let name = self.random.of(&NAMES);
        if !self.old || self.shredded.contains(&owner) {
            return;
        }
        let literal = name.map_or("NULL".to_owned(), |name| format!("'{name}'"));
        let sql = match there {
            true => format!("UPDATE people SET name = {literal} WHERE id = {id}"),
            false => format!("INSERT INTO people (id, user_id, name) VALUES ({id}, {owner}, {literal})"),
        };
        match self.random.below(8) {
            // It rolls back, or crashes, which is the same to the database.
            0 => {
                let mut tx = self.world.database.pool().begin().await.unwrap();
                sqlx::raw_sql(db::sql(&sql)).execute(&mut *tx).await.unwrap();
                tx.rollback().await.unwrap();
            }
            _ => {
                self.world.run(&sql).await.unwrap();
                self.rows.insert(id, (owner, name));
            }
        }
    }

    /// The new release binds its values; it runs the statement later, if at all.
    async fn bind(&mut self, at: usize) {
        let (id, owner, there) = self.row();
        let name = self.random.of(&NAMES);
        if self.shredded.contains(&owner) {
            return;
        }
        let session = self.processes[at].session(owner).await.unwrap();
        let bound = session.scope_sync(|| {
            let value = name.map_or_else(Soak::null, person::name);
            let fp = name.map(person::name_fp).transpose()?;
            let mut bound = Bound::default();
            bound.add(value.twin())?;
            bound.add(value.sealed())?;
            bound.add(fp)?;
            if !there {
                bound.add(Owner(owner))?;
            }
            bound.add(id)?;
            Ok::<_, sqlx::error::BoxDynError>(bound)
        });
        let Ok(bound) = bound else {
            assert!(self.suspended[at] || self.state_of(at).is_none(), "{:?}", bound.err());
            return; // it knows that it has slept
        };
        let sql = match there {
            true => "UPDATE people SET name = $1, name_ct = $2, name_fp = $3 WHERE id = $4",
            false => "INSERT INTO people (name, name_ct, name_fp, user_id, id) VALUES ($1, $2, $3, $4, $5)",
        };
        self.bound[at] = Some(Pending {
            sql: sql.to_owned(),
            bound,
            id,
            owner,
            name,
        });
    }

    /// The same release's other half, which runs its statements as it makes them.
    async fn embedded(&mut self, at: usize) {
        let (id, owner, there) = self.row();
        let name = self.random.of(&NAMES);
        if self.shredded.contains(&owner) {
            return;
        }
        let session = self.processes[at].session(owner).await.unwrap();
        match session.scope_sync(|| self.diesel.write(id, owner, name, there)) {
            Ok(written) => {
                assert_eq!(written, 1);
                self.rows.insert(id, (owner, name));
            }
            // It knows that it has slept.
            Err(error) => assert!(self.suspended[at] || self.state_of(at).is_none(), "{error}"),
        }
    }

    /// A worker that holds no lock between its look at a pending row and what it writes: other jobs lock.
    async fn fill_unlocked(&mut self) {
        let pool = self.world.database.pool();
        let Some((id, owner, name)) = self.unlocked.take() else {
            if self.world.state().await.is_filled() {
                let sql = "SELECT id, user_id, name FROM people WHERE name IS NOT NULL AND name_ct IS NULL ORDER BY id LIMIT 1";
                self.unlocked = sqlx::query_as(sql).fetch_optional(pool).await.unwrap();
            }
            return;
        };
        let Some(session) = self.processes[0].session(owner).await else {
            return;
        };
        let sealed = Encrypted::<String, person::name>::new(name.clone()).seal(&session).unwrap();
        let same = match self.broken {
            Broken::Condition => "",
            _ => SAME,
        };
        let sql = format!("UPDATE people SET name_ct = $1 WHERE id = $2 AND name_ct IS NULL AND user_id = $3 {same}");
        let mut query = sqlx::query(db::sql(&sql)).bind(sealed.as_bytes()).bind(id).bind(owner);
        if !same.is_empty() {
            query = query.bind(name);
        }
        query.execute(pool).await.ok(); // it may be refused: the owner was shredded, say
    }

    fn state_of(&self, at: usize) -> Option<SoakState> {
        self.processes[at].watch.state(&self.world.soak.column())
    }

    /// What was bound runs, however long ago that was.
    async fn execute(&mut self, at: usize) {
        let Some(pending) = self.bound[at].take() else {
            return;
        };
        let there = self.rows.contains_key(&pending.id);
        let query = sqlx::query_with(db::sql(&pending.sql), pending.bound);
        let done = query.execute(self.world.database.pool()).await;
        match done {
            Ok(done) if done.rows_affected() > 0 || there => {
                // Of a row that was deleted and made again by another owner, nothing can be said: it is that owner's.
                let owner = self.rows.get(&pending.id).map_or(pending.owner, |(owner, _)| *owner);
                if owner == pending.owner && !self.shredded.contains(&owner) {
                    self.rows.insert(pending.id, (owner, pending.name));
                } else {
                    self.delete(pending.id).await;
                }
            }
            Ok(_) => {}
            Err(_) => self.refused += 1, // a shape that the state forbids, or a row that is there
        }
    }

    async fn delete(&mut self, id: i32) {
        self.world.run(&format!("DELETE FROM people WHERE id = {id}")).await.unwrap();
        self.rows.remove(&id);
    }

    async fn tool(&mut self) {
        let soaker = self.world.soaker().batch(2);
        let (table, column) = ("people", "name_ct");
        let state = self.world.state().await;
        match self.random.below(12) {
            // Two workers, each of which may stop after its first batch.
            0 | 1 if state.is_filled() => {
                let workers = [(); 2].map(|()| {
                    let worker = soaker.clone();
                    let (stop, stops) = (worker.stop_handle(), self.random.below(2) == 0);
                    worker.watch(move |_| if stops { stop.stop() })
                });
                let [one, two] = &workers;
                let (one, two) = tokio::join!(one.backfill(table, column), two.backfill(table, column));
                one.and(two).unwrap();
            }
            2 | 6 if state == SoakState::Sealed => {
                let old = self.random.below(3) == 0;
                match soaker.admit_old_binaries(table, column, old).await {
                    Ok(()) => self.old = old,
                    // Not while there are rows without plaintext, or who may write some.
                    Err(SoakJobError::Gates { .. }) if old => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
            0 | 1 | 3 if state == SoakState::Retired => match self.broken {
                Broken::GuardAtNullOut => self.world.run("UPDATE people SET name = NULL WHERE name_ct IS NOT NULL").await.unwrap(),
                _ => match soaker.null_out(table, column).await {
                    Ok(_) => self.emptied = true,
                    Err(SoakJobError::Gates { .. }) => {} // a process writes plaintext
                    Err(error) => panic!("{error:?}"),
                },
            },
            4 if state == SoakState::Sealed => {
                soaker.decrypt_back(table, column).await.unwrap();
            }
            5 => self.step(state.back().filter(|back| *back > SoakState::Plain)).await,
            _ => {
                if matches!(state, SoakState::Verify | SoakState::Sealed) {
                    let report = soaker.verify(table, column).await.unwrap();
                    let twinless = self.world.tables.count(&self.world.soak, Rows::Undecrypted).await.unwrap();
                    assert_eq!(report.wrong_rows, twinless, "{report:?}");
                }
                self.step(state.next().filter(|next| *next < SoakState::Dropped)).await;
            }
        }
    }

    async fn step(&mut self, to: Option<SoakState>) {
        let Some(to) = to else { return };
        if self.broken == Broken::Gates {
            self.world.step_at_once(to).await;
            return;
        }
        match self.world.soaker().step("people", "name_ct", to).await {
            Ok(()) | Err(SoakJobError::Gates { .. } | SoakJobError::Interrupted) => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    /// It sleeps for longer than its heartbeat lives, on its own clock and on the database's.
    async fn suspend(&mut self, at: usize) {
        if self.broken == Broken::Expiry {
            // To the database it is gone, to itself it is not.
            self.world.run("UPDATE ophie_crypt_soak_heartbeats SET beat_at = 0").await.unwrap();
            self.unaware[at] = true;
            return;
        }
        self.processes[at].watch.stop().await.unwrap();
        self.suspended[at] = true;
    }

    /// With a new watch, as one that was stopped stays so; what it has bound is what it had.
    async fn wake(&mut self, at: usize) {
        if self.suspended[at] {
            self.processes[at] = self.world.process();
        }
        self.processes[at].watch.beat().await.unwrap();
        self.suspended[at] = false;
        self.unaware[at] = false;
    }

    async fn shred(&mut self) {
        let owner = OWNERS[1];
        if self.shredded.contains(&owner) {
            return;
        }
        self.processes[0].session(owner).await.unwrap(); // or there would be nothing to destroy
        for process in &self.processes {
            process.keyring.shred(&owner).await.unwrap();
        }
        let id = CanonicalId::integer(owner);
        self.world.tables.bury(&id).await.unwrap();
        self.world.tables.tombstone(&id, "people", 100).await.unwrap();
        self.world.tables.sweep(&id, "people", 100).await.unwrap();
        self.shredded.push(owner);
        self.rows.retain(|_, (of, _)| *of != owner);
    }

    pub(super) async fn turn(&mut self) {
        if self.broken == Broken::Guard {
            self.world.drop_guard().await;
        }
        if matches!(self.broken, Broken::Alone | Broken::Condition) {
            // These two alone, or it would take long.
            return match self.random.below(2) {
                0 => self.fill_unlocked().await,
                _ => self.old_writer().await,
            };
        }
        let at = usize::try_from(self.random.below(2)).unwrap();
        match self.random.below(100) {
            0..20 => self.old_writer().await,
            20..36 => self.bind(at).await,
            36..50 => self.execute(at).await,
            50..56 => self.embedded(at).await,
            56..60 => self.fill_unlocked().await,
            60..64 => {
                let (id, owner, _) = self.row();
                if !self.shredded.contains(&owner) {
                    self.delete(id).await;
                }
            }
            64..66 => {
                // It crashes, and is started again.
                self.suspend(at).await;
                self.processes[at] = self.world.process();
                self.bound[at] = None;
                self.wake(at).await;
            }
            66..70 => self.suspend(at).await,
            70..78 => self.wake(at).await,
            78..79 => self.shred().await,
            _ => {
                for at in 0..2 {
                    if !self.suspended[at] && !self.unaware[at] && self.random.below(4) > 0 {
                        self.processes[at].watch.beat().await.unwrap();
                    }
                }
                self.tool().await;
            }
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_stale_and_nothing_is_lost() {
    let interleavings = number("OPHIE_CRYPT_TEST_INTERLEAVINGS").unwrap_or(INTERLEAVINGS);
    let seeds = match number("OPHIE_CRYPT_TEST_SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..interleavings + 1,
    };
    let (mut seen, mut refused) = (BTreeMap::<SoakState, u32>::new(), 0);
    for seed in seeds.clone() {
        let interleaving = tokio::spawn(async move {
            let mut run = Run::new(seed, Broken::Nothing).await;
            run.begin().await;
            for _ in 0..STEPS {
                run.turn().await;
                run.check().await;
            }
            (run.seen, run.refused)
        });
        let (states, late) = interleaving.await.unwrap_or_else(|_| panic!("seed {seed}"));
        for (state, count) in states {
            *seen.entry(state).or_default() += count;
        }
        refused += late;
    }
    if interleavings > INTERLEAVINGS {
        println!("{} interleavings of {STEPS} turns: {seen:?}, {refused} late statements refused", seeds.end - seeds.start);
    }
    if seeds.end - seeds.start >= INTERLEAVINGS {
        assert_eq!(seen.len(), 7, "{seen:?}");
        assert!(refused > 0, "no late statement was refused");
    }
}
