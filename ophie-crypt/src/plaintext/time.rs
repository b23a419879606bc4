//! Codecs of time's types.

use time::{Date, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};
use zeroize::Zeroizing;

use super::{
    Codec, CodecError, PlainBuf, Plaintext,
    instant::{
        DATE, OUT_OF_RANGE, TIME, TIMESTAMP, TIMESTAMPTZ, date, put_date, put_time, put_timestamp,
        time, timestamp,
    },
};

/// 1970-01-01 as a Julian day.
const EPOCH: i32 = 2_440_588;

/// Days since 1970-01-01.
impl Plaintext for Date {
    const CODEC: Codec = DATE;

    fn size_hint(&self) -> usize {
        4
    }

    fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
        put_date(out, self.to_julian_day().wrapping_sub(EPOCH)); // time's range is far from i32's ends
        Ok(())
    }

    fn decode(bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
        let day = date(&bytes)?.checked_add(EPOCH).ok_or(OUT_OF_RANGE)?;
        Self::from_julian_day(day).map_err(|_| OUT_OF_RANGE)
    }

    fn wipe(&mut self) {
        *self = Self::MIN;
    }
}

/// Seconds since midnight and nanoseconds.
impl Plaintext for Time {
    const CODEC: Codec = TIME;

    fn size_hint(&self) -> usize {
        8
    }

    fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
        let (hours, minutes, seconds) = self.as_hms();
        let seconds = [(hours, 3600), (minutes, 60), (seconds, 1)]
            .into_iter()
            .fold(0_u32, |sum, (count, unit)| {
                sum.wrapping_add(u32::from(count).wrapping_mul(unit))
            });
        put_time(out, seconds, self.nanosecond());
        Ok(())
    }

    fn decode(bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
        let (seconds, nanoseconds) = time(&bytes)?;
        let part = |unit: u32, base: u32| {
            let count = seconds.checked_div(unit)?.checked_rem(base)?;
            u8::try_from(count).ok()
        };
        let (Some(hours), Some(minutes), Some(seconds)) =
            (part(3600, u32::MAX), part(60, 60), part(1, 60))
        else {
            return Err(OUT_OF_RANGE);
        };
        // Refuses chrono's leap seconds, which time cannot hold.
        Self::from_hms_nano(hours, minutes, seconds, nanoseconds).map_err(|_| OUT_OF_RANGE)
    }

    fn wipe(&mut self) {
        *self = Self::MIDNIGHT;
    }
}

/// Seconds since 1970-01-01T00:00:00 and nanoseconds.
impl Plaintext for PrimitiveDateTime {
    const CODEC: Codec = TIMESTAMP;

    fn size_hint(&self) -> usize {
        12
    }

    fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
        let instant = self.assume_utc();
        put_timestamp(out, instant.unix_timestamp(), instant.nanosecond());
        Ok(())
    }

    fn decode(bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
        let instant = read(&bytes)?;
        Ok(Self::new(instant.date(), instant.time()))
    }

    fn wipe(&mut self) {
        *self = Self::MIN;
    }
}

/// The instant in UTC: seconds since 1970-01-01T00:00:00Z and nanoseconds. The offset is not stored. An
/// instant whose year in UTC is beyond time's range, as its offset allows, is refused.
impl Plaintext for OffsetDateTime {
    const CODEC: Codec = TIMESTAMPTZ;

    fn size_hint(&self) -> usize {
        12
    }

    fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
        let seconds = self.unix_timestamp();
        Self::from_unix_timestamp(seconds).map_err(|_| OUT_OF_RANGE)?;
        put_timestamp(out, seconds, self.nanosecond());
        Ok(())
    }

    fn decode(bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
        read(&bytes)
    }

    fn wipe(&mut self) {
        *self = Self::UNIX_EPOCH;
    }
}

fn read(bytes: &[u8]) -> Result<OffsetDateTime, CodecError> {
    let (seconds, nanoseconds) = timestamp(bytes)?;
    OffsetDateTime::from_unix_timestamp(seconds)
        .and_then(|instant| instant.replace_nanosecond(nanoseconds))
        .map(|instant| instant.to_offset(UtcOffset::UTC))
        .map_err(|_| OUT_OF_RANGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_that_could_not_be_read_again_is_not_sealed() {
        for (at, hours, sound) in [
            (PrimitiveDateTime::MAX, 0, true),
            (PrimitiveDateTime::MAX, 12, true),
            (PrimitiveDateTime::MAX, -12, false),
            (PrimitiveDateTime::MIN, 12, false),
        ] {
            let at = at.assume_offset(UtcOffset::from_hms(hours, 0, 0).unwrap());
            assert_eq!(at.encode(&mut PlainBuf::default()).is_ok(), sound, "{at}");
        }
    }
}
