//! `fetch`: rows are opened when they are polled, under the session of whoever polls.

use futures_util::{StreamExt, TryStreamExt};
use ophie_crypt::{Error, InSession, NoSession, OpenError, OwnerError};
use ophie_crypt_sqlx::{Encrypted, Owner};

use super::{
    models::{NAME, PersonLink, person_link},
    world::{ALICE, BOB, World, ours},
};
use crate::db::sql;

const ALL: &str = "SELECT * FROM people_links ORDER BY id";

async fn with_three() -> World {
    let world = World::new().await;
    for name in ["Mom", "Dad", "Ada"] {
        world.link(&world.alice, name).await;
    }
    world
}

async fn secrets(
    stream: impl futures_util::Stream<Item = Result<PersonLink, sqlx::Error>>,
) -> Result<Vec<String>, sqlx::Error> {
    stream
        .map_ok(|link| link.name.expose_secret().clone())
        .try_collect()
        .await
}

#[tokio::test]
async fn a_stream_inside_a_scope_opens_its_rows() {
    let world = with_three().await;
    let rows = sqlx::query_as::<_, PersonLink>(ALL).fetch(world.pool());
    let names = world.alice.scope(secrets(rows)).await.unwrap();
    assert_eq!(names, ["Mom", "Dad", "Ada"]);
}

#[tokio::test]
async fn a_stream_polled_outside_fails_closed() {
    let world = with_three().await;
    let mut rows = world
        .alice
        .scope_sync(|| sqlx::query_as::<_, PersonLink>(ALL).fetch(world.pool()));
    let first = rows.next().await.expect("a row");
    assert_eq!(
        ours(first),
        Error::Owner(OwnerError::NoSession(NoSession::Absent))
    );
    let mut names = sqlx::query_scalar::<_, Encrypted<String, person_link::name>>(
        "SELECT name FROM people_links",
    )
    .fetch(world.pool());
    assert_eq!(
        ours(names.next().await.expect("a row")),
        Error::Open(OpenError::NoSession {
            column: NAME,
            reason: NoSession::Absent
        })
    );
}

#[tokio::test]
async fn a_stream_carries_its_session() {
    let world = with_three().await;
    let rows = sqlx::query_as::<_, PersonLink>(ALL)
        .fetch(world.pool())
        .in_session(&world.alice);
    assert_eq!(secrets(rows).await.unwrap(), ["Mom", "Dad", "Ada"]);

    let rows = world.alice.scope_sync(|| {
        sqlx::query_as::<_, PersonLink>(ALL)
            .fetch(world.pool())
            .in_current_session()
    });
    assert_eq!(secrets(rows).await.unwrap(), ["Mom", "Dad", "Ada"]);
}

#[tokio::test]
async fn a_stream_carries_its_session_into_another_task() {
    let world = with_three().await;
    let (pool, alice) = (world.pool().clone(), world.alice.clone());
    let task = tokio::spawn(async move {
        let rows = sqlx::query_as::<_, PersonLink>(ALL).fetch(&pool);
        secrets(rows.in_session(&alice)).await
    });
    assert_eq!(task.await.unwrap().unwrap().len(), 3);
}

#[tokio::test]
async fn a_carried_session_wins_over_the_scope_around_it() {
    let world = with_three().await;
    let rows = sqlx::query_as::<_, PersonLink>(ALL)
        .fetch(world.pool())
        .in_session(&world.alice);
    let names = world.bob.scope(secrets(rows)).await.unwrap();
    assert_eq!(names.len(), 3);
}

#[tokio::test]
async fn two_owners_streams_take_turns_in_one_task() {
    let world = with_three().await;
    for name in ["Eve", "Max", "Zoe"] {
        world.link(&world.bob, name).await;
    }
    // Bound inside its scope, polled outside: only the carried session opens the rows.
    let of = |owner, session: &ophie_crypt::Session| {
        session.scope_sync(|| {
            sqlx::query_as::<_, PersonLink>(sql(
                "SELECT * FROM people_links WHERE user_id = $1 ORDER BY id",
            ))
            .bind(Owner(owner))
            .fetch(world.pool())
            .in_current_session()
        })
    };
    let pairs: Vec<_> = of(ALICE, &world.alice)
        .zip(of(BOB, &world.bob))
        .map(|(a, b)| (a.unwrap().name.into_secret(), b.unwrap().name.into_secret()))
        .collect()
        .await;
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    assert_eq!(pairs, [("Mom", "Eve"), ("Dad", "Max"), ("Ada", "Zoe")]);
}

#[tokio::test]
async fn a_foreign_row_in_the_middle_is_an_error_of_its_own() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    world.link(&world.bob, "canary").await;
    let rows = sqlx::query_as::<_, PersonLink>(ALL).fetch(world.pool());
    let rows: Vec<_> = world.alice.scope(rows.collect::<Vec<_>>()).await;
    let [Ok(first), Err(second)] = rows.as_slice() else {
        panic!("one row and one error, got {rows:?}")
    };
    assert_eq!(first.name.expose_secret(), "Mom");
    assert!(!format!("{second:?} {second}").contains("canary"));
}
