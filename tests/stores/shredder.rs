//! The worker of shreds over every database: its order, its retries, what it deletes and what it leaves.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use futures_util::future::try_join_all;
use ophie_crypt::{
    CanonicalId, Ledger, LedgerHead, LocalKms, Models, ReceiptError, RestoreGuard, ShredStep,
    Shredder, restore_replay,
};
use ophie_crypt_sqlx::{MySqlModels, PostgresModels, SqliteModels};

use crate::{
    shredding::{Note, World, ada},
    world::{Database, Kind, provision},
};

every_database!(
    all_steps_are_done_and_other_owners_stay,
    without_a_ledger_there_is_no_receipt_and_nothing_is_touched,
    a_row_that_was_being_written_is_tombstoned_too,
    a_vector_store_that_fails_is_tried_again,
    fifty_shreds_and_four_workers,
    rows_are_swept_at_the_horizon_and_again,
    nobody_is_swept_whom_the_ledger_does_not_know,
    a_worker_that_died_after_the_append_adds_no_second_entry,
    another_installations_ledger_is_not_touched_and_says_nothing,
    a_sweep_that_fails_for_one_owner_goes_on,
    a_shred_that_is_not_done_is_swept_all_the_same,
);

async fn all_steps_are_done_and_other_owners_stay(kind: Kind) {
    let world = World::new(kind).await;
    world.tombstones().await;
    let shredder = world.shredder().await;
    let none = shredder.receipt(&ada()).await;
    assert!(matches!(none, Err(ReceiptError::NotShredded)), "{none:?}");
    world.store.shred(&ada()).await.unwrap();
    let early = shredder.receipt(&ada()).await;
    assert!(matches!(early, Err(ReceiptError::TooEarly)), "{early:?}");

    let worked = shredder.work().await.unwrap();
    assert_eq!((worked.done, worked.failed), (1, 0));
    assert_eq!(shredder.work().await.unwrap().done, 0, "it is done");
    let tombstoned = "user_id = 7 AND deleted_at IS NOT NULL AND text IS NULL";
    assert_eq!(world.count("notes", tombstoned).await, 5);
    let untouched = "user_id = 8 AND deleted_at IS NULL AND text = 'plain'";
    assert_eq!(world.count("notes", untouched).await, 5);
    assert_eq!(
        world.vectors.calls.load(SeqCst),
        2,
        "until it is seen empty"
    );

    let receipt = shredder.receipt(&ada()).await.unwrap();
    let shred = &receipt.shred;
    assert_eq!((receipt.entry, shred.entry), (1, Some(1)));
    assert_eq!(
        Some(receipt.live_from),
        shred.appended_at,
        "not before it was committed"
    );
    assert!(receipt.live_from < receipt.caches_from && receipt.caches_from < receipt.backups_from);
    assert!(shred.appended_at.is_some() && shred.done_at.is_some() && shred.swept_at.is_none());
    let is_postgres = world.rows.is_none();
    assert_eq!(shred.vacuumed_at.is_some(), is_postgres);
    let text = receipt.to_string();
    assert!(
        text.contains("kept     invoices: ten years, by law"),
        "{text}"
    );
    assert!(
        text.contains("not done rows deleted: letters, notes\n"),
        "{text}"
    );
    assert!(text.contains("none was left: memories\n"), "{text}");

    let kms = LocalKms::ephemeral().unwrap();
    let signed = receipt.sign(&kms, "tests").await.unwrap();
    assert!(signed.verify(&kms, "tests").await.unwrap());
    let mut forged = signed.clone();
    forged.text = forged.text.replace("not done", "done    ");
    assert!(!forged.verify(&kms, "tests").await.unwrap());
    signed.verify(&kms, "another").await.unwrap_err();
}

