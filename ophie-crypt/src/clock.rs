//! The only place that reads a clock.
//!
//! Invariant: an age never shrinks by setting the wall clock back, and never stands still during a
//! suspend. Absent: what is done when something is too old.

#![allow(clippy::disallowed_methods, reason = "this is the room of the clocks")]

use std::time::{Duration, SystemTime};

/// Where the time comes from. In tests, each of its two clocks can jump.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    #[cfg(test)]
    jumps: std::sync::Arc<std::sync::Mutex<Jumps>>,
}

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Monotonic; counts the time that the machine was suspended.
    since_boot: Duration,
    wall: SystemTime,
}

impl Clock {
    #[cfg(not(test))]
    pub(crate) fn now(&self) -> Moment {
        Moment {
            since_boot: since_boot(),
            wall: SystemTime::now(),
        }
    }
}

impl Moment {
    /// The larger of the two times elapsed between then and this moment: a clock set back makes nothing
    /// younger.
    pub(crate) fn since(&self, then: &Self) -> Duration {
        let wall = self.wall.duration_since(then.wall).unwrap_or_default();
        self.since_boot.saturating_sub(then.since_boot).max(wall)
    }

    /// The time elapsed by the clock that nobody sets, where more of it would harm.
    pub(crate) const fn since_by_itself(&self, then: &Self) -> Duration {
        self.since_boot.saturating_sub(then.since_boot)
    }

    /// For records that people read.
    pub(crate) const fn wall(&self) -> SystemTime {
        self.wall
    }
}

/// `CLOCK_BOOTTIME`: `Instant` stands still while Linux is suspended.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = now.tv_sec.try_into().unwrap_or_default();
    Duration::new(seconds, now.tv_nsec.try_into().unwrap_or_default())
}

/// Elsewhere the standard library's clock; the wall clock notices a suspend.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn since_boot() -> Duration {
    use std::{sync::OnceLock, time::Instant};

    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "jumps of hours")]
mod jumps {
    use super::{Clock, Duration, Moment, SystemTime, since_boot};

    /// What the tests added to each clock, in milliseconds.
    #[derive(Debug, Default)]
    pub(super) struct Jumps {
        since_boot: u64,
        wall: i64,
    }

    impl Clock {
        pub(crate) fn now(&self) -> Moment {
            let jumps = self.jumps.lock().unwrap();
            let by = Duration::from_millis(jumps.wall.unsigned_abs());
            let wall = SystemTime::now();
            Moment {
                since_boot: since_boot() + Duration::from_millis(jumps.since_boot),
                wall: if jumps.wall < 0 { wall - by } else { wall + by },
            }
        }

        /// Time passes, on both clocks.
        pub(crate) fn pass(&self, time: Duration) {
            let millis = u64::try_from(time.as_millis()).unwrap();
            self.jumps.lock().unwrap().since_boot += millis;
            self.set_wall(i64::try_from(millis).unwrap());
        }

        /// Somebody sets the wall clock.
        pub(crate) fn set_wall(&self, millis: i64) {
            self.jumps.lock().unwrap().wall += millis;
        }

        /// The machine sleeps, and the wall clock does not see it.
        pub(crate) fn suspend(&self, time: Duration) {
            self.jumps.lock().unwrap().since_boot += u64::try_from(time.as_millis()).unwrap();
        }
    }
}
#[cfg(test)]
use self::jumps::Jumps;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_what_either_clock_saw() {
        let hour = Duration::from_secs(3600);
        for jump in [
            |clock: &Clock| clock.set_wall(3_600_000),
            |clock: &Clock| clock.suspend(Duration::from_secs(3600)),
            |clock: &Clock| {
                clock.set_wall(-7_200_000);
                clock.suspend(Duration::from_secs(3600));
            },
        ] {
            let clock = Clock::default();
            let then = clock.now();
            assert!(clock.now().since(&then) < hour);
            jump(&clock);
            assert!(clock.now().since(&then) >= hour);
        }
    }

    #[test]
    fn the_clock_counts_a_suspend() {
        let (boot, then) = (since_boot(), Clock::default().now());
        assert!(boot > Duration::ZERO && then.since_boot >= boot);
    }
}
