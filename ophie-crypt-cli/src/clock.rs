//! The wall clock, to compare with the database's.

use std::time::SystemTime;

/// Microseconds since 1970.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place of this crate that reads the clock"
)]
pub(crate) fn now() -> i64 {
    micros(SystemTime::now())
}

/// Microseconds since 1970; 0 for what is before.
pub(crate) fn micros(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    })
}
