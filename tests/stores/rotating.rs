//! Rotations of real tables, while others read and write them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use ophie_crypt::{Error, KeyStore, OpenError, OwnerId, Progress, Rotation, WaitsFor};
use ophie_crypt_sqlx::Sealed;
use tokio::sync::watch;

use crate::{
    place::{ADA, BEN, Place, expected, note, said, seal_mood, seal_text, settle},
    world::Kind,
};

every_database!(
    all_rows_while_others_write,
    a_process_that_missed_its_recheck_loses_nothing,
    what_is_cut_off_goes_on,
    odd_values_stay_as_they_are,
    refused_values_keep_the_old_key,
    what_was_announced_before_a_restore_never_seals,
);

async fn destroy(rotation: &Rotation) {
    loop {
        let progress = rotation.destroy(&ADA, Duration::ZERO).await.unwrap();
        if progress.waits_for.is_none() {
            return;
        }
        assert_eq!(progress.waits_for, Some(WaitsFor::Transactions));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Two workers of two processes, and the application, which inserts, changes and reads in a third.
async fn all_rows_while_others_write(kind: Kind) {
    let place = Arc::new(Place::new(kind).await);
    let session = place.session(ADA).await;
    for id in 0..60 {
        place.write(&session, id, ADA).await;
    }
    drop(session);
    let bens = place.session(BEN).await;
    for id in 1_000..1_010 {
        place.write(&bens, id, BEN).await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let (wrote, mut writes) = watch::channel(2_000);
    let application = {
        let (place, done) = (Arc::clone(&place), Arc::clone(&done));
        tokio::spawn(async move {
            let mut id = 2_000;
            while !done.load(SeqCst) {
                let session = place.session(ADA).await;
                place.write(&session, id, ADA).await;
                let old = id % 60;
                if old % 5 != 0 {
                    let text =
                        place.literal(&seal_text(&session, &format!("{} anew", said(old, ADA))));
                    let change = format!("UPDATE rotated_notes SET text = {text} WHERE id = {old}");
                    place.app.run_plain(&change).await.unwrap();
                }
                place.read(ADA).await; // fails on what does not open
                id += 1;
                wrote.send_replace(id);
            }
            id
        })
    };
    let workers = [place.rotation().await, place.rotation().await];
    place.begin(&workers[0]).await;
    for round in 1..4 {
        let written = writes
            .wait_for(|id| *id > 2_000 + round * 3)
            .await
            .map(|_| ());
        written.expect("the application goes on");
        let (one, two) = tokio::join!(workers[0].advance(&ADA), workers[1].advance(&ADA));
        for progress in [one.unwrap(), two.unwrap()] {
            assert_eq!(
                (progress.failed, progress.row_bound),
                (0, 0),
                "{progress:?}"
            );
        }
    }
    // The application's process has the new keys by now, or gets them at its next look.
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        place.pass(false).await;
        let progress = workers[1].advance(&ADA).await.unwrap();
        if progress.waits_for.is_none() {
            break;
        }
    }
    done.store(true, SeqCst);
    let end = application.await.unwrap();
    assert_eq!(place.old_rows(ADA).await, 0);
    let record = place.store.load(&ADA.canonical()).await.unwrap().unwrap();
    assert_eq!(record.deks()[1].state().as_str(), "retired");

    let mut rows = expected((0..60).chain(2_000..end), ADA);
    for id in 2_000..end {
        let old = id % 60;
        if old % 5 != 0 {
            rows.insert(old, Some(format!("{} anew", said(old, ADA))));
        }
    }
    assert_eq!(place.read(ADA).await, rows);
    assert_eq!(place.read(BEN).await, expected(1_000..1_010, BEN));
    assert_eq!(place.old_rows(BEN).await, 0, "nobody rotated Ben");
}

/// It heard of no new key. What it reads under that one says so, and a refresh mends it; what it writes is under the old
/// one, which is waited for.
async fn a_process_that_missed_its_recheck_loses_nothing(kind: Kind) {
    let place = Place::new(kind).await;
    let missed = place.unaware(ADA).await;
    place.write(&missed, 1, ADA).await;
    let rotation = place.rotation().await;
    place.begin(&rotation).await;
    rotation.advance(&ADA).await.unwrap();
    assert_eq!(place.old_rows(ADA).await, 0);
    let session = place.session(ADA).await;
    session.refresh().await.unwrap();
    place.write(&session, 2, ADA).await;
    assert_eq!(place.old_rows(ADA).await, 0, "it writes under the new one");

    place.write(&missed, 3, ADA).await;
    assert_eq!(place.old_rows(ADA).await, 1, "or it was told");
    let text = |row: usize| {
        let place = &place;
        async move {
            let text = place.app.rows(ADA).await[row].1.clone().unwrap();
            Sealed::<String, note::text>::from_bytes(text)
        }
    };
    for row in [0, 1] {
        let refused = text(row).await.open(&missed).map(drop).unwrap_err();
        assert!(
            matches!(refused.get(), Error::Open(OpenError::UnknownKey { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(settle(&rotation).await.waits_for, Some(WaitsFor::Leases));
    assert_eq!(place.old_rows(ADA).await, 0, "resealed meanwhile");
    place.write(&missed, 4, ADA).await;
    missed.refresh().await.unwrap();
    for (row, id) in (0..4).zip(1..) {
        let opened = text(row).await.open(&missed).unwrap();
        assert_eq!(*opened.expose_secret(), said(id, ADA));
    }
    place.pass(false).await;
    assert_eq!(settle(&rotation).await.waits_for, None);
    assert_eq!(place.old_rows(ADA).await, 0);
    assert_eq!(place.read(ADA).await, expected(1..5, ADA));
}

/// The worker is dropped between any two of its steps.
async fn what_is_cut_off_goes_on(kind: Kind) {
    let place = Place::new(kind).await;
    let session = place.session(ADA).await;
    for id in 0..40 {
        place.write(&session, id, ADA).await;
    }
    drop(session);
    let rotation = place.rotation().await;
    for turns in 0..6 {
        let begun = crate::cancelled::cut_off(turns * turns * 8, rotation.begin(&ADA)).await;
        assert!(begun.is_none_or(|begun| begun.unwrap() == 2));
    }
    place.begin(&rotation).await;
    for turns in 0..30 {
        crate::cancelled::cut_off(turns * turns, rotation.advance(&ADA)).await;
    }
    rotation.advance(&ADA).await.unwrap();
    assert_eq!(place.old_rows(ADA).await, 0);
    place.pass(false).await;
    for turns in 0..20 {
        crate::cancelled::cut_off(turns * turns, rotation.advance(&ADA)).await;
    }
    assert_eq!(settle(&rotation).await.waits_for, None);
    let expected = expected(0..40, ADA);
    assert_eq!(place.read(ADA).await, expected);
    for turns in 0..15 {
        let destroying = rotation.destroy(&ADA, Duration::ZERO);
        crate::cancelled::cut_off(turns * turns, destroying).await;
    }
    destroy(&rotation).await;
    let record = place.store.load(&ADA.canonical()).await.unwrap().unwrap();
    assert_eq!(record.deks().len(), 1);
    assert_eq!(place.read(ADA).await, expected);
}

async fn odd_values_stay_as_they_are(kind: Kind) {
    let place = Place::new(kind).await;
    let (session, bens) = (place.session(ADA).await, place.session(BEN).await);
    place.write(&session, 1, ADA).await;
    let mood = seal_mood(&session, "fine");
    let mut changed = seal_text(&session, "changed");
    changed[40] ^= 1;
    let another_column = seal_mood(&session, "moved");
    let anothers = seal_text(&bens, "Ben's");
    let row_bound = note::text("bound")
        .seal_row(&session, &5)
        .unwrap()
        .into_bytes();
    for (id, text) in (2..).zip([&changed, &another_column, &anothers, &row_bound]) {
        place.put(id, ADA, Some(text), &mood).await;
    }
    place.put(6, ADA, None, &mood).await;
    drop(session);
    let rotation = place.rotation().await;
    place.begin(&rotation).await;
    rotation.advance(&ADA).await.unwrap();
    place.pass(false).await;
    let progress = settle(&rotation).await;
    let Progress {
        row_bound: bound,
        failed,
        left,
        waits_for,
        ..
    } = progress;
    assert_eq!((bound, failed, left), (1, 2, 3));
    assert_eq!(waits_for, Some(WaitsFor::Values));
    let rows = place.app.rows(ADA).await;
    let texts: Vec<_> = rows.into_iter().map(|(_, text, _)| text).collect();
    assert_eq!(
        texts[1..],
        [
            Some(changed),
            Some(another_column),
            Some(anothers),
            Some(row_bound),
            None
        ]
    );

    // The application opens the one and seals it anew, and removes the others.
    let session = place.session(ADA).await;
    session.refresh().await.unwrap();
    let bound = Sealed::<String, note::text>::from_bytes(texts[4].clone().unwrap());
    let bound = bound.open_row(&session, &5).unwrap();
    let anew = bound.seal_row(&session, &5).unwrap();
    let anew = place.literal(anew.as_bytes());
    for change in [
        "DELETE FROM rotated_notes WHERE id IN (2, 3)",
        &format!("UPDATE rotated_notes SET text = {anew} WHERE id = 5"),
    ] {
        place.app.run_plain(change).await.unwrap();
    }
    assert_eq!(settle(&rotation).await.waits_for, None);
}

/// Rows that the database takes no new envelope in.
async fn refused_values_keep_the_old_key(kind: Kind) {
    let place = Place::new(kind).await;
    let session = place.session(ADA).await;
    for id in 1..12 {
        place.write(&session, id, ADA).await;
    }
    drop(session);
    let freeze = "UPDATE rotated_notes SET frozen = mood WHERE id IN (2, 3, 9)";
    place.app.run_plain(freeze).await.unwrap();
    let rotation = place.rotation().await;
    place.begin(&rotation).await;
    rotation.advance(&ADA).await.unwrap();
    place.pass(false).await;
    let progress = settle(&rotation).await;
    assert_eq!((progress.refused, progress.left), (3, 3), "{progress:?}");
    assert_eq!(progress.failed, 0);
    assert_eq!(progress.waits_for, Some(WaitsFor::Values));
    assert_eq!(place.old_rows(ADA).await, 3, "all others are sealed anew");
    // They open, as their key is neither retired nor destroyed.
    let destroyed = rotation.destroy(&ADA, Duration::ZERO).await.unwrap();
    assert_eq!(destroyed.destroyed, 0);
    assert_eq!(place.read(ADA).await, expected(1..12, ADA));

    let thaw = "UPDATE rotated_notes SET frozen = NULL";
    place.app.run_plain(thaw).await.unwrap();
    let progress = settle(&rotation).await;
    assert_eq!((progress.resealed, progress.waits_for), (3, None));
    assert_eq!(place.old_rows(ADA).await, 0);
}

async fn what_was_announced_before_a_restore_never_seals(kind: Kind) {
    let place = Place::new(kind).await;
    let session = place.session(ADA).await;
    for id in 0..5 {
        place.write(&session, id, ADA).await;
    }
    drop(session);
    let rotation = place.rotation().await;
    place.begin(&rotation).await;
    let epoch = "UPDATE ophie_crypt_installation SET epoch = 2";
    place.keys.run_plain(epoch).await.unwrap();
    assert_eq!(rotation.begin(&ADA).await.unwrap(), 3);
    assert_eq!(rotation.begin(&ADA).await.unwrap(), 3);
    place.pass(true).await;
    rotation.advance(&ADA).await.unwrap();
    place.pass(false).await;
    assert_eq!(settle(&rotation).await.waits_for, None);
    assert_eq!(place.old_rows(ADA).await, 0);
    assert_eq!(place.read(ADA).await, expected(0..5, ADA));
    let record = place.store.load(&ADA.canonical()).await.unwrap().unwrap();
    let states: Vec<_> = record
        .deks()
        .iter()
        .map(|dek| dek.state().as_str())
        .collect();
    assert_eq!(states, ["sealing", "retired", "retired"]);
}

/// Rows of the old generation that are not committed: one that is to be sealed anew, and one that nobody sees when
/// nobody can seal under that generation any more.
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
        let place = Place::new(kind).await;
        let session = place.session(ADA).await;
        place.write(&session, 1, ADA).await;
        let text = seal_text(&session, &said(2, ADA));
        let mood = seal_mood(&session, "fine");
        drop(session);
        let rotation = place.rotation().await;
        place.begin(&rotation).await;
        // One holds a row that is to be sealed anew.
        let change = format!(
            "UPDATE rotated_notes SET mood = {} WHERE id = 1",
            place.literal(&mood)
        );
        let held = place.app.hold(&change).await;
        let progress = rotation.advance(&ADA).await.unwrap();
        assert_eq!(progress.waits_for, Some(WaitsFor::Transactions), "{kind:?}");
        held.commit().await;
        let progress = settle(&rotation).await;
        assert_eq!(progress.waits_for, Some(WaitsFor::Leases), "{kind:?}");
        assert_eq!(place.old_rows(ADA).await, 0);
        // One wrote a row that nobody else sees.
        let insert = place.insert(2, ADA, Some(&text), &mood);
        let held = place.app.hold(&insert).await;
        place.pass(false).await;
        for _ in 0..2 {
            let progress = rotation.advance(&ADA).await.unwrap();
            assert_eq!(progress.waits_for, Some(WaitsFor::Transactions), "{kind:?}");
        }
        held.commit().await;
        assert_eq!(settle(&rotation).await.waits_for, None, "{kind:?}");
        assert_eq!(place.old_rows(ADA).await, 0);
        assert_eq!(place.read(ADA).await, expected(1..3, ADA));
    }
}
