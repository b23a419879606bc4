//! Releases of several kinds beside a soak: what one that knows no plaintext writes, and shreds.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use ophie_crypt::{
    CanonicalId, Error, Keyring, LocalKms, MemoryKeyStore, Models, Purpose, Session,
    soak::{Gate, PlainRow, Sealing, SoakError, SoakJobError, SoakState, SoakWatch, Wrong},
};
use ophie_crypt_sqlx::Encrypted;

use crate::{
    soaking::{
        ADA, BEN, COLUMN, Person, PersonAfter, Soaking, TABLE, after, is_mariadb, is_postgres,
    },
    world::Kind,
};

every_database!(
    what_a_release_without_the_plaintext_wrote_is_found_on_the_way_back,
    a_release_that_names_no_plaintext_empties_that_of_the_shredded,
    a_default_is_no_plaintext_that_is_refused,
    a_backfill_locks_the_rows_that_it_seals,
    a_release_that_knows_no_plaintext_writes_only_where_none_counts,
    a_snapshot_of_before_a_step_writes_no_ciphertext_alone,
    plaintext_of_who_was_shredded_stands_in_no_way,
    who_has_only_read_is_waited_for,
);

/// It is gone when the column steps back.
async fn what_a_release_without_the_plaintext_wrote_is_found_on_the_way_back(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    soaking.insert(1, ADA, "'old'").await.unwrap();
    soaking.insert(2, ADA, "'same'").await.unwrap();
    soaking.until(SoakState::Retired).await;
    let (sealed, fingerprint) = (soaking.sealed("new"), soaking.fingerprint("new"));
    let write =
        format!("UPDATE people SET name_ct = {sealed}, name_fp = {fingerprint} WHERE id = 1");
    soaking.run(&write).await.unwrap();
    let soaker = &soaking.soaker;
    soaker.step(TABLE, COLUMN, SoakState::Sealed).await.unwrap();
    soaking.watch.beat().await.unwrap();
    // Beside plaintext that it does not know, its NULL would be no value any more.
    let null = "UPDATE people SET name_ct = NULL, name_fp = NULL WHERE id = 2";
    let refused = soaking.run(null).await.unwrap_err().to_string();
    assert!(
        refused.contains("plaintext without ciphertext"),
        "{refused}"
    );

    let report = soaker.verify(TABLE, COLUMN).await.unwrap();
    let wrong: Vec<_> = report
        .wrong
        .iter()
        .map(|row| (&*row.key, row.wrong))
        .collect();
    assert_eq!(wrong, [("1", Wrong::Differs)]);
    let unverified = |done| match done {
        Err(SoakJobError::Gates { unmet, .. }) => unmet == [Gate::Verified],
        _ => false,
    };
    assert!(unverified(
        soaker.step(TABLE, COLUMN, SoakState::Soak).await
    ));
    let admitted = soaker.admit_old_binaries(TABLE, COLUMN, true).await;
    assert!(unverified(admitted));

    assert_eq!(soaker.decrypt_back(TABLE, COLUMN).await.unwrap(), 1);
    let whole = format!(
        "(id = 1 AND name = 'new' AND name_fp = {fingerprint}) OR (id = 2 AND name = 'same')"
    );
    assert_eq!(soaking.count(&whole).await, 2);
    let report = soaker.verify(TABLE, COLUMN).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    soaker.step(TABLE, COLUMN, SoakState::Soak).await.unwrap();
}

/// A process of the release of before or after finishes the shred.
async fn a_release_that_names_no_plaintext_empties_that_of_the_shredded(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    soaking.insert(1, ADA, "'Mom'").await.unwrap();
    soaking.insert(2, BEN, "'Ben'").await.unwrap();
    soaking.until(SoakState::DualWrite).await;
    let other = Models::new().with_kept::<PersonAfter>("for a year");
    let other = soaking.database.models(kind, other).await;
    soaking.keyring.shred(&ADA).await.unwrap();
    let ada = CanonicalId::integer(ADA);
    other.bury(&ada).await.unwrap();
    assert_eq!(other.tombstone(&ada, TABLE, 100).await.unwrap(), 1);
    assert_eq!(other.tombstone(&ada, TABLE, 100).await.unwrap(), 0);
    assert_eq!(soaking.count("name IS NULL").await, 1);
    assert_eq!(soaking.count("name = 'Ben'").await, 1);
}

