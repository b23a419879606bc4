//! Which processes live no longer.
//!
//! Invariant: nobody is taken for dead because the database's clock went ahead, or because another host's took its place: a
//! heartbeat that has expired there must also have stood still for as long as one lives, by the clock of who looks.
//! Absent: what waits for the living (`worker`).

use core::time::Duration;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::{Heartbeat, SoakProcess};
use crate::{
    clock::{Clock, Moment},
    column::ColumnRef,
};

/// How long a heartbeat counts, as in the database.
const LIVES: Duration = Duration::from_secs(30);

/// When which heartbeat was seen first.
#[derive(Default)]
pub(super) struct Deaths {
    pub(super) clock: Clock,
    seen: Mutex<HashMap<(SoakProcess, ColumnRef), (i64, Moment)>>,
}

/// How sure that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Lives,
    /// The database says that it is dead.
    Doubtful,
    Dead,
}

impl Deaths {
    /// Looks at a heartbeat that was read just now; `asked` is when the database was asked, as the answer may take its time.
    pub(super) fn look(&self, column: &ColumnRef, beat: &Heartbeat, asked: &Moment) -> Life {
        let now = self.clock.now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let first = seen
            .entry((beat.process, *column))
            .or_insert((beat.beat_at, now));
        if first.0 != beat.beat_at {
            *first = (beat.beat_at, now);
        }
        if beat.lives {
            Life::Lives
        } else if beat.beat_at == 0 || asked.since_by_itself(&first.1) >= LIVES {
            Life::Dead // it said so itself, or had the time to say otherwise
        } else {
            Life::Doubtful
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::SoakState;

    const COLUMN: ColumnRef = ColumnRef::new("people", "name_ct");

    fn beat(beat_at: i64, lives: bool) -> Heartbeat {
        Heartbeat {
            process: SoakProcess([1; 16]),
            beat_at,
            lives,
            version: 1,
            knows_twin: true,
            floor: SoakState::DualWrite,
            pending: 0,
            odd: 0,
        }
    }

    #[test]
    fn a_clock_that_goes_ahead_kills_nobody() {
        let deaths = Deaths::default();
        let look =
            |beat_at, lives| deaths.look(&COLUMN, &beat(beat_at, lives), &deaths.clock.now());
        assert_eq!(look(5, true), Life::Lives);
        assert_eq!(look(5, false), Life::Doubtful);
        // Its own host's clock goes ahead, too.
        deaths.clock.set_wall(3_600_000);
        assert_eq!(look(5, false), Life::Doubtful);
        deaths.clock.pass(LIVES / 2);
        assert_eq!(look(6, false), Life::Doubtful, "it has beaten meanwhile");
        deaths.clock.pass(LIVES / 2);
        assert_eq!(look(6, false), Life::Doubtful);
        deaths.clock.pass(LIVES / 2);
        assert_eq!(look(6, false), Life::Dead);
        assert_eq!(look(7, true), Life::Lives, "it was suspended");
    }

    /// It may have beaten once it was read.
    #[test]
    fn an_answer_that_takes_its_time_kills_nobody() {
        let deaths = Deaths::default();
        let look = |asked| deaths.look(&COLUMN, &beat(5, false), asked);
        let first = deaths.clock.now();
        deaths.clock.pass(LIVES);
        assert_eq!(look(&first), Life::Doubtful, "the first answer");
        deaths.clock.pass(LIVES / 2);
        let asked = deaths.clock.now();
        deaths.clock.pass(LIVES);
        assert_eq!(look(&asked), Life::Doubtful);
        assert_eq!(look(&deaths.clock.now()), Life::Dead);
    }

    #[test]
    fn who_took_its_heartbeat_away_is_not_waited_for() {
        let deaths = Deaths::default();
        let asked = deaths.clock.now();
        assert_eq!(deaths.look(&COLUMN, &beat(0, false), &asked), Life::Dead);
    }
}
