//! Steps while others read and write the table, and steps that are cut off.

use ophie_crypt::soak::SoakState;

use crate::{
    soaking::{ADA, COLUMN, Soaking, TABLE, is_postgres},
    world::Kind,
};

every_database!(
    of_two_tools_that_look_at_rows_one_steps,
    who_reads_before_it_writes_is_no_victim_of_a_step,
    who_writes_goes_on_while_a_step_looks_at_all_rows,
);

/// What a look at rows waits for, and no writer who leaves plaintext as it is.
const TOMBSTONES: &str = "LOCK TABLE ophie_crypt_tombstones IN ACCESS EXCLUSIVE MODE";

/// Until it looks at all rows.
async fn looks<T>(soaking: &Soaking, going: &tokio::task::JoinHandle<T>) {
    let waits = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted \
                 AND relation = CAST('ophie_crypt_tombstones' AS regclass)";
    while soaking.database.number(waits).await == 0 {
        assert!(!going.is_finished(), "it did not look");
    }
}

/// It has locked the table as a reader does: whoever locks it less than whole, and then more, waits for it for ever.
async fn who_reads_before_it_writes_is_no_victim_of_a_step(kind: Kind) {
    if !is_postgres(kind) {
        return; // elsewhere a step has the whole table at once
    }
    let soaking = Soaking::new(kind).await;
    soaking.insert(1, ADA, "'Mom'").await.unwrap();
    soaking.until(SoakState::Retired).await;
    soaking.watch.stop().await.unwrap();
    let read = "SET LOCAL deadlock_timeout = '1ms'; SELECT name FROM people";
    for to in [None, Some(SoakState::Sealed), Some(SoakState::Dropped)] {
        if to == Some(SoakState::Dropped) {
            let row = soaking.soaker.status(TABLE, COLUMN).await.unwrap().row;
            let models = &soaking.models;
            let stepped = models.step(&soaking.soak, &row, SoakState::Retired).await;
            assert!(stepped.unwrap());
            soaking.run("UPDATE people SET name = NULL").await.unwrap();
        }
        let row = soaking.soaker.status(TABLE, COLUMN).await.unwrap().row;
        let mut held = soaking.database.hold(read).await;
        let (models, soak) = (soaking.models.clone(), soaking.soak.clone());
        let going = tokio::spawn(async move {
            match to {
                None => models.close(&soak, &row).await,
                Some(SoakState::Dropped) => models.drop_twin(&soak, &row).await,
                Some(to) => models.step(&soak, &row, to).await,
            }
        });
        soaking.waited(&going).await;
        let written = held.run("UPDATE people SET user_id = 7").await;
        written.expect("it was ended for the tool's sake");
        held.commit().await;
        assert!(going.await.unwrap().unwrap());
    }
}

async fn who_writes_goes_on_while_a_step_looks_at_all_rows(kind: Kind) {
    if !is_postgres(kind) {
        return; // elsewhere the table is locked meanwhile
    }
    let soaking = Soaking::new(kind).await;
    soaking.until(SoakState::Sealed).await;
    let sealed = soaking.sealed("Mom");
    let row = |id: i64, name: &str, sealed: &str| {
        format!("INSERT INTO people (id, user_id, name, name_ct) VALUES ({id}, {ADA}, {name}, {sealed})")
    };
    let refused = soaking.soaker.admit_old_binaries(TABLE, COLUMN, false);
    refused.await.unwrap();
    let looked = soaking.soaker.status(TABLE, COLUMN).await.unwrap().row;
    // The first two tools die of it.
    for (id, admits, dies) in [(1, true, true), (2, false, true), (3, false, false)] {
        let held = soaking.database.hold(TOMBSTONES).await;
        let (models, soak, looked) = (soaking.models.clone(), soaking.soak.clone(), looked.clone());
        let going = tokio::spawn(async move {
            match admits {
                true => models.admit_old(&soak, &looked, true).await,
                false => models.step(&soak, &looked, SoakState::Soak).await,
            }
        });
        looks(&soaking, &going).await;
        let written = format!("SET LOCAL lock_timeout = '20s'; {}", row(id, "NULL", "NULL"));
        soaking.database.hold(&written).await.commit().await;
        let both = format!("UPDATE people SET user_id = {ADA} WHERE id = {id}");
        soaking.run(&both).await.unwrap();
        assert!(!going.is_finished(), "it was waited for");
        let alone = soaking.run(&row(id + 10, "NULL", &sealed)).await;
        assert!(alone.is_err(), "what stands in the way of the step");
        if dies {
            going.abort();
            going.await.unwrap_err();
            held.commit().await;
            assert_eq!(soaking.state().await, SoakState::Sealed);
            // What is left is stricter than the state.
            let alone = soaking.run(&row(id + 20, "'Mom'", "NULL")).await;
            assert!(alone.is_err(), "no old binary is admitted");
            soaking.run(&row(id + 30, "'Mom'", &sealed)).await.unwrap();
            continue;
        }
        held.commit().await;
        assert!(going.await.unwrap().unwrap());
    }
    assert_eq!(soaking.state().await, SoakState::Soak);
}

/// One of them steps back, the other on, from one version.
async fn of_two_tools_that_look_at_rows_one_steps(kind: Kind) {
    if !is_postgres(kind) {
        return; // elsewhere the table is locked meanwhile
    }
    let soaking = Soaking::new(kind).await;
    soaking.until(SoakState::Sealed).await;
    soaking.insert(1, ADA, "'pending'").await.unwrap();
    let refused = soaking.soaker.admit_old_binaries(TABLE, COLUMN, false);
    refused.await.unwrap();
    let row = soaking.soaker.status(TABLE, COLUMN).await.unwrap().row;
    let held = soaking.database.hold(TOMBSTONES).await;
    let (models, soak, looked) = (soaking.models.clone(), soaking.soak.clone(), row.clone());
    let going =
        tokio::spawn(async move { models.step(&soak, &looked, SoakState::Soak).await });
    looks(&soaking, &going).await;
    let on = soaking.models.step(&soaking.soak, &row, SoakState::Retired);
    assert!(!on.await.unwrap(), "a row is pending");
    // By the guard of `Sealed`, which the other tool has brought back.
    let sealed = soaking.sealed("late");
    let alone = format!("INSERT INTO people (id, user_id, name_ct) VALUES (2, {ADA}, {sealed})");
    soaking.run(&alone).await.unwrap();
    held.commit().await;
    assert!(!going.await.unwrap().unwrap(), "a row came in behind its look");
    assert_eq!(soaking.state().await, SoakState::Sealed);
    soaking.run("DELETE FROM people").await.unwrap();
    let back = soaking.models.step(&soaking.soak, &row, SoakState::Soak);
    assert!(back.await.unwrap());
    assert!(soaking.run(&alone).await.is_err(), "plaintext counts");
}
