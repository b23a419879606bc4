//! What befalls those who take part: writers begin, processes beat, sleep and are cut off, operators call, time passes.
//!
//! Absent: whose turn it is (`turns`).

use core::time::Duration;
use std::sync::{Arc, atomic::Ordering::SeqCst};

use super::{
    super::super::SoakState,
    fault::Fault,
    model::Release,
    operator::{Operator, Task},
    process::Process,
    protections::Protection,
    store::{Handle, Wire},
    turns::{Of, PROCESSES, Run, TOOLS, acknowledges},
};

impl Run {
    /// Whose first statement waits for so many turns at least.
    pub(super) fn new_writer(&mut self, at: usize, late: u32) {
        let writer = self.writer();
        let process = Arc::clone(&self.processes[at]);
        if !process.is_suspended() {
            let number = self.numbers[at];
            self.go(Of::Process(number, false), writer.of_process(process, late));
        }
    }

    /// What was bound by another state, however long ago, has not run yet.
    pub(super) async fn long_ago(&mut self, then: SoakState) -> Result<(), Fault> {
        let now = {
            let mut database = self.world.database();
            database.soak.version -= 1;
            let known = core::mem::replace(&mut database.known, true);
            (core::mem::replace(&mut database.soak.state, then), known)
        };
        for at in 0..PROCESSES {
            self.start(Release::Lowest).await;
            let late = self.random.of(&[1, 6, 20]);
            self.new_writer(at, late);
            self.goes_on(self.actors.len() - 1).await?;
        }
        let mut database = self.world.database();
        database.soak.version += 1;
        (database.soak.state, database.known) = now;
        Ok(())
    }

    /// What a binary of before has written, and not committed, when they were refused.
    pub(super) async fn written_before(&mut self) -> Result<(), Fault> {
        self.admits_old(true);
        self.old_writer();
        self.goes_on(self.actors.len() - 1).await?;
        self.admits_old(false);
        Ok(())
    }

    fn admits_old(&self, admits: bool) {
        self.old.store(admits, SeqCst);
        let mut database = self.world.database();
        database.soak.admits_old = admits;
        let state = database.soak.state;
        database.tell(state, admits);
    }

    /// A statement that runs after its process has ended.
    pub(super) async fn of_the_dead(&mut self) -> Result<(), Fault> {
        let process = Process::new(&self.world, &self.keys, Release::Twinless);
        acknowledges(&process).await;
        let writer = self.writer();
        self.go(Of::Nobody, writer.of_the_dead(Arc::clone(&process)));
        self.goes_on(self.actors.len() - 1).await?;
        let ended = process.watch.process();
        let mut database = self.world.database();
        database.beats.retain(|beat| beat.process != ended);
        Ok(())
    }

    pub(super) fn old_writer(&mut self) {
        // One that was not stopped, now and then.
        if self.old.load(SeqCst) || self.random.one_in(3) {
            let writer = self.writer();
            let old = Arc::clone(&self.old);
            self.go(Of::Old, writer.of_old(old));
        }
    }

    pub(super) async fn beat(&mut self, at: usize) -> Result<(), Fault> {
        let of = Of::Process(self.numbers[at], true);
        if self.is_going(of) {
            if self.random.one_in(4) {
                self.actors.retain(|actor| actor.of != of); // it took too long
            }
            return Ok(());
        }
        if self.processes[at].is_suspended() {
            return Ok(());
        }
        let watch = self.processes[at].watch.clone();
        self.go(of, async move {
            watch.beat().await.ok(); // the next may succeed
            Ok(())
        });
        if self.random.one_in(2) {
            return Ok(());
        }
        // Most are answered at once.
        for _ in 0..20 {
            let at = self.actors.iter().position(|actor| actor.of == of);
            let Some(at) = at else { break };
            self.goes_on(at).await?;
        }
        Ok(())
    }

    pub(super) fn task(&mut self) {
        let task = Task::pick(&mut self.random, &self.world.database());
        let tool = self.random.index(TOOLS);
        let Some(task) = task else { return };
        let of = Of::Tool(tool);
        if self.actors.iter().filter(|actor| actor.of == of).count() > 1 {
            return;
        }
        // Nobody starts them while somebody else stops them.
        let admission = |task: Task| matches!(task, Task::Admit | Task::Refuse);
        let mut tasks = self.actors.iter().filter_map(|actor| actor.task);
        if admission(task) && tasks.any(admission) {
            return;
        }
        if task == Task::Refuse {
            // They are stopped first.
            self.old.store(false, SeqCst);
            if self.random.one_in(2) {
                // Otherwise they are forgotten, and end as they will.
                self.actors.retain(|actor| actor.of != Of::Old);
            }
        }
        self.counts.count(&format!("{task:?}"));
        // Which looks at heartbeats by itself.
        let mut soaker = self.tools[tool].clone();
        let handle = Handle::of_tool(&self.world, Release::Lowest.models());
        soaker.store = Arc::new(handle);
        let operator = Operator {
            world: Arc::clone(&self.world),
            soaker,
            old: Arc::clone(&self.old),
        };
        self.go(of, operator.does(task));
        if let Some(actor) = self.actors.last_mut() {
            actor.task = Some(task);
        }
    }

    /// On every clock; the database's may be set besides.
    pub(super) fn time_passes(&mut self) {
        let seconds = self.random.of(&[1, 2, 4, 9, 21]);
        let passed = Duration::from_secs(seconds);
        let stands = !self.world.database().without.has(Protection::Expires);
        for process in &self.processes {
            if !stands {
                process.watch.clock().pass(passed);
            }
        }
        for tool in &self.tools {
            tool.deaths.clock.pass(passed);
        }
        let mut database = self.world.database();
        let seconds = i64::try_from(seconds).unwrap();
        database.now += seconds * 1_000_000;
        database.elapsed += seconds * 1_000_000;
    }

    pub(super) fn suspend_or_cut(&mut self, at: usize) {
        let process = &self.processes[at];
        match self.random.below(4) {
            0 => process.is_suspended.store(true, SeqCst),
            1 => process.cut(Wire::Down),
            2 => process.cut(Wire::Deaf),
            _ => process.cut(Wire::Hangs),
        }
    }

    pub(super) fn rarely(&mut self) {
        match self.random.below(4) {
            1 => self.world.database().deadlock = true,
            0 => {
                let jump = self.random.of(&[40_000_000, 40_000_000, -40_000_000]);
                let mut database = self.world.database();
                database.now += jump;
                database.is_set = true;
            }
            _ => {
                let Some(owner) = self.keys.mortal() else {
                    return;
                };
                let of = self.keys.sessions().find(|(of, _)| *of == owner);
                if of.is_some_and(|(_, session)| session.ended().is_none()) {
                    let writer = self.writer();
                    self.go(Of::Nobody, writer.shreds(owner));
                }
            }
        }
    }

    /// A process that knows no plaintext goes by no state when it reads: where it was cut off for longer than its heartbeat
    /// lives, whoever steps back stops it.
    pub(super) fn stop_the_cut_off(&mut self) {
        for at in 0..PROCESSES {
            let process = &self.processes[at];
            let twinless = process.release == Release::Twinless;
            if twinless && process.was_up.load(SeqCst) && process.state().is_none() {
                self.restart(at);
            }
        }
    }
}
