//! Soaks whose state moves while hooks count, and watches that are stopped while they read.
//!
//! Invariant: see each model.

use std::sync::Mutex as StdMutex;

use loom::thread;

use crate::{
    clock::Moment,
    known::{LastRead, Seen},
    soak::{Finding, SoakState},
    sync::{Arc, Mutex, PoisonError},
};

/// Two hooks serve a row and count what they found while the column is moved on: what was found in the new state is among
/// its counts, and what was counted before the step is not.
pub fn counts_against_a_step() {
    let seen = Arc::new(Seen::nothing());
    assert!(seen.apply(Some((SoakState::Soak, 1))));
    seen.count(Finding::Mismatch);
    let hooks: Vec<_> = [Finding::Pending, Finding::Failed]
        .into_iter()
        .map(|finding| {
            let seen = Arc::clone(&seen);
            thread::spawn(move || {
                let state = seen.state();
                seen.count(finding);
                state == Some((SoakState::Sealed, 2))
            })
        })
        .collect();
    assert!(seen.apply(Some((SoakState::Sealed, 2))));
    let [pending, failed] = hooks.try_into().unwrap();
    let (pending, failed) = (pending.join().unwrap(), failed.join().unwrap());
    let counts = seen.counts();
    assert_eq!(counts.mismatched, 0);
    assert!(counts.pending >= u64::from(pending) && counts.pending <= 1);
    assert!(counts.failed >= u64::from(failed) && counts.failed <= 1);
    assert!(!seen.apply(Some((SoakState::Sealed, 2))));
}

/// What `SoakWatch` does, with a lock for tokio's and a list for the database.
struct Watch {
    read: LastRead,
    turn: Mutex<()>,
    said: StdMutex<Vec<Said>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Beat,
    Leave,
}

impl Watch {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            read: LastRead::never(),
            turn: Mutex::new(()),
            said: StdMutex::default(),
        })
    }

    fn beat(&self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.read.is_stopped() {
            self.say(Said::Beat);
            thread::yield_now(); // the database's answer
            self.read.note(Moment);
        }
    }

    fn stop(&self) {
        self.read.stop();
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.say(Said::Leave);
    }

    fn say(&self, what: Said) {
        self.said.lock().unwrap().push(what);
    }
}

/// Two heartbeats, one of them perhaps under way, while the watch is stopped: it stays so, and who left says nothing.
pub fn heartbeat_against_stop() {
    let watch = Watch::new();
    let beats: Vec<_> = (0..2)
        .map(|_| {
            let watch = Arc::clone(&watch);
            thread::spawn(move || watch.beat())
        })
        .collect();
    watch.stop();
    assert!(!watch.read.is_fresh(&Moment));
    for beat in beats {
        beat.join().unwrap();
    }
    assert!(watch.read.is_stopped() && !watch.read.is_fresh(&Moment));
    let said = watch.said.lock().unwrap().clone();
    assert_eq!(said.last(), Some(&Said::Leave), "{said:?}");
    let left = said.iter().filter(|said| **said == Said::Leave).count();
    assert_eq!(left, 1);
}

/// Hooks look whether the state counts, twice, while it is read and the watch is stopped: once it counts no more, it never
/// does again.
pub fn hooks_against_stop() {
    let watch = Watch::new();
    watch.beat();
    let beating = {
        let watch = Arc::clone(&watch);
        thread::spawn(move || watch.beat())
    };
    let looking = {
        let watch = Arc::clone(&watch);
        thread::spawn(move || [(), ()].map(|()| watch.read.is_fresh(&Moment)))
    };
    watch.stop();
    let looks = looking.join().unwrap();
    assert_ne!(looks, [false, true], "it was stopped, and counted again");
    beating.join().unwrap();
    assert!(!watch.read.is_fresh(&Moment));
}