async fn without_a_ledger_there_is_no_receipt_and_nothing_is_touched(kind: Kind) {
    let world = World::new(kind).await;
    world.tombstones().await;
    let shredder = world.shredder().await;
    world.store.shred(&ada()).await.unwrap();
    world.ledger.is_down.store(true, SeqCst);
    let worked = shredder.work().await.unwrap();
    assert_eq!((worked.done, worked.failed), (0, 1));
    assert_eq!(world.count("notes", "deleted_at IS NOT NULL").await, 0);
    let receipt = shredder.receipt(&ada()).await;
    assert!(
        matches!(receipt, Err(ReceiptError::Ledger(_))),
        "{receipt:?}"
    );
    // The database says so, and the ledger does not.
    let lie = ShredStep::Appended {
        entry: 1,
        head: LedgerHead::EMPTY,
    };
    world.store.note(&ada(), lie).await.unwrap();
    world.ledger.is_down.store(false, SeqCst);
    let receipt = shredder.receipt(&ada()).await;
    assert!(
        matches!(receipt, Err(ReceiptError::TooEarly)),
        "{receipt:?}"
    );
}

/// By a transaction that began before the shred, and saw nothing of it.
async fn a_row_that_was_being_written_is_tombstoned_too(kind: Kind) {
    let world = World::new(kind).await;
    world.tombstones().await;
    let shredder = world.shredder().await;
    let late = "INSERT INTO notes (user_id, text) VALUES (7, 'late')";
    // On MariaDB the worker's own statement waits for it; SQLite has one writer.
    let held = match kind {
        Kind::SqlxPostgres | Kind::DieselPostgres | Kind::AsyncPostgres => {
            Some(world.rows().hold(late).await)
        }
        _ => None,
    };
    world.store.shred(&ada()).await.unwrap();
    let worked = shredder.work().await.unwrap();
    if let Some(held) = held {
        assert_eq!((worked.done, worked.failed), (0, 1), "it waits for the row");
        held.commit().await;
        let store = &world.store;
        store
            .postpone(&ada(), Duration::ZERO, "again")
            .await
            .unwrap();
        assert_eq!(shredder.work().await.unwrap().done, 1);
    }
    let left = "user_id = 7 AND (deleted_at IS NULL OR text IS NOT NULL)";
    assert_eq!(world.count("notes", left).await, 0);
}

async fn a_vector_store_that_fails_is_tried_again(kind: Kind) {
    let world = World::new(kind).await;
    world.tombstones().await;
    let shredder = world.shredder().await;
    world.store.shred(&ada()).await.unwrap();
    world.vectors.is_down.store(true, SeqCst);
    assert_eq!(shredder.work().await.unwrap().failed, 1);
    let shred = world.store.shreds_of(&[ada()]).await.unwrap().remove(0);
    assert!(shred.tombstoned_at.is_some() && shred.emptied_at.is_none());
    let failure = shred.failure.unwrap();
    assert!(
        failure.contains("vector store") && failure.contains("overloaded"),
        "{failure}"
    );
    assert_eq!(shredder.work().await.unwrap().failed, 0, "it rests");
    for _ in 0..10 {
        world
            .store
            .postpone(&ada(), Duration::ZERO, "still")
            .await
            .unwrap();
        shredder.work().await.unwrap();
    }
    assert_eq!(shredder.stuck().await.unwrap().len(), 1);

    world.vectors.is_down.store(false, SeqCst);
    world
        .store
        .postpone(&ada(), Duration::ZERO, "still")
        .await
        .unwrap();
    assert_eq!(shredder.work().await.unwrap().done, 1);
    assert!(shredder.stuck().await.unwrap().is_empty());
}

