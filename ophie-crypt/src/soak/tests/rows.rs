//! Verify, backfill, null-out and decrypt-back, row by row.

use core::sync::atomic::Ordering::SeqCst;
use std::sync::Arc;

use super::table::{World, copy};
use crate::{
    owner::OwnerId,
    rotation::Rotation,
    soak::{
        SoakColumn, SoakJobError, SoakState, SoakedRow, VerifyReport, Wrong, seal::seal_rows,
        sessions::Keys,
    },
    store::{ModelError, ModelStore},
};

const AT: (&str, &str) = ("people", "name_ct");

async fn verify(world: &World) -> VerifyReport {
    world.soaker.verify(AT.0, AT.1).await.unwrap()
}

fn is_not_now<T>(result: &Result<T, SoakJobError>) -> bool {
    matches!(result, Err(SoakJobError::NotNow { .. }))
}

#[tokio::test]
async fn each_job_is_of_its_states() {
    for state in SoakState::ALL {
        let world = World::new(state).await;
        let soaker = &world.soaker;
        let verified = soaker.verify(AT.0, AT.1).await;
        let verifies = SoakState::Backfill <= state && state <= SoakState::Sealed;
        assert_eq!(!is_not_now(&verified), verifies, "{state}: {verified:?}");
        let filled = soaker.backfill(AT.0, AT.1).await;
        assert_eq!(!is_not_now(&filled), verifies, "{state}: {filled:?}");
        let emptied = soaker.null_out(AT.0, AT.1).await;
        let retired = state == SoakState::Retired;
        assert_eq!(!is_not_now(&emptied), retired, "{state}: {emptied:?}");
        let back = soaker.decrypt_back(AT.0, AT.1).await;
        let sealed = state == SoakState::Sealed;
        assert_eq!(!is_not_now(&back), sealed, "{state}: {back:?}");
        let anew = soaker.rewrite(AT.0, AT.1).await;
        let dropped = state == SoakState::Dropped;
        assert_eq!(!is_not_now(&anew), dropped, "{state}: {anew:?}");
    }
}

#[tokio::test]
async fn a_batch_has_its_limits() {
    for (asked, given) in [
        (0, 1),
        (1, 1),
        (5_000, 5_000),
        (5_001, 5_000),
        (u32::MAX, 5_000),
    ] {
        let world = World::new(SoakState::Verify).await;
        let soaker = world.soaker.clone().batch(asked);
        soaker.verify(AT.0, AT.1).await.unwrap();
        assert_eq!(world.table.limit.load(SeqCst), given);
    }
}

/// One row of each kind, in pages of two.
#[tokio::test]
async fn what_is_wrong_is_named_and_counted() {
    let world = World::new(SoakState::Sealed).await;
    let with_fingerprint = |row: SoakedRow, fingerprint: Option<Vec<u8>>| SoakedRow {
        fingerprints: vec![fingerprint],
        ..row
    };
    let keyring = &world.soaker.keyring;
    for gone in ["gone", "living"] {
        keyring.provision(gone).await.unwrap();
    }
    keyring.shred("gone").await.unwrap();
    let of = |owner: &str, row: SoakedRow| SoakedRow {
        owner: owner.canonical(),
        ..row
    };
    let (_, dad) = world.seal("Dad");
    let (mom, fingerprint) = world.seal("Mom");
    world.put([
        world.row("01", Some("Mom"), Some("Mom")),
        world.row("02", Some("Mom"), None),
        with_fingerprint(world.row("03", Some("Mom"), Some("Mom")), None),
        world.row("04", None, Some("Mom")),
        world.row("05", Some("Mom"), Some("mom")),
        with_fingerprint(world.row("06", Some("Mom"), Some("Mom")), Some(dad)),
        with_fingerprint(world.row("07", None, None), Some(fingerprint)),
        world.row("08", None, None),
        of("nobody", world.row("09", Some("Mom"), Some("Mom"))),
        SoakedRow {
            sealed: Some([&mom[..], &[0]].concat()),
            ..world.row("10", Some("Mom"), Some("Mom"))
        },
        of("gone", world.row("11", Some("Mom"), Some("Mom"))),
        of("living", world.row("12", Some("Mom"), Some("Mom"))),
    ]);
    let soaker = world.soaker.clone().batch(2);
    let report = soaker.verify(AT.0, AT.1).await.unwrap();
    let found: Vec<_> = report
        .wrong
        .iter()
        .map(|row| (&*row.key, row.wrong))
        .collect();
    assert_eq!(
        found,
        [
            ("04", Wrong::NoPlaintext),
            ("05", Wrong::Differs),
            ("06", Wrong::Fingerprint),
            ("07", Wrong::Fingerprint),
            ("09", Wrong::NoKeys),
            ("10", Wrong::DoesNotOpen),
            ("11", Wrong::Shredded),
            ("12", Wrong::DoesNotOpen),
        ]
    );
    assert_eq!((report.rows, report.pending, report.wrong_rows), (12, 2, 8));
    assert!(report.complete && !report.is_clean());
    assert_eq!(world.table.soak.lock().unwrap().verified, None);

    world.table.rows.lock().unwrap().truncate(3);
    assert!(verify(&world).await.is_clean());
    assert_eq!(world.table.soak.lock().unwrap().verified, Some(7));
}

