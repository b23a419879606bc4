//! One interleaving: who has the next turn, and what befalls them.
//!
//! Invariant: a seed says all of it. Absent: what is promised (`check`).

use core::{future::poll_fn, pin::Pin, task::Poll, time::Duration};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use super::{
    super::super::{SoakState, Soaker},
    check::Checked,
    database::{Database, Kind},
    fault::Fault,
    keys::Keys,
    model::Release,
    operator::Task,
    process::Process,
    protections::Without,
    random::Random,
    store::{Handle, Wire},
    world::World,
    writers::Writer,
};

/// Of one interleaving.
pub(super) const TURNS: u32 = 250;
const MOST: usize = 9;
pub(super) const PROCESSES: usize = 2;
pub(super) const TOOLS: usize = 2;

type Going = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send>>;

/// Whose end is its.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Nobody,
    /// A binary of before.
    Old,
    /// Of this number, and whether it is its heartbeat.
    Process(u64, bool),
    Tool(usize),
}

pub(super) struct Actor {
    number: u64,
    pub(super) of: Of,
    /// A tool's.
    pub(super) task: Option<Task>,
    going: Going,
}

/// How often what was seen.
#[derive(Default)]
pub(super) struct Counts(pub(super) BTreeMap<String, u64>);

impl Counts {
    pub(super) fn count(&mut self, what: &str) {
        match self.0.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(self.0.insert(what.to_owned(), 1)),
        }
    }
}

pub(super) struct Run {
    pub(super) world: Arc<World>,
    pub(super) keys: Arc<Keys>,
    pub(super) random: Random,
    pub(super) processes: Vec<Arc<Process>>,
    /// Of each process.
    pub(super) numbers: Vec<u64>,
    pub(super) tools: Vec<Soaker>,
    pub(super) actors: Vec<Actor>,
    /// Who had the last turn.
    last: u64,
    pub(super) old: Arc<AtomicBool>,
    checked: Checked,
    pub(super) counts: Counts,
    /// Whether each turn is told.
    tells: bool,
}

impl Run {
    pub(super) async fn new(
        base: &Keys,
        seed: u64,
        state: Option<SoakState>,
        without: Without,
    ) -> Self {
        let mut random = Random::new(seed);
        let shreds = random.one_in(4);
        let keys = base.of(seed, shreds).await;
        let kind = random.of(&[Kind::Postgres, Kind::Postgres, Kind::MariaDb, Kind::Sqlite]);
        let any = random.of(&SoakState::ALL);
        let database = Database::new(kind, state.unwrap_or(any), without);
        let world = World::new(database);
        let mut run = Self {
            processes: Vec::new(),
            numbers: Vec::new(),
            tools: Vec::new(),
            actors: Vec::new(),
            last: 0,
            old: Arc::default(),
            checked: Checked::default(),
            counts: Counts::default(),
            tells: super::number("OPHIE_CRYPT_TEST_SIMULATION") == Some(seed),
            world,
            keys,
            random,
        };
        run.begin();
        let then = run.random.of(&SoakState::ALL[..8]);
        let state = run.world.database().soak.state;
        if SoakState::Plain < state && state < SoakState::Dropped && run.random.one_in(2) {
            run.long_ago(then).await.ok(); // it has bound, or binds nothing
            for process in &run.processes {
                acknowledges(process).await;
            }
        }
        run.late(state).await.ok(); // they do no wrong so far
        while run.processes.len() < PROCESSES {
            let release = run.release();
            run.start(release).await;
        }
        for _ in 0..TOOLS {
            let tool = run.tool();
            run.tools.push(tool);
        }
        run
    }

    pub(super) fn tool(&mut self) -> Soaker {
        let handle = Handle::of_tool(&self.world, Release::Lowest.models());
        let batch = 1 + u32::try_from(self.random.below(3)).unwrap();
        let soaker = Soaker::new(&self.keys.keyring, handle);
        let workers = self.random.of(&[1, 1, 2, 3]);
        soaker.pause(Duration::ZERO).batch(batch).workers(workers)
    }

    /// A process that has read the states.
    pub(super) async fn start(&mut self, release: Release) {
        let process = Process::new(&self.world, &self.keys, release);
        acknowledges(&process).await;
        self.processes.push(process);
        let number = self.world.database().next();
        self.numbers.push(number);
    }

    /// Of a process that starts now.
    fn release(&mut self) -> Release {
        let state = self.world.database().soak.state;
        match state {
            SoakState::Dropped => Release::Twinless,
            SoakState::Retired if self.random.one_in(3) => Release::Twinless,
            state if state >= Release::High.floor() => {
                self.random.of(&[Release::Lowest, Release::High])
            }
            _ => Release::Lowest,
        }
    }

    /// In the place of one that ended, with whatever that was doing.
    pub(super) fn restart(&mut self, at: usize) {
        let number = self.numbers[at];
        self.actors
            .retain(|actor| !matches!(actor.of, Of::Process(of, _) if of == number));
        let release = self.release();
        self.processes[at] = Process::new(&self.world, &self.keys, release);
        self.numbers[at] = self.world.database().next();
    }