async fn fifty_shreds_and_four_workers(kind: Kind) {
    let world = World::new(kind).await;
    world.tombstones().await;
    let owners: Vec<_> = (100..150).map(CanonicalId::integer).collect();
    for owner in &owners {
        provision(&*world.store, owner).await.unwrap();
    }
    try_join_all(owners.iter().map(|owner| world.store.shred(owner)))
        .await
        .unwrap();
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let shredder = world.shredder().await;
        tasks.push(tokio::spawn(async move { shredder.work().await.unwrap() }));
    }
    let (mut done, mut failed) = (0, 0);
    for task in tasks {
        let worked = task.await.unwrap();
        (done, failed) = (done + worked.done, failed + worked.failed);
    }
    assert_eq!((done, failed), (50, 0));
    assert_eq!(world.ledger.appended.load(SeqCst), 50, "one entry each");
    let lives = world.store.load(&ada()).await.unwrap().unwrap();
    assert!(!lives.is_shredded());
    assert_eq!(world.count("notes", "deleted_at IS NULL").await, 10);
}

async fn rows_are_swept_at_the_horizon_and_again(kind: Kind) {
    let world = World::new(kind).await;
    world.tombstones().await;
    let again = world.builder().await.sweep_again(Duration::ZERO).build();
    // Of today, and of long ago.
    world.store.shred(&CanonicalId::integer(8)).await.unwrap();
    world.shred_long_ago().await;
    again.work().await.unwrap();
    let swept = again.sweep().await.unwrap();
    assert_eq!((swept.done, swept.rows), (1, 10));
    for table in ["notes", "letters"] {
        assert_eq!(world.count(table, "user_id = 7").await, 0);
        assert_eq!(
            world.count(table, "user_id = 8").await,
            5,
            "its horizon is ahead"
        );
    }
    assert_eq!(world.count("invoices", "user_id = 7").await, 5, "kept");

    // A process that had the key in memory, a queue.
    world.write(7, 2).await;
    assert_eq!(again.sweep().await.unwrap().rows, 4);
    assert_eq!(world.count("notes", "user_id = 7").await, 0);
    let rested = world.shredder().await;
    assert_eq!(rested.sweep().await.unwrap().done, 0, "once a day");
}

/// The database alone, written by whoever can, deletes nobody's rows.
async fn nobody_is_swept_whom_the_ledger_does_not_know(kind: Kind) {
    let world = World::new(kind).await;
    world.tombstones().await;
    world.shred_long_ago().await;
    let lie = ShredStep::Appended {
        entry: 1,
        head: LedgerHead::EMPTY,
    };
    world.store.note(&ada(), lie).await.unwrap();
    let swept = world.shredder().await.sweep().await.unwrap();
    assert_eq!((swept.done, swept.failed, swept.rows), (0, 1, 0));
    assert_eq!(world.count("notes", "user_id = 7").await, 5);

    // Nor does the statement delete a row without a tombstone.
    let rows = world
        .rows()
        .models(world.kind, Models::new().with::<Note>())
        .await;
    assert_eq!(
        rows.sweep(&CanonicalId::integer(8), "notes", 100)
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        rows.tombstone(&CanonicalId::integer(8), "notes", 100)
            .await
            .unwrap(),
        0
    );
    assert_eq!(world.count("notes", "user_id = 8").await, 5);
    if world.rows.is_none() {
        rows.bury(&CanonicalId::integer(8)).await.unwrap_err(); // a living owner has no tombstone
    }
    // And in batches.
    rows.bury(&ada()).await.unwrap();
    for left in [3, 1, 0] {
        rows.sweep(&ada(), "notes", 2).await.unwrap();
        assert_eq!(world.count("notes", "user_id = 7").await, left);
    }
}

