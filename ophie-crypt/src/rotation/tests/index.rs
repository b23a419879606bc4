//! A rotation of an index key from its announcement to its end, with another process beside it.

use std::sync::atomic::Ordering::SeqCst;

use super::super::*;
use super::{
    rows::{WORD, World, bound, fingerprint},
    world::ADA,
};
use crate::{
    adapter,
    blind_index::Fingerprint,
    error::{Error, FingerprintError},
    session::Purpose,
    store::{
        IndexKeyState::{Announced, Draining, Retired, Writing},
        IndexStep, IndexStepTo, IndexedRow, LEASES_OVER_FOR, RotationStore, StepError,
        WRITERS_OVER_FOR,
    },
};

#[tokio::test]
async fn a_rotation_of_the_index_key_from_its_beginning_to_its_end() {
    let world = World::new().await;
    let session = world.session().await;
    for n in 0..10 {
        world.write(&session, &format!("Word {n}"));
    }
    assert_eq!(world.rotation.begin_index(ADA).await.unwrap(), 2);
    let again = world.rotation.begin_index(ADA).await.unwrap();
    assert_eq!(again, 2, "it is under way");

    world.clock.pass(WRITERS_OVER_FOR - Duration::from_secs(2));
    let waits = world.advance().await.waits_for;
    assert_eq!(waits, Some(WaitsFor::Announcement));
    assert_eq!(world.states().await, [(2, Announced), (1, Writing)]);
    let session = world.session().await;
    world.write(&session, "word 10");
    assert_eq!(world.of([1, 2]), [11, 0], "nobody writes it yet");

    world.clock.pass(Duration::from_secs(3));
    let progress = world.advance().await;
    assert_eq!(
        (progress.reindexed, progress.failed, progress.resealed),
        (11, 0, 0)
    );
    assert_eq!(progress.waits_for, Some(WaitsFor::Writers));
    assert_eq!(world.states().await, [(2, Writing), (1, Draining)]);
    assert_eq!(world.of([1, 2]), [0, 11]);
    assert_eq!(
        world.rotation.begin_index(ADA).await.unwrap(),
        2,
        "one at a time"
    );
    let rotating = world.rotation.advance_all().await.unwrap();
    assert_eq!((rotating.owners, rotating.waiting), (1, 1));

    world.clock.pass(WRITERS_OVER_FOR - Duration::from_secs(1));
    assert_eq!(
        world.advance().await.waits_for,
        Some(WaitsFor::Writers),
        "clocks may be slow"
    );
    let retire = IndexStep::new(ADA.canonical(), 1, IndexStepTo::Retired);
    let early = world.keys.step_index(&retire).await;
    assert!(matches!(early, Err(StepError::TooEarly)), "{early:?}");
    world.clock.pass(Duration::from_secs(2));
    assert_eq!(world.advance().await.waits_for, None);
    assert_eq!(world.states().await, [(2, Writing), (1, Retired)]);
    let session = world.session().await;
    for n in 0..11 {
        assert_eq!(world.find(&session, &format!("word {n}")), 1);
    }
    assert_eq!(world.rotation.advance_all().await.unwrap().owners, 0);

    let day = Duration::from_secs(24 * 3600);
    assert_eq!(world.rotation.destroy_all(day).await.unwrap().owners, 0);
    world.clock.pass(day);
    assert_eq!(world.rotation.destroy_all(day).await.unwrap().done, 1);
    assert_eq!(world.states().await, [(2, Writing)]);
    assert_eq!(world.rotation.begin_index(ADA).await.unwrap(), 3);
}

