//! Threads and other executors: `scope_sync` works, and whatever else polls there sees no session.

use ophie_crypt::{Error, NoSession, OwnerError, Session};
use ophie_crypt_sqlx::Encrypted;
use tokio::{
    runtime::{Handle, Runtime},
    task::{LocalSet, spawn_blocking, spawn_local},
};

use super::{
    models::person_link,
    world::{ALICE, World, ours},
};
use crate::db::Pool;

type Name = Encrypted<String, person_link::name>;

async fn name(pool: Pool) -> Result<Name, sqlx::Error> {
    sqlx::query_scalar("SELECT name FROM people_links")
        .fetch_one(&pool)
        .await
}

fn absent<T>(result: Result<T, sqlx::Error>) -> bool {
    let error = ours(result).to_string();
    error.contains(&NoSession::Absent.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spawn_blocking_has_no_session_but_by_scope_sync() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    let row = sqlx::query("SELECT name FROM people_links")
        .fetch_one(world.pool())
        .await
        .unwrap();
    let row = std::sync::Arc::new(row);
    let same = std::sync::Arc::clone(&row);
    let lost = async { spawn_blocking(move || decode(&same)).await.unwrap() };
    assert!(absent(world.alice.scope(lost).await));
    let session = world.alice.clone();
    let kept = spawn_blocking(move || session.scope_sync(|| decode(&row)))
        .await
        .unwrap();
    assert_eq!(kept.unwrap().expose_secret(), "Mom");
}

fn decode(row: &<crate::db::Db as sqlx::Database>::Row) -> Result<Name, sqlx::Error> {
    sqlx::Row::try_get(row, 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_thread_runs_queries_under_scope_sync() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    let (session, pool, handle) = (world.alice.clone(), world.pool().clone(), Handle::current());
    let read = spawn_blocking(move || session.scope_sync(|| handle.block_on(name(pool))));
    assert_eq!(read.await.unwrap().unwrap().expose_secret(), "Mom");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn block_in_place_keeps_the_session() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    let run = async {
        let pool = world.pool().clone();
        tokio::task::block_in_place(|| Handle::current().block_on(name(pool)))
    };
    assert_eq!(world.alice.scope(run).await.unwrap().expose_secret(), "Mom");
}

/// A thread-local alone would leak the session into the other task.
#[test]
fn a_task_spawned_on_a_blocked_on_runtime_sees_no_session() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let world = runtime.block_on(World::new());
    runtime.block_on(world.link(&world.alice, "Mom"));
    let pool = world.pool().clone();
    let (root, spawned) = world.alice.scope_sync(|| {
        runtime.block_on(async {
            let spawned = tokio::spawn(name(pool.clone())).await.unwrap();
            (name(pool).await, spawned)
        })
    });
    assert!(absent(spawned));
    assert_eq!(root.unwrap().expose_secret(), "Mom");
    drop_on(runtime, world);
}

/// As above: `run_until` polls local tasks inside the scoped future's poll.
#[tokio::test]
async fn a_local_task_sees_no_session() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    let pool = world.pool().clone();
    let local = LocalSet::new();
    let run = local.run_until(async {
        let spawned = spawn_local(name(pool.clone())).await.unwrap();
        (name(pool).await, spawned)
    });
    let (root, spawned) = world.alice.scope(run).await;
    assert!(absent(spawned));
    assert_eq!(root.unwrap().expose_secret(), "Mom");
}

#[tokio::test]
async fn another_thread_sees_no_session() {
    let world = World::new().await;
    let seen = world.alice.scope_sync(|| {
        std::thread::spawn(|| {
            (
                Session::current().is_some(),
                person_link::name_fp("Mom").is_ok(),
            )
        })
        .join()
        .unwrap()
    });
    assert_eq!(seen, (false, false));
}

#[tokio::test]
async fn scope_sync_ends_with_its_closure() {
    let world = World::new().await;
    world.alice.scope_sync(|| {
        world
            .bob
            .scope_sync(|| Session::current().unwrap().check_owner(&ALICE).unwrap_err());
        Session::current().unwrap().check_owner(&ALICE).unwrap();
    });
    assert!(Session::current().is_none());
    let query = ophie_crypt_sqlx::Owner(ALICE);
    let error = super::world::bound(
        sqlx::query::<crate::db::Db>(crate::db::sql("SELECT $1")).try_bind(query),
    );
    assert_eq!(
        error,
        Error::Owner(OwnerError::NoSession(NoSession::Absent))
    );
}

/// The pools' background tasks end with their runtime.
fn drop_on(runtime: Runtime, world: World) {
    runtime.block_on(async move { drop(world) });
}