#[tokio::test]
async fn while_an_index_key_is_rotated_rows_stand_under_either() {
    let world = World::new(SoakState::Verify).await;
    let (keyring, keys) = (world.soaker.keyring.clone(), Arc::clone(&world.keys));
    let rotation = Rotation::new(keyring, keys, Arc::clone(&world.table));
    rotation.begin_index("ada").await.unwrap();
    world.session.refresh().await.unwrap();
    let (written, other) = world.fingerprints("Mom");
    assert_ne!(Some(&written), other.as_ref());
    let under = |key: &str, fingerprint| SoakedRow {
        fingerprints: vec![fingerprint],
        ..world.row(key, Some("Mom"), Some("Mom"))
    };
    world.put([under("1", Some(written)), under("2", other)]);
    let report = verify(&world).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.rows, report.pending), (2, 0));
}

#[tokio::test]
async fn a_thousand_wrong_rows_have_names_and_all_are_counted() {
    for (rows, named) in [(1_000, 1_000), (1_001, 1_000)] {
        let world = World::new(SoakState::Verify).await;
        let row = world.row("", None, Some("Mom"));
        let keyed = |key: usize| SoakedRow {
            key: format!("{key:05}"),
            ..copy(&row)
        };
        world.put((0..rows).map(keyed));
        let report = verify(&world).await;
        assert_eq!(report.wrong.len(), named);
        assert_eq!(report.wrong_rows, u64::try_from(rows).unwrap());
    }
}

/// Somebody was writing it, or deleted it.
#[tokio::test]
async fn a_row_is_wrong_only_if_it_stays_so() {
    type Change = fn(&mut Vec<SoakedRow>);
    let changes: [(Change, usize); 3] = [
        (|rows| rows[0].plain = Some(b"mom".to_vec().into()), 0),
        (|rows| drop(rows.pop()), 0),
        (|rows| rows[0].plain = None, 1),
    ];
    for (change, wrong) in changes {
        let world = World::new(SoakState::Verify).await;
        world.put([world.row("1", Some("Mom"), Some("mom"))]);
        *world.table.meanwhile.lock().unwrap() = Some(Box::new(change));
        let report = verify(&world).await;
        assert_eq!(report.wrong.len(), wrong);
        let found = report.wrong.first().map(|row| row.wrong);
        assert_eq!(
            found,
            (wrong > 0).then_some(Wrong::NoPlaintext),
            "as it is now"
        );
        assert_eq!(report.is_clean(), wrong == 0);
    }
}

#[tokio::test]
async fn a_verify_that_was_stopped_proves_nothing() {
    let world = World::new(SoakState::Verify).await;
    world.put([world.row("1", Some("Mom"), Some("Mom"))]);
    world.soaker.stop_handle().stop();
    let report = verify(&world).await;
    assert!(!report.complete && !report.is_clean());
    assert_eq!(world.table.soak.lock().unwrap().verified, None);
}

#[tokio::test]
async fn a_null_out_waits_and_ends() {
    let world = World::new(SoakState::Retired).await;
    world.put([
        world.row("1", Some("Mom"), Some("Mom")),
        world.row("2", Some("Dad"), None),
    ]);
    world.table.busy.store(1, SeqCst);
    // What has no ciphertext keeps its plaintext, and the job ends all the same.
    assert_eq!(world.soaker.null_out(AT.0, AT.1).await.unwrap(), 1);
    let plain: Vec<_> = {
        let rows = world.table.rows.lock().unwrap();
        rows.iter().map(|row| row.plain.is_some()).collect()
    };
    assert_eq!(plain, [false, true]);

    world.table.touches.store(true, SeqCst);
    let touches = world.soaker.null_out(AT.0, AT.1).await;
    assert!(
        matches!(touches, Err(SoakJobError::NullOutTouches { .. })),
        "{touches:?}"
    );
    assert_eq!(world.table.busy.load(SeqCst), 0);
    assert!(ModelError::Busy.to_string().len() > 1);
}

