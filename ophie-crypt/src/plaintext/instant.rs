//! The bytes that chrono's and time's types share: what one wrote the other reads.
//!
//! Absent: time zones. An instant is stored in UTC; its offset is not.

use super::{Codec, CodecError, PlainBuf, base::exactly};

/// Days since 1970-01-01, 4 bytes big-endian.
pub(super) const DATE: Codec = Codec::new("date");
/// Seconds since midnight and nanoseconds, 4 bytes each; a leap second has 10^9 nanoseconds and more.
pub(super) const TIME: Codec = Codec::new("time");
/// Date and time of day without a zone: seconds since 1970-01-01T00:00:00 (8 bytes) and nanoseconds (4).
pub(super) const TIMESTAMP: Codec = Codec::new("timestamp");
/// An instant: as [`TIMESTAMP`], in UTC.
pub(super) const TIMESTAMPTZ: Codec = Codec::new("timestamptz");

pub(super) fn put_date(out: &mut PlainBuf, days: i32) {
    out.extend(&days.to_be_bytes());
}

pub(super) fn date(bytes: &[u8]) -> Result<i32, CodecError> {
    Ok(i32::from_be_bytes(exactly(bytes)?))
}

pub(super) fn put_time(out: &mut PlainBuf, seconds: u32, nanoseconds: u32) {
    out.extend(&seconds.to_be_bytes());
    out.extend(&nanoseconds.to_be_bytes());
}

pub(super) fn time(bytes: &[u8]) -> Result<(u32, u32), CodecError> {
    let [a, b, c, d, e, f, g, h] = exactly(bytes)?;
    Ok((
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
    ))
}

pub(super) fn put_timestamp(out: &mut PlainBuf, seconds: i64, nanoseconds: u32) {
    out.extend(&seconds.to_be_bytes());
    out.extend(&nanoseconds.to_be_bytes());
}

pub(super) fn timestamp(bytes: &[u8]) -> Result<(i64, u32), CodecError> {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = exactly(bytes)?;
    Ok((
        i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        u32::from_be_bytes([i, j, k, l]),
    ))
}

/// For a value that the other crate could hold and this one cannot.
pub(super) const OUT_OF_RANGE: CodecError =
    CodecError::new("a time that the field's type cannot hold");
