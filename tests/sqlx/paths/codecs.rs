//! Every plaintext codec through the database and back; chrono's values read as time's; padding.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use ophie_crypt::{CodecError, ColumnRef, EncryptedModel, Error, Json, OpenError};
use ophie_crypt_sqlx::{Encrypted, Owner, Sealed};
use time::macros::{date, datetime, time};
use uuid::Uuid;

use super::{
    models::{MEMORY, Memory, Word, memory},
    world::{ALICE, World, ours},
};
use crate::db::sql;

#[derive(EncryptedModel, sqlx::FromRow)]
#[crypt(table = "codecs")]
struct Codecs {
    user_id: Owner<Uuid>,
    text: Encrypted<String, codecs::text>,
    bytes: Encrypted<Vec<u8>, codecs::bytes>,
    small: Encrypted<i16, codecs::small>,
    medium: Encrypted<i32, codecs::medium>,
    big: Encrypted<i64, codecs::big>,
    fraction: Encrypted<f64, codecs::fraction>,
    flag: Encrypted<bool, codecs::flag>,
    uid: Encrypted<Uuid, codecs::uid>,
    json: Encrypted<Json<Word>, codecs::json>,
    date: Encrypted<NaiveDate, codecs::date>,
    time: Encrypted<NaiveTime, codecs::time>,
    timestamp: Encrypted<NaiveDateTime, codecs::timestamp>,
    timestamptz: Encrypted<DateTime<Utc>, codecs::timestamptz>,
}

/// The same columns with the types of `time`.
#[derive(EncryptedModel, sqlx::FromRow)]
#[crypt(table = "codecs", module = "times")]
struct Times {
    user_id: Owner<Uuid>,
    date: Encrypted<time::Date, times::date>,
    time: Encrypted<time::Time, times::time>,
    timestamp: Encrypted<time::PrimitiveDateTime, times::timestamp>,
    timestamptz: Encrypted<time::OffsetDateTime, times::timestamptz>,
}

/// Writes `$value` by marker `$column`, in the current session.
macro_rules! put {
    ($world:expr, $marker:ident::$column:ident, $value:expr) => {
        sqlx::query(sql(concat!(
            "UPDATE codecs SET ",
            stringify!($column),
            " = $1"
        )))
        .bind($marker::$column($value))
        .execute($world.pool())
        .await
        .unwrap()
    };
}

/// Reads the column as `$ty`.
macro_rules! get {
    ($world:expr, $marker:ident::$column:ident, $ty:ty) => {
        sqlx::query_scalar::<_, Encrypted<$ty, $marker::$column>>(concat!(
            "SELECT ",
            stringify!($column),
            " FROM codecs"
        ))
        .fetch_one($world.pool())
        .await
    };
}

async fn with_a_row() -> World {
    let world = World::new().await;
    sqlx::query(sql("INSERT INTO codecs (user_id) VALUES ($1)"))
        .bind(ALICE)
        .execute(world.pool())
        .await
        .unwrap();
    world
}

/// Each value through the database and back, equal by `$same`.
macro_rules! round_trips {
    ($($test:ident: $column:ident, $ty:ty, [$($value:expr),+ $(,)?], $same:expr;)*) => {$(
        #[tokio::test]
        async fn $test() {
            let world = with_a_row().await;
            let same: fn(&$ty, &$ty) -> bool = $same;
            let run = async {$({
                let value: $ty = $value;
                put!(world, codecs::$column, value);
                let read = get!(world, codecs::$column, $ty).unwrap();
                assert!(same(read.expose_secret(), &$value), "{}", stringify!($value));
            })+};
            world.alice.scope(run).await;
        }
    )*};
}