async fn a_worker_that_died_after_the_append_adds_no_second_entry(kind: Kind) {
    let world = World::new(kind).await;
    world.tombstones().await;
    world.store.shred(&ada()).await.unwrap();
    // A copy of the database that was not told, with the same ledger.
    let other = World::new(kind).await;
    other.tombstones().await;
    let installation = world.store.installation().await.unwrap().id;
    other.is_a_copy_of(installation).await;
    let shred = world.store.shreds_of(&[ada()]).await.unwrap().remove(0);
    let first = world.shredder().await;
    first.work().await.unwrap();
    assert_eq!(world.ledger.appended.load(SeqCst), 1);
    other.store.shred(&ada()).await.unwrap();
    let second = Shredder::builder(Arc::clone(&other.store), Arc::clone(&world.ledger)).build();
    assert_eq!(second.work().await.unwrap().done, 1);
    assert_eq!(world.ledger.appended.load(SeqCst), 1, "the entry was there");
    assert_eq!(second.receipt(&ada()).await.unwrap().entry, 1);
    assert_eq!(first.receipt(&ada()).await.unwrap().shred.id, shred.id);
}

/// A development database with production's ledger: each has an owner 7.
async fn another_installations_ledger_is_not_touched_and_says_nothing(kind: Kind) {
    let (ours, other) = (World::new(kind).await, World::new(kind).await);
    for world in [&ours, &other] {
        world.tombstones().await;
    }
    let admitted = RestoreGuard::new(Arc::clone(&ours.store), Arc::clone(&ours.ledger));
    admitted.admit().await.unwrap();

    let stray = || {
        let builder = Shredder::builder(Arc::clone(&other.store), Arc::clone(&ours.ledger));
        builder.sweep_again(Duration::ZERO).build()
    };
    other.shred_long_ago().await;
    let worked = stray().work().await.unwrap();
    assert_eq!((worked.done, worked.failed), (0, 1));
    let shred = other.store.shreds_of(&[ada()]).await.unwrap().remove(0);
    assert!(shred.appended_at.is_none());
    assert!(shred.failure.unwrap().contains("a ledger of its own"));
    assert_eq!(ours.ledger.appended.load(SeqCst), 1, "our own name alone");

    // It stands there from when nobody looked.
    let bytes = other.store.installation().await.unwrap().id;
    let entry = [&bytes, &[9; 16][..], &[0; 8], ada().as_bytes()].concat();
    let head = ours.ledger.head().await.unwrap();
    ours.ledger.append(&head, "shred", &entry).await.unwrap();
    let guard = RestoreGuard::new(Arc::clone(&ours.store), Arc::clone(&ours.ledger));
    guard.admit().await.unwrap();
    let replayed = restore_replay(&ours.store, &ours.ledger).await.unwrap();
    assert_eq!(replayed, 0);
    let lives = ours.store.load(&ada()).await.unwrap().unwrap();
    assert!(!lives.is_shredded());

    // Our owner's shred does not take the other's entry for its own.
    ours.store.shred(&ada()).await.unwrap();
    let ours_shredder = ours.shredder().await;
    let early = ours_shredder.receipt(&ada()).await;
    assert!(matches!(early, Err(ReceiptError::TooEarly)), "{early:?}");
    assert_eq!(ours_shredder.work().await.unwrap().done, 1);
    let entry = ours_shredder.receipt(&ada()).await.unwrap().entry;
    assert_eq!(entry, 4, "behind both epochs and the other's");

    // Nor does the other's take ours.
    let foreign = stray().receipt(&ada()).await;
    assert!(matches!(foreign, Err(ReceiptError::Foreign)), "{foreign:?}");
    let lie = ShredStep::Appended {
        entry,
        head: LedgerHead::EMPTY,
    };
    other.store.note(&ada(), lie).await.unwrap();
    let swept = other.builder_on(&ours.ledger).await.build().sweep().await;
    let swept = swept.unwrap();
    assert_eq!((swept.done, swept.failed, swept.rows), (0, 1, 0));
    assert_eq!(other.count("notes", "user_id = 7").await, 5);
}