    pub(super) fn go(
        &mut self,
        of: Of,
        going: impl Future<Output = Result<(), Fault>> + Send + 'static,
    ) {
        let going = Box::pin(tokio::task::unconstrained(going));
        let number = self.world.database().next();
        self.actors.push(Actor {
            number,
            of,
            task: None,
            going,
        });
    }

    pub(super) fn writer(&mut self) -> Writer {
        Writer {
            world: Arc::clone(&self.world),
            keys: Arc::clone(&self.keys),
            random: Random::new(self.random.below(1 << 40)),
        }
    }

    pub(super) fn is_going(&self, of: Of) -> bool {
        self.actors.iter().any(|actor| actor.of == of)
    }

    /// What checks after it say.
    pub(super) async fn turn(&mut self) -> Result<(), Fault> {
        let at = self.random.index(PROCESSES);
        let has_room = self.actors.len() < MOST;
        match self.random.below(100) {
            72..77 if has_room => self.new_writer(at, 0),
            77..81 if has_room => self.old_writer(),
            81 if has_room => {
                let writer = self.writer();
                self.go(Of::Nobody, writer.deletes());
            }
            82..87 => self.beat(at).await?,
            87..93 => self.task(),
            93..96 => self.time_passes(),
            96 => self.suspend_or_cut(at),
            97 => match self.random.one_in(2) {
                true => self.restart(at),
                false => {
                    self.processes[at].is_suspended.store(false, SeqCst);
                    self.processes[at].cut(Wire::Up);
                }
            },
            98 => {
                let at = self.random.index(TOOLS);
                self.actors.retain(|actor| actor.of != Of::Tool(at));
                self.tools[at] = self.tool();
            }
            99 => self.rarely(),
            _ => self.somebody().await?,
        }
        self.stop_the_cut_off();
        if self.tells {
            self.tell();
        }
        let database = self.world.database();
        self.counts.count(database.soak.state.as_str());
        let old = self.old.load(SeqCst);
        self.checked.check(&database, &self.processes, old)
    }

    fn tell(&self) {
        let database = self.world.database();
        let doing: Vec<_> = self
            .actors
            .iter()
            .map(|actor| (actor.of, actor.task))
            .collect();
        let states: Vec<_> = self
            .processes
            .iter()
            .map(|process| (process.release, process.state()))
            .collect();
        eprintln!("{doing:?}\n    {database}    {states:?}");
    }

    /// Somebody goes on, until it lets go.
    async fn somebody(&mut self) -> Result<(), Fault> {
        let asleep: Vec<u64> = self
            .processes
            .iter()
            .zip(&self.numbers)
            .filter(|(process, _)| process.is_suspended())
            .map(|(_, number)| *number)
            .collect();
        let sleeps = |actor: &Actor| matches!(actor.of, Of::Process(of, _) if asleep.contains(&of));
        let awake: Vec<usize> = (0..self.actors.len())
            .filter(|at| !sleeps(&self.actors[*at]))
            .collect();
        if awake.is_empty() {
            return Ok(());
        }
        // Often the same as before, or nobody would get anywhere.
        let same = awake
            .iter()
            .find(|at| self.actors[**at].number == self.last)
            .copied();
        let at = match same.filter(|_| !self.random.one_in(3)) {
            Some(at) => at,
            None => self.random.of(&awake),
        };
        self.goes_on(at).await
    }

    pub(super) async fn goes_on(&mut self, at: usize) -> Result<(), Fault> {
        self.last = self.actors[at].number;
        let going = &mut self.actors[at].going;
        self.world.has_let_go();
        let polled = poll_fn(|cx| Poll::Ready(going.as_mut().poll(cx))).await;
        match polled {
            Poll::Ready(done) => {
                drop(self.actors.swap_remove(at));
                done
            }
            Poll::Pending => {
                if !self.world.has_let_go() {
                    // It waits for a timer, or for a task of the keyring.
                    tokio::time::advance(Duration::from_millis(250)).await;
                }
                Ok(())
            }
        }
    }
}

/// It reads the states, and says so.
pub(super) async fn acknowledges(process: &Process) {
    let mut beating = core::pin::pin!(process.watch.beat());
    while poll_fn(|cx| Poll::Ready(beating.as_mut().poll(cx)))
        .await
        .is_pending()
    {}
}

/// So many turns of one seed.
pub(super) async fn run(
    base: &Keys,
    seed: u64,
    state: Option<SoakState>,
    without: Without,
) -> (Result<(), Fault>, Counts) {
    let mut run = Run::new(base, seed, state, without).await;
    for _ in 0..TURNS {
        if let Err(fault) = run.turn().await {
            return (Err(fault), run.counts);
        }
    }
    (Ok(()), run.counts)
}
