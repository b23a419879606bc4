//! A rotation from its announcement to the end of the old key, on tables in memory and a clock that jumps.

use std::sync::atomic::Ordering::SeqCst;

mod index;
mod index_limits;
mod late;
mod parts;
mod rewraps;
mod rows;
#[cfg(feature = "sidecar")]
mod sidecars;
mod world;

use self::world::{ADA, NAME, TEXT, World};
use super::*;
use crate::{
    DekBlob, LocalKms, MemoryShares, MovingKms, TwoShareKms, adapter,
    store::{ANNOUNCED_FOR, KeyStore, LEASES_OVER_FOR, RotationPolicy},
};

#[tokio::test]
async fn a_rotation_from_its_beginning_to_its_end() {
    let world = World::new().await;
    world.write(10).await;
    let texts = world.read().await;
    assert_eq!(texts.1, 0);
    assert_eq!(world.rotation.begin(ADA).await.unwrap(), 2);
    assert_eq!(
        world.rotation.begin(ADA).await.unwrap(),
        2,
        "it is announced"
    );

    world.clock.pass(ANNOUNCED_FOR - Duration::from_secs(2));
    let progress = world.advance().await;
    assert_eq!(progress.waits_for, Some(WaitsFor::Announcement));
    assert_eq!(world.states().await[1], (1, DekState::Sealing));
    assert_eq!(world.under().await, [0, 20]);

    world.clock.pass(Duration::from_secs(3));
    let progress = world.advance().await;
    assert_eq!((progress.resealed, progress.failed), (20, 0));
    // Each is counted, and so are the two keys that were sealed to announce it.
    let budget = world.session().await.budget().unwrap();
    assert_eq!(budget.granted() - budget.left(), 22);
    assert_eq!(progress.waits_for, Some(WaitsFor::Leases));
    let states = world.states().await;
    assert_eq!(states, [(2, DekState::Sealing), (1, DekState::Draining)]);
    assert_eq!(world.under().await, [20, 0]);
    assert_eq!(world.read().await, texts);

    world.clock.pass(Keyring::MAX_TTL - ANNOUNCED_FOR);
    assert_eq!(
        world.advance().await.waits_for,
        Some(WaitsFor::Leases),
        "clocks may be slow"
    );
    world.clock.pass(LEASES_OVER_FOR + Duration::from_secs(1));
    assert_eq!(world.advance().await.waits_for, None);
    assert_eq!(world.states().await[1], (1, DekState::Retired));
    assert_eq!(world.read().await, texts);
    assert_eq!(
        world.advance().await,
        Progress::default(),
        "there is nothing to do"
    );
}

#[tokio::test]
async fn the_old_key_goes_by_a_call_of_its_own_and_late() {
    let world = World::new().await;
    world.write(1).await;
    let late = world.tables.cells.lock().unwrap()[0].clone();
    world.to_the_end_of_leases().await;
    assert_eq!(world.advance().await.waits_for, None);
    let week = Duration::from_secs(7 * 24 * 3600);
    let early = world.rotation.destroy(ADA, week).await.unwrap();
    assert_eq!(
        (early.destroyed, early.waits_for),
        (0, Some(WaitsFor::Horizon))
    );
    world.clock.pass(week);
    // A value that lay in a queue.
    world.put(late.0, late.1);
    let destroyed = world.rotation.destroy(ADA, week).await.unwrap();
    assert_eq!((destroyed.resealed, destroyed.destroyed), (1, 1));
    assert_eq!(world.states().await, [(2, DekState::Sealing)]);
    assert_eq!(world.read().await.1, 0);
    let again = world.rotation.destroy(ADA, week).await.unwrap();
    assert_eq!(again, Progress::default());
}

/// It would be lost with the key, and its row says nothing of Ada.
#[tokio::test]
async fn a_key_stays_while_any_row_holds_a_value_of_it() {
    let world = World::new().await;
    world.write(1).await;
    let strayed = world.tables.cells.lock().unwrap()[0].clone();
    world.to_the_end_of_leases().await;
    assert_eq!(world.advance().await.waits_for, None);
    world.tables.elsewhere.lock().unwrap().push(strayed);
    let destroyed = world.rotation.destroy(ADA, Duration::ZERO).await.unwrap();
    assert_eq!((destroyed.destroyed, destroyed.left), (0, 1));
    assert_eq!(destroyed.waits_for, Some(WaitsFor::Values));
    assert_eq!(world.states().await[1], (1, DekState::Retired));

    // It is gone, and one that began meanwhile may have copied it.
    world.tables.elsewhere.lock().unwrap().clear();
    let began = world.tables.now.load(SeqCst);
    let open = world.tables.open_since.swap(began, SeqCst);
    world.tables.now.fetch_add(1, SeqCst);
    for _ in 0..2 {
        let waits = world.rotation.destroy(ADA, Duration::ZERO).await.unwrap();
        assert_eq!(
            (waits.destroyed, waits.waits_for),
            (0, Some(WaitsFor::Transactions))
        );
    }
    world.tables.open_since.store(open, SeqCst);
    let destroyed = world.rotation.destroy(ADA, Duration::ZERO).await.unwrap();
    assert_eq!((destroyed.destroyed, destroyed.waits_for), (1, None));
}