#[tokio::test]
async fn plaintext_comes_back_where_it_is_missing_or_another() {
    let world = World::new(SoakState::Sealed).await;
    world.put([
        world.row("1", None, Some("Mom")),
        world.row("2", Some("Mom"), Some("Dad")),
        world.row("3", Some("Mom"), Some("Mom")),
        world.row("4", Some("Mom"), None),
        SoakedRow {
            owner: "nobody".canonical(),
            ..world.row("5", None, Some("Mom"))
        },
    ]);
    let before: Vec<_> = sealed(&world);
    assert_eq!(world.soaker.decrypt_back(AT.0, AT.1).await.unwrap(), 2);
    let plain: Vec<_> = {
        let rows = world.table.rows.lock().unwrap();
        let plain = rows.iter().map(|row| row.plain.as_deref().cloned());
        plain.collect()
    };
    let text = |text: &str| Some(text.as_bytes().to_vec());
    assert_eq!(
        plain,
        [text("Mom"), text("Dad"), text("Mom"), text("Mom"), None]
    );
    let same: Vec<_> = sealed(&world)
        .iter()
        .zip(&before)
        .map(|(now, then)| now == then)
        .collect();
    assert_eq!(
        same,
        [false, false, true, true, true],
        "a new envelope with it"
    );
}

fn sealed(world: &World) -> Vec<Option<Vec<u8>>> {
    let rows = world.table.rows.lock().unwrap();
    rows.iter().map(|row| row.sealed.clone()).collect()
}

#[tokio::test]
async fn a_backfill_seals_what_is_pending_and_nothing_else() {
    let world = World::new(SoakState::Backfill).await;
    world.put([
        world.row("1", Some("Mom"), None),
        world.row("2", Some("Dad"), Some("Dad")),
        world.row("3", None, None),
        SoakedRow {
            owner: "ben".canonical(),
            ..world.row("4", Some("Mom"), None)
        },
    ]);
    let before = sealed(&world);
    let done = world.soaker.backfill(AT.0, AT.1).await.unwrap();
    assert_eq!((done.written, done.pending, done.stopped), (2, 0, false));
    let after = sealed(&world);
    assert_eq!((&after[1], &after[2]), (&before[1], &before[2]));
    assert!(verify(&world).await.is_clean());

    world.put([SoakedRow {
        owner: "cy".canonical(),
        ..world.row("5", Some("Mom"), None)
    }]);
    let passed = world.soaker.clone().without_provisioning();
    let done = passed.backfill(AT.0, AT.1).await.unwrap();
    assert_eq!((done.written, done.pending), (0, 1));
}

/// What follows a row that cannot be sealed yet is met again in its order.
#[tokio::test]
async fn nothing_is_sealed_behind_an_owner_whose_keys_are_not_open() {
    use crate::soak::{PlainRow, Sealing};
    let world = World::new(SoakState::Backfill).await;
    let soak = SoakColumn::of(world.table.models(), AT.0, AT.1).unwrap();
    let row = |owner: &str| PlainRow {
        key: owner.to_owned(),
        owner: owner.canonical(),
        plain: b"Mom".to_vec().into(),
    };
    let ada = ("ada".canonical(), Keys::Open(world.session.clone()));
    let open = [ada, ("without keys".canonical(), Keys::None)].into();
    let rows = ["ada", "without keys", "ada", "not open", "ada"].map(row);
    let sealed = seal_rows(&soak, &open, &rows);
    let what: Vec<_> = sealed
        .iter()
        .map(|sealing| match sealing {
            Sealing::Sealed(_) => "sealed",
            Sealing::Skip => "passed",
            Sealing::Stop => "stopped",
        })
        .collect();
    assert_eq!(what, ["sealed", "passed", "sealed", "stopped", "stopped"]);

    world.session.close();
    let closed = seal_rows(&soak, &open, &["ada"].map(row));
    assert!(matches!(closed[..], [Sealing::Stop]), "{closed:?}");
}
