//! One database under SQLx, Diesel and diesel-async: what one writes the others read, for each codec.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use diesel::{prelude::*, sql_types::Binary};
use ophie_crypt::{EncryptedModel, Json};
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;
use time::macros::{date, datetime, time};
use uuid::Uuid;

use crate::asynchronous::connect;

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

#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Sqlx,
    Diesel,
    DieselAsync,
}

const ALL: [By; 3] = [By::Sqlx, By::Diesel, By::DieselAsync];

/// Writes by each, and reads by each of the others; counts the reads.
macro_rules! across {
    ($world:ident, $connection:ident, $read:ident: $($column:ident, $ty:ty, $value:expr;)*) => {$(
        let value: $ty = $value;
        let update = crate::sql(concat!("UPDATE codecs SET \"", stringify!($column), "\" = $1"));
        let select = crate::sql(concat!("SELECT \"", stringify!($column), "\" FROM codecs"));
        let bytes = crate::sql(concat!("SELECT \"", stringify!($column), "\" AS bytes FROM codecs"));
        let mut stored = Vec::new();
        for writer in ALL {
            match writer {
                By::Sqlx => {
                    let value = ophie_crypt_sqlx::Encrypted::<$ty, by_sqlx::$column>::new(value.clone());
                    let query = sqlx::query(AssertSqlSafe(&*update)).bind(value);
                    query.execute($world.database.pool()).await.unwrap();
                }
                By::Diesel => {
                    let value = ophie_crypt_diesel::Encrypted::<$ty, by_diesel::$column>::new(value.clone());
                    let query = diesel::sql_query(&*update).bind::<Binary, _>(value);
                    assert_eq!(diesel::RunQueryDsl::execute(query, &mut $world.db), Ok(1));
                }
                By::DieselAsync => {
                    let value = ophie_crypt_diesel::Encrypted::<$ty, by_diesel::$column>::new(value.clone());
                    let query = diesel::sql_query(&*update).bind::<Binary, _>(value);
                    let done = diesel_async::RunQueryDsl::execute(query, &mut $connection).await;
                    assert_eq!(done, Ok(1));
                }
            }
            stored.push($world.stored(&bytes).remove(0).expect("an envelope"));
            for reader in ALL.into_iter().filter(|reader| *reader != writer) {
                let column = schema::codecs::table.select(schema::codecs::$column);
                let found = match reader {
                    By::Sqlx => {
                        let found: ophie_crypt_sqlx::Encrypted<$ty, by_sqlx::$column> =
                            sqlx::query_scalar(AssertSqlSafe(&*select))
                                .fetch_one($world.database.pool()).await.unwrap();
                        found.expose_secret().clone()
                    }
                    By::Diesel => {
                        let found: ophie_crypt_diesel::Encrypted<$ty, by_diesel::$column> =
                            diesel::RunQueryDsl::first(column, &mut $world.db).unwrap();
                        found.expose_secret().clone()
                    }
                    By::DieselAsync => {
                        let found: ophie_crypt_diesel::Encrypted<$ty, by_diesel::$column> =
                            diesel_async::RunQueryDsl::first(column, &mut $connection).await.unwrap();
                        found.expose_secret().clone()
                    }
                };
                assert_eq!(found, value, "{}: {writer:?} to {reader:?}", stringify!($column));
                $read += 1;
            }
        }
        // Version, key id and length are the same; nonces are not.
        for pair in stored.windows(2) {
            assert_eq!((&pair[0][..17], pair[0].len()), (&pair[1][..17], pair[1].len()));
            assert_ne!(pair[0][17..29], pair[1][17..29]);
        }
    )*};
}

/// The matrix of this database: three writers, of each two readers.
#[tokio::test]
async fn each_codec_by_each_to_each() {
    let mut world = World::new().await;
    let mut connection = connect(&world.database).await;
    world.run("INSERT INTO codecs (user_id) VALUES (11)");
    let noon: NaiveDateTime = "1969-12-31T12:00:00.000000009".parse().unwrap();
    let word = Word {
        text: "\"ü\"".into(),
        start_ms: 7,
    };
    let mut read = 0;
    let alice = world.alice.clone();
    let run = async {
        across! { world, connection, read:
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
    assert_eq!(
        read,
        17 * 3 * 2,
        "17 types, three writers, of each two readers"
    );
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