/// Its snapshot is from before the shred, and so is what the guard sees in it.
async fn who_has_only_read_is_waited_for(kind: Kind) {
    if !is_postgres(kind) {
        return; // elsewhere the guard reads what is committed
    }
    let soaking = Soaking::new(kind).await;
    soaking.until(SoakState::DualWrite).await;
    let read = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1";
    let held = soaking.database.hold(read).await;
    soaking.keyring.shred(&ADA).await.unwrap();
    soaking
        .models
        .bury(&CanonicalId::integer(ADA))
        .await
        .unwrap();
    let writers = soaking.models.writers().await.unwrap();
    assert!(!writers.is_empty(), "one may still write");
    held.commit().await;
    loop {
        let now = soaking.models.writers().await.unwrap();
        if !now.iter().any(|writer| writers.contains(writer)) {
            break;
        }
    }
}

async fn a_release_that_knows_no_plaintext_writes_only_where_none_counts(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    soaking.until(SoakState::Retired).await;
    let after = Models::new().with::<PersonAfter>();
    let models = soaking.database.models(kind, after).await;
    let process = async || {
        let after = SoakWatch::new(models.clone()).unwrap();
        let keyring = Keyring::builder()
            .kms(LocalKms::ephemeral().unwrap())
            .key_store(MemoryKeyStore::new())
            .soak_watch(after.clone())
            .build()
            .unwrap();
        let session = keyring.open_or_provision(&ADA, Purpose::new("test"));
        (after, session.await.unwrap())
    };
    let seals = |session: &Session| {
        let value = Encrypted::<String, after::name>::new("Mom");
        let many = Encrypted::seal_many(core::slice::from_ref(&value), session);
        let one = value.seal(session);
        assert_eq!(many.is_ok(), one.is_ok());
        one.map(drop).map_err(|error| error.get().clone())
    };
    let (after, mut session) = process().await;
    seals(&session).expect("it knows of no soak yet");
    after.beat().await.unwrap();
    seals(&session).unwrap();
    after.stop().await.unwrap();
    let stale = seals(&session);
    assert!(matches!(stale, Err(Error::Soak(SoakError::Stale { .. }))));
    // The column steps back.
    for (to, may) in [(SoakState::Sealed, true), (SoakState::Soak, false)] {
        let row = soaking.soaker.status(TABLE, COLUMN).await.unwrap().row;
        assert!(soaking.models.step(&soaking.soak, &row, to).await.unwrap());
        let (after, another) = process().await;
        after.beat().await.unwrap();
        assert_eq!(seals(&another).is_ok(), may, "in {to}");
        session = another;
    }
    let Err(Error::Soak(SoakError::BelowFloor { floor, .. })) = seals(&session) else {
        panic!("plaintext counts")
    };
    assert_eq!(floor, SoakState::Sealed);
}

/// A process that goes by `Retired` has read, and writes once plaintext counts again.
async fn a_snapshot_of_before_a_step_writes_no_ciphertext_alone(kind: Kind) {
    if !is_postgres(kind) {
        return; // elsewhere the guard reads what is committed
    }
    let soaking = Soaking::new(kind).await;
    soaking.until(SoakState::Retired).await;
    let soaker = &soaking.soaker;
    soaker.step(TABLE, COLUMN, SoakState::Sealed).await.unwrap();
    soaking.watch.beat().await.unwrap();
    soaker.verify(TABLE, COLUMN).await.unwrap();
    let late = |id: i64| {
        let sealed = soaking.sealed("late");
        format!("INSERT INTO people (id, user_id, name_ct) VALUES ({id}, {ADA}, {sealed})")
    };
    let read = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT name FROM people";
    // Old binaries are admitted, or the column steps: either way plaintext counts.
    for (id, steps) in [(1, false), (2, true)] {
        let mut held = soaking.database.hold(read).await;
        if steps {
            soaking.watch.beat().await.unwrap();
            soaker.verify(TABLE, COLUMN).await.unwrap();
            soaker.step(TABLE, COLUMN, SoakState::Soak).await.unwrap();
        } else {
            let admitted = soaker.admit_old_binaries(TABLE, COLUMN, true).await;
            admitted.unwrap();
        }
        let written = held.run(&late(id)).await;
        let message = written.unwrap_err().to_string();
        assert!(message.contains("plaintext counts"), "{message}");
        drop(held);
        if !steps {
            let admitted = soaker.admit_old_binaries(TABLE, COLUMN, false).await;
            admitted.unwrap();
            soaking.run(&late(3)).await.expect("ciphertext counts");
            soaking.run("DELETE FROM people").await.unwrap();
        }
    }
}

