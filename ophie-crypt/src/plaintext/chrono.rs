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

/// Seconds since midnight and nanoseconds.
impl Plaintext for NaiveTime {
    const CODEC: Codec = TIME;

    fn size_hint(&self) -> usize {
        8
    }

    fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
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
