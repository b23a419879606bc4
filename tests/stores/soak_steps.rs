//! Steps while others read and write the table, and steps and jobs that are cut off.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use ophie_crypt::soak::{SoakJobError, SoakState, Soaker};

use crate::{
    soaking::{ADA, COLUMN, Soaking, TABLE, is_mariadb, is_postgres},
    world::Kind,
};

every_database!(
    a_job_says_that_another_tool_moved_the_column,
    a_step_that_is_cut_off_leaves_a_trigger_that_refuses,
    before_a_column_is_plain_again_its_ciphertext_goes_in_batches,
    no_moment_of_a_step_is_without_a_trigger,
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
        format!(
            "INSERT INTO people (id, user_id, name, name_ct) VALUES ({id}, {ADA}, {name}, {sealed})"
        )
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
        let written = format!(
            "SET LOCAL lock_timeout = '20s'; {}",
            row(id, "NULL", "NULL")
        );
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
    let going = tokio::spawn(async move { models.step(&soak, &looked, SoakState::Soak).await });
    looks(&soaking, &going).await;
    let on = soaking.models.step(&soaking.soak, &row, SoakState::Retired);
    assert!(!on.await.unwrap(), "a row is pending");
    // It has looked, and is held up before it steps: by the guard of `Sealed`, which the other tool has brought back, a row
    // comes in.
    let late = soaking
        .database
        .hold("SELECT 1 FROM ophie_crypt_soaks FOR UPDATE");
    let late = late.await;
    held.commit().await;
    let waits = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
                 AND wait_event_type = 'Lock' AND wait_event IN ('transactionid', 'tuple')";
    while soaking.database.number(waits).await == 0 {
        assert!(!going.is_finished(), "it did not wait");
    }
    let sealed = soaking.sealed("late");
    let alone = format!("INSERT INTO people (id, user_id, name_ct) VALUES (2, {ADA}, {sealed})");
    soaking.run(&alone).await.unwrap();
    late.commit().await;
    assert!(
        !going.await.unwrap().unwrap(),
        "a row came in behind its look"
    );
    assert_eq!(soaking.state().await, SoakState::Sealed);
    soaking.run("DELETE FROM people").await.unwrap();
    let back = soaking.models.step(&soaking.soak, &row, SoakState::Soak);
    assert!(back.await.unwrap());
    assert!(soaking.run(&alone).await.is_err(), "plaintext counts");
}

/// Where each statement counts at once: seen from beside, while triggers come and go.
async fn no_moment_of_a_step_is_without_a_trigger(kind: Kind) {
    if !is_mariadb(kind) {
        return; // elsewhere a step is one transaction
    }
    let soaking = Arc::new(Soaking::new(kind).await);
    soaking.until(SoakState::Retired).await;
    let (ends, beside) = (Arc::new(AtomicBool::new(false)), Arc::clone(&soaking));
    let ended = Arc::clone(&ends);
    let watching = tokio::spawn(async move {
        let one_of = |kinds: &str| {
            format!(
                "SELECT COUNT(*) FROM information_schema.triggers WHERE event_object_schema = database() \
                 AND trigger_name REGEXP '^zz_ophie_crypt_soak_{kinds}_'"
            )
        };
        let mut looks = 0;
        while !ended.load(SeqCst) {
            for kinds in ["[gr]i", "[gr]u"] {
                assert!(beside.database.number(&one_of(kinds)).await > 0, "{kinds}");
            }
            looks += 1;
        }
        looks
    });
    for _ in 0..6 {
        for to in [
            None,
            None,
            Some(SoakState::Sealed),
            Some(SoakState::Retired),
        ] {
            let row = soaking.soaker.status(TABLE, COLUMN).await.unwrap().row;
            let done = match to {
                None => soaking.models.close(&soaking.soak, &row).await,
                Some(to) => soaking.models.step(&soaking.soak, &row, to).await,
            };
            assert!(done.unwrap());
        }
    }
    ends.store(true, SeqCst);
    assert!(watching.await.unwrap() > 0);
}

