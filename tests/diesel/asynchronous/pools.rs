//! Pools: a scope for each request, many owners at once, and never a value under the wrong owner.

use diesel::prelude::*;
use diesel_async::{
    RunQueryDsl,
    pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, bb8, deadpool},
};
use futures_util::FutureExt;
use ophie_crypt::{Error, InSession, NoSession, OwnerError};
use ophie_crypt_diesel::{Owner, find_error};

use crate::{
    Asynchronous, Connection,
    db::Database,
    paths::{
        models::{PersonLink, new_link, people_links, person_link},
        world::{ALICE, World, names, ours},
    },
};

fn manager(database: &Database) -> AsyncDieselConnectionManager<Asynchronous> {
    let mut config = ManagerConfig::default();
    config.custom_setup = Box::new(|url| super::establish(url).boxed());
    AsyncDieselConnectionManager::new_with_config(crate::url(database), config)
}

/// What a request does: writes, waits, finds its own by fingerprint, and sees none of the others'.
async fn request(db: &mut Asynchronous, owner: i64, round: i64) -> QueryResult<()> {
    let name = format!("{owner} {round}");
    let link = new_link(owner, &name);
    diesel::insert_into(people_links::table)
        .values(&link)
        .execute(db)
        .await?;
    tokio::task::yield_now().await;
    let fingerprint = person_link::name_fp(name.as_str())?;
    let found: PersonLink = people_links::table
        .filter(people_links::name_fp.eq(fingerprint))
        .get_result(db)
        .await?;
    assert_eq!(found.name.expose_secret(), &name);
    assert_eq!(found.user_id, Owner(owner));
    let mine: Vec<PersonLink> = people_links::table
        .filter(people_links::user_id.eq(Owner(owner)))
        .load(db)
        .await?;
    for link in &mine {
        let name = link.name.expose_secret();
        assert!(name.starts_with(&format!("{owner} ")), "{name} of {owner}");
    }
    // With everyone's rows in the table, one's own session reads none but its own.
    let all = people_links::table.load::<PersonLink>(db).await;
    match all {
        Ok(all) => assert_eq!(all.len(), mine.len()),
        Err(error) => assert_eq!(
            find_error(&error),
            Some(&Error::Owner(OwnerError::OtherOwner))
        ),
    }
    Ok(())
}

const OWNERS: i64 = 12;
const ROUNDS: i64 = 4;
const LINKS: i64 = 12 * 4;

/// Every row opens in its owner's session.
async fn check(world: &mut World) {
    assert_eq!(world.links(), LINKS);
    for owner in 1..=OWNERS {
        let session = world.session(owner).await;
        let links: Vec<PersonLink> = session
            .scope_sync(|| {
                let mine = people_links::table.filter(people_links::user_id.eq(owner));
                diesel::RunQueryDsl::load(mine, &mut world.db)
            })
            .unwrap();
        assert_eq!(links.len(), 4);
    }
}

/// Four connections for twelve owners, four requests each, all at once on two threads.
macro_rules! requests {
    ($world:ident, $pool:ident) => {
        let mut tasks = Vec::new();
        for round in 0..ROUNDS {
            for owner in 1..=OWNERS {
                let (session, pool) = ($world.session(owner).await, $pool.clone());
                let task = async move {
                    let mut db = pool.get().await.unwrap();
                    request(&mut db, owner, round).await.unwrap();
                };
                tasks.push(tokio::spawn(task.in_session(&session)));
            }
        }
        for task in tasks {
            task.await.unwrap();
        }
        // What came back to the pool carries nobody's session.
        let mut db = $pool.get().await.unwrap();
        let read = people_links::table.load::<PersonLink>(&mut db).await;
        let absent = OwnerError::NoSession(NoSession::Absent);
        assert_eq!(ours(read), Error::Owner(absent));
        check(&mut $world).await;
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_many_owners_share_a_bb8_pool() {
    let mut world = World::new().await;
    let pool = bb8::Pool::<Asynchronous>::builder()
        .max_size(4)
        .build(manager(&world.database))
        .await
        .unwrap();
    requests!(world, pool);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_many_owners_share_a_deadpool() {
    let mut world = World::new().await;
    let pool = deadpool::Pool::<Asynchronous>::builder(manager(&world.database))
        .max_size(4)
        .build()
        .unwrap();
    requests!(world, pool);
}

/// Synchronous connections in a pool for asynchronous code: `interact` runs on a thread of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interact_has_the_session_that_it_is_given() {
    let mut world = World::new().await;
    world.link("Mom");
    let manager = deadpool_diesel::Manager::<Connection>::new(
        crate::url(&world.database),
        deadpool_diesel::Runtime::Tokio1,
    );
    let pool = deadpool_diesel::Pool::<deadpool_diesel::Manager<Connection>>::builder(manager)
        .max_size(2)
        .build()
        .unwrap();
    let lost = async { pool.get().await.unwrap().interact(names).await.unwrap() };
    let absent = OwnerError::NoSession(NoSession::Absent);
    assert_eq!(ours(world.alice.scope(lost).await), Error::Owner(absent));

    let session = world.alice.clone();
    let db = pool.get().await.unwrap();
    let kept = db.interact(move |db| {
        session.scope_sync(|| {
            let link = new_link(ALICE, "Dad");
            let insert = diesel::insert_into(people_links::table).values(&link);
            diesel::RunQueryDsl::execute(insert, db)?;
            names(db)
        })
    });
    assert_eq!(kept.await.unwrap().unwrap(), ["Mom", "Dad"]);
}
