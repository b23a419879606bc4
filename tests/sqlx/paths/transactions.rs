//! Transactions and savepoints: a rollback leaves nothing, a failed hook spoils nothing.

use ophie_crypt::{Error, OwnerError};
use ophie_crypt_sqlx::Owner;
use sqlx::{Acquire, Transaction};

use super::{
    models::{PersonLink, person_link},
    world::{ALICE, BOB, CALL, INSERT_LINK, World, bound},
};
use crate::db::{Db, sql};

async fn add(tx: &mut Transaction<'_, Db>, owner: uuid::Uuid, name: &str) {
    sqlx::query(sql(INSERT_LINK))
        .bind(Owner(owner))
        .bind(CALL)
        .bind(person_link::name(name))
        .bind(person_link::name_fp(name).unwrap())
        .execute(&mut **tx)
        .await
        .unwrap();
}

#[tokio::test]
async fn commit_keeps_and_rollback_leaves_nothing() {
    let world = World::new().await;
    let run = async {
        let mut tx = world.pool().begin().await.unwrap();
        add(&mut tx, ALICE, "Mom").await;
        let seen = sqlx::query_as::<_, PersonLink>("SELECT * FROM people_links")
            .fetch_all(&mut *tx)
            .await
            .unwrap();
        assert_eq!(seen.len(), 1);
        tx.rollback().await.unwrap();
        assert_eq!(world.links().await, 0);

        let mut tx = world.pool().begin().await.unwrap();
        add(&mut tx, ALICE, "Dad").await;
        tx.commit().await.unwrap();
        assert_eq!(world.names(ALICE).await.unwrap(), ["Dad"]);
    };
    world.alice.scope(run).await;
}

#[tokio::test]
async fn dropping_a_transaction_leaves_nothing() {
    let world = World::new().await;
    let run = async {
        let mut tx = world.pool().begin().await.unwrap();
        add(&mut tx, ALICE, "Mom").await;
        drop(tx);
        assert_eq!(world.names(ALICE).await.unwrap(), Vec::<String>::new());
    };
    world.alice.scope(run).await;
}

#[tokio::test]
async fn a_savepoint_rolls_back_alone() {
    let world = World::new().await;
    let run = async {
        let mut tx = world.pool().begin().await.unwrap();
        add(&mut tx, ALICE, "Mom").await;
        let mut savepoint = tx.begin().await.unwrap();
        add(&mut savepoint, ALICE, "Mistake").await;
        savepoint.rollback().await.unwrap();
        let mut savepoint = tx.begin().await.unwrap();
        add(&mut savepoint, ALICE, "Dad").await;
        savepoint.commit().await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(world.names(ALICE).await.unwrap(), ["Mom", "Dad"]);
    };
    world.alice.scope(run).await;
}

#[tokio::test]
async fn a_refused_value_ends_the_transaction_with_nothing_written() {
    let world = World::new().await;
    let run = async {
        let mut tx = world.pool().begin().await.unwrap();
        add(&mut tx, ALICE, "Mom").await;
        let mut query = sqlx::query::<Db>(sql(INSERT_LINK));
        let refused = bound(query.try_bind(Owner(BOB)));
        assert_eq!(refused, Error::Owner(OwnerError::OtherOwner));
        drop(tx); // as `?` would
    };
    world.alice.scope(run).await;
    assert_eq!(world.links().await, 0);
}

#[tokio::test]
async fn a_refused_value_leaves_the_transaction_usable() {
    let world = World::new().await;
    let run = async {
        let mut tx = world.pool().begin().await.unwrap();
        // The error is met before anything is sent, so even PostgreSQL goes on.
        sqlx::query(sql("SELECT $1"))
            .bind(Owner(BOB))
            .execute(&mut *tx)
            .await
            .unwrap_err();
        add(&mut tx, ALICE, "Mom").await;
        tx.commit().await.unwrap();
        assert_eq!(world.names(ALICE).await.unwrap(), ["Mom"]);
    };
    world.alice.scope(run).await;
}

#[tokio::test]
async fn one_transaction_carries_rows_of_two_owners_in_two_scopes() {
    let world = World::new().await;
    let mut tx = world.pool().begin().await.unwrap();
    world.alice.scope(add(&mut tx, ALICE, "Mom")).await;
    world.bob.scope(add(&mut tx, BOB, "Dad")).await;
    tx.commit().await.unwrap();
    assert_eq!(
        world.alice.scope(world.names(ALICE)).await.unwrap(),
        ["Mom"]
    );
    assert_eq!(world.bob.scope(world.names(BOB)).await.unwrap(), ["Dad"]);
}