/// The other process has the keys of before for as long as it may: what it writes is found here, and what is written here
/// is found there.
#[tokio::test]
async fn a_process_that_hears_late_misses_nothing() {
    let world = World::new().await;
    let late = world.late.open(ADA, Purpose::new("late")).await.unwrap();
    let session = world.session().await;
    world.write(&session, "before");
    world.rotation.begin_index(ADA).await.unwrap();
    world.write(&late, "without knowing");
    let session = world.session().await;
    for word in ["before", "without knowing"] {
        assert_eq!(
            (world.find(&session, word), world.find(&late, word)),
            (1, 1),
            "{word}"
        );
    }
    // The new key is not written as long as one may live that never heard of it.
    world.clock.pass(Keyring::MAX_TTL - Duration::from_secs(1));
    assert!(late.ended().is_none());
    let waits = world.advance().await.waits_for;
    assert_eq!(waits, Some(WaitsFor::Announcement));
    world.clock.pass(Duration::from_secs(2));
    assert!(late.ended().is_some());
    // This one has heard of the announcement; not of the step after it.
    let late = world.late.open(ADA, Purpose::new("late")).await.unwrap();
    world.clock.pass(LEASES_OVER_FOR);
    world.advance().await;
    let session = world.session().await;
    world.write(&session, "new");
    world.write(&late, "old");
    assert_eq!(world.of([1, 2]), [1, 3]);
    for word in ["before", "without knowing", "new", "old"] {
        assert_eq!(
            (world.find(&session, word), world.find(&late, word)),
            (1, 1),
            "{word}"
        );
    }
    // As long as its keys live it may write, and the old key stays.
    world
        .clock
        .pass(Keyring::MAX_TTL - LEASES_OVER_FOR - Duration::from_secs(1));
    world.write(&late, "oldest");
    assert_eq!(world.advance().await.waits_for, Some(WaitsFor::Writers));
    world.clock.pass(Duration::from_secs(2));
    assert!(late.ended().is_some());
    world.to_the_end_of_writers();
    assert_eq!(world.advance().await.waits_for, None);
    assert_eq!(world.of([1, 2]), [0, 5]);
    let session = world.session().await;
    assert_eq!(world.find(&session, "oldest"), 1);
}

