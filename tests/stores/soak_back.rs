//! The ways back of a soak, and what stands in them, on every database.

#![allow(
    dead_code,
    reason = "models: their fields are columns, which nothing here reads"
)]

use ophie_crypt::{
    Models,
    soak::{Gate, SoakJobError, SoakState, SoakWatch},
};

use crate::{
    soaking::{ADA, COLUMN, PersonAfter, Soaking, TABLE},
    world::Kind,
};

every_database!(a_release_that_knows_no_plaintext_keeps_it_from_counting_again,);

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
