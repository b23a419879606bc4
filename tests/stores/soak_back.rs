//! The ways back of a soak, and what stands in them, on every database.

#![allow(
    dead_code,
    reason = "models: their fields are columns, which nothing here reads"
)]

use ophie_crypt::{
    CanonicalId, Models,
    soak::{Gate, SoakJobError, SoakState, SoakWatch},
};

use crate::{
    soaking::{ADA, BEN, COLUMN, Person, PersonAfter, Soaking, TABLE, is_postgres},
    world::Kind,
};

every_database!(
    a_release_that_knows_no_plaintext_keeps_it_from_counting_again,
    a_shred_empties_plaintext_that_took_no_null,
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
    let after = Models::new().with::<PersonAfter>();
    let after = SoakWatch::new(soaking.database.models(kind, after).await).unwrap();
    after.beat().await.unwrap();
    let soaker = &soaking.soaker;
    let back = soaker.step(TABLE, COLUMN, SoakState::Sealed).await;
    assert_eq!(unmet(back), [Gate::Floor]);
    after.stop().await.unwrap();
    soaker.step(TABLE, COLUMN, SoakState::Sealed).await.unwrap();
    // It is deployed too early after that.
    soaking.watch.beat().await.unwrap();
    after.beat().await.unwrap();
    let back = soaker.step(TABLE, COLUMN, SoakState::Soak).await;
    assert_eq!(unmet(back), [Gate::Floor]);
    let admitted = soaker.admit_old_binaries(TABLE, COLUMN, true).await;
    assert_eq!(unmet(admitted), [Gate::Floor]);
    after.stop().await.unwrap();
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
    let looked = soaking.soaker.status(TABLE, COLUMN).await.unwrap().row;
    let soaker = &soaking.soaker;
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
