//! Transactions with asynchronous closures: commit, rollback, savepoints, and our error on its way out.

use diesel::{prelude::*, result::Error as DieselError};
use diesel_async::{AsyncConnection, RunQueryDsl};
use ophie_crypt::{Error, OwnerError};
use ophie_crypt_diesel::Owner;

use super::connect;
use crate::{
    Asynchronous,
    paths::{
        models::{PersonLink, new_link, people_links},
        world::{ALICE, BOB, World, ours},
    },
};

async fn add(db: &mut Asynchronous, owner: i64, name: &str) -> QueryResult<usize> {
    let link = new_link(owner, name);
    let insert = diesel::insert_into(people_links::table).values(&link);
    insert.execute(db).await
}

async fn names(db: &mut Asynchronous) -> QueryResult<Vec<String>> {
    let links: Vec<PersonLink> = people_links::table.order(people_links::id).load(db).await?;
    let names = links.iter().map(|link| link.name.expose_secret().clone());
    Ok(names.collect())
}

#[tokio::test]
async fn commit_keeps_and_rollback_leaves_nothing() {
    let mut world = World::new().await;
    let mut db = connect(&world.database).await;
    let run = async {
        let gone: QueryResult<()> = db
            .transaction(async |db| {
                add(db, ALICE, "Mom").await?;
                assert_eq!(names(db).await?, ["Mom"]);
                Err(DieselError::RollbackTransaction)
            })
            .await;
        assert_eq!(gone, Err(DieselError::RollbackTransaction));
        assert_eq!(names(&mut db).await?, [""; 0]);
        db.transaction(async |db| {
            add(db, ALICE, "Dad").await?;
            let mistake: QueryResult<()> = db
                .transaction(async |db| {
                    add(db, ALICE, "Mistake").await?;
                    Err(DieselError::RollbackTransaction)
                })
                .await;
            assert!(mistake.is_err());
            QueryResult::Ok(())
        })
        .await?;
        names(&mut db).await
    };
    let alice = world.alice.clone();
    assert_eq!(alice.scope(run).await.unwrap(), ["Dad"]);
    assert_eq!(world.links(), 1);
}

#[tokio::test]
async fn a_refused_value_ends_the_transaction_with_nothing_written() {
    let mut world = World::new().await;
    let mut db = connect(&world.database).await;
    let link = world.bob.scope_sync(|| new_link(BOB, "Dad"));
    let run = db.transaction(async |db| {
        add(db, ALICE, "Mom").await?;
        diesel::insert_into(people_links::table)
            .values(&link)
            .execute(db)
            .await
    });
    let refused = world.alice.scope(run).await;
    assert_eq!(ours(refused), Error::Owner(OwnerError::OtherOwner));
    assert_eq!(world.links(), 0);
}

/// Refused before anything is sent, so even PostgreSQL's transaction goes on.
#[tokio::test]
async fn a_refused_value_leaves_the_transaction_usable() {
    let mut world = World::new().await;
    let mut db = connect(&world.database).await;
    let run = db.transaction(async |db| {
        let refused = people_links::table
            .filter(people_links::user_id.eq(Owner(BOB)))
            .count()
            .get_result::<i64>(db)
            .await;
        assert_eq!(ours(refused), Error::Owner(OwnerError::OtherOwner));
        add(db, ALICE, "Mom").await
    });
    assert_eq!(world.alice.scope(run).await, Ok(1));
    assert_eq!(world.links(), 1);
}

#[tokio::test]
async fn one_transaction_carries_rows_of_two_owners_in_two_scopes() {
    let mut world = World::new().await;
    let mut db = connect(&world.database).await;
    let (alice, bob) = (world.alice.clone(), world.bob.clone());
    let run = db.transaction(async |db| {
        alice.scope(add(db, ALICE, "Mom")).await?;
        bob.scope(add(db, BOB, "Dad")).await
    });
    assert_eq!(run.await, Ok(1));
    assert_eq!(world.links(), 2);
    for (session, owner, name) in [(alice, ALICE, "Mom"), (bob, BOB, "Dad")] {
        let run = async {
            let mine = people_links::table.filter(people_links::user_id.eq(Owner(owner)));
            mine.first::<PersonLink>(&mut db).await
        };
        assert_eq!(session.scope(run).await.unwrap().name.expose_secret(), name);
    }
}
