//! A query of diesel-async that is dropped before its answer came leaves the answer on a MySQL connection: the
//! next query reads it. Not ours to mend; what stands here is that no value reaches another owner by it.

use diesel::prelude::*;
use diesel_async::{
    AsyncConnection, RunQueryDsl,
    pooled_connection::{AsyncDieselConnectionManager, deadpool},
};
use futures_util::FutureExt;
use ophie_crypt::{Error, OpenError, OwnerError};
use ophie_crypt_diesel::{Encrypted, Owner};

use crate::{
    Asynchronous,
    asynchronous::connect,
    paths::{
        models::{NAME, PersonLink, new_link, people_links, person_link},
        world::{ALICE, BOB, World, ours},
    },
};

type Name = Encrypted<String, person_link::name>;

async fn world() -> World {
    let mut world = World::new().await;
    world.link("Mom");
    let add = || {
        let link = new_link(BOB, "Dad");
        let insert = diesel::insert_into(people_links::table).values(&link);
        diesel::RunQueryDsl::execute(insert, &mut world.db)
    };
    assert_eq!(world.bob.scope_sync(add), Ok(1));
    world
}

async fn links(db: &mut Asynchronous, owner: i64) -> QueryResult<Vec<PersonLink>> {
    let of = people_links::table.filter(people_links::user_id.eq(Owner(owner)));
    of.load(db).await
}

async fn names(db: &mut Asynchronous, owner: i64) -> QueryResult<Vec<Name>> {
    let of = people_links::table.filter(people_links::user_id.eq(owner));
    of.select(people_links::name).load(db).await
}

async fn owners(db: &mut Asynchronous, owner: i64) -> QueryResult<Vec<i64>> {
    let of = people_links::table.filter(people_links::user_id.eq(owner));
    of.select(people_links::user_id).load(db).await
}

/// Polls a query once and drops it; again if the answer was there at once.
macro_rules! cut {
    ($query:expr) => {
        while $query.now_or_never().is_some() {}
    };
}

/// The same statement for Alice and, after she has gone, for Bob.
macro_rules! after_a_cut {
    ($world:ident, $query:ident) => {{
        let mut db = connect(&$world.database).await;
        // Now the statement is prepared.
        $world.alice.scope($query(&mut db, ALICE)).await.unwrap();
        cut!($world.alice.scope($query(&mut db, ALICE)));
        $world.bob.scope($query(&mut db, BOB)).await
    }};
}

#[tokio::test]
async fn the_next_query_on_the_connection_is_refused_the_others_rows() {
    let world = world().await;
    let rows = after_a_cut!(world, links);
    assert_eq!(ours(rows), Error::Owner(OwnerError::OtherOwner));
    let values = after_a_cut!(world, names);
    let column = NAME;
    assert_eq!(ours(values), Error::Open(OpenError::UnknownKey { column }));
    // What has no hook is the other's.
    assert_eq!(after_a_cut!(world, owners), Ok(vec![ALICE]));
}

/// Two queries of each owner in turn, on a connection that goes back to the pool after each pair; how many of
/// them failed. The others found what they looked for.
async fn refused(world: &World, pool: &Pool) -> usize {
    let mut refused = 0_usize;
    let requests = [(&world.bob, BOB, "Dad"), (&world.alice, ALICE, "Mom")];
    for (session, owner, name) in requests.into_iter().cycle().take(6) {
        let mut db = pool.get().await.unwrap();
        for _ in 0..2 {
            match session.scope(links(&mut db, owner)).await {
                Ok(links) => {
                    assert_eq!(links[0].name.expose_secret(), name);
                    assert_eq!(links.len(), 1);
                }
                Err(_) => refused = refused.saturating_add(1),
            }
        }
    }
    refused
}

/// A pool of one connection, on which both the pool's statement and ours are prepared.
async fn pool(world: &World) -> Pool {
    let manager = AsyncDieselConnectionManager::<Asynchronous>::new(world.database.url());
    let pool = deadpool::Pool::builder(manager)
        .max_size(1)
        .build()
        .unwrap();
    drop(pool.get().await.unwrap());
    let mut db = pool.get().await.unwrap();
    world.alice.scope(links(&mut db, ALICE)).await.unwrap();
    drop(db);
    pool
}

type Pool = deadpool::Pool<Asynchronous>;

/// A pool by default asks a question of its own before it gives a connection out again, and takes what it
/// reads for the answer; so the connection stays one answer behind.
#[tokio::test]
async fn the_next_requests_of_a_pool_are_refused_the_others_rows() {
    let world = world().await;
    let pool = pool(&world).await;
    let mut db = pool.get().await.unwrap();
    cut!(world.alice.scope(links(&mut db, ALICE)));
    drop(db);
    let refused = refused(&world, &pool).await;
    assert!(refused > 0, "the driver is mended: say so in the docs");
}

#[tokio::test]
async fn a_connection_in_a_transaction_does_not_go_back_to_the_pool() {
    let world = world().await;
    let pool = pool(&world).await;
    let mut db = pool.get().await.unwrap();
    let mut work = Box::pin(world.alice.scope(db.transaction(async |db| {
        let mut rows = Vec::new();
        // Many queries, one of which is cut off.
        for _ in 0..1000 {
            rows = links(db, ALICE).await?;
        }
        QueryResult::Ok(rows)
    })));
    for _ in 0..20 {
        assert!((&mut work).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(work);
    drop(db);
    assert_eq!(refused(&world, &pool).await, 0);
}
