//! Releases of several kinds beside a soak: what one that knows no plaintext writes, and shreds.

use ophie_crypt::{
    CanonicalId, Models,
    soak::{Gate, SoakJobError, SoakState, Wrong},
};

use crate::{
    soaking::{ADA, BEN, COLUMN, PersonAfter, Soaking, TABLE, is_postgres},
    world::Kind,
};

every_database!(
    what_a_release_without_the_plaintext_wrote_is_found_on_the_way_back,
    a_release_that_names_no_plaintext_empties_that_of_the_shredded,
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
    let whole = "(id = 1 AND name = 'new') OR (id = 2 AND name = 'same')";
    assert_eq!(soaking.count(whole).await, 2);
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
