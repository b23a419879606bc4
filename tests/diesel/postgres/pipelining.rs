//! What only PostgreSQL does by diesel-async: several queries at once on one connection, and a type of the
//! user's, for which each value of the statement is sealed twice.

use diesel::{
    connection::SimpleConnection,
    deserialize::{self, FromSql, FromSqlRow},
    expression::AsExpression,
    pg::{Pg, PgValue},
    prelude::*,
    serialize::{self, IsNull, Output, ToSql},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures_util::{future::join_all, try_join};
use ophie_crypt::{EncryptedModel, Error, InSession, NoSession, OpenError, OwnerError};
use ophie_crypt_diesel::{Encrypted, Owner};

use crate::{
    asynchronous::connect,
    paths::{
        models::{NAME, PersonLink, new_link, people_links, person_link},
        world::{ALICE, BOB, World, ours},
    },
};

async fn add(mut db: &AsyncPgConnection, owner: i64, name: &str) -> QueryResult<usize> {
    let link = new_link(owner, name);
    diesel::insert_into(people_links::table)
        .values(&link)
        .execute(&mut db)
        .await
}

async fn find(mut db: &AsyncPgConnection, owner: i64, name: &str) -> QueryResult<PersonLink> {
    let mine = people_links::name_fp.eq(person_link::name_fp(name)?);
    people_links::table
        .filter(people_links::user_id.eq(Owner(owner)))
        .filter(mine)
        .first(&mut db)
        .await
}

#[tokio::test]
async fn queries_of_two_owners_are_pipelined_on_one_connection() {
    let world = World::new().await;
    let db = &connect(&world.database).await;
    let owners = [(&world.alice, ALICE), (&world.bob, BOB)];
    let names: Vec<_> = (0..8).map(|number| format!("name {number}")).collect();
    let writes = names
        .iter()
        .flat_map(|name| owners.map(|(session, owner)| add(db, owner, name).in_session(session)));
    let written: QueryResult<usize> = join_all(writes).await.into_iter().sum();
    assert_eq!(written, Ok(16));
    let reads = names.iter().flat_map(|name| {
        owners.map(|(session, owner)| {
            let found = async move {
                let link = find(db, owner, name).await?;
                assert_eq!(link.user_id, Owner(owner));
                Ok(link.name.expose_secret().clone() == *name)
            };
            found.in_session(session)
        })
    });
    let read: QueryResult<Vec<bool>> = join_all(reads).await.into_iter().collect();
    assert_eq!(read, Ok(vec![true; 16]));
}

#[tokio::test]
async fn one_session_pipelines_and_a_refusal_stops_nobody_else() {
    let world = World::new().await;
    let db = &connect(&world.database).await;
    let run = async {
        let all = try_join!(
            add(db, ALICE, "Mom"),
            add(db, ALICE, "Dad"),
            add(db, ALICE, "Eve")
        );
        assert_eq!(all, Ok((1, 1, 1)));
        let (own, foreign) = tokio::join!(find(db, ALICE, "mom"), find(db, BOB, "mom"));
        assert_eq!(own?.name.expose_secret(), "Mom");
        assert_eq!(ours(foreign), Error::Owner(OwnerError::OtherOwner));
        QueryResult::Ok(())
    };
    world.alice.scope(run).await.unwrap();
    // Called in the one's scope, polled in the other's.
    let mut shared = db;
    let alices = people_links::table
        .select(people_links::name)
        .first::<Encrypted<String, person_link::name>>(&mut shared);
    let refused = world.bob.scope(alices).await;
    let column = NAME;
    assert_eq!(ours(refused), Error::Open(OpenError::UnknownKey { column }));
    let nobody = find(db, ALICE, "mom").await;
    assert!(matches!(
        ours(nobody),
        Error::Fingerprint(ophie_crypt::FingerprintError::NoSession {
            reason: NoSession::Absent,
            ..
        })
    ));
}

/// A PostgreSQL type whose id diesel-async looks up.
#[derive(Clone, Copy, Debug, PartialEq, AsExpression, FromSqlRow)]
#[diesel(sql_type = sql::Mood)]
pub enum Mood {
    Calm,
    Cross,
}

mod sql {
    #[derive(Debug, diesel::query_builder::QueryId, diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "mood"))]
    pub struct Mood;
}

impl ToSql<sql::Mood, Pg> for Mood {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let text: &[u8] = match self {
            Self::Calm => b"calm",
            Self::Cross => b"cross",
        };
        std::io::Write::write_all(out, text)?;
        Ok(IsNull::No)
    }
}

impl FromSql<sql::Mood, Pg> for Mood {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        match value.as_bytes() {
            b"calm" => Ok(Self::Calm),
            b"cross" => Ok(Self::Cross),
            _ => Err("no mood".into()),
        }
    }
}

#[derive(Debug, EncryptedModel, Insertable, Queryable)]
#[crypt(table = "days")]
#[diesel(table_name = days)]
pub struct Day {
    pub user_id: Owner<i64>,
    #[crypt(plain)]
    pub mood: Mood,
    pub text: Encrypted<String, day::text>,
}

diesel::table! {
    use diesel::sql_types::BigInt;
    use ophie_crypt_diesel::Ciphertext;
    use super::day;
    use super::sql::Mood;

    days (user_id) {
        user_id -> BigInt,
        mood -> Mood,
        text -> Ciphertext<day::text>,
    }
}

/// With a type to look up, diesel-async asks for the values twice: each is sealed twice, and one of the
/// two envelopes is sent. Both count against the owner's budget.
#[tokio::test]
async fn beside_a_type_of_the_users_a_value_is_sealed_twice_and_reads_back() {
    let mut world = World::new().await;
    world
        .db
        .batch_execute("CREATE TYPE mood AS ENUM ('calm', 'cross'); CREATE TABLE days (user_id bigint, mood mood, text bytea)")
        .unwrap();
    let mut db = connect(&world.database).await;
    let left = || world.alice.budget().unwrap().left();
    let before = left();
    let run = async {
        let days: Vec<Day> = [(Mood::Calm, "slept well"), (Mood::Cross, "slept badly")]
            .map(|(mood, text)| Day {
                user_id: Owner(ALICE),
                mood,
                text: day::text(text),
            })
            .into();
        diesel::insert_into(days::table)
            .values(&days)
            .execute(&mut db)
            .await?;
        assert_eq!(before - left(), 2 * 2, "two values, each twice");
        let day: Day = days::table
            .filter(days::mood.eq(Mood::Cross))
            .filter(days::user_id.eq(Owner(ALICE)))
            .first(&mut db)
            .await?;
        assert_eq!(day.text.expose_secret(), "slept badly");
        diesel::update(days::table)
            .set(days::text.eq(day.text))
            .execute(&mut db)
            .await?;
        assert_eq!(before - left(), 2 * 2 + 1, "without the type, once");
        QueryResult::Ok(())
    };
    world.alice.scope(run).await.unwrap();
}