round_trips! {
    texts: text, String, ["".into(), "Mom".into(), "\0\u{10ffff} ü".into(), "x".repeat(100_000)], |a, b| a == b;
    byte_strings: bytes, Vec<u8>, [vec![], vec![0], vec![0xFA; 45], (0..=255).collect()], |a, b| a == b;
    sixteen_bits: small, i16, [0, 1, -1, i16::MIN, i16::MAX], |a, b| a == b;
    thirty_two_bits: medium, i32, [0, 1, -1, i32::MIN, i32::MAX], |a, b| a == b;
    sixty_four_bits: big, i64, [0, 1, -1, i64::MIN, i64::MAX], |a, b| a == b;
    floats: fraction, f64,
        [0.0, -0.0, 1.5, f64::MIN, f64::MAX, f64::INFINITY, f64::NAN, f64::from_bits(0x7ff8_0000_0000_0001)],
        |a, b| a.to_bits() == b.to_bits();
    booleans: flag, bool, [true, false], |a, b| a == b;
    uuids: uid, Uuid, [Uuid::nil(), Uuid::max(), ALICE], |a, b| a == b;
    json_values: json, Json<Word>,
        [Json(Word { text: "\"ü\"".into(), start_ms: 0 }), Json(Word { text: String::new(), start_ms: u32::MAX })],
        |a, b| a.0 == b.0;
    chrono_dates: date, NaiveDate,
        [NaiveDate::default(), NaiveDate::MIN, NaiveDate::MAX, NaiveDate::from_ymd_opt(1815, 12, 10).unwrap()],
        |a, b| a == b;
    chrono_times: time, NaiveTime,
        [NaiveTime::MIN, NaiveTime::from_hms_nano_opt(23, 59, 59, 999_999_999).unwrap(),
         NaiveTime::from_hms_nano_opt(23, 59, 59, 1_999_999_999).unwrap()],
        |a, b| a == b;
    chrono_timestamps: timestamp, NaiveDateTime,
        [NaiveDateTime::MIN, NaiveDateTime::MAX, "1815-12-10T06:07:08.123456789".parse().unwrap()], |a, b| a == b;
    chrono_instants: timestamptz, DateTime<Utc>,
        [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::UNIX_EPOCH,
         "2026-11-24T05:06:07.123456789Z".parse().unwrap()],
        |a, b| a == b;
}

#[tokio::test]
async fn a_whole_row_reads_back_as_its_model() {
    let world = with_a_row().await;
    let noon: NaiveDateTime = "2026-11-24T12:00:00".parse().unwrap();
    let run = async {
        put!(world, codecs::text, "Mom");
        put!(world, codecs::bytes, [1, 2, 3]);
        put!(world, codecs::small, 1_i16);
        put!(world, codecs::medium, 2);
        put!(world, codecs::big, 3);
        put!(world, codecs::fraction, 0.5);
        put!(world, codecs::flag, true);
        put!(world, codecs::uid, ALICE);
        put!(
            world,
            codecs::json,
            Word {
                text: "hello".into(),
                start_ms: 4
            }
        );
        put!(world, codecs::date, noon.date());
        put!(world, codecs::time, noon.time());
        put!(world, codecs::timestamp, noon);
        put!(world, codecs::timestamptz, noon.and_utc());
        sqlx::query_as::<_, Codecs>("SELECT * FROM codecs")
            .fetch_one(world.pool())
            .await
            .unwrap()
    };
    let row = world.alice.scope(run).await;
    assert_eq!(
        (row.user_id.0, row.text.expose_secret().as_str()),
        (ALICE, "Mom")
    );
    assert_eq!(row.bytes.expose_secret(), &[1, 2, 3]);
    let (small, medium, big) = (
        row.small.expose_secret(),
        row.medium.expose_secret(),
        row.big.expose_secret(),
    );
    assert_eq!((*small, *medium, *big), (1, 2, 3));
    assert_eq!(
        (*row.fraction.expose_secret(), *row.flag.expose_secret()),
        (0.5, true)
    );
    assert_eq!(
        (row.uid.expose_secret(), row.json.expose_secret().0.start_ms),
        (&ALICE, 4)
    );
    assert_eq!(
        (row.date.expose_secret(), row.time.expose_secret()),
        (&noon.date(), &noon.time())
    );
    assert_eq!(
        (
            row.timestamp.expose_secret(),
            row.timestamptz.expose_secret()
        ),
        (&noon, &noon.and_utc())
    );
}

#[tokio::test]
async fn what_chrono_wrote_time_reads_and_the_reverse() {
    let world = with_a_row().await;
    let chrono: NaiveDateTime = "1969-12-31T23:59:58.000000009".parse().unwrap();
    let run = async {
        put!(world, codecs::date, chrono.date());
        put!(world, codecs::time, chrono.time());
        put!(world, codecs::timestamp, chrono);
        put!(world, codecs::timestamptz, chrono.and_utc());
        let row: Times = sqlx::query_as("SELECT * FROM codecs")
            .fetch_one(world.pool())
            .await
            .unwrap();
        assert_eq!(row.user_id, Owner(ALICE));
        assert_eq!(*row.date.expose_secret(), date!(1969 - 12 - 31));
        assert_eq!(*row.time.expose_secret(), time!(23:59:58.000_000_009));
        assert_eq!(
            *row.timestamp.expose_secret(),
            datetime!(1969-12-31 23:59:58.000_000_009)
        );
        assert_eq!(
            *row.timestamptz.expose_secret(),
            datetime!(1969-12-31 23:59:58.000_000_009 UTC)
        );

        // An offset is not stored; the instant is.
        put!(world, times::date, date!(2026 - 11 - 24));
        put!(world, times::time, time!(00:00:00));
        put!(world, times::timestamp, datetime!(2026-11-24 01:02:03));
        put!(world, times::timestamptz, datetime!(2026-11-24 01:02:03 +2));
        assert_eq!(
            get!(world, codecs::date, NaiveDate)
                .unwrap()
                .expose_secret()
                .to_string(),
            "2026-11-24"
        );
        assert_eq!(
            *get!(world, codecs::time, NaiveTime)
                .unwrap()
                .expose_secret(),
            NaiveTime::MIN
        );
        let timestamp = get!(world, codecs::timestamp, NaiveDateTime).unwrap();
        assert_eq!(timestamp.expose_secret().to_string(), "2026-11-24 01:02:03");
        let instant = get!(world, codecs::timestamptz, DateTime<Utc>).unwrap();
        assert_eq!(
            instant.expose_secret().to_rfc3339(),
            "2026-11-23T23:02:03+00:00"
        );
    };
    world.alice.scope(run).await;
}

