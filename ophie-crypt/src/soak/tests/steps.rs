//! Steps, their gates, and who is waited for.

use core::sync::atomic::Ordering::SeqCst;

use super::table::World;
use crate::soak::{
    Gate::{
        self, Acknowledged, Decrypted, Emptied, Floor, NoOldBinaries, NothingPending, Quiet,
        TwinUnknown, Verified,
    },
    Heartbeat, SoakColumn, SoakJobError, SoakProcess,
    SoakState::{self, Backfill, Dropped, DualWrite, Expand, Plain, Retired, Sealed, Soak, Verify},
    SoakStore,
};
use crate::store::ModelStore;

const AT: (&str, &str) = ("people", "name_ct");

/// Written out, so that a gate cannot go without a line going here.
#[test]
fn every_gate_of_every_step() {
    let steps: [(SoakState, SoakState, &[Gate]); 15] = [
        (Plain, Expand, &[]),
        (Expand, Plain, &[Acknowledged, Floor]),
        (Expand, DualWrite, &[Acknowledged]),
        (DualWrite, Expand, &[Acknowledged, Floor]),
        (DualWrite, Backfill, &[Acknowledged]),
        (Backfill, DualWrite, &[Acknowledged, Floor]),
        (Backfill, Verify, &[Acknowledged, NothingPending]),
        (Verify, Backfill, &[Acknowledged, Floor]),
        (Verify, Soak, &[Acknowledged, Verified]),
        (Soak, Verify, &[Acknowledged, Floor]),
        (Soak, Sealed, &[Acknowledged, NothingPending, Quiet]),
        (Sealed, Soak, &[Acknowledged, Floor, Decrypted, Verified]),
        (
            Sealed,
            Retired,
            &[Acknowledged, NoOldBinaries, Verified, NothingPending],
        ),
        (Retired, Sealed, &[Acknowledged, Floor]),
        (Retired, Dropped, &[Acknowledged, Emptied, TwinUnknown]),
    ];
    for (from, to, gates) in steps {
        assert_eq!(from.gates(to), Some(gates), "{from} to {to}");
    }
}

#[test]
fn a_column_has_its_own_indexes_only() {
    let table = super::Table::new(Expand);
    for (column, index) in [("name_ct", "name_fp"), ("nick_ct", "nick_fp")] {
        let soak = SoakColumn::of(table.models(), "people", column).unwrap();
        let found: Vec<_> = soak.indexes().iter().map(|index| index.column()).collect();
        assert_eq!(found.len(), 1, "{column}");
        assert_eq!(found[0].name(), index);
    }
    assert!(SoakColumn::of(table.models(), "people", "note").is_none());
    let note = SoakColumn::without_attribute(table.models(), "people", "note", "plain").unwrap();
    assert!(note.indexes().is_empty());
}

/// It would mark the column as dropped without a name to confirm, and leave it where it is.
#[tokio::test]
async fn nothing_is_dropped_by_a_step() {
    let world = World::new(Retired).await;
    world.table.heartbeats.lock().unwrap().push(Heartbeat {
        knows_twin: false,
        ..lives(7)
    });
    assert_eq!(unmet(&world, Dropped).await, []);
    let dropped = world.soaker.step(AT.0, AT.1, Dropped).await;
    assert!(is_not_now(&dropped), "{dropped:?}");
    assert_eq!(world.table.state(), Retired);
}

#[tokio::test]
async fn nothing_is_begun_by_a_step() {
    let world = World::new(Plain).await;
    let begun = world.soaker.step(AT.0, AT.1, Expand).await;
    assert!(is_not_now(&begun), "{begun:?}");
    assert_eq!(world.table.state(), Plain);
}

/// In batches; and a tool that was stopped goes no step.
#[tokio::test]
async fn no_ciphertext_is_left_where_nothing_has_begun() {
    let world = World::new(Expand).await;
    let rows = ["1", "2", "3"].map(|key| world.row(key, Some("Mom"), Some("Mom")));
    world.put(rows);
    let stopped = world.soaker.clone();
    let soaker = world.soaker.clone().batch(2);
    soaker.step(AT.0, AT.1, Plain).await.unwrap();
    assert_eq!(world.table.state(), Plain);
    {
        let rows = world.table.rows.lock().unwrap();
        let bare = rows
            .iter()
            .filter(|row| row.sealed.is_none() && row.plain.is_some());
        assert_eq!(bare.count(), 3);
    }
    world.table.soak.lock().unwrap().state = Expand;
    stopped.stop_handle().stop();
    let refused = soaker.step(AT.0, AT.1, Plain).await;
    assert!(matches!(refused, Err(SoakJobError::Stopped)), "{refused:?}");
    assert_eq!(world.table.state(), Expand);
}