/// Of one before the column soaked at all; of another by a hand that left the plaintext.
async fn plaintext_of_who_was_shredded_stands_in_no_way(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    for (id, owner) in [(1, ADA), (2, BEN), (3, 9)] {
        soaking.insert(id, owner, "'Mom'").await.unwrap();
    }
    let shredded = async |owner: i64| {
        soaking.keyring.shred(&owner).await.unwrap();
        let owner = CanonicalId::integer(owner);
        soaking.models.bury(&owner).await.unwrap();
    };
    shredded(ADA).await;
    soaking.until(SoakState::Verify).await; // nothing is pending
    assert_eq!(soaking.count("id = 1 AND name IS NULL").await, 1);
    soaking.until(SoakState::Soak).await;
    shredded(BEN).await;
    let soaker = &soaking.soaker;
    let report = soaker.verify(TABLE, COLUMN).await.unwrap();
    assert_eq!(report.wrong_rows, 1, "{report:?}");
    soaker.backfill(TABLE, COLUMN).await.unwrap();
    assert_eq!(soaking.count("name IS NULL AND name_ct IS NULL").await, 2);
    let report = soaker.verify(TABLE, COLUMN).await.unwrap();
    assert!(report.is_clean() && report.rows == 1, "{report:?}");
}

/// A release that does not name the plaintext column writes its default.
async fn a_default_is_no_plaintext_that_is_refused(kind: Kind) {
    let people = "CREATE TABLE people (id INTEGER PRIMARY KEY, user_id BIGINT NOT NULL, name VARCHAR(80) DEFAULT '')";
    let models = || Models::new().with::<Person>();
    let soaking = Soaking::of(kind, models(), TABLE, COLUMN, people).await;
    if !is_mariadb(kind) && !is_postgres(kind) {
        assert!(soaking.soaker.expand(TABLE, COLUMN).await.is_err());
        for (columns, soaks) in [
            (
                "(id INTEGER PRIMARY KEY, user_id BIGINT, name TEXT) WITHOUT ROWID",
                false,
            ),
            ("(rowid TEXT PRIMARY KEY, user_id BIGINT, name TEXT)", false),
            (
                "(rowid INTEGER, id TEXT, user_id BIGINT, name TEXT, PRIMARY KEY (rowid, id))",
                false,
            ),
            (
                "(RowId INTEGER PRIMARY KEY, user_id BIGINT, name TEXT)",
                true,
            ),
        ] {
            let people = format!("CREATE TABLE people {columns}");
            let soaking = Soaking::of(kind, models(), TABLE, COLUMN, &people).await;
            let expanded = soaking.soaker.expand(TABLE, COLUMN).await;
            assert_eq!(expanded.is_ok(), soaks, "{columns}");
        }
        return;
    }
    soaking.until(SoakState::Retired).await;
    soaking.soaker.null_out(TABLE, COLUMN).await.unwrap();
    let (sealed, fingerprint) = (soaking.sealed("Mom"), soaking.fingerprint("Mom"));
    let insert = format!(
        "INSERT INTO people (id, user_id, name_ct, name_fp) VALUES (1, {ADA}, {sealed}, {fingerprint})"
    );
    soaking.run(&insert).await.unwrap();
    assert_eq!(soaking.count("name IS NULL").await, 1);
}

/// Of a table in which one row is pending, the others may be written meanwhile.
async fn a_backfill_locks_the_rows_that_it_seals(kind: Kind) {
    if !is_mariadb(kind) && !is_postgres(kind) {
        return; // one writer at a time
    }
    let soaking = Soaking::new(kind).await;
    for id in 1..=20 {
        soaking.insert(id, ADA, "NULL").await.unwrap();
    }
    soaking.insert(0, ADA, "'Mom'").await.unwrap();
    soaking.until(SoakState::Backfill).await;
    let (looks, looking) = mpsc::channel();
    let (goes_on, go_on) = mpsc::channel::<()>();
    let channels = Mutex::new((looks, go_on));
    let seal = Arc::new(move |rows: &[PlainRow]| {
        let (looks, go_on) = &*channels.lock().unwrap();
        looks.send(rows.len()).unwrap();
        // Other tasks go on meanwhile, those too that this thread had next.
        tokio::task::block_in_place(|| go_on.recv_timeout(Duration::from_secs(60)).ok());
        rows.iter().map(|_| Sealing::Skip).collect()
    });
    let mut pass = soaking.models.pass(&soaking.soak).await.unwrap();
    let filling = tokio::spawn(async move { pass.fill(500, seal).await });
    let rows = tokio::task::spawn_blocking(move || looking.recv().unwrap());
    assert_eq!(rows.await.unwrap(), 1);
    soaking
        .run("UPDATE people SET user_id = 9 WHERE id = 20")
        .await
        .unwrap();
    soaking.insert(21, ADA, "NULL").await.unwrap();
    let still = !filling.is_finished();
    goes_on.send(()).ok();
    filling.await.unwrap().unwrap();
    assert!(still, "they waited for it");
}