/// One owner whose rows are not reached does not stop the sweep of those behind.
async fn a_sweep_that_fails_for_one_owner_goes_on(kind: Kind) {
    let world = World::new(kind).await;
    world.tombstones().await;
    let shredder = world.builder().await.sweep_again(Duration::ZERO).build();
    world.shred_long_ago().await;
    let later = CanonicalId::integer(8);
    world.shred_long_ago_of(&later).await;
    assert_eq!(shredder.work().await.unwrap().done, 2);
    world.vectors.refuse(Some(ada()));
    let swept = shredder.sweep().await.unwrap();
    assert_eq!((swept.done, swept.failed), (1, 1));
    assert_eq!(world.count("notes", "user_id = 8").await, 0);
    let shred = world.store.shreds_of(&[ada()]).await.unwrap().remove(0);
    assert!(shred.swept_at.is_none() && shred.failure.unwrap().contains("vector store"));
    let shred = world.store.shreds_of(&[later]).await.unwrap().remove(0);
    assert!(shred.swept_at.is_some());

    // It rests, and is a dead letter in the end; it is still tried.
    let again = async || {
        let store = &world.store;
        store
            .postpone(&ada(), Duration::ZERO, "still")
            .await
            .unwrap();
        shredder.sweep().await.unwrap()
    };
    let swept = shredder.sweep().await.unwrap();
    assert_eq!((swept.done, swept.failed), (1, 0), "the other alone");
    for _ in 0..9 {
        assert_eq!(again().await.failed, 1);
    }
    let stuck = shredder.stuck().await.unwrap();
    assert_eq!((stuck.len(), &stuck[0].owner), (1, &ada()));
    world.vectors.refuse(None);
    let swept = again().await;
    assert_eq!((swept.done, swept.failed), (2, 0));
    assert!(shredder.stuck().await.unwrap().is_empty());
}

/// The work that is left of a shred fares as it does, however its rows are swept.
async fn a_shred_that_is_not_done_is_swept_all_the_same(kind: Kind) {
    let world = World::new(kind).await;
    world.tombstones().await;
    world.shred_long_ago().await;
    world.vectors.is_down.store(true, SeqCst);
    let shredder = world.builder().await.sweep_again(Duration::ZERO).build();
    for pause in [0, 3600] {
        assert_eq!(shredder.work().await.unwrap().failed, 1);
        let pause = Duration::from_secs(pause);
        world.store.postpone(&ada(), pause, "down").await.unwrap();
    }
    let swept = shredder.sweep().await.unwrap();
    assert_eq!((swept.failed, swept.rows), (1, 10));
    assert_eq!(world.count("notes", "user_id = 7").await, 0);
    world.vectors.is_down.store(false, SeqCst);
    assert_eq!(shredder.sweep().await.unwrap().done, 1);
    let shred = world.store.shreds_of(&[ada()]).await.unwrap().remove(0);
    assert!(shred.done_at.is_none() && shred.swept_at.is_some());
    assert_eq!(shred.attempts, 1, "of the work");
    assert_eq!(shredder.work().await.unwrap().done, 0, "it rests");
}

/// Beside the keys it is there; elsewhere the application makes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tombstones_have_a_table_wherever_rows_are() {
    for kind in [Kind::SqlxMariaDb, Kind::SqlxPostgres, Kind::SqlxSqlite] {
        let database = Database::create(kind).await;
        for _ in 0..2 {
            let none = Models::new();
            let made = match &database {
                Database::MariaDb(rows) => {
                    MySqlModels::new(rows.pool().clone(), none).migrate().await
                }
                Database::Postgres(rows) => {
                    PostgresModels::new(rows.pool().clone(), none)
                        .migrate()
                        .await
                }
                Database::Sqlite(rows) => {
                    SqliteModels::new(rows.pool().clone(), none).migrate().await
                }
                Database::Memory(_) => unreachable!("its kind says so"),
            };
            made.unwrap();
            let rows = database.models(kind, Models::new()).await;
            rows.bury(&ada()).await.unwrap();
        }
        let buried = "SELECT COUNT(*) FROM ophie_crypt_tombstones";
        assert_eq!(database.number(buried).await, 1);
    }
}
