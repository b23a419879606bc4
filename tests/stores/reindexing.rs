//! Rotations of index keys over real tables, while others write and look up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use ophie_crypt::{IndexKeyState, Progress, WaitsFor};

use crate::{
    people::{NameFp, World, name_of, person},
    place::{ADA, BEN, settle},
    world::Kind,
};

every_database!(
    no_look_up_misses_while_others_write,
    what_is_cut_off_goes_on,
    odd_rows_stay_as_they_are,
    refused_rows_keep_the_old_key,
    two_rows_of_one_value_keep_the_old_key,
);

/// Two workers of two processes, and the application, which writes and looks up in a third that hears late of each step.
async fn no_look_up_misses_while_others_write(kind: Kind) {
    let world = Arc::new(World::new(kind).await);
    let session = world.session(ADA).await;
    for id in 0..30 {
        world.write(&session, id, ADA).await;
    }
    let bens = world.session(BEN).await;
    for id in 500..505 {
        world.write(&bens, id, BEN).await;
    }
    let workers = [world.rotation().await, world.rotation().await];
    world.begin(&workers[0]).await;
    let done = Arc::new(AtomicBool::new(false));
    let (wrote, mut writes) = tokio::sync::watch::channel(1_000);
    // It knows of the announcement, as every process does by then.
    let session = world.session(ADA).await;
    let application = {
        let (world, done) = (Arc::clone(&world), Arc::clone(&done));
        tokio::spawn(async move {
            let mut id = 1_000;
            while !done.load(SeqCst) {
                world.write(&session, id, ADA).await;
                for old in [id, id % 30] {
                    let found = world.find(&session, old, ADA).await;
                    assert_eq!(found, (i64::from(old % 5 != 0), 1), "{old} at {id}");
                }
                id += 1;
                wrote.send_replace(id);
            }
            id
        })
    };
    for round in 1..4 {
        let written = writes.wait_for(|id| *id > 1_000 + round * 3).await;
        drop(written.expect("no look-up misses"));
        let (one, two) = tokio::join!(workers[0].advance(&ADA), workers[1].advance(&ADA));
        for progress in [one.unwrap(), two.unwrap()] {
            assert_eq!(
                (progress.failed, progress.row_bound),
                (0, 0),
                "{progress:?}"
            );
        }
    }
    // The application's process hears of each step at its next look, at the latest.
    for _ in 0..200 {
        world.pass(false).await;
        let progress = workers[1].advance(&ADA).await.unwrap();
        if progress.waits_for.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    done.store(true, SeqCst);
    let end = application.await.expect("no look-up misses");
    assert_eq!(world.states().await[1], (1, IndexKeyState::Retired));
    assert_eq!(world.of(ADA, 1).await, 0);
    world.assert_found((0..30).chain(1_000..end), ADA).await;
    world.assert_found(500..505, BEN).await;
    assert_eq!(world.of(BEN, 2).await, 0, "nobody rotated Ben");
}

/// The worker is dropped between any two of its steps.
async fn what_is_cut_off_goes_on(kind: Kind) {
    let world = World::new(kind).await;
    let session = world.session(ADA).await;
    for id in 0..20 {
        world.write(&session, id, ADA).await;
    }
    drop(session);
    let rotation = world.rotation().await;
    for turns in 0..6 {
        let begun = crate::cancelled::cut_off(turns * turns * 8, rotation.begin_index(&ADA)).await;
        assert!(begun.is_none_or(|begun| begun.unwrap() == 2));
    }
    world.begin(&rotation).await;
    for (turns, id) in (0..20).zip(0..20_i64) {
        crate::cancelled::cut_off(turns * turns, rotation.advance(&ADA)).await;
        world.assert_found([id, 19].into_iter(), ADA).await;
    }
    rotation.advance(&ADA).await.unwrap();
    assert_eq!(world.of(ADA, 1).await, 0);
    world.pass(false).await;
    for turns in 0..10 {
        crate::cancelled::cut_off(turns * turns, rotation.advance(&ADA)).await;
    }
    assert_eq!(settle(&rotation).await.waits_for, None);
    for turns in 0..10 {
        let destroying = rotation.destroy(&ADA, Duration::ZERO);
        crate::cancelled::cut_off(turns * turns, destroying).await;
    }
    loop {
        let destroyed = rotation.destroy(&ADA, Duration::ZERO).await.unwrap();
        if destroyed.waits_for.is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(world.states().await, [(2, IndexKeyState::Writing)]);
    world.assert_found(0..20, ADA).await;
}

async fn odd_rows_stay_as_they_are(kind: Kind) {
    let world = World::new(kind).await;
    let (session, bens) = (world.session(ADA).await, world.session(BEN).await);
    for id in 1..6 {
        world.write(&session, id, ADA).await;
    }
    let mut changed = person::name("changed").seal(&session).unwrap().into_bytes();
    changed[40] ^= 1;
    let anothers = person::name("Ben's").seal(&bens).unwrap().into_bytes();
    let bound = person::name("Person 3").seal_row(&session, &3).unwrap();
    for (id, name) in [(1, &changed), (2, &anothers), (3, &bound.into_bytes())] {
        let name = world.literal(name);
        let sql = format!("UPDATE indexed_people SET name = {name} WHERE id = {id}");
        world.place.app.run_plain(&sql).await.unwrap();
    }
    let lost = "UPDATE indexed_people SET name = NULL WHERE id = 4";
    world.place.app.run_plain(lost).await.unwrap();
    let rotation = world.rotation().await;
    world.begin(&rotation).await;
    rotation.advance(&ADA).await.unwrap();
    world.pass(false).await;
    let progress = settle(&rotation).await;
    let Progress {
        row_bound,
        failed,
        left,
        waits_for,
        ..
    } = progress;
    // One has a fingerprint and no value.
    assert_eq!((row_bound, failed, left), (1, 2, 4));
    assert_eq!(waits_for, Some(WaitsFor::Values));
    assert_eq!(world.of(ADA, 1).await, 4);
    world.assert_found(1..6, ADA).await;
    assert_eq!(world.states().await[1], (1, IndexKeyState::Draining));
    // The application writes the one, and removes the others.
    let session = world.session(ADA).await;
    let fingerprint = NameFp::of_in(&session, "Person 3").unwrap().for_write();
    let fingerprint = world.literal(fingerprint.as_bytes());
    for change in [
        "DELETE FROM indexed_people WHERE id IN (1, 2, 4)",
        &format!("UPDATE indexed_people SET name_fp = {fingerprint} WHERE id = 3"),
    ] {
        world.place.app.run_plain(change).await.unwrap();
    }
    assert_eq!(settle(&rotation).await.waits_for, None);
}

/// Rows of one page, among others, whose new fingerprints the database does not take.
async fn refused_rows_keep_the_old_key(kind: Kind) {
    let world = World::new(kind).await;
    let session = world.session(ADA).await;
    for id in 1..15 {
        world.write(&session, id, ADA).await;
    }
    drop(session);
    let frozen = [2, 3, 11];
    let freeze = "UPDATE indexed_people SET frozen = mail_fp WHERE id IN (2, 3, 11)";
    world.place.app.run_plain(freeze).await.unwrap();
    let rotation = world.rotation().await;
    world.begin(&rotation).await;
    rotation.advance(&ADA).await.unwrap();
    world.pass(false).await;
    let progress = settle(&rotation).await;
    assert_eq!((progress.refused, progress.left), (3, 3), "{progress:?}");
    assert_eq!((progress.failed, progress.duplicates), (0, 0));
    assert_eq!(progress.waits_for, Some(WaitsFor::Values));
    assert_eq!(world.of(ADA, 2).await, 14 + 12 - 3, "all others");
    // They are found, as their key is neither retired nor destroyed.
    let destroyed = rotation.destroy(&ADA, Duration::ZERO).await.unwrap();
    assert_eq!(destroyed.destroyed, 0);
    assert_eq!(world.states().await[1], (1, IndexKeyState::Draining));
    world.assert_found(1..15, ADA).await;

    for id in frozen {
        let thaw = format!("UPDATE indexed_people SET frozen = NULL WHERE id = {id}");
        world.place.app.run_plain(&thaw).await.unwrap();
    }
    let progress = settle(&rotation).await;
    assert_eq!((progress.reindexed, progress.waits_for), (3, None));
    world.assert_found(1..15, ADA).await;
}

/// A unique index sees no equal value under the other key; it does when the old one is made anew.
async fn two_rows_of_one_value_keep_the_old_key(kind: Kind) {
    let world = World::new(kind).await;
    let unique = "CREATE UNIQUE INDEX one_mail ON indexed_people (user_id, mail_fp)";
    world.place.app.run_plain(unique).await.unwrap();
    let session = world.session(ADA).await;
    for id in 1..10 {
        world.write(&session, id, ADA).await;
    }
    let again = world
        .insert(&session, 3, ADA)
        .replace("VALUES (3,", "VALUES (103,");
    let rotation = world.rotation().await;
    world.begin(&rotation).await;
    let made = settle(&rotation).await;
    assert_eq!((made.reindexed, made.duplicates), (17, 0));
    // From a process that does not write the new key yet, past the index.
    world.place.app.run_plain(&again).await.unwrap();
    world.pass(false).await;
    let progress = settle(&rotation).await;
    assert_eq!(progress.waits_for, Some(WaitsFor::Values));
    assert_eq!((progress.duplicates, progress.left), (1, 1));
    let session = world.session(ADA).await;
    assert_eq!(world.find(&session, 3, ADA).await.1, 2, "both are found");
    let delete = "DELETE FROM indexed_people WHERE id = 103";
    world.place.app.run_plain(delete).await.unwrap();
    assert_eq!(settle(&rotation).await.waits_for, None);
}

/// Rows of the old key that are not committed: one that is to be made anew, and one that nobody sees when nobody writes
/// under that key any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_transaction_is_waited_for() {
    for kind in [
        Kind::SqlxPostgres,
        Kind::SqlxMariaDb,
        Kind::DieselPostgres,
        Kind::DieselMariaDb,
        Kind::AsyncPostgres,
        Kind::AsyncMariaDb,
    ] {
        let world = World::new(kind).await;
        let session = world.session(ADA).await;
        world.write(&session, 1, ADA).await;
        let second = world.insert(&session, 2, ADA);
        let rotation = world.rotation().await;
        world.begin(&rotation).await;
        let change = "UPDATE indexed_people SET user_id = user_id WHERE id = 1";
        let held = world.place.app.hold(change).await;
        let progress = rotation.advance(&ADA).await.unwrap();
        assert_eq!(progress.waits_for, Some(WaitsFor::Transactions), "{kind:?}");
        held.commit().await;
        let progress = settle(&rotation).await;
        assert_eq!(progress.waits_for, Some(WaitsFor::Writers), "{kind:?}");
        assert_eq!(world.of(ADA, 1).await, 0);
        let held = world.place.app.hold(&second).await;
        world.pass(false).await;
        for _ in 0..2 {
            let progress = rotation.advance(&ADA).await.unwrap();
            assert_eq!(progress.waits_for, Some(WaitsFor::Transactions), "{kind:?}");
        }
        held.commit().await;
        assert_eq!(settle(&rotation).await.waits_for, None, "{kind:?}");
        world.assert_found(1..3, ADA).await;
    }
}

/// A transaction whose snapshot is from before all of it: to it the row has the old fingerprint, and its look-up comes when
/// the old key is retired. And one that wrote such a row itself, and lives longer than whoever might.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_snapshot_misses_nothing_and_a_row_in_one_is_waited_for() {
    for kind in [Kind::SqlxPostgres, Kind::SqlxMariaDb] {
        let world = World::new(kind).await;
        let session = world.session(ADA).await;
        world.write(&session, 1, ADA).await;
        let second = world.insert(&session, 2, ADA);
        let rotation = world.rotation().await;
        world.begin(&rotation).await;
        // MariaDB's transactions are so by themselves.
        let isolation = match kind {
            Kind::SqlxPostgres => "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; ",
            _ => "",
        };
        let snapshot = format!("{isolation}SELECT COUNT(*) FROM indexed_people");
        let writer = world.place.app.hold(&format!("{snapshot}; {second}")).await;
        let mut reader = world.place.app.hold(&snapshot).await;

        rotation.advance(&ADA).await.unwrap();
        world.pass(false).await;
        let progress = rotation.advance(&ADA).await.unwrap();
        assert_eq!(progress.waits_for, Some(WaitsFor::Transactions), "{kind:?}");
        writer.commit().await;
        assert_eq!(settle(&rotation).await.waits_for, None, "{kind:?}");
        assert_eq!(world.of(ADA, 1).await, 0, "{kind:?}");
        assert_eq!(world.states().await[1], (1, IndexKeyState::Retired));

        let session = world.session(ADA).await;
        let name = NameFp::of_in(&session, name_of(1)).unwrap();
        let [one, other] = name.candidates();
        let [one, other] = [&one, &other].map(|name| world.literal(name.as_bytes()));
        let look_up = |fingerprints: &str| {
            format!(
                "SELECT COUNT(*) FROM indexed_people WHERE user_id = {ADA} AND name_fp IN ({fingerprints})"
            )
        };
        let found = reader.number(&look_up(&format!("{one}, {other}"))).await;
        assert_eq!(found, 1, "{kind:?}");
        // It is by the retired key alone that it is.
        let written = world.literal(name.for_write().as_bytes());
        assert_eq!(reader.number(&look_up(&written)).await, 0, "{kind:?}");
        world.assert_found(1..3, ADA).await;
    }
}
