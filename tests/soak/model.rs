//! Random interleavings of writers, jobs, crashes and steps, against a plain map.
//!
//! Invariant: what any live process reads is what was written last. A seed that failed is named; with
//! `OPHIE_CRYPT_TEST_SEED` it runs alone, and `OPHIE_CRYPT_TEST_INTERLEAVINGS` says how many there are.

use std::collections::BTreeMap;

use ophie_crypt::{
    CanonicalId, RowStore,
    soak::{Rows, SoakJobError, SoakState, SoakStore, lookup},
};
use ophie_crypt_sqlx::{Owner, Soak};
use sqlx::Arguments;

use super::{
    INTERLEAVINGS, db,
    world::{COLUMNS, Person, Process, World, person},
};

type Bound = <db::Db as sqlx::Database>::Arguments;

const OWNERS: [i64; 2] = [7, 8];
const NAMES: [Option<&str>; 5] = [None, Some(""), Some("Mom"), Some("mom"), Some("slept badly")];
/// Of one interleaving.
const STEPS: u32 = 60;

/// Xorshift, 64 bits.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % end
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        let at = self.below(values.len().try_into().unwrap());
        values[usize::try_from(at).unwrap()]
    }
}

/// A statement whose values are bound, and that has not run.
struct Pending {
    sql: String,
    bound: Bound,
    id: i32,
    owner: i64,
    name: Option<&'static str>,
}

struct Run {
    world: World,
    processes: Vec<Process>,
    /// Of each process, whether it is suspended, and what it has bound.
    suspended: Vec<bool>,
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
    async fn new(seed: u64) -> Self {
        let world = World::new().await;
        let processes = vec![world.process(), world.process()];
        Self {
            suspended: vec![false; 2],
            bound: vec![None, None],
            rows: BTreeMap::new(),
            shredded: Vec::new(),
            old: true,
            emptied: false,
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            seen: BTreeMap::new(),
            refused: 0,
            processes,
            world,
        }
    }

    /// Anywhere, without a row.
    async fn begin(&mut self) {
        let soaker = self.world.soaker();
        let (table, column) = ("people", "name_ct");
        soaker.expand(table, column).await.unwrap();
        let end = self.random.of(&SoakState::ALL[1..8]);
        while self.world.state().await < end {
            let next = self.world.state().await.next().unwrap();
            if next == SoakState::Retired {
                self.old = false;
                soaker.admit_old_binaries(table, column, false).await.unwrap();
            }
            soaker.verify(table, column).await.ok();
            soaker.step(table, column, next).await.unwrap();
        }
        for at in 0..2 {
            self.wake(at).await;
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
            0 | 1 | 3 if state == SoakState::Retired => {
                soaker.null_out(table, column).await.unwrap();
                self.emptied = true;
            }
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
        match self.world.soaker().step("people", "name_ct", to).await {
            Ok(()) | Err(SoakJobError::Gates { .. } | SoakJobError::Interrupted) => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    /// It sleeps for longer than its heartbeat lives, on its own clock and on the database's.
    async fn suspend(&mut self, at: usize) {
        self.processes[at].watch.stop().await.unwrap();
        self.suspended[at] = true;
    }

    async fn wake(&mut self, at: usize) {
        self.processes[at].watch.beat().await.unwrap();
        self.suspended[at] = false;
    }

    async fn shred(&mut self) {
        let owner = OWNERS[1];
        if self.shredded.contains(&owner) {
            return;
        }
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

    async fn turn(&mut self) {
        let at = usize::try_from(self.random.below(2)).unwrap();
        match self.random.below(100) {
            0..20 => self.old_writer().await,
            20..40 => self.bind(at).await,
            40..60 => self.execute(at).await,
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
                    if !self.suspended[at] && self.random.below(4) > 0 {
                        self.processes[at].watch.beat().await.unwrap();
                    }
                }
                self.tool().await;
            }
        }
    }

    /// What everybody reads.
    async fn check(&mut self) {
        let state = self.world.state().await;
        *self.seen.entry(state).or_default() += 1;
        self.emptied &= state == SoakState::Retired;
        if self.emptied {
            let plain = self.world.tables.count(&self.world.soak, Rows::WithTwin);
            assert_eq!(plain.await.unwrap(), 0, "plaintext came back");
        }
        let mut live = vec![state];
        for at in 0..2 {
            if !self.suspended[at] {
                live.push(self.state_of(at).unwrap());
            }
            for owner in OWNERS {
                if !self.shredded.contains(&owner) {
                    self.reads(at, owner).await;
                }
            }
        }
        live.sort_unstable();
        live.dedup();
        let adjacent = matches!(live.as_slice(), [_]) || matches!(live.as_slice(), [a, b] if a.next() == Some(*b));
        assert!(adjacent, "three states live: {live:?}");
        if self.old && state < SoakState::Retired {
            self.old_reads().await;
        }
    }

    async fn reads(&self, at: usize, owner: i64) {
        let session = self.processes[at].session(owner).await.unwrap();
        let pool = self.world.database.pool();
        let sql = db::sql(&format!("SELECT {COLUMNS} FROM people WHERE user_id = $1 ORDER BY id"));
        let rows = session.scope(async {
            let rows = sqlx::query_as::<_, Person>(sql).bind(Owner(owner));
            rows.fetch_all(pool).await
        });
        let rows = match rows.await {
            Err(_) if self.suspended[at] => return, // it knows that it has slept
            rows => rows.unwrap(),
        };
        let served: Vec<(i32, Option<&str>)> = rows
            .iter()
            .map(|row| (row.id, row.name.expose_secret().map(String::as_str)))
            .collect();
        let written = self.rows.iter().filter(|(_, (of, _))| *of == owner);
        let written: Vec<(i32, Option<&str>)> = written.map(|(id, (_, name))| (*id, *name)).collect();
        assert_eq!(served, written, "what process {at} reads");
        if self.suspended[at] {
            return; // there was nothing to read
        }
        let sql = format!("SELECT id FROM people WHERE user_id = $1 AND {} ORDER BY id", lookup("name_fp", "name", "$2", "$3"));
        let found: Vec<i32> = session
            .scope(async {
                let query = sqlx::query_scalar(db::sql(&sql));
                let query = query.bind(Owner(owner)).bind(person::name_fp("slept badly")?);
                query.bind(person::name("slept badly").twin()).fetch_all(pool).await
            })
            .await
            .unwrap();
        let equal = written.iter().filter(|(_, name)| *name == Some("slept badly"));
        let equal: Vec<i32> = equal.map(|(id, _)| *id).collect();
        assert_eq!(found, equal, "what process {at} finds");
    }

    async fn old_reads(&self) {
        let rows: Vec<(i32, Option<String>)> = sqlx::query_as(db::sql("SELECT id, name FROM people WHERE user_id = 7 ORDER BY id"))
            .fetch_all(self.world.database.pool())
            .await
            .unwrap();
        let served: Vec<(i32, Option<&str>)> = rows.iter().map(|(id, name)| (*id, name.as_deref())).collect();
        let written = self.rows.iter().filter(|(_, (of, _))| *of == 7);
        let written: Vec<(i32, Option<&str>)> = written.map(|(id, (_, name))| (*id, *name)).collect();
        assert_eq!(served, written, "what the release of before reads");
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
            let mut run = Run::new(seed).await;
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
    if seeds.end - seeds.start >= INTERLEAVINGS {
        assert_eq!(seen.len(), 7, "{seen:?}");
        assert!(refused > 0, "no late statement was refused");
    }
}
