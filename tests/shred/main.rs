//! Databases that are put back to before shreds, for real: what comes back without the restore guard, and what does
//! not with it. And a replica that follows, for which jobs wait (`lagging`).
//!
//! Needs PostgreSQL's programs. Absent: the steps of a shred (`stores/shredder.rs`), processes that are killed
//! (`processes/shredding.rs`).

#![cfg(test)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "a test: what goes wrong here is seen"
)]

mod cluster;
mod lagging;
mod residue;
mod two_shares;
mod world;

use std::time::Duration;

use futures_util::StreamExt;
use ophie_crypt::{
    Error, FileLedger, InSession, KeyStore, Keyring, OwnerId, RestoreError, RestoreGuard,
    SessionError, restore_adopt,
};
use ophie_crypt_sqlx::{PostgresKeyStore, find_error};

use world::{LIVING, Note, PURPOSE, SHREDDED, World, caught, living, promote, readable, write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_point_in_time_before_the_shreds() {
    let world = World::new();
    let restored = world.put_back_to_before_the_shreds().await;
    world
        .comes_back_and_is_destroyed_again(&restored.pool)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_from_before_the_shreds() {
    let world = World::new();
    let primary = world.primary().await;
    primary.dump("before");
    world.shred(&primary.pool).await;
    let restored = primary.put_back("before").await;
    world.comes_back_and_is_destroyed_again(&restored).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_left_behind_and_is_promoted() {
    let world = World::new();
    let primary = world.primary().await;
    let replica = world.replica_left_behind(&primary).await;
    world.shred(&primary.pool).await;

    // While it is one, keys that are gone on the primary are there; the guard lets nothing open.
    let reading = world.keyring(&replica.pool, true);
    let refused = reading.open_read_only(&1_i64, PURPOSE).await;
    assert!(
        matches!(refused, Err(SessionError::Restore(_))),
        "{refused:?}"
    );

    drop(primary);
    promote(&replica).await;
    world.comes_back_and_is_destroyed_again(&replica.pool).await;
}

/// Whatever the backup caught of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_while_shreds_run() {
    let world = World::new();
    let primary = world.primary().await;
    let (dumped, restored) = world.backups_while_shreds_run(&primary).await;
    let (first, last) = (caught(&dumped).await, caught(&restored.pool).await);
    assert!(first < last, "{first}, {last}: shreds did not go on");
    for pool in [&dumped, &restored.pool] {
        let gone = caught(pool).await;
        assert_eq!(
            readable(&world.keyring(pool, false), pool).await,
            (gone + 1..=SHREDDED + LIVING).collect(),
            "the negative control"
        );
        assert_eq!(readable(&world.keyring(pool, true), pool).await, living());
    }
}

/// A ledger that does not go with the database opens nothing; one that cannot be reached opens what it opened before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledgers_that_are_behind_forked_foreign_or_gone() {
    let world = World::new();
    let primary = world.primary().await;
    let pool = &primary.pool;
    let last = SHREDDED + LIVING;
    let open = async |keyring: &Keyring| keyring.open_read_only(&last, PURPOSE).await.map(drop);

    let early = std::fs::read(&world.ledger).unwrap();
    let running = world.keyring(pool, true);
    open(&running).await.unwrap();
    world.shred(pool).await;
    let whole = std::fs::read(&world.ledger).unwrap();

    std::fs::write(&world.ledger, &early).unwrap();
    let behind = open(&world.keyring(pool, true)).await;
    assert!(
        matches!(
            behind,
            Err(SessionError::Restore(RestoreError::Behind { .. }))
        ),
        "{behind:?}"
    );

    // As long, and another.
    std::fs::write(&world.ledger, &early).unwrap();
    let other = world.ledger();
    for _ in 0..SHREDDED {
        let head = ophie_crypt::Ledger::head(&other).await.unwrap();
        ophie_crypt::Ledger::append(&other, &head, "note", b"")
            .await
            .unwrap();
    }
    let forked = open(&world.keyring(pool, true)).await;
    assert!(
        matches!(forked, Err(SessionError::Restore(RestoreError::Ledger(_)))),
        "{forked:?}"
    );

    // Gone: whoever verified it goes on, whoever did not does not begin.
    std::fs::remove_file(&world.ledger).unwrap();
    let missing = RestoreGuard::new(PostgresKeyStore::new(pool.clone()), {
        std::fs::write(&world.ledger, &whole).unwrap();
        let ledger = world.ledger();
        std::fs::remove_file(&world.ledger).unwrap();
        ledger
    });
    let unverified = missing.admit().await;
    assert!(
        matches!(unverified, Err(RestoreError::Ledger(_))),
        "{unverified:?}"
    );
    std::fs::write(&world.ledger, &whole).unwrap();
    let verified = world.guard(pool).every(Duration::ZERO);
    verified.admit().await.unwrap();
    std::fs::remove_file(&world.ledger).unwrap();
    verified.admit().await.unwrap();
    // Not if the database is another by then.
    primary
        .run("UPDATE ophie_crypt_installation SET epoch = epoch + 1")
        .await;
    let changed = verified.admit().await;
    assert!(
        matches!(changed, Err(RestoreError::Ledger(_))),
        "{changed:?}"
    );

    // Lost for good: a new one is adopted, with all that the database knows.
    let lost = FileLedger::open_or_create(&world.ledger).unwrap();
    let refused = open(&world.keyring(pool, true)).await;
    assert!(
        matches!(
            refused,
            Err(SessionError::Restore(RestoreError::Behind { .. }))
        ),
        "{refused:?}"
    );
    let store = PostgresKeyStore::new(pool.clone());
    let epoch = restore_adopt(&store, &lost).await.unwrap();
    assert_eq!(epoch, 3);
    open(&world.keyring(pool, true)).await.unwrap();
    let receipt = world.shredder(pool).receipt(&1_i64).await.unwrap();
    assert!(receipt.entry > 0);

    // Another installation's.
    let other = ophie_crypt::MemoryKeyStore::new();
    let foreign = restore_adopt(&other, &lost).await;
    assert!(matches!(foreign, Err(RestoreError::Foreign)), "{foreign:?}");
}

/// An owner who is shredded is told apart from damage and from a KMS that fails, however it is met.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shredded_is_an_error_of_its_own() {
    let world = World::new();
    let primary = world.primary().await;
    let pool = &primary.pool;
    let (here, there) = (world.keyring(pool, true), world.keyring(pool, true));
    let session = here.open(&1_i64, PURPOSE).await.unwrap();
    let elsewhere = there.open(&1_i64, PURPOSE).await.unwrap();
    // A stream that is being read meanwhile, with a row to come.
    for _ in 0..2 {
        write(&session, 1, pool).await.unwrap();
    }
    let select = "SELECT user_id, text FROM notes WHERE user_id = 1";
    let mut stream = sqlx::query_as::<_, Note>(select)
        .fetch(pool)
        .in_session(&session);
    stream.next().await.unwrap().unwrap();
    here.shred(&1_i64).await.unwrap();

    // The session of this process has ended with it; the other's at its refresh.
    let is_shredded = |error: &sqlx::Error| {
        // SQLx turns the error of a bind into text.
        let found = find_error(error).map_or_else(|| error.to_string(), Error::to_string);
        assert!(found.contains("keys were destroyed"), "{error}: {found}");
    };
    is_shredded(&stream.next().await.unwrap().map(drop).unwrap_err());
    drop(stream);
    is_shredded(&write(&session, 1, pool).await.unwrap_err());
    let read = session.scope(async { sqlx::query_as::<_, Note>(select).fetch_all(pool).await });
    is_shredded(&read.await.map(drop).unwrap_err());
    assert!(matches!(
        elsewhere.refresh().await,
        Err(SessionError::Shredded)
    ));
    is_shredded(&write(&elsewhere, 1, pool).await.unwrap_err());
    for keyring in [&here, &there] {
        let opened = keyring.open(&1_i64, PURPOSE).await;
        assert!(matches!(opened, Err(SessionError::Shredded)), "{opened:?}");
        let glass = keyring.break_glass(&1_i64, PURPOSE, "a test").await;
        assert!(matches!(glass, Err(SessionError::Shredded)), "{glass:?}");
    }
    let record = PostgresKeyStore::new(pool.clone())
        .load(&1_i64.canonical())
        .await;
    assert!(record.unwrap().unwrap().is_shredded());
}
