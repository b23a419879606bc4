//! Two owners at once: shared pools, spawned tasks, `join!`, `select!`, nested scopes.

use futures_util::future::{join_all, try_join_all};
use ophie_crypt::{Error, InSession, NoSession, OwnerError, Session};
use ophie_crypt_sqlx::Owner;
use sqlx::pool::PoolOptions;
use uuid::Uuid;

use super::{
    models::{PersonLink, person_link},
    world::{ALICE, BOB, CALL, INSERT_LINK, World, ours},
};
use crate::db::{Db, Pool, sql};

/// Writes a link of its own and reads all of the owner's: none may be another's or fail to open.
async fn write_and_read(pool: &Pool, owner: Uuid, prefix: &str, n: u32) -> Result<(), sqlx::Error> {
    let name = format!("{prefix} {n}");
    sqlx::query(sql(INSERT_LINK))
        .bind(Owner(owner))
        .bind(CALL)
        .bind(person_link::name(name.as_str()))
        .bind(person_link::name_fp(name.as_str())?)
        .execute(pool)
        .await?;
    tokio::task::yield_now().await;
    let links: Vec<PersonLink> =
        sqlx::query_as(sql("SELECT * FROM people_links WHERE user_id = $1"))
            .bind(Owner(owner))
            .fetch_all(pool)
            .await?;
    assert!(
        links
            .iter()
            .all(|link| link.name.expose_secret().starts_with(prefix))
    );
    let found: PersonLink = sqlx::query_as(sql("SELECT * FROM people_links WHERE name_fp = $1"))
        .bind(person_link::name_fp(name.to_uppercase())?)
        .fetch_one(pool)
        .await?;
    assert_eq!(found.name.expose_secret(), &name);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_tasks_of_each_owner_on_three_connections() {
    let world = World::new().await;
    let pool = PoolOptions::<Db>::new()
        .max_connections(3)
        .connect(world.database.url())
        .await
        .unwrap();
    let tasks = (0..200).flat_map(|n| {
        [(ALICE, "Mom", &world.alice), (BOB, "Dad", &world.bob)].map(|(owner, prefix, session)| {
            let pool = pool.clone();
            tokio::spawn(
                async move { write_and_read(&pool, owner, prefix, n).await }.in_session(session),
            )
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap().unwrap();
    }
    assert_eq!(world.links().await, 400);
    for (owner, session) in [(ALICE, &world.alice), (BOB, &world.bob)] {
        assert_eq!(session.scope(world.names(owner)).await.unwrap().len(), 200);
    }
}

#[tokio::test]
async fn one_task_interleaves_both_owners() {
    let world = World::new().await;
    let all = (0..40).map(|n| {
        let (owner, prefix, session) = if n % 2 == 0 {
            (ALICE, "Mom", &world.alice)
        } else {
            (BOB, "Dad", &world.bob)
        };
        session.scope(write_and_read(world.pool(), owner, prefix, n))
    });
    try_join_all(all).await.unwrap();
    assert_eq!(world.links().await, 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spawned_task_has_no_session() {
    let world = World::new().await;
    let pool = world.pool().clone();
    world.link(&world.alice, "Mom").await;
    let read = async move {
        sqlx::query_as::<_, PersonLink>("SELECT * FROM people_links")
            .fetch_one(&pool)
            .await
    };
    let spawned = world
        .alice
        .scope(async { tokio::spawn(read).await.unwrap() })
        .await;
    assert_eq!(
        ours(spawned),
        Error::Owner(OwnerError::NoSession(NoSession::Absent))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spawned_task_carries_the_session() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    let read = |pool: Pool| async move {
        sqlx::query_as::<_, PersonLink>("SELECT * FROM people_links")
            .fetch_one(&pool)
            .await
            .unwrap()
            .name
            .into_secret()
    };
    let given = tokio::spawn(read(world.pool().clone()).in_session(&world.alice)).await;
    assert_eq!(given.unwrap(), "Mom");
    let current = world.alice.scope(async {
        tokio::spawn(read(world.pool().clone()).in_current_session())
            .await
            .unwrap()
    });
    assert_eq!(current.await, "Mom");
}

#[tokio::test]
async fn carrying_no_session_carries_none() {
    let carried = || async { Session::current().is_some() }.in_current_session();
    let world = World::new().await;
    let (spawned, polled) = (carried(), carried());
    assert!(!tokio::spawn(spawned).await.unwrap());
    // Not even that of whoever polls it.
    assert!(!world.alice.scope(polled).await);
    let fails = async { person_link::name_fp("Mom").is_err() }.in_current_session();
    assert!(world.alice.scope(fails).await);
}

#[tokio::test]
async fn join_and_select_stay_inside() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    let run = async {
        let (a, b) = tokio::join!(world.names(ALICE), world.names(ALICE));
        assert_eq!(
            (a.unwrap(), b.unwrap()),
            (vec!["Mom".to_owned()], vec!["Mom".to_owned()])
        );
        let names = tokio::select! {
            names = world.names(ALICE) => names,
            () = std::future::pending() => unreachable!("it never ends"),
        };
        assert_eq!(names.unwrap(), ["Mom"]);
        // What is left behind when another branch wins is cancelled, not leaked.
        tokio::select! {
            biased;
            () = std::future::ready(()) => {}
            _ = world.names(ALICE) => unreachable!("the other is ready"),
        }
        assert_eq!(world.names(ALICE).await.unwrap(), ["Mom"]);
    };
    world.alice.scope(run).await;
}

#[tokio::test]
async fn two_scopes_in_one_join_keep_their_own() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    world.link(&world.bob, "Dad").await;
    let (alices, bobs) = tokio::join!(
        world.alice.scope(world.names(ALICE)),
        world.bob.scope(world.names(BOB)),
    );
    assert_eq!(
        (alices.unwrap(), bobs.unwrap()),
        (vec!["Mom".to_owned()], vec!["Dad".to_owned()])
    );
    let crossed = world.alice.scope(world.names(BOB)).await;
    assert!(crossed.unwrap_err().to_string().contains("another owner"));
}

#[tokio::test]
async fn nested_scopes_take_the_inner_and_give_back_the_outer() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    world.link(&world.bob, "Dad").await;
    let run = async {
        assert_eq!(world.names(ALICE).await.unwrap(), ["Mom"]);
        assert_eq!(world.bob.scope(world.names(BOB)).await.unwrap(), ["Dad"]);
        assert_eq!(world.names(ALICE).await.unwrap(), ["Mom"]);
        world.names(BOB).await.unwrap_err();
        let inner = async {
            world.names(ALICE).await.unwrap_err();
            world.alice.scope(world.names(ALICE)).await.unwrap()
        };
        assert_eq!(world.bob.scope(inner).await, ["Mom"]);
    };
    world.alice.scope(run).await;
    assert!(Session::current().is_none());
}

#[tokio::test]
async fn a_panic_in_a_scope_leaves_no_session_behind() {
    let world = World::new().await;
    let session = world.alice.clone();
    let panicked = tokio::spawn(async move {
        let inner = std::panic::AssertUnwindSafe(session.scope(async { panic!("on purpose") }));
        let caught = futures_util::FutureExt::catch_unwind(inner).await;
        (caught.is_err(), Session::current().is_none())
    });
    assert_eq!(panicked.await.unwrap(), (true, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_owners_at_once() {
    let world = World::new().await;
    let owners: Vec<Uuid> = (0..100).map(Uuid::from_u128).collect();
    let run = owners.iter().map(|owner| async {
        let session = world
            .keyring
            .open_or_provision(owner, super::world::PURPOSE)
            .await
            .unwrap();
        session
            .scope(write_and_read(world.pool(), *owner, &owner.to_string(), 0))
            .await
    });
    for result in join_all(run).await {
        result.unwrap();
    }
    assert_eq!(world.links().await, 100);
}
