//! Transactions, savepoints, pools, threads: whose session is seen, and what a refusal leaves behind.

use diesel::{
    connection::{Connection as _, DefaultLoadingMode},
    prelude::*,
    r2d2::{ConnectionManager, Pool},
    result::Error as DieselError,
};
use ophie_crypt::{Error, NoSession, OwnerError};
use ophie_crypt_diesel::Owner;
use tokio::task::spawn_blocking;

use super::{
    models::{PersonLink, new_link, people_links},
    world::{ALICE, BOB, World, connect, names, ours},
};
use crate::Connection;

fn add(db: &mut Connection, owner: i64, name: &str) -> QueryResult<usize> {
    diesel::insert_into(people_links::table)
        .values(&new_link(owner, name))
        .execute(db)
}

fn absent<T>(result: QueryResult<T>) -> bool {
    ours(result) == Error::Owner(OwnerError::NoSession(NoSession::Absent))
}

#[tokio::test]
async fn commit_keeps_and_rollback_leaves_nothing() {
    let mut world = World::new().await;
    let alice = world.alice.clone();
    alice.scope_sync(|| {
        let gone: QueryResult<()> = world.db.transaction(|db| {
            add(db, ALICE, "Mom")?;
            assert_eq!(names(db)?, ["Mom"]);
            Err(DieselError::RollbackTransaction)
        });
        assert_eq!(gone, Err(DieselError::RollbackTransaction));
        assert_eq!(world.links(), 0);
        world.db.transaction(|db| add(db, ALICE, "Dad")).unwrap();
        assert_eq!(world.names().unwrap(), ["Dad"]);
    });
}

#[tokio::test]
async fn a_savepoint_rolls_back_alone() {
    let mut world = World::new().await;
    let alice = world.alice.clone();
    let run = || {
        world.db.transaction(|db| {
            add(db, ALICE, "Mom")?;
            let mistake: QueryResult<()> = db.transaction(|db| {
                add(db, ALICE, "Mistake")?;
                Err(DieselError::RollbackTransaction)
            });
            assert!(mistake.is_err());
            db.transaction(|db| add(db, ALICE, "Dad"))?;
            names(db)
        })
    };
    assert_eq!(alice.scope_sync(run).unwrap(), ["Mom", "Dad"]);
    assert_eq!(world.links(), 2);
}

/// Our error travels through `transaction` and back out.
#[tokio::test]
async fn a_refused_value_ends_the_transaction_with_nothing_written() {
    let mut world = World::new().await;
    let link = world.bob.scope_sync(|| new_link(BOB, "Dad"));
    let alice = world.alice.clone();
    let run = || {
        world.db.transaction(|db| {
            add(db, ALICE, "Mom")?;
            diesel::insert_into(people_links::table)
                .values(&link)
                .execute(db)
        })
    };
    assert_eq!(
        ours(alice.scope_sync(run)),
        Error::Owner(OwnerError::OtherOwner)
    );
    assert_eq!(world.links(), 0);
}

#[tokio::test]
async fn a_refused_value_leaves_the_transaction_usable() {
    let mut world = World::new().await;
    let alice = world.alice.clone();
    let run = || {
        world.db.transaction(|db| {
            // Refused before anything is sent, so even PostgreSQL goes on.
            let refused = people_links::table
                .filter(people_links::user_id.eq(Owner(BOB)))
                .count()
                .get_result::<i64>(db);
            assert_eq!(ours(refused), Error::Owner(OwnerError::OtherOwner));
            add(db, ALICE, "Mom")
        })
    };
    assert_eq!(alice.scope_sync(run), Ok(1));
    assert_eq!(alice.scope_sync(|| world.names()).unwrap(), ["Mom"]);
}