/// Between any two statements that change triggers; called again, it goes to its end.
async fn a_step_that_is_cut_off_leaves_a_trigger_that_refuses(kind: Kind) {
    if !is_mariadb(kind) {
        return; // elsewhere a step is one transaction
    }
    let soaking = Soaking::new(kind).await;
    soaking.insert(1, ADA, "'Mom'").await.unwrap();
    soaking.until(SoakState::Retired).await;
    let guard = "SELECT MIN(trigger_name) FROM information_schema.triggers \
                 WHERE event_object_schema = database() AND trigger_name LIKE 'zz\\_ophie\\_crypt\\_soak\\_gi%'";
    let guard = soaking.database.text(guard).await;
    soaking.run("CREATE TABLE others (id INT)").await.unwrap();
    let refuses = async |cut: &str| {
        for plain in [
            format!("INSERT INTO people (id, user_id, name) VALUES (2, {ADA}, 'late')"),
            "UPDATE people SET name = 'late' WHERE id = 1".to_owned(),
        ] {
            assert!(soaking.run(&plain).await.is_err(), "{plain}, {cut}");
        }
    };
    let step = async |to: Option<SoakState>| {
        let row = soaking.soaker.status(TABLE, COLUMN).await.unwrap().row;
        match to {
            None => soaking.models.close(&soaking.soak, &row).await,
            Some(SoakState::Dropped) => soaking.models.drop_twin(&soaking.soak, &row).await,
            Some(to) => soaking.models.step(&soaking.soak, &row, to).await,
        }
    };
    for (to, cuts) in [
        (None, ["_ri_", "_ru_"]),
        (Some(SoakState::Sealed), ["_gi_", "_gu_"]),
    ] {
        for cut in cuts {
            // A name that another table has.
            let name = guard.replace("_gi_", cut);
            let clash =
                format!("CREATE TRIGGER {name} BEFORE INSERT ON others FOR EACH ROW SET @cut = 1");
            soaking.run(&clash).await.unwrap();
            let done = step(to).await;
            assert!(done.is_err(), "{done:?}, {cut}");
            refuses(cut).await;
            soaking.run(&format!("DROP TRIGGER {name}")).await.unwrap();
        }
        assert!(step(to).await.unwrap());
        refuses("its end").await;
    }
    assert!(step(Some(SoakState::Retired)).await.unwrap());
    let empty = "UPDATE people SET name = NULL";
    soaking.run(empty).await.unwrap();
    soaking.watch.stop().await.unwrap();
    let needs = "ALTER TABLE people ADD CONSTRAINT needs CHECK (name IS NULL OR id > 0)";
    soaking.run(needs).await.unwrap();
    step(Some(SoakState::Dropped))
        .await
        .expect_err("a CHECK names it");
    refuses("the column").await;
    for by_hand in ["DROP CONSTRAINT needs", "DROP COLUMN name"] {
        soaking
            .run(&format!("ALTER TABLE people {by_hand}"))
            .await
            .unwrap();
    }
    let sealed = soaking.sealed("Mom");
    let row = format!("INSERT INTO people (id, user_id, name_ct) VALUES (3, {ADA}, {sealed})");
    soaking
        .run(&row)
        .await
        .expect_err("its triggers name it yet");
    assert!(step(Some(SoakState::Dropped)).await.unwrap());
    soaking.run(&row).await.unwrap();
    assert_eq!(soaking.state().await, SoakState::Dropped);
}

