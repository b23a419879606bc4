//! The only place that reads a clock.
//!
//! Invariant: an age never shrinks by setting the wall clock back, and never stands still during a
//! suspend that the wall clock saw. Absent: what is done when something is too old.

#![allow(clippy::disallowed_methods, reason = "this is the room of the clocks")]

use std::time::{Duration, Instant, SystemTime};

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self {
            monotonic: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// The larger of the two times elapsed: a clock set back makes nothing younger.
    pub(crate) fn age(&self) -> Duration {
        let wall = self.wall.elapsed().unwrap_or(Duration::ZERO);
        self.monotonic.elapsed().max(wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_jumps_forward_ages() {
        let mut moment = Moment::now();
        moment.wall -= Duration::from_secs(3600);
        assert!(moment.age() >= Duration::from_secs(3600));
    }

    #[test]
    fn a_wall_clock_that_jumps_back_does_not_make_younger() {
        let mut moment = Moment::now();
        moment.wall += Duration::from_secs(3600);
        moment.monotonic -= Duration::from_secs(60);
        assert!(moment.age() >= Duration::from_secs(60));
    }
}
