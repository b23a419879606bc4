//! Calls that are cut off between any two of their steps, as a time-out or a closed connection does: what follows
//! on the same pool reads no answer of theirs, waits for no lock of theirs, and grants no invocation twice.

use std::time::Duration;

use ophie_crypt::{CanonicalId, MAX_INVOCATIONS};

use crate::world::{Keys, Kind, provision};

every_database!(
    a_read_that_is_cut_off,
    a_lease_that_is_cut_off,
    a_sign_up_that_is_cut_off
);

/// Drops the future after so many turns without an end; what it gave, if it ended before.
pub(crate) async fn cut_off<F: Future>(turns: usize, future: F) -> Option<F::Output> {
    let turns = async {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        done = future => Some(done),
        () = turns => None,
    }
}

/// From one that is too short for anything to one that is long enough for all.
fn turns() -> impl Iterator<Item = usize> {
    (0..60).map(|step: usize| step * step * 4)
}

async fn a_read_that_is_cut_off(kind: Kind) {
    let keys = Keys::new(kind).await;
    let ben = CanonicalId::text("ben");
    provision(&*keys.store, &ben).await.unwrap();
    let (adas, bens) = (
        keys.load().await.unwrap(),
        keys.store.load(&ben).await.unwrap(),
    );
    assert_ne!(adas, bens);
    for turns in turns() {
        cut_off(turns, keys.store.load(&keys.owner)).await;
        assert_eq!(keys.store.load(&ben).await.unwrap(), bens, "after {turns}");
        let version = keys.store.version(&keys.owner).await.unwrap();
        assert_eq!(version, Some(1), "after {turns}");
    }
    assert_eq!(keys.load().await.unwrap(), adas);
}

async fn a_lease_that_is_cut_off(kind: Kind) {
    const COUNT: u32 = 1_000;
    let keys = Keys::new(kind).await;
    let request = keys.request(COUNT, MAX_INVOCATIONS);
    let mut granted = 1;
    for turns in turns() {
        if let Some(lease) = cut_off(turns, keys.store.lease(&request)).await {
            let now = lease.unwrap().granted();
            assert!(now >= granted + u64::from(COUNT), "{now} after {granted}");
            granted = now;
        }
        // It is granted from what nobody else has, also after one that was cut off behind its COMMIT.
        let next = keys.store.lease(&request).await.unwrap().granted();
        assert!(next >= granted + u64::from(COUNT), "{next} after {granted}");
        granted = next;
    }
    // No lock is left: a statement by hand need not wait.
    let by_hand = keys.run("UPDATE ophie_crypt_budgets SET granted = granted WHERE owner = $1");
    let by_hand = tokio::time::timeout(Duration::from_secs(60), by_hand).await;
    assert_eq!(by_hand.expect("a lock was left").unwrap(), 1);
}

/// All of the first keys, or none.
async fn a_sign_up_that_is_cut_off(kind: Kind) {
    let keys = Keys::new(kind).await;
    for turns in turns() {
        let owner = CanonicalId::text(&format!("owner {turns}"));
        cut_off(turns, provision(&*keys.store, &owner)).await;
        if let Some(record) = keys.store.load(&owner).await.unwrap() {
            assert_eq!((record.deks().len(), record.index_keys().len()), (1, 1));
        }
        provision(&*keys.store, &owner).await.unwrap();
        keys.store.load(&owner).await.unwrap().unwrap();
    }
}