/// A restored database has keys of owners who were shredded since.
#[tokio::test]
async fn nothing_is_wrapped_anew_while_the_restore_guard_refuses() {
    let world = World::new().await;
    let file = std::env::temp_dir().join(format!("ophie-crypt-guard-{}", std::process::id()));
    let ledger = crate::FileLedger::open_or_create(&file).unwrap();
    let guard = crate::RestoreGuard::new(Arc::clone(&world.keys), ledger).every(Duration::ZERO);
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().unwrap())
        .key_store(Arc::clone(&world.keys))
        .restore_guard(guard)
        .build()
        .unwrap();
    // The database knows of an entry that the ledger lacks.
    let further = crate::LedgerHead::EMPTY.next("note", b"");
    crate::ShredStore::raise_epoch(&*world.keys, 1, &further)
        .await
        .unwrap();
    let rotation = Rotation::new(keyring, Arc::clone(&world.keys), Arc::clone(&world.tables));
    let begun = rotation.begin(ADA).await.map(drop);
    let index_begun = rotation.begin_index(ADA).await.map(drop);
    let rewrapped = rotation.rewrap(ADA).await;
    std::fs::remove_file(file).ok();
    for refused in [begun, index_begun, rewrapped] {
        assert!(
            matches!(
                refused,
                Err(RotationError::Session(SessionError::Restore(_)))
            ),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn what_does_not_open_stays_and_keeps_its_key() {
    let world = World::new().await;
    world.write(4).await;
    let session = world.session().await;
    let seal = |row: Option<&CanonicalId>| {
        adapter::seal_in(&session, TEXT, row, &String::from("text")).unwrap()
    };
    let mut changed = seal(None);
    *changed.last_mut().unwrap() ^= 1;
    let moved = adapter::seal_in(&session, NAME, None, &String::from("moved")).unwrap();
    let row = CanonicalId::integer(7);
    for odd in [
        changed.clone(),
        seal(Some(&row)),
        moved,
        b"no envelope".to_vec(),
    ] {
        world.put(TEXT, odd);
    }
    drop(session);
    world.to_the_end_of_leases().await;
    let pages = world.tables.pages.load(SeqCst);
    let progress = world.advance().await;
    assert_eq!(progress.waits_for, Some(WaitsFor::Values));
    assert_eq!(
        (progress.row_bound, progress.failed, progress.left),
        (1, 2, 3)
    );
    assert!(
        world.tables.pages.load(SeqCst) < pages + 10,
        "it went round and round"
    );
    assert_eq!(world.under().await, [8, 3]);
    assert!(
        world
            .tables
            .cells
            .lock()
            .unwrap()
            .contains(&(TEXT, changed))
    );

    // The application seals the one anew, and does away with the others.
    let session = world.session().await;
    let rebound = adapter::seal_in(&session, TEXT, Some(&row), &String::from("text")).unwrap();
    world.tables.cells.lock().unwrap().drain(8..);
    world.put(TEXT, rebound);
    assert_eq!(world.advance().await.waits_for, None);
    assert_eq!(world.states().await[1].1, DekState::Retired);
}

#[tokio::test]
async fn a_write_in_between_is_not_lost() {
    let world = World::new().await;
    world.write(2).await;
    let session = world.session().await;
    let newer = adapter::seal_in(&session, TEXT, None, &String::from("newer")).unwrap();
    world.rotation.begin(ADA).await.unwrap();
    world.clock.pass(ANNOUNCED_FOR);
    let write = newer.clone();
    *world.tables.meanwhile.lock().unwrap() = Some(Box::new(move |cells| {
        let first = cells.iter_mut().find(|cell| cell.0 == NAME).unwrap();
        first.1.clone_from(&write);
        first.0 = TEXT;
    }));
    world.advance().await;
    let (texts, failed) = world.read().await;
    assert_eq!(failed, 0);
    assert!(texts.contains(&"newer".to_owned()), "{texts:?}");
    world.advance().await;
    assert_eq!(world.under().await, [4, 0]);
}

/// A session of before the step is open in this process, and its keys are not fetched anew by themselves.
#[tokio::test]
async fn a_session_of_before_is_refreshed() {
    let world = World::new().await;
    world.write(1).await;
    let session = world.session().await;
    world.rotation.begin(ADA).await.unwrap();
    world.clock.pass(ANNOUNCED_FOR);
    let progress = world.advance().await;
    assert_eq!(progress.resealed, 2);
    assert_eq!(world.under().await, [2, 0]);
    let cells = world.tables.cells.lock().unwrap().clone();
    for (column, bytes) in &cells {
        adapter::open_in::<String>(&session, *column, None, bytes).unwrap();
    }
}

#[tokio::test]
async fn a_transaction_that_is_open_is_waited_for() {
    let world = World::new().await;
    world.write(1).await;
    let late = world.tables.cells.lock().unwrap()[0].clone();
    world.to_the_end_of_leases().await;
    world.tables.now.store(50, SeqCst);
    world.tables.open_since.store(40, SeqCst);
    assert_eq!(
        world.advance().await.waits_for,
        Some(WaitsFor::Transactions)
    );
    assert_eq!(world.states().await[1].1, DekState::Draining);
    // It commits; others that began since are no obstacle.
    world.put(late.0, late.1);
    world.tables.now.store(90, SeqCst);
    world.tables.open_since.store(60, SeqCst);
    let progress = world.advance().await;
    assert_eq!((progress.resealed, progress.waits_for), (1, None));
    assert_eq!(world.under().await, [3, 0]);
}

#[tokio::test]
async fn all_owners_and_policies() {
    let world = World::new().await;
    for owner in ["ben", "cy"] {
        world.keyring.provision(owner).await.unwrap();
    }
    let policy = RotationPolicy::default().older_than(Duration::from_secs(3600));
    let begun = world.rotation.begin_due(&policy).await.unwrap();
    assert_eq!(begun, Tally::default());
    world.clock.pass(Duration::from_secs(3601));
    world.keys.shred(&"cy".canonical()).await.unwrap();
    let begun = world.rotation.begin_due(&policy).await.unwrap();
    assert_eq!((begun.owners, begun.done), (2, 2));
    assert_eq!(world.rotation.begin_due(&policy).await.unwrap().owners, 0);
    let advanced = world.rotation.advance_all().await.unwrap();
    assert_eq!((advanced.waiting, advanced.done), (2, 0));
    world.clock.pass(ANNOUNCED_FOR);
    let advanced = world.rotation.advance_all().await.unwrap();
    assert_eq!(
        (advanced.owners, advanced.done),
        (2, 2),
        "nobody sealed, so no lease is waited for"
    );
    let states = world.states().await;
    assert_eq!(states, [(2, DekState::Sealing), (1, DekState::Retired)]);
    assert_eq!(world.rotation.advance_all().await.unwrap().owners, 0);
    let none = world.rotation.begin("cy").await;
    assert!(
        matches!(none, Err(RotationError::Session(SessionError::Shredded))),
        "{none:?}"
    );
    let none = world.rotation.begin("dee").await;
    assert!(
        matches!(
            none,
            Err(RotationError::Session(SessionError::UnknownOwner))
        ),
        "{none:?}"
    );
}

/// The announced generation is the newest: what the KMS wraps; all others come with it.
#[tokio::test]
async fn many_generations_stay_readable_until_destroyed() {
    let world = World::new().await;
    let session = world.session().await;
    let first = adapter::seal_in(&session, TEXT, None, &String::from("first")).unwrap();
    drop(session);
    for generation in 2..5 {
        assert_eq!(world.rotation.begin(ADA).await.unwrap(), generation);
        world.clock.pass(ANNOUNCED_FOR);
        world.advance().await;
        world.clock.pass(Keyring::MAX_TTL * 2);
        assert_eq!(world.advance().await.waits_for, None);
    }
    let session = world.session().await;
    let text = adapter::open_in::<String>(&session, TEXT, None, &first);
    assert_eq!(text.as_deref(), Ok("first"));
    assert_eq!(world.states().await.len(), 4);
    world.rotation.destroy(ADA, Duration::ZERO).await.unwrap();
    assert_eq!(world.states().await.len(), 1);
    let other = world.rotation.begin(ADA).await.unwrap();
    assert_eq!(other, 5, "a number is not used twice");
}

/// Keys in one piece become keys in two shares, and nobody notices.
#[tokio::test]
async fn keys_move_into_two_shares_and_a_generation_keeps_its_share_until_it_is_destroyed() {
    let (kms, shares) = (
        Arc::new(LocalKms::ephemeral().unwrap()),
        Arc::new(MemoryShares::new()),
    );
    let world = World::with(Arc::clone(&kms)).await;
    world.write(4).await;
    let texts = world.read().await;
    let both = || {
        let two = TwoShareKms::new(Arc::clone(&kms), Arc::clone(&shares));
        MovingKms::new(Arc::clone(&kms), two)
    };
    let world = world.next(both());
    assert_eq!(world.read().await, texts);
    let kek = TwoShareKms::kek(&kms.kek());
    let begun = world.rotation.begin_wrapped_elsewhere(&kek).await.unwrap();
    assert_eq!((begun.owners, begun.done), (1, 1));
    // From here on no key stands in one piece.
    let record = world.keys.load(&ADA.canonical()).await.unwrap().unwrap();
    let blobs: Vec<_> = record.deks().iter().map(DekRecord::blob).collect();
    assert!(
        matches!(blobs[..], [DekBlob::Wrapped(two), DekBlob::Sealed(_)] if two.kek() == kek),
        "{blobs:?}"
    );
    let begun = world.rotation.begin_wrapped_elsewhere(&kek).await.unwrap();
    assert_eq!(begun.owners, 0);
    world.clock.pass(ANNOUNCED_FOR);
    assert_eq!(world.advance().await.waits_for, Some(WaitsFor::Leases));
    assert_eq!(world.under().await, [8, 0]);
    assert_eq!(world.read().await, texts);
    world.clock.pass(Keyring::MAX_TTL + LEASES_OVER_FOR * 2);
    assert_eq!(world.advance().await.waits_for, None);

    let world = world.next(TwoShareKms::new(Arc::clone(&kms), Arc::clone(&shares)));
    assert_eq!(world.read().await, texts);
    world.to_the_end_of_leases().await;
    assert_eq!(world.advance().await.waits_for, None);
    assert_eq!(shares.len(), 2, "of generations 2 and 3");
    let week = Duration::from_secs(7 * 24 * 3600);
    world.rotation.destroy(ADA, week).await.unwrap();
    assert_eq!(shares.len(), 2, "a backup may need it");
    world.clock.pass(week);
    world.rotation.destroy(ADA, week).await.unwrap();
    assert_eq!((world.states().await.len(), shares.len()), (1, 1));
    assert_eq!(world.read().await, texts);
}

/// The database forgot the key, and the process died before the share store did.
#[tokio::test]
async fn a_share_that_outlived_its_generation_goes_at_a_call_of_its_own() {
    let (kms, shares) = (
        Arc::new(LocalKms::ephemeral().unwrap()),
        Arc::new(crate::shares::tests::Fallible::default()),
    );
    let world = World::with(TwoShareKms::new(kms, Arc::clone(&shares))).await;
    world.write(1).await;
    world.to_the_end_of_leases().await;
    assert_eq!(world.advance().await.waits_for, None);
    shares.is_down.store(true, SeqCst);
    let destroyed = world.rotation.destroy_all(Duration::ZERO).await.unwrap();
    assert_eq!((destroyed.owners, destroyed.failed), (1, 1));
    assert_eq!((world.states().await.len(), shares.memory.len()), (1, 2));
    let again = world.rotation.destroy_shares_again().await.unwrap();
    assert_eq!((again.owners, again.failed), (1, 1));
    shares.is_down.store(false, SeqCst);
    let destroyed = world.rotation.destroy_all(Duration::ZERO).await.unwrap();
    assert_eq!((destroyed.owners, shares.memory.len()), (0, 2));
    let again = world.rotation.destroy_shares_again().await.unwrap();
    assert_eq!((again.owners, again.done, shares.memory.len()), (1, 1, 1));
    assert_eq!(world.read().await.1, 0);
}

/// Generation 1 stays for a value that lies elsewhere, and 2 goes before it.
#[tokio::test]
async fn a_share_goes_with_its_generation_though_an_older_one_stays() {
    let (kms, shares) = (
        LocalKms::ephemeral().unwrap(),
        Arc::new(MemoryShares::new()),
    );
    let world = World::with(TwoShareKms::new(kms, Arc::clone(&shares))).await;
    world.write(1).await;
    let strayed = world.tables.cells.lock().unwrap()[0].clone();
    for _ in 0..2 {
        world.to_the_end_of_leases().await;
        assert_eq!(world.advance().await.waits_for, None);
        world.write(1).await;
    }
    world.tables.elsewhere.lock().unwrap().push(strayed);
    let destroyed = world.rotation.destroy(ADA, Duration::ZERO).await.unwrap();
    assert_eq!(destroyed.destroyed, 1);
    let (first, last) = ((1, DekState::Retired), (3, DekState::Sealing));
    assert_eq!(world.states().await, [last, first]);
    assert_eq!(shares.len(), 2, "of generations 1 and 3");
}
