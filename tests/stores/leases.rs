//! The budget under a DEK: what is granted, to whom, and no more.

use std::{sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use ophie_crypt::{CanonicalId, Lease, LeaseError, LeaseRequest, MAX_INVOCATIONS, StoreError};
use tokio::sync::Barrier;

use crate::world::{Keys, Kind, LIFE, Store};

every_store!(leases_up_to_a_limit);
every_database!(
    no_limit_admits_more_than_two_to_the_32,
    an_expiry_is_only_extended,
    what_does_not_seal_gets_no_lease,
);

fn exhausted(result: &Result<Lease, LeaseError>) -> bool {
    matches!(result, Err(LeaseError::Exhausted))
}

fn not_sealing(result: &Result<Lease, LeaseError>) -> bool {
    matches!(result, Err(LeaseError::NotSealing))
}

async fn granted(keys: &Keys) -> i64 {
    keys.database
        .number("SELECT granted FROM ophie_crypt_budgets")
        .await
}

async fn leased_until(keys: &Keys) -> String {
    let sql = "SELECT CAST(leased_until AS char(40)) FROM ophie_crypt_budgets";
    keys.database.text(sql).await
}

/// 16 processes lease 700 at a time, of 10,000 of which the index key took one.
pub(crate) async fn is_never_passed(owner: CanonicalId, stores: Vec<Arc<dyn Store>>) {
    const LIMIT: u64 = 10_000;
    let request = |count| LeaseRequest::new(owner.clone(), 1, count, LIMIT, LIFE);
    let start = Arc::new(Barrier::new(stores.len()));
    let tasks = stores.iter().map(|store| {
        let (store, request, start) = (Arc::clone(store), request(700), Arc::clone(&start));
        tokio::spawn(async move {
            start.wait().await;
            let mut leased = 0;
            loop {
                match store.lease(&request).await {
                    Ok(lease) => leased = u64::saturating_add(leased, lease.count().into()),
                    Err(LeaseError::Exhausted) => return leased,
                    Err(error) => panic!("{error:?}"),
                }
            }
        })
    });
    let leased: u64 = try_join_all(tasks).await.unwrap().iter().sum();
    assert_eq!(leased, 14 * 700, "as many as fit, no more");
    let rest = stores[0].lease(&request(199)).await.unwrap();
    assert_eq!(
        (rest.count(), rest.granted(), rest.version()),
        (199, LIMIT, 1)
    );
    for store in &stores {
        assert!(exhausted(&store.lease(&request(1)).await));
    }
    let extended = stores[0].lease(&request(0)).await.unwrap();
    assert_eq!((extended.count(), extended.granted()), (0, LIMIT));
}

async fn leases_up_to_a_limit(kind: Kind) {
    let keys = Keys::new(kind).await;
    is_never_passed(keys.owner.clone(), keys.processes(16).await).await;
    let later = keys.database.store(kind).await;
    assert!(exhausted(&later.lease(&keys.request(1, 10_000)).await));
    let more = later.lease(&keys.request(1, 10_001)).await.unwrap();
    assert_eq!(more.granted(), 10_001);
}

async fn no_limit_admits_more_than_two_to_the_32(kind: Kind) {
    let keys = Keys::new(kind).await;
    keys.run("UPDATE ophie_crypt_budgets SET granted = 4294967291 WHERE owner = $1")
        .await
        .unwrap();
    assert!(exhausted(
        &keys.store.lease(&keys.request(6, u64::MAX)).await
    ));
    let lease = keys.store.lease(&keys.request(5, u64::MAX)).await.unwrap();
    assert_eq!(lease.granted(), MAX_INVOCATIONS);
    assert!(exhausted(
        &keys.store.lease(&keys.request(1, u64::MAX)).await
    ));
    assert!(exhausted(
        &keys.store.lease(&keys.request(u32::MAX, u64::MAX)).await
    ));
    // Nor does a statement by hand.
    keys.run("UPDATE ophie_crypt_budgets SET granted = granted + 1 WHERE owner = $1")
        .await
        .unwrap_err();
    assert_eq!(granted(&keys).await, 4_294_967_296);
}

async fn an_expiry_is_only_extended(kind: Kind) {
    let keys = Keys::new(kind).await;
    let mut request = keys.request(0, MAX_INVOCATIONS);
    let mut last = leased_until(&keys).await;
    for (life, later) in [
        (600, true),
        (60, false),
        (1_200, true),
        (u64::MAX, true),
        (1, false),
    ] {
        request.life = Duration::from_secs(life);
        keys.store.lease(&request).await.unwrap();
        let now = leased_until(&keys).await;
        assert_eq!(now > last, later, "{life}: {last} -> {now}");
        last = now;
    }
}

async fn what_does_not_seal_gets_no_lease(kind: Kind) {
    let keys = Keys::new(kind).await;
    let request = keys.request(1, MAX_INVOCATIONS);
    let lease = || keys.store.lease(&request);
    for state in ["announced", "draining", "retired"] {
        let set = format!("UPDATE ophie_crypt_deks SET state = '{state}' WHERE owner = $1");
        keys.run(&set).await.unwrap();
        assert!(not_sealing(&lease().await), "{state}");
    }
    keys.run("UPDATE ophie_crypt_deks SET state = 'sealing' WHERE owner = $1")
        .await
        .unwrap();
    lease().await.unwrap();

    keys.database
        .run_plain("UPDATE ophie_crypt_installation SET epoch = 2")
        .await
        .unwrap();
    let old = lease().await;
    assert!(matches!(old, Err(LeaseError::OldEpoch)), "{old:?}");
    keys.run("UPDATE ophie_crypt_deks SET epoch = 2 WHERE owner = $1")
        .await
        .unwrap();
    lease().await.unwrap();

    let mut other = request.clone();
    other.generation = 2;
    assert!(not_sealing(&keys.store.lease(&other).await));
    let mut other = request.clone();
    other.owner = CanonicalId::text("nobody");
    assert!(not_sealing(&keys.store.lease(&other).await));
    assert_eq!(granted(&keys).await, 3, "a refusal was counted");

    keys.run("DELETE FROM ophie_crypt_budgets WHERE owner = $1")
        .await
        .unwrap();
    let without = lease().await;
    assert!(
        matches!(without, Err(LeaseError::Store(StoreError::Corrupt { .. }))),
        "{without:?}"
    );

    keys.run("UPDATE ophie_crypt_owners SET state = 'shredded' WHERE owner = $1")
        .await
        .unwrap();
    assert!(not_sealing(&lease().await), "a shredded owner");
}

/// A row that an administrator keeps locked costs a time-out, not the pool's connections for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_stays_locked_on_postgres() {
    let keys = Keys::new(Kind::SqlxPostgres).await;
    let crate::world::Database::Postgres(database) = &keys.database else {
        unreachable!("its kind says so")
    };
    let mut locked = database.pool().begin().await.unwrap();
    let lock = "SELECT granted FROM ophie_crypt_budgets FOR UPDATE";
    sqlx::query(lock).execute(&mut *locked).await.unwrap();
    for kind in [
        Kind::SqlxPostgres,
        Kind::DieselPostgres,
        Kind::AsyncPostgres,
    ] {
        let store = keys.database.store(kind).await;
        let refused = store.lease(&keys.request(1, MAX_INVOCATIONS)).await;
        assert!(
            matches!(
                refused,
                Err(LeaseError::Store(StoreError::Unavailable { .. }))
            ),
            "{refused:?}"
        );
    }
    locked.rollback().await.unwrap();
    let lease = keys
        .store
        .lease(&keys.request(1, MAX_INVOCATIONS))
        .await
        .unwrap();
    assert_eq!(lease.granted(), 2, "a refusal was counted");
}