#[tokio::test]
async fn a_migration_is_written_until_the_soak_is_further() {
    for state in SoakState::ALL {
        let world = World::new(state).await;
        let written = world.soaker.expansion(AT.0, AT.1).await;
        assert_eq!(written.is_ok(), state <= Expand, "{state}: {written:?}");
        assert!(written.is_ok() || is_not_now(&written));
    }
}

#[tokio::test]
async fn old_binaries_are_never_admitted_once_plaintext_goes() {
    for state in [Retired, Dropped] {
        let world = World::new(state).await;
        world.table.soak.lock().unwrap().admits_old = false;
        let admitted = world.soaker.admit_old_binaries(AT.0, AT.1, true).await;
        assert!(is_not_now(&admitted), "{state}: {admitted:?}");
        assert!(!world.table.soak.lock().unwrap().admits_old);
    }
}

#[tokio::test]
async fn old_binaries_are_admitted_again_behind_gates() {
    let world = World::new(Sealed).await;
    world.table.soak.lock().unwrap().admits_old = false;
    world.put([world.row("1", None, Some("Mom"))]);
    let late = Heartbeat {
        version: 6,
        knows_twin: false,
        ..lives(7)
    };
    world.table.heartbeats.lock().unwrap().push(late);
    let admit = || world.soaker.admit_old_binaries(AT.0, AT.1, true);
    let unmet = |refused: Result<(), SoakJobError>| match refused {
        Err(SoakJobError::Gates { unmet, .. }) => unmet,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        unmet(admit().await),
        [Acknowledged, Floor, Decrypted, Verified]
    );
    world.table.heartbeats.lock().unwrap().clear();
    world.table.soak.lock().unwrap().verified = Some(7);
    assert_eq!(unmet(admit().await), [Decrypted]);
    world.table.rows.lock().unwrap().clear();
    admit().await.unwrap();
    assert!(world.table.soak.lock().unwrap().admits_old);

    let world = World::new(Soak).await;
    world.table.soak.lock().unwrap().admits_old = false;
    let above = Heartbeat {
        floor: Sealed,
        ..lives(6)
    };
    world.table.heartbeats.lock().unwrap().push(above);
    let refused = world.soaker.admit_old_binaries(AT.0, AT.1, true).await;
    assert_eq!(unmet(refused), [Floor]);
}

/// The doubtful are watched for as long as a heartbeat lives, if they would stand in the way; who would not is passed.
#[tokio::test(start_paused = true)]
async fn who_would_stand_in_the_way_is_waited_for() {
    let unknowing = |beat: Heartbeat| Heartbeat {
        knows_twin: false,
        ..beat
    };
    let floor = |floor, beat: Heartbeat| Heartbeat { floor, ..beat };
    for (from, to, beat, waits) in [
        (Soak, Sealed, doubtful(6), true),
        (Soak, Sealed, doubtful(8), true),
        (Soak, Sealed, doubtful(7), false),
        (Soak, Sealed, unknowing(doubtful(7)), false),
        (Soak, Sealed, floor(Sealed, doubtful(7)), false),
        (Soak, Verify, unknowing(doubtful(7)), true),
        (Soak, Verify, floor(Soak, doubtful(7)), true),
        (Soak, Verify, floor(Verify, doubtful(7)), false),
        (Soak, Verify, floor(Backfill, doubtful(7)), false),
        (Retired, Dropped, doubtful(7), true),
        (Retired, Dropped, unknowing(doubtful(7)), false),
    ] {
        let world = World::new(from).await;
        let mut all = vec![beat];
        if to == Dropped {
            all.push(unknowing(lives(7)));
        }
        *world.table.heartbeats.lock().unwrap() = all;
        assert_eq!(unmet(&world, to).await, [], "{from} to {to}: {beat:?}");
        let looks = world.table.looks.load(SeqCst);
        assert_eq!(looks > 1, waits, "{from} to {to}: {beat:?}");
        // Ten seconds pass with each look, and thirty from the first answer to the last question.
        assert!(!waits || looks == 5, "{looks} looks");
    }
}

