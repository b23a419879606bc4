//! The ways back of a soak, and what stands in them, on every database.

#![allow(
    dead_code,
    reason = "models: their fields are columns, which nothing here reads"
)]

use ophie_crypt::{
    CanonicalId, Models,
    soak::{Beat, Gate, SoakJobError, SoakState, SoakWatch},
};

use crate::{
    soaking::{ADA, BEN, COLUMN, Person, PersonAfter, Soaking, TABLE, is_postgres},
    world::Kind,
};

every_database!(
    a_release_that_knows_no_plaintext_keeps_it_from_counting_again,
    a_shred_empties_plaintext_that_took_no_null,
    a_migration_begins_a_soak_and_takes_it_back,
    a_process_that_ends_leaves_what_it_counted,
    a_shred_in_retired_stands_in_no_way,
    a_soak_that_begins_again_finds_no_ciphertext_of_before,
    a_column_that_is_not_dropped_is_not_said_to_be,
    a_process_goes_by_a_state_only_once_it_has_said_so,
    a_soak_that_has_begun_is_not_begun_again,
    a_plaintext_that_does_not_fit_is_named_and_not_cut,
    a_tool_that_comes_late_changes_no_trigger,
    who_writes_ciphertext_alone_is_waited_for,
);

fn unmet<T: core::fmt::Debug>(done: Result<T, SoakJobError>) -> Vec<Gate> {
    match done {
        Err(SoakJobError::Gates { unmet, .. }) => unmet,
        done => panic!("{done:?}"),
    }
}

/// What it writes is in the ciphertext alone, beside the plaintext of before.
async fn a_release_that_knows_no_plaintext_keeps_it_from_counting_again(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    soaking.insert(1, ADA, "'old'").await.unwrap();
    soaking.until(SoakState::Retired).await;
    let release = async || {
        let models = Models::new().with::<PersonAfter>();
        let models = soaking.database.models(kind, models).await;
        let after = SoakWatch::new(models).unwrap();
        after.beat().await.unwrap();
        after
    };
    let (after, soaker) = (release().await, &soaking.soaker);
    let back = soaker.step(TABLE, COLUMN, SoakState::Sealed).await;
    assert_eq!(unmet(back), [Gate::Floor]);
    after.stop().await.unwrap();
    soaker.step(TABLE, COLUMN, SoakState::Sealed).await.unwrap();
    // It is deployed too early after that.
    soaking.watch.beat().await.unwrap();
    let after = release().await;
    let back = soaker.step(TABLE, COLUMN, SoakState::Soak).await;
    assert_eq!(unmet(back), [Gate::Floor, Gate::Verified]);
    let admitted = soaker.admit_old_binaries(TABLE, COLUMN, true).await;
    assert_eq!(unmet(admitted), [Gate::Floor, Gate::Verified]);
    after.stop().await.unwrap();
    soaker.verify(TABLE, COLUMN).await.unwrap();
    soaker.step(TABLE, COLUMN, SoakState::Soak).await.unwrap();
}

/// A second tool looked before the first one expanded.
async fn a_soak_that_has_begun_is_not_begun_again(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    soaking.until(SoakState::DualWrite).await;
    let before = soaking.soaker.status(TABLE, COLUMN).await.unwrap().row;
    assert!(!soaking.models.expand(&soaking.soak).await.unwrap());
    let after = soaking.soaker.status(TABLE, COLUMN).await.unwrap().row;
    assert_eq!(after, before);
}

async fn a_tool_that_comes_late_changes_no_trigger(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    soaking.insert(1, ADA, "'Mom'").await.unwrap();
    soaking.until(SoakState::Sealed).await;
    let soaker = &soaking.soaker;
    soaker.verify(TABLE, COLUMN).await.unwrap();
    let looked = soaker.status(TABLE, COLUMN).await.unwrap().row;
    soaker.step(TABLE, COLUMN, SoakState::Soak).await.unwrap();
    let late = soaking
        .models
        .step(&soaking.soak, &looked, SoakState::Retired);
    assert!(!late.await.unwrap());
    let admitted = soaking
        .models
        .admit_old(&soaking.soak, &looked, false)
        .await;
    assert!(!admitted.unwrap());
    let change = "UPDATE people SET name = 'Dad'";
    soaking
        .run(change)
        .await
        .expect("nothing refuses plaintext");
    assert_eq!(
        soaking.count("name_ct IS NULL").await,
        1,
        "the guard stands"
    );
}

