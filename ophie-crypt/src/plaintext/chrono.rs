//! Codecs of chrono's types.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};
use zeroize::Zeroizing;

use super::{
    Codec, CodecError, PlainBuf, Plaintext,
    instant::{
        DATE, OUT_OF_RANGE, TIME, TIMESTAMP, TIMESTAMPTZ, date, put_date, put_time, put_timestamp,
        time, timestamp,
    },
};

/// 1970-01-01 in days from the common era.
const EPOCH: i32 = 719_163;

/// Days since 1970-01-01.
impl Plaintext for NaiveDate {
    const CODEC: Codec = DATE;

    fn size_hint(&self) -> usize {
        4
    }

    fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
        put_date(out, self.num_days_from_ce().wrapping_sub(EPOCH)); // chrono's range is far from i32's ends
        Ok(())
    }

    fn decode(bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
        let days = date(&bytes)?.checked_add(EPOCH).ok_or(OUT_OF_RANGE)?;
        Self::from_num_days_from_ce_opt(days).ok_or(OUT_OF_RANGE)
    }

    fn wipe(&mut self) {
        *self = Self::MIN;
    }
}

/// chrono lets a leap second stand in any minute's any second (`with_nanosecond`, or an offset of odd
/// seconds), and does not read it back from there.
const MISPLACED_LEAP_SECOND: CodecError =
    CodecError::new("a leap second that does not end a minute; its type would not read it again");

fn check_leap_second(time: &impl Timelike) -> Result<(), CodecError> {
    if time.nanosecond() >= 1_000_000_000 && time.second() != 59 {
        return Err(MISPLACED_LEAP_SECOND);
    }
    Ok(())
}

/// Seconds since midnight and nanoseconds.
impl Plaintext for NaiveTime {
    const CODEC: Codec = TIME;

    fn size_hint(&self) -> usize {
        8
    }

    fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
        check_leap_second(self)?;
        put_time(out, self.num_seconds_from_midnight(), self.nanosecond());
        Ok(())
    }

    fn decode(bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
        let (seconds, nanoseconds) = time(&bytes)?;
        Self::from_num_seconds_from_midnight_opt(seconds, nanoseconds).ok_or(OUT_OF_RANGE)
    }

    fn wipe(&mut self) {
        *self = Self::MIN;
    }
}

/// Seconds since 1970-01-01T00:00:00 and nanoseconds.
impl Plaintext for NaiveDateTime {
    const CODEC: Codec = TIMESTAMP;

    fn size_hint(&self) -> usize {
        12
    }

    fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
        check_leap_second(self)?;
        put_timestamp(out, self.and_utc().timestamp(), self.nanosecond());
        Ok(())
    }

    fn decode(bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
        let (seconds, nanoseconds) = timestamp(&bytes)?;
        DateTime::from_timestamp(seconds, nanoseconds)
            .map(|instant| instant.naive_utc())
            .ok_or(OUT_OF_RANGE)
    }

    fn wipe(&mut self) {
        *self = Self::MIN;
    }
}

/// Seconds since 1970-01-01T00:00:00Z and nanoseconds.
impl Plaintext for DateTime<Utc> {
    const CODEC: Codec = TIMESTAMPTZ;

    fn size_hint(&self) -> usize {
        12
    }

    fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
        check_leap_second(self)?;
        put_timestamp(out, self.timestamp(), self.nanosecond());
        Ok(())
    }

    fn decode(bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
        let (seconds, nanoseconds) = timestamp(&bytes)?;
        Self::from_timestamp(seconds, nanoseconds).ok_or(OUT_OF_RANGE)
    }

    fn wipe(&mut self) {
        *self = Self::MIN_UTC;
    }
}

#[cfg(test)]
mod tests {
    use chrono::{FixedOffset, TimeZone};

    use super::*;

    fn encoded(value: &impl Plaintext) -> Result<PlainBuf, CodecError> {
        let mut out = PlainBuf::default();
        value.encode(&mut out).map(|()| out)
    }

    #[test]
    fn a_leap_second_that_could_not_be_read_again_is_not_sealed() {
        let time = |second| {
            let time = NaiveTime::from_hms_opt(23, 59, second).unwrap();
            time.with_nanosecond(1_500_000_000).unwrap()
        };
        let day = NaiveDate::from_ymd_opt(2016, 12, 31).unwrap();
        for (second, sound) in [(59, true), (58, false), (0, false)] {
            let at = day.and_time(time(second));
            assert_eq!(encoded(&time(second)).is_ok(), sound);
            assert_eq!(encoded(&at).is_ok(), sound);
            assert_eq!(encoded(&at.and_utc()).is_ok(), sound);
        }
        let local_mean_time = FixedOffset::east_opt(1172).unwrap();
        let at = local_mean_time.from_local_datetime(&day.and_time(time(59)));
        assert!(encoded(&at.unwrap().to_utc()).is_err());
    }
}
