//! Every codec: the bytes of SPEC.md, the room that it asks for, and what a wiped value is.

use core::fmt::Debug;

use super::*;
use crate::hex::to_hex;

fn holds<T: Plaintext + PartialEq + Debug>(mut value: T, bytes: &str, wiped: &T) {
    let mut out = PlainBuf::default();
    value.encode(&mut out).unwrap();
    assert_eq!(to_hex(out.as_slice()), bytes, "{value:?}");
    assert!(
        value.size_hint() >= out.len(),
        "{value:?} outgrows its room"
    );
    let read = T::decode(Zeroizing::new(out.as_slice().to_vec())).unwrap();
    assert_eq!(read, value);
    value.wipe();
    assert_eq!(value, *wiped, "it is there still");
}

fn refuses<T: Plaintext>(bytes: &[u8]) {
    assert!(T::decode(Zeroizing::new(bytes.to_vec())).is_err());
}

#[test]
fn the_standard_librarys() {
    holds(String::from("Mom"), "4d6f6d", &String::new());
    holds(vec![0xfa_u8, 0], "fa00", &Vec::new());
    holds(-2_i16, "fffffffffffffffe", &0);
    holds(7_i32, "0000000000000007", &0);
    holds(i64::MIN, "8000000000000000", &0);
    holds(-2.5_f64, "c004000000000000", &0.0);
    holds(true, "01", &false);
    holds(false, "00", &false);
    refuses::<String>(&[0xff]);
    refuses::<i16>(&40_000_i64.to_be_bytes());
    refuses::<i64>(&[0; 7]);
    refuses::<bool>(&[2]);
    refuses::<bool>(&[]);
}

#[cfg(feature = "uuid")]
#[test]
fn uuids() {
    let id = uuid::Uuid::from_u128(0x00112233_44556677_8899aabb_ccddeeff);
    holds(id, "00112233445566778899aabbccddeeff", &uuid::Uuid::nil());
    refuses::<uuid::Uuid>(&[0; 15]);
}

#[cfg(feature = "json")]
#[test]
fn json() {
    holds(Json(vec![1, 2]), "5b312c325d", &Json(vec![1, 2])); // serde types cannot be wiped
    assert!(Json("x".repeat(99)).size_hint() > 99);
    refuses::<Json<Vec<u8>>>(b"[1,2");
    assert_eq!(format!("{:?}", Json("Mom")), "Json([REDACTED])");
}

/// A date, a time and both: the day before 1970, a second and a nanosecond before its midnight.
#[cfg(any(feature = "chrono", feature = "time"))]
const BEFORE: [&str; 3] = ["ffffffff", "0001517e3b9ac9ff", "fffffffffffffffe3b9ac9ff"];

#[cfg(feature = "chrono")]
#[test]
fn chronos() {
    use ::chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};

    let [date, time, timestamp] = BEFORE;
    let day = NaiveDate::from_ymd_opt(1969, 12, 31).unwrap();
    let at = NaiveTime::from_hms_nano_opt(23, 59, 58, 999_999_999).unwrap();
    holds(day, date, &NaiveDate::MIN);
    holds(at, time, &NaiveTime::MIN);
    holds(day.and_time(at), timestamp, &NaiveDateTime::MIN);
    let instant = day.and_time(at).and_utc();
    holds(instant, timestamp, &DateTime::<Utc>::MIN_UTC);
    refuses::<NaiveDate>(&i32::MAX.to_be_bytes());
}

#[cfg(feature = "time")]
#[test]
fn times() {
    use ::time::{Date, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

    let [date, time, timestamp] = BEFORE;
    let day = Date::from_ordinal_date(1969, 365).unwrap();
    let at = Time::from_hms_nano(23, 59, 58, 999_999_999).unwrap();
    let both = PrimitiveDateTime::new(day, at);
    holds(day, date, &Date::MIN);
    holds(at, time, &Time::MIDNIGHT);
    holds(both, timestamp, &PrimitiveDateTime::MIN);
    holds(both.assume_utc(), timestamp, &OffsetDateTime::UNIX_EPOCH);
    let elsewhere = both
        .assume_utc()
        .to_offset(UtcOffset::from_hms(5, 30, 0).unwrap());
    holds(elsewhere, timestamp, &OffsetDateTime::UNIX_EPOCH);
    refuses::<Date>(&i32::MAX.to_be_bytes());
}

/// What a codec has not said, a buffer finds out.
#[test]
fn a_codec_may_leave_out_how_long_a_value_is() {
    struct Point(u8);
    impl Plaintext for Point {
        const CODEC: Codec = Codec::new("tests/point");

        fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
            out.extend(&[self.0]);
            Ok(())
        }

        fn decode(bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
            base::exactly(&bytes).map(|[byte]| Self(byte))
        }

        fn wipe(&mut self) {
            self.0 = 0;
        }
    }
    assert_eq!(Point(7).size_hint(), 0);
    assert_eq!(Point::CODEC.to_string(), "tests/point");
    assert!(Point::decode(Zeroizing::new(vec![7])).is_ok_and(|point| point.0 == 7));
}

#[test]
fn a_value_is_wiped_however_its_call_ends() {
    use std::cell::Cell;

    #[derive(Debug)]
    struct Noted<'a>(&'a Cell<bool>);
    impl Plaintext for Noted<'_> {
        const CODEC: Codec = Codec::new("tests/noted");

        fn encode(&self, _: &mut PlainBuf) -> Result<(), CodecError> {
            Err(CodecError::new("never"))
        }

        fn decode(_: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
            Err(CodecError::new("never"))
        }

        fn wipe(&mut self) {
            self.0.set(true);
        }
    }
    let is_wiped = Cell::new(false);
    drop(Wiped(Noted(&is_wiped)));
    assert!(is_wiped.get());
}

/// Or a long text would be copied while it is written.
#[test]
fn a_buffer_has_the_room_that_was_asked_for() {
    let mut buf = PlainBuf::with_capacity(5);
    assert!(buf.is_empty());
    let room = buf.as_slice().as_ptr();
    buf.extend(b"hello");
    assert_eq!((buf.as_slice().as_ptr(), buf.len()), (room, 5));
    assert!(!buf.is_empty());
    assert_eq!(format!("{buf:?}"), "PlainBuf([REDACTED])");
}