/// Who goes by `Retired` until its transaction ends: on the way back to where plaintext counts, and to old binaries.
async fn who_writes_ciphertext_alone_is_waited_for(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    soaking.until(SoakState::Retired).await;
    let soaker = &soaking.soaker;
    soaker.step(TABLE, COLUMN, SoakState::Sealed).await.unwrap();
    soaking.watch.beat().await.unwrap();
    let row = soaking.soaker.status(TABLE, COLUMN).await.unwrap().row;
    for (id, steps) in [(1, true), (2, false)] {
        let sealed = soaking.sealed("late");
        let late =
            format!("INSERT INTO people (id, user_id, name_ct) VALUES ({id}, {ADA}, {sealed})");
        let held = soaking.database.hold(&late).await;
        let (models, soak, row) = (soaking.models.clone(), soaking.soak.clone(), row.clone());
        let going = tokio::spawn(async move {
            match steps {
                true => models.step(&soak, &row, SoakState::Soak).await,
                false => models.admit_old(&soak, &row, true).await,
            }
        });
        soaking.waited(&going).await;
        held.commit().await;
        let went = going.await.unwrap().unwrap();
        assert!(!went, "ciphertext without plaintext was left behind");
        assert_eq!(soaking.state().await, SoakState::Sealed);
        soaking.run("DELETE FROM people").await.unwrap();
    }
    let admitted = soaking.models.admit_old(&soaking.soak, &row, true).await;
    assert!(admitted.unwrap());
}

async fn a_plaintext_that_does_not_fit_is_named_and_not_cut(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    for (id, owner) in [(1, ADA), (2, BEN), (3, ADA), (4, ADA)] {
        soaking.insert(id, owner, "'short'").await.unwrap();
    }
    soaking.until(SoakState::Retired).await;
    let soaker = &soaking.soaker;
    soaker.null_out(TABLE, COLUMN).await.unwrap();
    // Nothing keeps values short once they are encrypted.
    let long = soaking.sealed(&"x".repeat(81));
    let blank = soaking.sealed(&format!("{} ", "x".repeat(80)));
    for (id, sealed) in [(3, long), (4, blank)] {
        let change = format!("UPDATE people SET name_ct = {sealed} WHERE id = {id}");
        soaking.run(&change).await.unwrap();
    }
    soaker.step(TABLE, COLUMN, SoakState::Sealed).await.unwrap();
    let back = soaker.decrypt_back(TABLE, COLUMN).await;
    if matches!(kind, Kind::SqlxSqlite | Kind::DieselSqlite) {
        assert_eq!(back.unwrap(), 4, "its texts have no length");
        return;
    }
    match back {
        Err(SoakJobError::DoesNotFit { row, rows, .. }) => assert_eq!((&*row, rows), ("3", 2)),
        back => panic!("{back:?}"),
    }
    assert_eq!(soaking.count("id < 3 AND name = 'short'").await, 2);
    assert_eq!(soaking.count("id >= 3 AND name IS NULL").await, 2);
    let fits = soaking.sealed(&"x".repeat(80));
    let change = format!("UPDATE people SET name_ct = {fits} WHERE id >= 3");
    soaking.run(&change).await.unwrap();
    assert_eq!(soaker.decrypt_back(TABLE, COLUMN).await.unwrap(), 2);
}

async fn a_shred_empties_plaintext_that_took_no_null(kind: Kind) {
    let people = "CREATE TABLE people (id INTEGER PRIMARY KEY, user_id BIGINT NOT NULL, name VARCHAR(80) NOT NULL)";
    let models = Models::new().with::<Person>();
    let soaking = Soaking::of(kind, models, TABLE, COLUMN, people).await;
    soaking.insert(1, ADA, "'Mom'").await.unwrap();
    let expanded = soaking.soaker.expand(TABLE, COLUMN).await;
    if !is_postgres(kind) {
        assert!(expanded.is_err(), "the application lets it take NULL first");
        return;
    }
    expanded.unwrap();
    soaking.keyring.shred(&ADA).await.unwrap();
    let ada = CanonicalId::integer(ADA);
    soaking.models.bury(&ada).await.unwrap();
    soaking.models.tombstone(&ada, TABLE, 100).await.unwrap();
    assert_eq!(soaking.count("name IS NULL").await, 1);
}