#[tokio::test]
async fn one_transaction_carries_rows_of_two_owners_in_two_scopes() {
    let mut world = World::new().await;
    let (alice, bob) = (world.alice.clone(), world.bob.clone());
    world
        .db
        .transaction(|db| {
            alice.scope_sync(|| add(db, ALICE, "Mom"))?;
            bob.scope_sync(|| add(db, BOB, "Dad"))
        })
        .unwrap();
    let of = |world: &mut World, owner: i64| {
        people_links::table
            .filter(people_links::user_id.eq(Owner(owner)))
            .load::<PersonLink>(&mut world.db)
            .unwrap()
            .remove(0)
    };
    let mom = alice.scope_sync(|| of(&mut world, ALICE));
    assert_eq!(mom.name.expose_secret(), "Mom");
    let dad = bob.scope_sync(|| of(&mut world, BOB));
    assert_eq!(dad.name.expose_secret(), "Dad");
}

#[tokio::test]
async fn rows_iterated_outside_the_scope_do_not_open() {
    let mut world = World::new().await;
    world.link("Mom");
    let alice = world.alice.clone();
    let db = &mut world.db;
    let mut rows = alice
        .scope_sync(move || people_links::table.load_iter::<PersonLink, DefaultLoadingMode>(db))
        .unwrap();
    assert!(absent(rows.next().expect("a row")));
}

#[tokio::test]
async fn a_query_built_outside_the_scope_runs_inside() {
    let mut world = World::new().await;
    world.link("Mom");
    let query = people_links::table.filter(people_links::user_id.eq(Owner(ALICE)));
    let alice = world.alice.clone();
    let links = alice.scope_sync(|| query.load::<PersonLink>(&mut world.db));
    assert_eq!(links.unwrap().len(), 1);
}

#[tokio::test]
async fn inside_an_asynchronous_scope_too() {
    let mut world = World::new().await;
    world.link("Mom");
    let alice = world.alice.clone();
    let names = alice.scope(async { world.names() }).await;
    assert_eq!(names.unwrap(), ["Mom"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spawn_blocking_carries_the_session() {
    let mut world = World::new().await;
    world.link("Mom");
    let mut db = connect(&world.database);
    let lost = async { spawn_blocking(move || names(&mut db)).await.unwrap() };
    assert!(absent(world.alice.scope(lost).await));

    let (mut db, session) = (connect(&world.database), world.alice.clone());
    let kept = spawn_blocking(move || session.scope_sync(|| names(&mut db)));
    assert_eq!(kept.await.unwrap().unwrap(), ["Mom"]);
}

/// Sixteen threads of two owners share four connections; each reads its own rows and no others.
#[tokio::test]
async fn threads_share_a_pool_and_no_session() {
    let world = World::new().await;
    let manager = ConnectionManager::<Connection>::new(crate::url(&world.database));
    let pool = Pool::builder()
        .max_size(4)
        .connection_customizer(Box::new(Patient))
        .build(manager)
        .unwrap();
    std::thread::scope(|threads| {
        for number in 0..16 {
            let (owner, session) = [(ALICE, &world.alice), (BOB, &world.bob)][number % 2];
            let pool = &pool;
            threads.spawn(move || {
                for round in 0..4 {
                    let name = format!("{number} {round}");
                    let mut db = pool.get().unwrap();
                    let found: PersonLink = session.scope_sync(|| {
                        add(&mut db, owner, &name).unwrap();
                        let mine = people_links::name_fp
                            .eq(super::models::person_link::name_fp(name.as_str()).unwrap());
                        people_links::table.filter(mine).first(&mut db).unwrap()
                    });
                    assert_eq!(found.name.expose_secret(), &name);
                    assert_eq!(found.user_id, Owner(owner));
                    assert!(absent(names(&mut db)));
                }
            });
        }
    });
    let mut db = pool.get().unwrap();
    let count: i64 = people_links::table.count().get_result(&mut db).unwrap();
    assert_eq!(count, 64);
}

/// Writers wait for each other.
#[derive(Debug)]
struct Patient;

impl diesel::r2d2::CustomizeConnection<Connection, diesel::r2d2::Error> for Patient {
    fn on_acquire(&self, db: &mut Connection) -> Result<(), diesel::r2d2::Error> {
        use diesel::connection::SimpleConnection;
        db.batch_execute(crate::PATIENCE)
            .map_err(diesel::r2d2::Error::QueryError)
    }
}