#[track_caller]
fn refused(bound: Result<(), Error>) -> FingerprintError {
    match bound {
        Err(Error::Fingerprint(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_fingerprint_alone_is_refused_while_rows_stand_under_two_keys() {
    let world = World::new().await;
    let session = world.session().await;
    let before = fingerprint(&session, "word");
    bound(&session, &before).unwrap();
    let loaded = Fingerprint::load(WORD, before.as_bytes()).unwrap();
    world.rotation.begin_index(ADA).await.unwrap();
    for step in 0..3 {
        match step {
            1 => {
                world.clock.pass(WRITERS_OVER_FOR);
                world.advance().await;
            }
            2 => world.to_the_end_of_writers(),
            _ => {}
        }
        let session = world.session().await;
        let made = fingerprint(&session, "word");
        for single in [&before, &made, &loaded, &loaded.candidates()[1]] {
            let error = refused(bound(&session, single));
            assert!(
                matches!(error, FingerprintError::TwoKeys { .. }),
                "{error:?}"
            );
            let text = error.to_string();
            assert!(
                text.contains("candidates") && text.contains("for_write"),
                "{text}"
            );
        }
        // Where no session says so, the one that was made here still knows.
        let outside = adapter::check_fingerprint(WORD, &made);
        assert!(matches!(refused(outside), FingerprintError::TwoKeys { .. }));
        let fits = made.clone().for_write();
        bound(&session, &fits).unwrap();
        adapter::check_fingerprint(WORD, &fits).unwrap();
        // What was loaded may be written again only while its key is the one that is written.
        let again = bound(&session, &loaded.clone().for_write());
        match step {
            0 => again.unwrap(),
            _ => assert!(matches!(refused(again), FingerprintError::OldKey { .. })),
        }
        let [one, other] = made.candidates();
        assert_ne!(one, other);
        for candidate in [&one, &other] {
            bound(&session, candidate).unwrap();
            adapter::check_fingerprint(WORD, candidate).unwrap();
        }
        assert!(made.matches(&one) && made.matches(&other) && made.matches(&loaded));
        assert!(!made.matches(&fingerprint(&session, "another")));
    }
    assert_eq!(world.advance().await.waits_for, None);
    let session = world.session().await;
    let after = fingerprint(&session, "word");
    bound(&session, &after).unwrap();
    // By who is behind, a row may still be seen under the key that is retired.
    let [new, old] = after.candidates();
    assert!(new == after && old == loaded);
    bound(&session, &old).unwrap();
    // What was made under the key that nobody looks up by any more is neither written nor looked up.
    for old in [before.clone().for_write(), before.clone(), loaded] {
        let error = refused(bound(&session, &old));
        assert!(
            matches!(error, FingerprintError::OldKey { .. }),
            "{error:?}"
        );
    }
    let error = refused(bound(&session, &before.candidates()[0]));
    assert!(
        matches!(error, FingerprintError::OldKey { .. }),
        "{error:?}"
    );
    assert!(
        after.matches(&before),
        "of the same word, as long as the key is there"
    );
}

#[tokio::test]
async fn a_row_that_changes_in_between_is_not_overwritten() {
    let world = World::new().await;
    let session = world.session().await;
    world.write(&session, "first");
    world.write(&session, "second");
    let sealed = adapter::seal_in(&session, WORD, None, &"newer".to_owned()).unwrap();
    let newer = IndexedRow::new(fingerprint(&session, "newer").as_bytes(), sealed);
    let write = newer.clone();
    *world.tables.meanwhile.lock().unwrap() = Some(Box::new(move |rows| rows[0] = write));
    // The same call finds what came in between if it stands behind the page, the next call if before it.
    let first = world.to_writing().await.reindexed;
    assert!((1..=2).contains(&first), "{first}");
    let sealed = world.tables.rows.lock().unwrap()[0].sealed().to_vec();
    assert_eq!(sealed, newer.sealed());
    assert_eq!(first + world.advance().await.reindexed, 2);
    let session = world.session().await;
    assert_eq!(
        (world.find(&session, "newer"), world.find(&session, "first")),
        (1, 0)
    );
}

#[tokio::test]
async fn what_has_no_new_fingerprint_stays_and_keeps_its_key() {
    let world = World::new().await;
    let session = world.session().await;
    world.write(&session, "word");
    let old = fingerprint(&session, "odd");
    let row = CanonicalId::integer(7);
    let bound_to_row = adapter::seal_in(&session, WORD, Some(&row), &"odd".to_owned()).unwrap();
    let mut changed = adapter::seal_in(&session, WORD, None, &"odd".to_owned()).unwrap();
    *changed.last_mut().unwrap() ^= 1;
    for odd in [bound_to_row, changed, b"no envelope".to_vec()] {
        world.put(old.as_bytes(), odd);
    }
    world.to_writing().await;
    world.to_the_end_of_writers();
    let pages = world.tables.pages.load(SeqCst);
    let progress = world.advance().await;
    assert_eq!(
        (progress.row_bound, progress.failed, progress.left),
        (1, 2, 3)
    );
    assert_eq!(progress.waits_for, Some(WaitsFor::Values));
    assert!(
        world.tables.pages.load(SeqCst) < pages + 5,
        "it went round and round"
    );
    assert_eq!(world.states().await, [(2, Writing), (1, Draining)]);
    let session = world.session().await;
    assert_eq!(
        world.find(&session, "odd"),
        3,
        "they are found all the same"
    );
    // The application writes the one, and does away with the others.
    {
        let new = fingerprint(&session, "odd").for_write();
        let mut rows = world.tables.rows.lock().unwrap();
        rows[1] = IndexedRow::new(new.as_bytes(), rows[1].sealed());
        rows.truncate(2);
    }
    assert_eq!(world.advance().await.waits_for, None);
    assert_eq!(world.states().await[1], (1, Retired));
}

#[tokio::test]
async fn two_rows_with_one_value_are_told_apart_from_all_others() {
    let world = World::new().await;
    let session = world.session().await;
    world.tables.unique.store(true, SeqCst);
    for n in 0..7 {
        world.write(&session, &format!("word {n}"));
    }
    world.rotation.begin_index(ADA).await.unwrap();
    world.clock.pass(WRITERS_OVER_FOR);
    let progress = world.advance().await;
    assert_eq!((progress.reindexed, progress.duplicates), (7, 0));
    // Three are written where the new key is not known: one of a value that is there under the new one.
    for word in ["word 3", "word 7", "word 8"] {
        let session = world.session().await;
        let [_, old] = fingerprint(&session, word).candidates();
        let sealed = adapter::seal_in(&session, WORD, None, &word.to_owned()).unwrap();
        world.put(old.as_bytes(), sealed);
    }
    world.to_the_end_of_writers();
    let progress = world.advance().await;
    let Progress {
        reindexed,
        duplicates,
        left,
        waits_for,
        ..
    } = progress;
    assert_eq!((reindexed, duplicates, left), (2, 1, 1));
    assert_eq!(waits_for, Some(WaitsFor::Values));
    assert_eq!(world.states().await[1], (1, Draining));
    assert_eq!(
        world.find(&world.session().await, "word 3"),
        2,
        "both are found"
    );
    world.tables.rows.lock().unwrap().remove(7);
    assert_eq!(world.advance().await.waits_for, None);
}

#[tokio::test]
async fn a_transaction_that_is_open_is_waited_for() {
    let world = World::new().await;
    let session = world.session().await;
    world.write(&session, "word");
    let late = world.tables.rows.lock().unwrap()[0].clone();
    world.to_writing().await;
    world.to_the_end_of_writers();
    world.tables.now.store(50, SeqCst);
    world.tables.open_since.store(40, SeqCst);
    assert_eq!(
        world.advance().await.waits_for,
        Some(WaitsFor::Transactions)
    );
    assert_eq!(world.states().await[1], (1, Draining));
    // It commits; others that began since are no obstacle.
    world.put(late.fingerprint(), late.sealed().to_vec());
    world.tables.now.store(90, SeqCst);
    world.tables.open_since.store(60, SeqCst);
    let progress = world.advance().await;
    assert_eq!((progress.reindexed, progress.waits_for), (1, None));
    assert_eq!(world.of([1, 2]), [0, 2]);
}

#[tokio::test]
async fn a_row_that_came_late_is_found_before_its_key_goes() {
    let world = World::new().await;
    let session = world.session().await;
    world.write(&session, "word");
    let late = world.tables.rows.lock().unwrap()[0].clone();
    world.to_writing().await;
    world.to_the_end_of_writers();
    assert_eq!(world.advance().await.waits_for, None);
    world.put(late.fingerprint(), late.sealed().to_vec());
    let found = async || world.find(&world.session().await, "word");
    assert_eq!(found().await, 2, "until its key goes");
    let early = world.rotation.destroy(ADA, WRITERS_OVER_FOR).await.unwrap();
    assert_eq!((early.reindexed, early.destroyed), (1, 0));
    assert_eq!(early.waits_for, Some(WaitsFor::Horizon));
    let session = world.session().await;
    assert_eq!(world.find(&session, "word"), 2);
    world.clock.pass(WRITERS_OVER_FOR);
    let destroyed = world.rotation.destroy(ADA, WRITERS_OVER_FOR).await.unwrap();
    assert_eq!((destroyed.destroyed, destroyed.waits_for), (1, None));
    assert_eq!(found().await, 2);
    let one = fingerprint(&world.session().await, "word");
    assert_eq!(
        one.candidates(),
        [one.clone(), one],
        "there is one key again"
    );
}

/// Each key is sealed under the newest DEK, whatever its state.
#[tokio::test]
async fn both_keys_go_on_through_a_rotation_of_the_dek() {
    let world = World::new().await;
    let session = world.session().await;
    world.write(&session, "first");
    world.rotation.begin_index(ADA).await.unwrap();
    world.rotation.begin(ADA).await.unwrap();
    let session = world.session().await;
    let [one, other] = fingerprint(&session, "first").candidates();
    assert_ne!(one, other, "both are in use");
    world.clock.pass(WRITERS_OVER_FOR);
    let progress = world.advance().await;
    assert_eq!((progress.resealed, progress.reindexed), (1, 1));
    world.clock.pass(Keyring::MAX_TTL * 2 + LEASES_OVER_FOR);
    assert_eq!(world.advance().await.waits_for, None);
    assert_eq!(world.states().await, [(2, Writing), (1, Retired)]);
    world.rotation.begin(ADA).await.unwrap();
    assert_eq!(
        world.states().await,
        [(2, Writing), (1, Retired)],
        "states stay"
    );
    let session = world.session().await;
    assert_eq!(world.find(&session, "first"), 1);
    let destroyed = world.rotation.destroy(ADA, Duration::ZERO).await.unwrap();
    assert_eq!(destroyed.destroyed, 2, "of the DEK and of the index key");
    assert_eq!(world.find(&world.session().await, "first"), 1);
}
