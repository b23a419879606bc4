//! Jobs row by row: backfills that share a table, and what verify names.

use std::sync::{Arc, Mutex};

use ophie_crypt::soak::{
    Gate, PlainRow, Rows, SealRows, SealedRow, Sealing, SoakPass, SoakState, SoakStore, Wrong,
};
use ophie_crypt_sqlx::Encrypted;

use crate::{
    soaking::{ADA, COLUMN, Soaking, TABLE, is_mariadb, is_postgres, person},
    world::Kind,
};

every_database!(
    a_pass_begins_anew_wherever_the_cursor_is,
    a_key_of_many_digits_is_that_of_one_row,
    a_pass_begins_behind_others,
    a_verify_that_finds_something_closes_the_gate_again,
    a_worker_waits_for_no_cursor_of_another,
    backfills_share_a_table,
    verify_names_what_is_wrong,
    workers_of_a_process_go_on_behind_one_another,
);

/// As for rows that it passed over because others had them, while others move the cursor on.
async fn a_pass_begins_anew_wherever_the_cursor_is(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    for id in 0..4 {
        soaking.insert(id, ADA, "'Mom'").await.unwrap();
    }
    soaking.until(SoakState::Backfill).await;
    let seal = |row: &PlainRow| {
        let sealed = [&[0xFA; 60], row.key.as_bytes()].concat();
        Sealing::Sealed(SealedRow {
            sealed,
            fingerprints: vec![vec![1; 17]],
        })
    };
    let seal: SealRows = Arc::new(move |rows| rows.iter().map(seal).collect());
    let mut passes = Vec::new();
    for _ in 0..2 {
        passes.push(soaking.models.pass(&soaking.soak).await.unwrap());
    }
    for (pass, written) in passes.iter_mut().zip([4, 0]) {
        let filled = pass.fill(10, Arc::clone(&seal)).await.unwrap();
        assert_eq!((filled.written, filled.admitted), (written, true));
    }
    let change = "UPDATE people SET name = 'Dad' WHERE id = 1";
    soaking.run(change).await.unwrap();
    let [one, two] = &mut passes[..] else {
        panic!()
    };
    assert_eq!(one.fill(10, Arc::clone(&seal)).await.unwrap().read, 0);
    one.restart();
    assert_eq!(one.fill(10, Arc::clone(&seal)).await.unwrap().written, 1);
    two.restart();
    assert_eq!(two.fill(10, seal).await.unwrap().read, 0);
}

/// Also where a float would be the same for several.
async fn a_key_of_many_digits_is_that_of_one_row(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    let wider = match kind {
        _ if is_postgres(kind) => "ALTER TABLE people ALTER COLUMN id TYPE numeric(30)",
        _ if is_mariadb(kind) => "ALTER TABLE people MODIFY id decimal(30, 0) NOT NULL",
        _ => return, // its keys have 64 bits
    };
    soaking.run(wider).await.unwrap();
    for id in 0..8 {
        let id = 1_834_567_890_123_456_000 + id;
        let name = format!("'name {id}'");
        soaking.insert(id, ADA, &name).await.unwrap();
    }
    soaking.until(SoakState::Backfill).await;
    let done = soaking.soaker.backfill(TABLE, COLUMN).await.unwrap();
    assert_eq!((done.written, done.pending), (8, 0));
    let report = soaking.soaker.verify(TABLE, COLUMN).await.unwrap();
    assert!(report.is_clean() && report.rows == 8, "{report:?}");
    soaking.until(SoakState::Retired).await;
    let emptied = soaking.soaker.null_out(TABLE, COLUMN).await;
    assert_eq!(emptied.unwrap(), 8);
}

/// What one before it has found lets no step through any more.
async fn a_verify_that_finds_something_closes_the_gate_again(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    for (id, name) in [(1, "'Mom'"), (2, "'Dad'")] {
        soaking.insert(id, ADA, name).await.unwrap();
    }
    soaking.until(SoakState::Sealed).await;
    let soaker = &soaking.soaker;
    let refused = soaker.admit_old_binaries(TABLE, COLUMN, false).await;
    refused.unwrap();
    soaking.watch.beat().await.unwrap();
    let unmet = async || {
        let unmet = soaker.unmet(TABLE, COLUMN, SoakState::Retired).await;
        unmet.unwrap()
    };
    assert!(soaker.verify(TABLE, COLUMN).await.unwrap().is_clean());
    assert_eq!(unmet().await, []);
    let other = soaking.sealed("Mom");
    let swapped = format!("UPDATE people SET name_ct = {other} WHERE id = 2");
    soaking.run(&swapped).await.unwrap();
    let report = soaker.verify(TABLE, COLUMN).await.unwrap();
    assert_eq!(report.wrong_rows, 1);
    assert_eq!(unmet().await, [Gate::Verified]);
}

