//! One database under both: what SQLx writes Diesel reads, and the reverse, for each codec.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use diesel::{RunQueryDsl, prelude::*, sql_types::Binary};
use ophie_crypt::{EncryptedModel, Json};
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;
use time::macros::{date, datetime, time};
use uuid::Uuid;

use super::{
    models::{PersonLink, people_links, person_link},
    world::{ALICE, World},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Word {
    text: String,
    start_ms: u32,
}

/// The model, once with the types of each adapter.
macro_rules! codecs {
    ($adapter:ident, $module:ident) => {
        mod $module {
            use $adapter::{Encrypted, Owner};

            use super::*;

            #[derive(EncryptedModel)]
            #[crypt(table = "codecs")]
            #[allow(dead_code, reason = "only its markers are used")]
            pub(crate) struct Codecs {
                user_id: Owner<i64>,
                pub(crate) text: Encrypted<String, codecs::text>,
                pub(crate) bytes: Encrypted<Vec<u8>, codecs::bytes>,
                pub(crate) small: Encrypted<i16, codecs::small>,
                pub(crate) int: Encrypted<i32, codecs::int>,
                pub(crate) big: Encrypted<i64, codecs::big>,
                pub(crate) float: Encrypted<f64, codecs::float>,
                pub(crate) flag: Encrypted<bool, codecs::flag>,
                pub(crate) uid: Encrypted<Uuid, codecs::uid>,
                pub(crate) json: Encrypted<Json<Word>, codecs::json>,
                pub(crate) date: Encrypted<NaiveDate, codecs::date>,
                pub(crate) time: Encrypted<NaiveTime, codecs::time>,
                pub(crate) timestamp: Encrypted<NaiveDateTime, codecs::timestamp>,
                pub(crate) timestamptz: Encrypted<DateTime<Utc>, codecs::timestamptz>,
            }
            #[allow(unused_imports, reason = "the markers")]
            pub(crate) use codecs::*;
        }
    };
}

codecs!(ophie_crypt_sqlx, by_sqlx);
codecs!(ophie_crypt_diesel, by_diesel);

/// As `diesel print-schema` writes it, if the columns were NOT NULL.
mod schema {
    diesel::table! {
        codecs (user_id) {
            user_id -> BigInt,
            text -> Binary, bytes -> Binary, small -> Binary, int -> Binary, big -> Binary, float -> Binary,
            flag -> Binary, uid -> Binary, json -> Binary, date -> Binary, time -> Binary, timestamp -> Binary,
            timestamptz -> Binary,
        }
    }
}

/// Writes by one and reads by the other, both ways; counts the reads.
macro_rules! across {
    ($world:ident, $read:ident: $($column:ident, $ty:ty, $value:expr;)*) => {$(
        let value: $ty = $value;
        let update = crate::sql(concat!("UPDATE codecs SET \"", stringify!($column), "\" = $1"));
        let select = crate::sql(concat!("SELECT \"", stringify!($column), "\" FROM codecs"));
        let bytes = crate::sql(concat!("SELECT \"", stringify!($column), "\" AS bytes FROM codecs"));

        let sealed = ophie_crypt_diesel::Encrypted::<$ty, by_diesel::$column>::new(value.clone());
        let written = diesel::sql_query(&*update).bind::<Binary, _>(sealed).execute(&mut $world.db);
        assert_eq!(written, Ok(1));
        let diesels = $world.stored(&bytes).remove(0).expect("an envelope");
        let by_sqlx: ophie_crypt_sqlx::Encrypted<$ty, by_sqlx::$column> =
            sqlx::query_scalar(AssertSqlSafe(&*select)).fetch_one($world.database.pool()).await.unwrap();
        assert_eq!(by_sqlx.expose_secret(), &value, "{select}");
        $read += 1;

        sqlx::query(AssertSqlSafe(&*update)).bind(by_sqlx).execute($world.database.pool()).await.unwrap();
        let sqlxs = $world.stored(&bytes).remove(0).expect("an envelope");
        let by_diesel: ophie_crypt_diesel::Encrypted<$ty, by_diesel::$column> =
            schema::codecs::table.select(schema::codecs::$column).first(&mut $world.db).unwrap();
        assert_eq!(by_diesel.expose_secret(), &value, "{select}");
        $read += 1;

        // Version and key id are the same, nonces are not.
        assert_eq!((&diesels[..17], diesels.len()), (&sqlxs[..17], sqlxs.len()));
        assert_ne!(diesels[17..29], sqlxs[17..29]);
    )*};
}

#[tokio::test]
async fn each_codec_both_ways() {
    let mut world = World::new().await;
    world.run("INSERT INTO codecs (user_id) VALUES (11)");
    let noon: NaiveDateTime = "1969-12-31T12:00:00.000000009".parse().unwrap();
    let word = Word {
        text: "\"ü\"".into(),
        start_ms: 7,
    };
    let mut read = 0;
    let alice = world.alice.clone();
    let run = async {
        across! { world, read:
            text, String, "Mom \u{10ffff}".into();
            bytes, Vec<u8>, vec![0, 0xFA, 255];
            small, i16, i16::MIN;
            int, i32, i32::MAX;
            big, i64, i64::MIN;
            float, f64, -0.5;
            flag, bool, true;
            uid, Uuid, Uuid::from_u128(7);
            json, Json<Word>, Json(word.clone());
            date, NaiveDate, noon.date();
            time, NaiveTime, noon.time();
            timestamp, NaiveDateTime, noon;
            timestamptz, DateTime<Utc>, noon.and_utc();
            date, time::Date, date!(1815 - 12 - 10);
            time, time::Time, time!(23:59:59.999_999_999);
            timestamp, time::PrimitiveDateTime, datetime!(2026-11-24 01:02:03);
            timestamptz, time::OffsetDateTime, datetime!(2026-11-24 01:02:03 UTC);
        }
    };
    alice.scope(run).await;
    assert_eq!(read, 17 * 2, "17 types, both ways");
}

#[tokio::test]
async fn fingerprints_are_the_same_bytes() {
    #[derive(EncryptedModel, sqlx::FromRow)]
    #[crypt(table = "people_links")]
    struct Link {
        user_id: ophie_crypt_sqlx::Owner<i64>,
        name: ophie_crypt_sqlx::Encrypted<String, link::name>,
        #[crypt(index_of = "name", normalize = "name")]
        name_fp: ophie_crypt_sqlx::BlindIndex<String, link::name_fp>,
    }
    let mut world = World::new().await;
    world.link("Mom");
    let alice = world.alice.clone();
    let run = async {
        let select = crate::sql("SELECT * FROM people_links WHERE name_fp = $1");
        let found: Link = sqlx::query_as(AssertSqlSafe(select))
            .bind(link::name_fp("  MOM ")?)
            .fetch_one(world.database.pool())
            .await?;
        assert_eq!(
            (found.user_id.0, found.name.expose_secret().as_str()),
            (ALICE, "Mom")
        );
        assert_eq!(found.name_fp, link::name_fp("Mom")?);
        let insert = crate::sql(
            r#"INSERT INTO people_links (user_id, "call", name, name_fp) VALUES ($1, 1, $2, $3)"#,
        );
        sqlx::query(AssertSqlSafe(insert))
            .bind(ophie_crypt_sqlx::Owner(ALICE))
            .bind(link::name("Dad"))
            .bind(link::name_fp("Dad")?)
            .execute(world.database.pool())
            .await?;
        let dad = people_links::name_fp.eq(person_link::name_fp("dad").unwrap());
        let found: PersonLink = people_links::table
            .filter(dad)
            .first(&mut world.db)
            .unwrap();
        assert_eq!(found.name.expose_secret(), "Dad");
        assert_eq!(found.name_fp.as_bytes(), link::name_fp("DAD")?.as_bytes());
        Ok::<_, sqlx::Error>(())
    };
    alice.scope(run).await.unwrap();
}