/// Who lives stands in the way, and a stopped tool counts the doubtful among them.
#[tokio::test]
async fn who_may_live_is_not_passed_over() {
    let above = |beat: Heartbeat| Heartbeat {
        floor: Soak,
        ..beat
    };
    for (from, to, beat, gate) in [
        (Soak, Sealed, lives(6), Acknowledged),
        (Soak, Verify, above(lives(7)), Floor),
        (Soak, Sealed, doubtful(6), Acknowledged),
        (Soak, Verify, above(doubtful(7)), Floor),
    ] {
        let world = World::new(from).await;
        world.table.heartbeats.lock().unwrap().push(beat);
        world.soaker.stop_handle().stop();
        assert_eq!(unmet(&world, to).await, [gate], "{from} to {to}: {beat:?}");
    }
}

/// What a process counted holds up the step after its end, and no longer than its state.
#[tokio::test]
async fn what_the_dead_counted_counts() {
    for (version, odd, quiet) in [(7, 1, false), (8, 1, false), (7, 0, true), (6, 1, true)] {
        let world = World::new(Soak).await;
        let ended = Heartbeat {
            beat_at: 0,
            odd,
            ..doubtful(version)
        };
        world.table.heartbeats.lock().unwrap().push(ended);
        let unmet = unmet(&world, Sealed).await;
        assert_eq!(unmet.is_empty(), quiet, "{version} {odd}: {unmet:?}");
    }
}

#[tokio::test]
async fn somebody_must_know_the_table_without_the_twin() {
    let world = World::new(Retired).await;
    assert_eq!(unmet(&world, Dropped).await, [TwinUnknown], "nobody lives");
    let unknowing = Heartbeat {
        knows_twin: false,
        ..lives(7)
    };
    *world.table.heartbeats.lock().unwrap() = vec![unknowing, lives(7)];
    assert_eq!(unmet(&world, Dropped).await, [TwinUnknown], "one knows it");
    *world.table.heartbeats.lock().unwrap() = vec![unknowing];
    assert_eq!(unmet(&world, Dropped).await, []);
    world.put([world.row("1", Some("Mom"), Some("Mom"))]);
    assert_eq!(unmet(&world, Dropped).await, [Emptied]);
}

#[tokio::test]
async fn rows_hold_up_steps() {
    let world = World::new(Soak).await;
    world.put([world.row("1", Some("Mom"), None)]);
    assert_eq!(unmet(&world, Sealed).await, [NothingPending]);
    let world = World::new(Sealed).await;
    world.put([world.row("1", Some("Mom"), None)]);
    let all = [NoOldBinaries, Verified, NothingPending];
    assert_eq!(unmet(&world, Retired).await, all);
    {
        let mut soak = world.table.soak.lock().unwrap();
        (soak.admits_old, soak.verified) = (false, Some(6));
    }
    let stale = [Verified, NothingPending];
    assert_eq!(
        unmet(&world, Retired).await,
        stale,
        "verified in the state before"
    );
    assert_eq!(world.table.soaks().await.unwrap().len(), 1);
}

async fn unmet(world: &World, to: SoakState) -> Vec<Gate> {
    world.soaker.unmet(AT.0, AT.1, to).await.unwrap()
}

fn is_not_now<T>(result: &Result<T, SoakJobError>) -> bool {
    matches!(result, Err(SoakJobError::NotNow { .. }))
}

/// The table's soak is at version 7.
fn lives(version: i64) -> Heartbeat {
    Heartbeat {
        process: SoakProcess([1; 16]),
        beat_at: 5,
        lives: true,
        version,
        knows_twin: true,
        floor: Expand,
        pending: 0,
        odd: 0,
    }
}

/// Its heartbeat has expired, by the database's clock alone.
fn doubtful(version: i64) -> Heartbeat {
    Heartbeat {
        process: SoakProcess([2; 16]),
        lives: false,
        ..lives(version)
    }
}