async fn backfills_share_a_table(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    for id in 0..60_i64 {
        let owner = id.rem_euclid(5);
        soaking.insert(id, owner, "'slept badly'").await.unwrap();
    }
    soaking.until(SoakState::Backfill).await;
    let workers = [1, 2].map(|_| soaking.soaker.clone().batch(7));
    let [one, two] = workers.map(|worker| worker.workers(3));
    let (one, two) = tokio::join!(one.backfill(TABLE, COLUMN), two.backfill(TABLE, COLUMN));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.written + two.written, 60, "each row once");
    assert_eq!(
        soaking
            .models
            .count(&soaking.soak, Rows::Pending)
            .await
            .unwrap(),
        0
    );
    let status = soaking.soaker.status(TABLE, COLUMN).await.unwrap();
    assert_eq!(status.row.filled, 60);
    // An old binary goes on: the next backfill looks from the beginning.
    soaking
        .run("UPDATE people SET name = 'slept well' WHERE id = 3")
        .await
        .unwrap();
    let again = soaking.soaker.backfill(TABLE, COLUMN).await.unwrap();
    assert_eq!((again.written, again.pending), (1, 0));
    soaking.pass(SoakState::Verify).await;
    soaking.pass(SoakState::Soak).await;
    // It stops between two batches.
    soaking
        .run("UPDATE people SET name = 'slept'")
        .await
        .unwrap();
    let stopping = soaking.soaker.clone().batch(7);
    let stop = stopping.stop_handle();
    let stopping = stopping.watch(move |_| stop.stop());
    let stopped = stopping.backfill(TABLE, COLUMN).await.unwrap();
    assert!(stopped.stopped);
    assert_eq!((stopped.written, stopped.pending), (7, 53), "a whole batch");
}

/// Which rows a pass meets next; the first so many of them it seals, the others it passes over.
async fn meets(pass: &mut Box<dyn SoakPass>, limit: u32, seals: usize) -> Vec<String> {
    let met = Arc::new(Mutex::new(Vec::new()));
    let meeting = Arc::clone(&met);
    let seal = move |rows: &[PlainRow]| {
        *meeting.lock().unwrap() = rows.iter().map(|row| row.key.clone()).collect();
        let sealed = |at: usize| match at < seals {
            true => Sealing::Sealed(SealedRow {
                sealed: [vec![0xfa], vec![0; 60]].concat(),
                fingerprints: vec![vec![1; 17]],
            }),
            false => Sealing::Skip,
        };
        (0..rows.len()).map(sealed).collect()
    };
    pass.fill(limit, Arc::new(seal)).await.unwrap();
    let met = met.lock().unwrap();
    met.clone()
}

async fn a_pass_begins_behind_others(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    for id in 1..=12_i64 {
        soaking.insert(id, ADA, "'slept'").await.unwrap();
    }
    soaking.until(SoakState::Backfill).await;
    let pass = async || soaking.models.pass(&soaking.soak).await.unwrap();
    let (mut one, mut two) = (pass().await, pass().await);
    assert_eq!(meets(&mut one, 9, 0).await.len(), 9);
    // It began with the other, and hears where that one is when it has sealed a row: from PostgreSQL, at no cost.
    assert_eq!(meets(&mut two, 1, 1).await, ["1"]);
    let behind = if is_postgres(kind) { "10" } else { "2" };
    assert_eq!(meets(&mut two, 1, 1).await, [behind]);
    // Who comes now begins behind both.
    let mut three = pass().await;
    let begins = if is_postgres(kind) { "11" } else { "10" };
    assert_eq!(meets(&mut three, 1, 0).await, [begins]);
    // One that began anew does not go on behind them.
    two.restart();
    let first = if is_postgres(kind) { "2" } else { "3" };
    let next = if is_postgres(kind) { "3" } else { "4" };
    assert_eq!(meets(&mut two, 1, 1).await, [first]);
    assert_eq!(meets(&mut two, 1, 1).await, [next], "and goes on there");
}

/// Until its transaction ends, a worker holds the cursor that it has moved.
async fn a_worker_waits_for_no_cursor_of_another(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    for id in 1..=9_i64 {
        soaking.insert(id, ADA, "'slept'").await.unwrap();
    }
    soaking.until(SoakState::Backfill).await;
    let mut first = soaking.models.pass(&soaking.soak).await.unwrap();
    assert_eq!(meets(&mut first, 1, 1).await, ["1"]);
    if !is_postgres(kind) {
        return; // MariaDB locks gaps between cursors, too, if it is asked for them like this; SQLite has one writer
    }
    let held = "UPDATE ophie_crypt_soak_cursors SET filled = filled";
    let held = soaking.database.hold(held).await;
    // There are sixteen, of which other tests take some meanwhile.
    let mut went = Vec::new();
    for _ in 0..4 {
        let mut pass = soaking.models.pass(&soaking.soak).await.unwrap();
        let skip: SealRows = Arc::new(|rows| rows.iter().map(|_| Sealing::Skip).collect());
        went.push(pass.fill(1, skip).await.is_ok());
    }
    held.commit().await;
    assert!(went.contains(&true), "they share one");
}