#[tokio::test]
async fn what_the_other_crate_cannot_hold_is_an_error() {
    let world = with_a_row().await;
    let run = async {
        put!(
            world,
            codecs::time,
            NaiveTime::from_hms_nano_opt(23, 59, 59, 1_000_000_000).unwrap()
        );
        let error = ours(get!(world, times::time, time::Time));
        assert!(
            matches!(&error, Error::Open(OpenError::Codec { .. })),
            "{error:?}"
        );
        assert!(error.to_string().contains("codecs.time"), "{error}");
        put!(world, codecs::date, NaiveDate::MAX);
        let error = ours(get!(world, times::date, time::Date));
        assert!(
            matches!(&error, Error::Open(OpenError::Codec { .. })),
            "{error:?}"
        );
    };
    world.alice.scope(run).await;
}

#[tokio::test]
async fn integers_widen_and_narrow_only_where_they_fit() {
    let world = with_a_row().await;
    let run = async {
        put!(world, codecs::small, -7_i16);
        assert_eq!(
            *get!(world, codecs::small, i64).unwrap().expose_secret(),
            -7
        );
        put!(world, codecs::big, 70_000_i64);
        assert_eq!(
            *get!(world, codecs::big, i32).unwrap().expose_secret(),
            70_000
        );
        assert_eq!(
            ours(get!(world, codecs::big, i16)),
            Error::Open(OpenError::Codec {
                column: ColumnRef::new("codecs", "big"),
                reason: CodecError::new("an integer too large for the field's type"),
            })
        );
    };
    world.alice.scope(run).await;
}

#[tokio::test]
async fn padding_hides_the_length_within_a_bucket() {
    let world = World::new().await;
    for len in [0, 1, 62, 63, 64, 127, 128] {
        world.memory(&world.alice, &"x".repeat(len)).await;
    }
    let stored = world.stored("SELECT text FROM memories ORDER BY id").await;
    let lengths: Vec<_> = stored
        .iter()
        .flatten()
        .map(|bytes| bytes.len() - 45)
        .collect();
    assert_eq!(lengths, [64, 64, 64, 64, 128, 128, 192]);
    let read =
        sqlx::query_as::<_, Memory>("SELECT * FROM memories ORDER BY id").fetch_all(world.pool());
    let read = world.alice.scope(read).await.unwrap();
    let lengths: Vec<_> = read
        .iter()
        .map(|memory| memory.text.expose_secret().len())
        .collect();
    assert_eq!(lengths, [0, 1, 62, 63, 64, 127, 128]);
}

#[tokio::test]
async fn reading_needs_no_padding_setting() {
    #[derive(EncryptedModel)]
    #[crypt(table = "memories", module = "unpadded")]
    #[allow(dead_code, reason = "only its markers are used")]
    struct Unpadded {
        user_id: Owner<Uuid>,
        text: Encrypted<String, unpadded::text>,
    }
    let world = World::new().await;
    world.memory(&world.alice, "hello").await;
    let padded: Sealed<String, unpadded::text> = sqlx::query_scalar("SELECT text FROM memories")
        .fetch_one(world.pool())
        .await
        .unwrap();
    assert_eq!(padded.open(&world.alice).unwrap().expose_secret(), "hello");
    let unpadded = unpadded::text("hello").seal(&world.alice).unwrap();
    let read = Sealed::<String, memory::text>::from_bytes(unpadded.into_bytes());
    assert_eq!(read.open(&world.alice).unwrap().expose_secret(), "hello");
    assert_eq!(MEMORY.padding(), Some(64));
}
