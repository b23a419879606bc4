//! When and where the hooks run: values are sealed when the method is called, rows are opened where they are
//! polled. So what a future carries over a boundary fails closed or is right, and never another's.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use ophie_crypt::{Error, InSession, NoSession, OpenError, OwnerError, Session};
use ophie_crypt_diesel::{Encrypted, Owner};

use super::connect;
use crate::paths::{
    models::{NAME, PersonLink, new_link, people_links, person_link},
    world::{ALICE, BOB, World, ours},
};

fn absent<T>(result: QueryResult<T>) -> bool {
    ours(result) == Error::Owner(OwnerError::NoSession(NoSession::Absent))
}

/// A link of Alice's and then one of Bob's.
async fn two() -> World {
    let mut world = World::new().await;
    world.link("Mom");
    let bob = world.bob.clone();
    let add = || {
        let link = new_link(BOB, "Dad");
        let insert = diesel::insert_into(people_links::table).values(&link);
        diesel::RunQueryDsl::execute(insert, &mut world.db)
    };
    assert_eq!(bob.scope_sync(add), Ok(1));
    world
}

#[tokio::test]
async fn a_value_is_sealed_when_the_method_is_called() {
    let mut world = World::new().await;
    let mut db = connect(&world.database).await;
    let alice = world.alice.clone();
    let link = alice.scope_sync(|| new_link(ALICE, "Mom"));

    let outside = diesel::insert_into(people_links::table)
        .values(&link)
        .execute(&mut db);
    assert!(absent(alice.scope(outside).await));
    assert_eq!(world.links(), 0);

    let inside = alice.scope_sync(|| {
        diesel::insert_into(people_links::table)
            .values(&link)
            .execute(&mut db)
    });
    assert_eq!(inside.await, Ok(1));

    // The session of the call, not of the poll.
    let find = people_links::table.filter(people_links::user_id.eq(Owner(ALICE)));
    let by_bob = world
        .bob
        .scope_sync(|| find.count().get_result::<i64>(&mut db));
    let refused = alice.scope(by_bob).await;
    assert_eq!(ours(refused), Error::Owner(OwnerError::OtherOwner));
}

#[tokio::test]
async fn a_row_is_opened_where_it_is_polled() {
    let mut world = World::new().await;
    world.link("Mom");
    let mut db = connect(&world.database).await;

    let outside = people_links::table.load::<PersonLink>(&mut db);
    assert_eq!(world.alice.scope(outside).await.unwrap().len(), 1);

    let inside = world
        .alice
        .scope_sync(|| people_links::table.load::<PersonLink>(&mut db));
    assert!(absent(inside.await));

    let by_bob = people_links::table
        .select(people_links::name)
        .first::<Encrypted<String, person_link::name>>(&mut db);
    let refused = world.bob.scope(by_bob).await;
    let column = NAME;
    assert_eq!(ours(refused), Error::Open(OpenError::UnknownKey { column }));
}

#[tokio::test]
async fn a_stream_opens_each_row_in_the_session_that_polls_it() {
    let world = two().await;
    let mut db = connect(&world.database).await;
    let query = || people_links::table.order(people_links::id);

    let run = async {
        let rows = query()
            .filter(people_links::user_id.eq(Owner(ALICE)))
            .load_stream::<PersonLink>(&mut db)
            .await?;
        rows.map_ok(|link| link.name.expose_secret().clone())
            .try_collect::<Vec<_>>()
            .await
    };
    assert_eq!(world.alice.scope(run).await.unwrap(), ["Mom"]);

    let mut rows = query().load_stream::<PersonLink>(&mut db).await.unwrap();
    let mom = world.alice.scope(rows.next()).await.expect("a row");
    let dad = world.bob.scope(rows.next()).await.expect("a row");
    let names = [mom, dad].map(|link| link.unwrap().name.expose_secret().clone());
    assert_eq!(names, ["Mom", "Dad"]);
    drop(rows);

    let mut rows = world
        .alice
        .scope(query().load_stream::<PersonLink>(&mut db))
        .await
        .unwrap();
    assert!(absent(rows.next().await.expect("a row")));
    let refused = world.alice.scope(rows.next()).await.expect("a row");
    assert_eq!(ours(refused), Error::Owner(OwnerError::OtherOwner));
    drop(rows);

    // A stream that leaves the scope takes the session along.
    let rows = query().load_stream::<PersonLink>(&mut db).await.unwrap();
    let mut rows = rows.in_session(&world.alice);
    assert!(rows.next().await.expect("a row").is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spawned_task_has_the_session_that_it_is_given() {
    let mut world = World::new().await;
    world.link("Mom");
    let mut db = connect(&world.database).await;
    let lost = async {
        let task = async move {
            let read = people_links::table.load::<PersonLink>(&mut db).await;
            let write = diesel::insert_into(people_links::table)
                .values((
                    people_links::user_id.eq(ALICE),
                    people_links::call.eq(1),
                    people_links::name.eq(person_link::name("Dad")),
                ))
                .execute(&mut db)
                .await;
            (read, write)
        };
        tokio::spawn(task).await.unwrap()
    };
    let (read, write) = world.alice.scope(lost).await;
    assert!(absent(read));
    assert!(matches!(ours(write), Error::Seal(_)));
    assert_eq!(world.links(), 1);

    let mut db = connect(&world.database).await;
    let kept = async move {
        let add = new_link(ALICE, "Dad");
        diesel::insert_into(people_links::table)
            .values(&add)
            .execute(&mut db)
            .await?;
        people_links::table.load::<PersonLink>(&mut db).await
    };
    let task = tokio::spawn(kept.in_session(&world.alice));
    assert_eq!(task.await.unwrap().unwrap().len(), 2);
}

/// With threads, as SQLite's wrapper blocks one when it is dropped in the middle of a query.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_future_leaves_no_session() {
    let world = two().await;
    let mut db = connect(&world.database).await;
    let load = people_links::table.load::<PersonLink>(&mut db);
    // Polled once: the query is on its way, if its answer is not there already.
    let _ = world.alice.scope(load).now_or_never();
    assert!(Session::current().is_none());
}

#[tokio::test]
async fn a_query_built_anywhere_runs_inside() {
    let mut world = World::new().await;
    world.link("Mom");
    let mut db = connect(&world.database).await;
    let query = people_links::table.filter(people_links::user_id.eq(Owner(ALICE)));
    let run = async { query.load::<PersonLink>(&mut db).await };
    assert_eq!(world.alice.scope(run).await.unwrap().len(), 1);
}