/// Also behind rows that one of them has passed over, until they begin anew.
async fn workers_of_a_process_go_on_behind_one_another(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    for id in 1..=6_i64 {
        soaking.insert(id, ADA, "'slept'").await.unwrap();
    }
    soaking.until(SoakState::Backfill).await;
    let mut one = soaking.models.pass(&soaking.soak).await.unwrap();
    let Some(mut two) = one.beside() else {
        assert!(matches!(kind, Kind::SqlxSqlite | Kind::DieselSqlite));
        return;
    };
    let mut three = two.beside().unwrap();
    assert_eq!(meets(&mut one, 2, 0).await, ["1", "2"]);
    assert_eq!(meets(&mut two, 2, 0).await, ["3", "4"]);
    assert_eq!(meets(&mut three, 1, 0).await, ["5"]);
    assert_eq!(one.owners_ahead(5).await.unwrap().len(), 1);
    assert_eq!(meets(&mut one, 2, 0).await, ["6"]);
    assert_eq!(two.owners_ahead(5).await.unwrap(), []);
    // In another state nobody has taken any.
    let row = soaking.soaker.status(TABLE, COLUMN).await.unwrap().row;
    let stepped = soaking.models.step(&soaking.soak, &row, SoakState::Verify);
    assert!(stepped.await.unwrap());
    assert_eq!(meets(&mut two, 1, 0).await, ["1"]);
    // One whose batch failed after others had begun behind it is met by all of them.
    let all = [&mut one, &mut two, &mut three];
    let mut all = all.map(|pass| {
        pass.restart();
        pass
    });
    for pass in &mut all {
        assert_eq!(meets(pass, 1, 0).await, ["1"]);
    }
}

async fn verify_names_what_is_wrong(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    for id in 0..40_i64 {
        soaking
            .insert(id, ADA, &format!("'name {id}'"))
            .await
            .unwrap();
    }
    soaking.insert(40, ADA, "NULL").await.unwrap();
    soaking.until(SoakState::Verify).await;
    // As by a hand that passes the guard: one bit, two rows that change places, NULL and "" taken for each other, one
    // fingerprint.
    let column = soaking.soak.column();
    let flipped = Encrypted::<String, person::name>::new("name 5")
        .seal(&soaking.ada)
        .unwrap();
    let mut flipped = flipped.into_bytes();
    flipped[40] ^= 1;
    let [seven, eight] = ["name 7", "name 8"].map(|name| soaking.sealed(name));
    let empty = soaking.sealed("");
    let fp = soaking.literal(&[1; 17]);
    for (id, change) in [
        (5, format!("name_ct = {}", soaking.literal(&flipped))),
        (7, format!("name_ct = {eight}")),
        (8, format!("name_ct = {seven}")),
        (9, format!("name_fp = {fp}")),
    ] {
        soaking
            .run(&format!("UPDATE people SET {change} WHERE id = {id}"))
            .await
            .unwrap();
    }
    let beside_null = soaking
        .run(&format!(
            "UPDATE people SET name_ct = {empty} WHERE id = 40"
        ))
        .await;
    assert!(beside_null.is_err(), "the guard knows that much");
    let beside_null = format!("UPDATE people SET name_ct = {empty} WHERE id = 40");
    let (before, after) = if is_postgres(kind) {
        let switched = |word| format!("ALTER TABLE people {word} TRIGGER USER");
        (switched("DISABLE"), switched("ENABLE"))
    } else {
        let set = |state| format!("UPDATE ophie_crypt_soaks SET {state}");
        (
            set("state = 'sealed', admits_old = 0"),
            set("state = 'verify', admits_old = 1"),
        )
    };
    for sql in [before, beside_null, after] {
        soaking.run(&sql).await.unwrap();
    }

    let report = soaking
        .soaker
        .clone()
        .batch(6)
        .verify(TABLE, COLUMN)
        .await
        .unwrap();
    let mut wrong: Vec<(i64, Wrong)> = report
        .wrong
        .iter()
        .map(|row| (row.key.parse().unwrap(), row.wrong))
        .collect();
    wrong.sort_by_key(|(key, _)| *key);
    assert_eq!(
        wrong,
        [
            (5, Wrong::DoesNotOpen),
            (7, Wrong::Differs),
            (8, Wrong::Differs),
            (9, Wrong::Fingerprint),
            (40, Wrong::NoPlaintext),
        ]
    );
    assert_eq!((report.rows, report.wrong_rows, report.pending), (41, 5, 0));
    let on = soaking
        .soaker
        .unmet(TABLE, COLUMN, SoakState::Soak)
        .await
        .unwrap();
    assert!(on.contains(&Gate::Verified), "{on:?}");
    assert_eq!(column.name(), COLUMN);
}
