//! What a key store gives back, and the race for an owner's first keys.

use std::{slice, sync::Arc};

use futures_util::future::try_join_all;
use ophie_crypt::{CanonicalId, LeaseRequest, MAX_INVOCATIONS, StoreError};
use tokio::sync::Barrier;

use crate::world::{Database, Keys, Kind, LIFE, Store, first_keys, provision};

every_store!(
    a_race_to_provision,
    an_owner_that_was_never_provisioned,
    first_keys_come_back_as_they_were,
    owners_of_every_length,
);
every_database!(without_tables_the_error_says_so, a_migration_is_run_once);

async fn a_race_to_provision(kind: Kind) {
    let keys = Keys::new(kind).await;
    has_one_winner(keys.processes(16).await).await;
}

/// Each of the stores is another process's.
pub(crate) async fn has_one_winner(stores: Vec<Arc<dyn Store>>) {
    let owner = CanonicalId::text("raced");
    let start = Arc::new(Barrier::new(stores.len()));
    let tasks = stores.iter().map(|store| {
        let (store, owner, start) = (Arc::clone(store), owner.clone(), Arc::clone(&start));
        tokio::spawn(async move {
            start.wait().await;
            let (dek, index_key) = first_keys();
            let inserted = store.insert_if_absent(&owner, &dek, &index_key).await;
            inserted.unwrap();
            (dek, index_key, store.load(&owner).await.unwrap().unwrap())
        })
    });
    let done = try_join_all(tasks).await.unwrap();
    let winner = done[0].2.clone();
    assert_eq!((winner.version(), winner.is_shredded()), (1, false));
    assert!(done.iter().all(|(_, _, loaded)| *loaded == winner));
    let won = done.iter().filter(|(dek, index_key, _)| {
        winner.deks() == [dek.clone()] && winner.index_keys() == [index_key.clone()]
    });
    assert_eq!(won.count(), 1);
    let granted = LeaseRequest::new(owner, 1, 0, MAX_INVOCATIONS, LIFE);
    let granted = stores[0].lease(&granted).await.unwrap().granted();
    assert_eq!(granted, 1, "the index key is counted");
}

async fn an_owner_that_was_never_provisioned(kind: Kind) {
    let keys = Keys::new(kind).await;
    let nobody = CanonicalId::text("nobody");
    assert_eq!(keys.store.load(&nobody).await.unwrap(), None);
    assert_eq!(keys.store.version(&nobody).await.unwrap(), None);
}

async fn first_keys_come_back_as_they_were(kind: Kind) {
    let keys = Keys::new(kind).await;
    let owner = CanonicalId::uuid(&[0xff; 16]);
    let (dek, index_key) = first_keys();
    let inserted = keys.store.insert_if_absent(&owner, &dek, &index_key).await;
    inserted.unwrap();
    let record = keys.store.load(&owner).await.unwrap().unwrap();
    assert_eq!((record.version(), record.is_shredded()), (1, false));
    assert_eq!(record.deks(), slice::from_ref(&dek));
    assert_eq!(record.index_keys(), slice::from_ref(&index_key));
    // A second time changes nothing.
    provision(&*keys.store, &owner).await.unwrap();
    assert_eq!(keys.store.load(&owner).await.unwrap(), Some(record));
}

/// Ids that differ in case, in a trailing space or NUL, or only at their end, are owners of their own.
async fn owners_of_every_length(kind: Kind) {
    let keys = Keys::new(kind).await;
    let long = "x".repeat(CanonicalId::MAX_LEN - 1);
    let other = format!("{}y", &long[1..]);
    let owners = [
        CanonicalId::text("Ada"),
        CanonicalId::text("ada "),
        CanonicalId::text("ada\0"),
        CanonicalId::text("a\u{301}"),
        CanonicalId::text("á"),
        CanonicalId::integer(0),
        CanonicalId::integer(i64::MIN),
        CanonicalId::text(&long),
        CanonicalId::text(&other),
    ];
    for owner in &owners {
        assert_eq!(
            keys.store.load(owner).await.unwrap(),
            None,
            "{}",
            owner.to_hex()
        );
        provision(&*keys.store, owner).await.unwrap();
    }
    let mut ids = Vec::new();
    for owner in owners.iter().chain([&keys.owner]) {
        let record = keys.store.load(owner).await.unwrap().unwrap();
        ids.push(*record.deks()[0].key_id().as_bytes());
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), owners.len() + 1);
}

async fn without_tables_the_error_says_so(kind: Kind) {
    let database = Database::create(kind).await;
    let store = database.store(kind).await;
    let owner = CanonicalId::text("ada");
    for error in [
        store.load(&owner).await.map(drop),
        store.version(&owner).await.map(drop),
        store.changes(LIFE).await.map(drop),
        provision(&*store, &owner).await,
    ] {
        assert!(matches!(error, Err(StoreError::NotMigrated)), "{error:?}");
    }
}

async fn a_migration_is_run_once(kind: Kind) {
    let database = Database::create(kind).await;
    let start = Arc::new(Barrier::new(8));
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let (store, start) = (database.store(kind).await, Arc::clone(&start));
        tasks.push(tokio::spawn(async move {
            start.wait().await;
            store.migrate().await
        }));
    }
    for migrated in try_join_all(tasks).await.unwrap() {
        migrated.unwrap();
    }
    let store = database.store(kind).await;
    provision(&*store, &CanonicalId::text("ada")).await.unwrap();
    store.migrate().await.unwrap();
    assert_eq!(
        database
            .number("SELECT COUNT(*) FROM ophie_crypt_deks")
            .await,
        1
    );
    let version = "SELECT schema_version FROM ophie_crypt_installation";
    let all = ophie_crypt_sql::Migration::all(ophie_crypt_sql::Dialect::Sqlite);
    let last = all.last().expect("there are some").number();
    assert_eq!(database.number(version).await, last);
}
