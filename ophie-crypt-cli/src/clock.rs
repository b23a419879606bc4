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

/// A time in digits, UTC, as migrations are numbered: 20261130101500.
pub(crate) fn number(micros: i64) -> u64 {
    let seconds = micros.div_euclid(1_000_000);
    let at = time::OffsetDateTime::from_unix_timestamp(seconds);
    let at = at.unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let parts = [
        u64::try_from(at.year()).unwrap_or_default(),
        u8::from(at.month()).into(),
        at.day().into(),
        at.hour().into(),
        at.minute().into(),
        at.second().into(),
    ];
    let two_more = |number: u64, part: u64| number.saturating_mul(100).saturating_add(part);
    parts.into_iter().fold(0, two_more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_digits() {
        assert_eq!(number(1_796_033_700_999_999), 20_261_130_101_500);
        assert_eq!(number(0), 19_700_101_000_000);
    }
}
