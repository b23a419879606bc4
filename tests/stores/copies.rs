//! A copy of a database that was put up beside the original: with the same ledger, and with one of its own.
//!
//! Absent: how the ledger and the guard tell them apart, step by step (`shred` in the core).

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use ophie_crypt::{
    CanonicalId, Ledger, RestoreError, RestoreGuard, Shredder, ShredderError, restore_adopt,
};

use crate::{
    shredding::{Reached, World, ada},
    world::Kind,
};

every_database!(
    a_copy_with_the_same_ledger_destroys_nobody_here,
    a_shredder_adds_nothing_to_a_ledger_that_forked_or_is_silent,
);

fn guard(world: &World, ledger: &Arc<Reached>) -> RestoreGuard {
    RestoreGuard::new(Arc::clone(&world.store), Arc::clone(ledger)).every(Duration::ZERO)
}

async fn lives(world: &World, owner: &CanonicalId) -> bool {
    !world
        .store
        .load(owner)
        .await
        .unwrap()
        .unwrap()
        .is_shredded()
}

async fn a_copy_with_the_same_ledger_destroys_nobody_here(kind: Kind) {
    let (ours, drill) = (World::new(kind).await, World::new(kind).await);
    for world in [&ours, &drill] {
        world.tombstones().await;
    }
    let (ledger, ben) = (&ours.ledger, CanonicalId::integer(8));
    let id = ours.store.installation().await.unwrap().id;
    drill.is_a_copy_of(id).await;
    let running = guard(&ours, ledger);
    running.admit().await.unwrap();
    ours.store.shred(&ada()).await.unwrap();
    let shredder = ours.shredder().await;
    assert_eq!(shredder.work().await.unwrap().done, 1);
    running.admit().await.unwrap();

    // The drill: a backup of before it, whose guard sees a restore, and a shred there.
    guard(&drill, ledger).admit().await.unwrap();
    drill.store.shred(&ben).await.unwrap();
    let there = drill.builder_on(ledger).await.build();
    assert_eq!(there.work().await.unwrap().done, 2);
    let head = ledger.head().await.unwrap();

    for _ in 0..2 {
        let refused = running.admit().await;
        let expected = matches!(refused, Err(RestoreError::Shared { epoch: 1, last: 2 }));
        assert!(expected, "{refused:?}");
    }
    assert!(lives(&ours, &ben).await);
    ours.shred_long_ago_of(&CanonicalId::integer(9)).await;
    let worked = shredder.work().await.unwrap();
    assert_eq!((worked.done, worked.failed), (0, 1));
    let again = shredder.destroy_shares_again().await;
    assert!(matches!(again, Err(ShredderError::Epoch)), "{again:?}");
    assert_eq!(ledger.head().await.unwrap(), head, "nothing is added");

    // With a ledger of its own it is another installation, and neither knows the other's.
    let own = ours.another_ledger();
    assert_eq!(restore_adopt(&ours.store, &own).await.unwrap(), 2);
    let now = ours.store.installation().await.unwrap();
    assert_ne!(now.id, id);
    assert_eq!(now.ledger, own.head().await.unwrap());
    guard(&ours, &own).admit().await.unwrap();
    guard(&drill, ledger).admit().await.unwrap();
    for (world, ledger) in [(&ours, ledger), (&drill, &own)] {
        let foreign = guard(world, ledger).admit().await;
        assert!(matches!(foreign, Err(RestoreError::Foreign)), "{foreign:?}");
    }
    assert!(lives(&ours, &ben).await && !lives(&ours, &ada()).await);
    let shredder = ours.builder_on(&own).await.build();
    assert!(shredder.receipt(&ada()).await.unwrap().entry > 0);
    // Once more, with what is its own: the same installation.
    assert_eq!(restore_adopt(&ours.store, &own).await.unwrap(), 3);
    assert_eq!(ours.store.installation().await.unwrap().id, now.id);
}

async fn a_shredder_adds_nothing_to_a_ledger_that_forked_or_is_silent(kind: Kind) {
    let world = World::new(kind).await;
    world.tombstones().await;
    let ledger = &world.ledger;
    guard(&world, ledger).admit().await.unwrap();
    world.shred_long_ago().await;
    // As long as the one that the database knows, and another.
    let forked = world.another_ledger();
    let note = forked.head().await.unwrap();
    forked.append(&note, "note", b"").await.unwrap();
    let stray = world.builder_on(&forked).await.build();
    let worked = stray.work().await.unwrap();
    assert_eq!((worked.done, worked.failed), (0, 1));
    assert_eq!(forked.appended.load(SeqCst), 1, "the note alone");

    let free = async || {
        let store = &world.store;
        let freed = store.postpone(&ada(), Duration::ZERO, "again").await;
        freed.unwrap();
    };
    free().await;
    let builder = Shredder::builder(Arc::clone(&world.store), Arc::clone(ledger));
    assert_eq!(builder.build().work().await.unwrap().done, 1);
    // Nor are rows deleted by what it says, or while it says nothing.
    ledger.is_down.store(true, SeqCst);
    for shredder in [&stray, &world.shredder().await] {
        free().await;
        let swept = shredder.sweep().await.unwrap();
        assert_eq!((swept.done, swept.failed, swept.rows), (0, 1, 0));
    }
    assert_eq!(world.count("notes", "user_id = 7").await, 5);
}