async fn a_process_that_ends_leaves_what_it_counted(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    soaking.until(SoakState::Soak).await;
    let beat = |watch: &SoakWatch, version, odd| {
        let beat = Beat {
            column: soaking.soak.column(),
            version,
            knows_twin: true,
            floor: SoakState::DualWrite,
            pending: 0,
            odd,
        };
        (watch.process(), beat)
    };
    let row = soaking.soaker.status(TABLE, COLUMN).await.unwrap().row;
    let others = [1, 0].map(|odd| (SoakWatch::new(soaking.models.clone()).unwrap(), odd));
    for (other, odd) in &others {
        let (process, beat) = beat(other, row.version, *odd);
        soaking.models.beat(process, &[beat]).await.unwrap();
        soaking.models.leave(process).await.unwrap();
    }
    let status = soaking.soaker.status(TABLE, COLUMN).await.unwrap();
    assert_eq!(status.heartbeats.len(), 2, "its own, and one that is odd");
    let unmet = async || {
        soaking
            .soaker
            .unmet(TABLE, COLUMN, SoakState::Sealed)
            .await
            .unwrap()
    };
    assert_eq!(unmet().await, [Gate::Quiet], "nobody waits for who ended");
    // Old binaries are admitted no longer, which is no other state.
    soaking
        .soaker
        .admit_old_binaries(TABLE, COLUMN, false)
        .await
        .unwrap();
    soaking.watch.beat().await.unwrap();
    assert_eq!(unmet().await, [Gate::Quiet]);
    // In the next `Soak` it is forgotten.
    soaking
        .soaker
        .step(TABLE, COLUMN, SoakState::Verify)
        .await
        .unwrap();
    soaking.watch.beat().await.unwrap();
    soaking.pass(SoakState::Soak).await;
    soaking.watch.beat().await.unwrap();
    assert_eq!(unmet().await, []);
}

async fn a_shred_in_retired_stands_in_no_way(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    soaking.insert(1, ADA, "'Mom'").await.unwrap();
    soaking.insert(2, BEN, "'Ben'").await.unwrap();
    soaking.until(SoakState::Retired).await;
    let soaker = &soaking.soaker;
    soaker.null_out(TABLE, COLUMN).await.unwrap();
    soaking.keyring.shred(&ADA).await.unwrap();
    let ada = CanonicalId::integer(ADA);
    soaking.models.bury(&ada).await.unwrap();
    soaking.models.tombstone(&ada, TABLE, 100).await.unwrap();
    soaker.step(TABLE, COLUMN, SoakState::Sealed).await.unwrap();
    soaking.watch.beat().await.unwrap();
    assert_eq!(soaker.decrypt_back(TABLE, COLUMN).await.unwrap(), 1);
    let report = soaker.verify(TABLE, COLUMN).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    soaker.step(TABLE, COLUMN, SoakState::Soak).await.unwrap();
}

