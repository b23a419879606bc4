//! Rust's types for each codec, and their values in the text form of the vectors.
//!
//! Invariant: each codec is opened as its type and once more as [`Raw`], whose decoding takes any bytes, so
//! that a refusal by the codec is told from one by the tag. Absent: places (`places`).

use core::marker::PhantomData;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use ophie_crypt::{Codec, CodecError, Json, PlainBuf, Plaintext};
use time::{
    Date, OffsetDateTime, PrimitiveDateTime, Time, format_description::BorrowedFormatItem,
    macros::format_description,
};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::file::hex;

/// A plaintext type with a text form; `None` for codecs that have none.
pub(crate) trait Shown: Plaintext {
    fn show(&self) -> Option<String>;
}

/// Something to do with one type.
pub(crate) trait Task {
    type Out;
    fn run<T: Shown>(self) -> Self::Out;
}

/// With the type for a codec: the standard library's, chrono's, `uuid`'s, serde's.
pub(crate) fn with_type<W: Task>(codec: &str, integer: Option<&str>, task: W) -> W::Out {
    match (codec, integer) {
        ("bool", None) => task.run::<bool>(),
        ("bytes", None) => task.run::<Vec<u8>>(),
        ("date", None) => task.run::<NaiveDate>(),
        ("f64", None) => task.run::<f64>(),
        ("int", Some("i16")) => task.run::<i16>(),
        ("int", Some("i32")) => task.run::<i32>(),
        ("int", Some("i64")) => task.run::<i64>(),
        ("json", None) => task.run::<Json<serde_json::Value>>(),
        ("text", None) => task.run::<String>(),
        ("time", None) => task.run::<NaiveTime>(),
        ("timestamp", None) => task.run::<NaiveDateTime>(),
        ("timestamptz", None) => task.run::<DateTime<Utc>>(),
        ("uuid", None) => task.run::<Uuid>(),
        ("my-app/point", None) => task.run::<Raw<Own>>(),
        _ => panic!("no type for codec {codec} {integer:?}"),
    }
}

/// With the type of the crate `time`, for codecs that have one.
pub(crate) fn with_time_type<W: Task>(codec: &str, task: W) -> Option<W::Out> {
    Some(match codec {
        "date" => task.run::<Date>(),
        "time" => task.run::<Time>(),
        "timestamp" => task.run::<PrimitiveDateTime>(),
        "timestamptz" => task.run::<OffsetDateTime>(),
        _ => return None,
    })
}

/// The bytes of a codec as they are: anything can name a codec of this page and read its plaintext.
pub(crate) struct Raw<K>(Vec<u8>, PhantomData<K>);

pub(crate) trait CodecId {
    const CODEC: Codec;
}

macro_rules! raw {
    ($($codec:ident $id:literal),+) => {
        $(
            pub(crate) enum $codec {}
            impl CodecId for $codec {
                const CODEC: Codec = Codec::new($id);
            }
        )+

        /// With [`Raw`] of a codec.
        pub(crate) fn with_raw_type<W: Task>(codec: &str, task: W) -> W::Out {
            match codec {
                $($id => task.run::<Raw<$codec>>(),)+
                _ => panic!("no raw type for codec {codec}"),
            }
        }
    };
}

raw!(
    Bool "bool", Bytes "bytes", Day "date", Float "f64", Int "int", JsonText "json", Own "my-app/point",
    Text "text", Clock "time", Local "timestamp", Instant "timestamptz", Id "uuid"
);

impl<K: CodecId> Plaintext for Raw<K> {
    const CODEC: Codec = K::CODEC;

    fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
        out.extend(&self.0);
        Ok(())
    }

    fn decode(bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
        Ok(Self(bytes.to_vec(), PhantomData))
    }

    fn wipe(&mut self) {}
}

impl<K: CodecId> Shown for Raw<K> {
    fn show(&self) -> Option<String> {
        Some(hex(&self.0))
    }
}

impl Shown for Vec<u8> {
    fn show(&self) -> Option<String> {
        None
    }
}

impl Shown for f64 {
    fn show(&self) -> Option<String> {
        Some(format!("{:016x}", self.to_bits()))
    }
}

impl Shown for String {
    fn show(&self) -> Option<String> {
        Some(serde_json::to_string(self).unwrap())
    }
}

impl Shown for Json<serde_json::Value> {
    fn show(&self) -> Option<String> {
        Some(self.0.to_string())
    }
}

macro_rules! shown_by {
    ($show:expr => $($ty:ty),+) => {$(
        impl Shown for $ty {
            fn show(&self) -> Option<String> {
                let show: fn(&Self) -> String = $show;
                Some(show(self))
            }
        }
    )+};
}

shown_by!(ToString::to_string => bool, i16, i32, i64, Uuid);
shown_by!(|date| date.format("%Y-%m-%d").to_string() => NaiveDate);
shown_by!(|time| time.format("%H:%M:%S%.9f").to_string() => NaiveTime);
shown_by!(|instant| instant.format("%Y-%m-%dT%H:%M:%S%.9f").to_string() => NaiveDateTime);
shown_by!(|instant| instant.format("%Y-%m-%dT%H:%M:%S%.9fZ").to_string() => DateTime<Utc>);

const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[hour]:[minute]:[second].[subsecond digits:9]");

shown_by!(|date| date.format(DATE).unwrap() => Date);
shown_by!(|time| time.format(TIME).unwrap() => Time);
shown_by!(|at| format!("{}T{}", at.date().show().unwrap(), at.time().show().unwrap()) => PrimitiveDateTime);
shown_by!(|at| format!("{}T{}Z", at.date().show().unwrap(), at.time().show().unwrap()) => OffsetDateTime);
