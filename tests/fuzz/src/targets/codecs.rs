//! Decoding of every type that can be stored.
//!
//! Invariant: what is decoded is sealed again as the very bytes, JSON as a text that means the same; of types of one
//! length and of text, what is taken and what is refused is what SPEC.md says.

use ophie_crypt::Session;
use zeroize::Zeroizing;

use crate::{
    bytes::Bytes,
    golden::{
        codecs::{Shown, Task, with_raw_type, with_time_type, with_type},
        file::hex,
        places::place_of,
    },
    world::with_session,
};

/// Codec, width of an integer, and whether the type is one of the crate `time`.
const TYPES: [(&str, Option<&str>, bool); 18] = [
    ("bool", None, false),
    ("bytes", None, false),
    ("date", None, false),
    ("date", None, true),
    ("f64", None, false),
    ("int", Some("i16"), false),
    ("int", Some("i32"), false),
    ("int", Some("i64"), false),
    ("json", None, false),
    ("my-app/point", None, false),
    ("text", None, false),
    ("time", None, false),
    ("time", None, true),
    ("timestamp", None, false),
    ("timestamp", None, true),
    ("timestamptz", None, false),
    ("timestamptz", None, true),
    ("uuid", None, false),
];

/// Plaintexts of the golden files, each as every type of its codec.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for vector in crate::golden::vectors() {
        let (Some(codec), Some(_)) = (vector.get("codec"), vector.get("plaintext")) else {
            continue;
        };
        for (n, of) in TYPES.iter().enumerate() {
            if of.0 == codec {
                seeds.push([&[u8::try_from(n).unwrap()], &vector.hex("plaintext")[..]].concat());
            }
        }
    }
    seeds
}

pub(crate) fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let (codec, integer, time) = bytes.pick(&TYPES);
    let task = Decode {
        codec,
        bytes: bytes.0,
    };
    let decoded = if time {
        with_time_type(codec, task).unwrap()
    } else {
        with_type(codec, integer, task)
    };
    if let Some(expected) = allowed(codec, integer, bytes.0) {
        assert_eq!(decoded, expected, "{codec} {integer:?} {}", hex(bytes.0));
    }
}

/// Whether it decodes, and is encoded again.
struct Decode<'a> {
    codec: &'a str,
    bytes: &'a [u8],
}

impl Task for Decode<'_> {
    type Out = bool;

    fn run<T: Shown>(self) -> bool {
        let decoded = |bytes: &[u8]| T::decode(Zeroizing::new(bytes.to_vec()));
        let Ok(value) = decoded(self.bytes) else {
            return false;
        };
        let shown = value.show();
        let place = place_of::<T>("value", "memories", "value");
        let stored = with_session(|session| (place.seal)(value, session, None));
        if self.codec == "json" {
            let open = |session: &Session| (place.open)(&stored, session, None);
            assert_eq!(with_session(open).unwrap(), shown);
        } else {
            let again = with_raw_type(self.codec, Raw(&stored));
            assert_eq!(again, hex(self.bytes), "{} has two forms", self.codec);
        }
        true
    }
}

/// The bytes of the codec, in hexadecimal.
struct Raw<'a>(&'a [u8]);

impl Task for Raw<'_> {
    type Out = String;

    fn run<T: Shown>(self) -> String {
        let open = place_of::<T>("value", "memories", "value").open;
        with_session(|session| open(self.0, session, None))
            .unwrap()
            .unwrap()
    }
}

/// What SPEC.md says; nothing of JSON, and of dates and times that a type may or may not hold.
fn allowed(codec: &str, integer: Option<&str>, bytes: &[u8]) -> Option<bool> {
    let number = || Some(i64::from_be_bytes(bytes.try_into().ok()?));
    let of_length = |len: usize| bytes.len() == len;
    let (seconds, nanoseconds) = match codec {
        "bool" => return Some(matches!(bytes, [0 | 1])),
        "bytes" | "my-app/point" => return Some(true),
        "f64" => return Some(of_length(8)),
        "int" => {
            return Some(match integer {
                Some("i16") => number().is_some_and(|n| i16::try_from(n).is_ok()),
                Some("i32") => number().is_some_and(|n| i32::try_from(n).is_ok()),
                _ => number().is_some(),
            });
        }
        "text" => return Some(core::str::from_utf8(bytes).is_ok()),
        "uuid" => return Some(of_length(16)),
        "date" => return (!of_length(4)).then_some(false),
        "time" if of_length(8) => (&bytes[..4], &bytes[4..]),
        "timestamp" | "timestamptz" if of_length(12) => (&bytes[..8], &bytes[8..]),
        "time" | "timestamp" | "timestamptz" => return Some(false),
        _ => return None,
    };
    let unsigned = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0_u64, |n, byte| (n << 8) | u64::from(*byte))
    };
    let (s, ns) = (unsigned(seconds), unsigned(nanoseconds));
    let signed = i64::from_be_bytes(s.to_be_bytes());
    let in_minute = if codec == "time" {
        s % 60
    } else {
        signed.rem_euclid(60).unsigned_abs()
    };
    let most = if in_minute == 59 {
        2_000_000_000
    } else {
        1_000_000_000
    };
    (ns >= most || (codec == "time" && s >= 86_400)).then_some(false)
}