async fn a_soak_that_begins_again_finds_no_ciphertext_of_before(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    soaking.until(SoakState::DualWrite).await;
    let (sealed, fp) = (soaking.sealed("Mom"), soaking.literal(&[1; 17]));
    let whole = format!(
        "INSERT INTO people (id, user_id, name, name_ct, name_fp) VALUES (1, {ADA}, 'Mom', {sealed}, {fp})"
    );
    soaking.run(&whole).await.unwrap();
    for state in [SoakState::Expand, SoakState::Plain] {
        let row = soaking.soaker.status(TABLE, COLUMN).await.unwrap().row;
        assert!(
            soaking
                .models
                .step(&soaking.soak, &row, state)
                .await
                .unwrap()
        );
    }
    // Statements that were bound before, of which the second leaves all there is of a value, and the third, once a binary of
    // before has taken the plaintext, a fingerprint of nothing.
    let alone = format!("INSERT INTO people (id, user_id, name_ct) VALUES (3, {ADA}, {sealed})");
    let stray = format!("INSERT INTO people (id, user_id, name_fp) VALUES (4, {ADA}, {fp})");
    for late in [&whole.replace("(1,", "(2,"), &alone, &stray] {
        soaking.run(late).await.unwrap();
    }
    let change = "UPDATE people SET name = 'Dad' WHERE id < 3";
    soaking.run(change).await.unwrap();
    soaking.soaker.expand(TABLE, COLUMN).await.unwrap();
    let empty = "name = 'Dad' AND name_ct IS NULL AND name_fp IS NULL";
    assert_eq!(soaking.count(empty).await, 2);
    assert_eq!(soaking.count("id = 3 AND name_ct IS NOT NULL").await, 1);
    assert_eq!(soaking.count("id = 4 AND name_fp IS NULL").await, 1);
}

async fn a_column_that_is_not_dropped_is_not_said_to_be(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    soaking.until(SoakState::Retired).await;
    let needs_it = match kind {
        _ if is_postgres(kind) => "CREATE VIEW names AS SELECT name FROM people",
        Kind::SqlxSqlite | Kind::DieselSqlite => "CREATE INDEX names ON people (name)",
        _ => "ALTER TABLE people ADD CONSTRAINT names CHECK (name IS NULL OR id > 0)",
    };
    soaking.run(needs_it).await.unwrap();
    soaking.watch.stop().await.unwrap();
    let row = soaking.soaker.status(TABLE, COLUMN).await.unwrap().row;
    let dropped = soaking.models.drop_twin(&soaking.soak, &row).await;
    assert!(dropped.is_err(), "{dropped:?}");
    assert_eq!(soaking.state().await, SoakState::Retired);
    soaking.run("SELECT name FROM people").await.unwrap();
}

/// The column is moved between its look at the state and its heartbeat.
async fn a_process_goes_by_a_state_only_once_it_has_said_so(kind: Kind) {
    if !matches!(kind, Kind::SqlxSqlite | Kind::DieselSqlite) {
        return; // the watch is the same
    }
    let soaking = Soaking::new(kind).await;
    soaking.soaker.expand(TABLE, COLUMN).await.unwrap();
    let moves = "CREATE TRIGGER moves AFTER INSERT ON ophie_crypt_soak_heartbeats BEGIN \
                 UPDATE ophie_crypt_soaks SET state = 'backfill', version = version + 2; END";
    soaking.run(moves).await.unwrap();
    soaking.watch.beat().await.unwrap();
    let state = soaking.watch.state(&soaking.soak.column());
    assert_eq!(state, Some(SoakState::Backfill));
}

/// What `expand` does, in a migration of the application's own; and back.
async fn a_migration_begins_a_soak_and_takes_it_back(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    soaking.insert(1, ADA, "'Mom'").await.unwrap();
    let migration = soaking.soaker.expansion(TABLE, COLUMN).await.unwrap();
    for _ in 0..2 {
        soaking.run(&migration.up).await.unwrap();
        assert_eq!(soaking.row().await, SoakState::Expand);
        soaking.run(&migration.down).await.unwrap();
        assert!(soaking.models.soaks().await.unwrap().is_empty());
        assert!(
            soaking.run("SELECT name_fp FROM people").await.is_err(),
            "a column is left"
        );
    }
    soaking.run(&migration.up).await.unwrap();
    soaking.until(SoakState::Backfill).await;
    soaking.soaker.backfill(TABLE, COLUMN).await.unwrap();
    let late = [&migration.up, &migration.down].map(|sql| soaking.run(sql));
    for late in late {
        late.await.expect_err("the soak is further");
    }
    let again = soaking.soaker.expansion(TABLE, COLUMN).await;
    assert!(matches!(again, Err(SoakJobError::NotNow { .. })));
    assert_eq!(soaking.row().await, SoakState::Backfill);
    soaking.run("UPDATE people SET name = 'Dad'").await.unwrap();
    assert_eq!(
        soaking.count("name_ct IS NULL").await,
        1,
        "the guard stands"
    );
}