/// The step itself, while it has the table, finds only what others held.
async fn before_a_column_is_plain_again_its_ciphertext_goes_in_batches(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    for id in 0..40 {
        soaking.insert(id, ADA, "'Mom'").await.unwrap();
    }
    soaking.until(SoakState::Backfill).await;
    soaking.soaker.backfill(TABLE, COLUMN).await.unwrap();
    for state in [SoakState::DualWrite, SoakState::Expand] {
        soaking.soaker.step(TABLE, COLUMN, state).await.unwrap();
        soaking.watch.beat().await.unwrap();
    }
    soaking.watch.stop().await.unwrap(); // its floor
    let seen = Arc::new(Mutex::new(Vec::new()));
    let stops = soaking.soaker.clone().batch(7);
    let (stop, told) = (stops.stop_handle(), Arc::clone(&seen));
    let stops = stops.watch(move |progress| {
        let mut told = told.lock().unwrap();
        told.push((progress.done, progress.total));
        if told.len() == 3 {
            stop.stop();
        }
    });
    let stopped = stops.step(TABLE, COLUMN, SoakState::Plain).await;
    assert!(matches!(stopped, Err(SoakJobError::Stopped)), "{stopped:?}");
    assert_eq!(*seen.lock().unwrap(), [(7, 40), (14, 40), (21, 40)]);
    assert_eq!(soaking.state().await, SoakState::Expand);
    assert_eq!(
        soaking.count("name_ct IS NULL AND name_fp IS NULL").await,
        21
    );
    // Another tool: each batch behind the one before.
    let soaker = Soaker::new(&soaking.keyring, soaking.models.clone()).batch(7);
    soaker.step(TABLE, COLUMN, SoakState::Plain).await.unwrap();
    assert_eq!(soaking.state().await, SoakState::Plain);
    assert_eq!(
        soaking
            .count("name = 'Mom' AND name_ct IS NULL AND name_fp IS NULL")
            .await,
        40
    );
    // Elsewhere nothing is taken.
    soaking.soaker.expand(TABLE, COLUMN).await.unwrap();
    soaking.until(SoakState::DualWrite).await;
    let sealed = soaking.sealed("Mom");
    let change = format!("UPDATE people SET name_ct = {sealed} WHERE id = 1");
    soaking.run(&change).await.unwrap();
    let emptied = soaking.models.empty_sealed(&soaking.soak, None, 7).await;
    assert!(emptied.unwrap().is_empty());
    assert_eq!(soaking.count("name_ct IS NOT NULL").await, 1);
}

/// After its first batch.
async fn a_job_says_that_another_tool_moved_the_column(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    for id in 1..=3 {
        soaking.insert(id, ADA, "'Mom'").await.unwrap();
    }
    soaking.until(SoakState::Retired).await;
    for (job, to) in [
        ("null-out", SoakState::Sealed),
        ("decrypt-back", SoakState::Retired),
    ] {
        if to == SoakState::Retired {
            let empty = "UPDATE people SET name = NULL, name_ct = name_ct";
            soaking.run(empty).await.unwrap();
            for (id, name) in [(1, "Mom"), (2, "Dad"), (3, "Ben")] {
                let (sealed, fp) = (soaking.sealed(name), soaking.fingerprint(name));
                let late =
                    format!("UPDATE people SET name_ct = {sealed}, name_fp = {fp} WHERE id = {id}");
                soaking.run(&late).await.unwrap();
            }
        }
        let row = soaking.soaker.status(TABLE, COLUMN).await.unwrap().row;
        let (models, soak, here) = (
            soaking.models.clone(),
            soaking.soak.clone(),
            tokio::runtime::Handle::current(),
        );
        let moves = Soaker::new(&soaking.keyring, soaking.models.clone()).batch(1);
        let moves = moves.watch(move |progress| {
            if progress.done != 1 {
                return;
            }
            tokio::task::block_in_place(|| {
                here.block_on(async {
                    assert!(models.step(&soak, &row, to).await.unwrap());
                    if to == SoakState::Retired {
                        let rows = models.soaks().await.unwrap();
                        assert!(models.close(&soak, &rows[0]).await.unwrap());
                    }
                });
            });
        });
        let done = match to {
            SoakState::Sealed => moves.null_out(TABLE, COLUMN).await,
            _ => moves.decrypt_back(TABLE, COLUMN).await,
        };
        assert!(
            matches!(done, Err(SoakJobError::Interrupted)),
            "{done:?}, {job}"
        );
        assert_eq!(soaking.state().await, to);
    }
}
