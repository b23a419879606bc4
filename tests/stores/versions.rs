//! What a key store keeps of an owner: every generation, and a version that each change raises.

use std::time::Duration;

use ophie_crypt::{
    CanonicalId, DekBlob, DekRecord, DekState, IndexKeyRecord, MAX_INVOCATIONS, OwnerRecord,
    StoreError,
};

use crate::world::{Keys, Kind, provision};

every_database!(
    every_change_by_hand_raises_the_version,
    leases_raise_no_version,
    changes_of_a_time,
    owners_and_the_installation_are_never_deleted,
    an_owner_seals_under_one_generation,
    all_generations_are_loaded_newest_first,
    a_shredded_owner_has_no_keys,
    an_owner_whose_keys_were_removed_is_damaged,
    half_a_key_is_not_stored,
);

/// Changes by hand, in an order in which each is possible.
const CHANGES: [&str; 12] = [
    "UPDATE ophie_crypt_deks SET wrapped = key_id WHERE owner = $1",
    "UPDATE ophie_crypt_deks SET kek = 'another' WHERE owner = $1",
    "UPDATE ophie_crypt_deks SET state = 'draining' WHERE owner = $1",
    "UPDATE ophie_crypt_deks SET epoch = 2 WHERE owner = $1",
    "INSERT INTO ophie_crypt_deks (owner, generation, epoch, state, key_id, kek, wrapped) \
     SELECT owner, 2, epoch, 'announced', (SELECT id FROM ophie_crypt_installation), kek, wrapped \
     FROM ophie_crypt_deks WHERE owner = $1",
    "UPDATE ophie_crypt_deks SET kek = NULL, wrapped = NULL, sealed = key_id WHERE owner = $1 AND generation = 1",
    "DELETE FROM ophie_crypt_deks WHERE owner = $1 AND generation = 2",
    "INSERT INTO ophie_crypt_index_keys (owner, generation, state, key_id, sealed) \
     SELECT owner, 2, 'announced', key_id, sealed FROM ophie_crypt_index_keys WHERE owner = $1",
    "UPDATE ophie_crypt_index_keys SET sealed = key_id WHERE owner = $1 AND generation = 1",
    "DELETE FROM ophie_crypt_index_keys WHERE owner = $1 AND generation = 2",
    "UPDATE ophie_crypt_deks SET sealed = NULL, state = 'destroyed' WHERE owner = $1",
    "UPDATE ophie_crypt_owners SET state = 'shredded' WHERE owner = $1",
];

async fn every_change_by_hand_raises_the_version(kind: Kind) {
    let keys = Keys::new(kind).await;
    let other = CanonicalId::text("ben");
    provision(&*keys.store, &other).await.unwrap();
    assert_eq!(keys.version().await, 1, "first keys are no change");
    for (expected, sql) in (2..).zip(CHANGES) {
        assert_eq!(keys.run(sql).await.unwrap(), 1, "{sql}");
        assert_eq!(keys.version().await, expected, "{sql}");
        let changed = keys.store.changes(Duration::from_secs(600)).await.unwrap();
        assert_eq!(changed, [(keys.owner.clone(), expected)], "{sql}");
    }
    assert_eq!(keys.store.version(&other).await.unwrap(), Some(1));
    assert_eq!(
        keys.store
            .version(&CanonicalId::text("nobody"))
            .await
            .unwrap(),
        None
    );
}

async fn leases_raise_no_version(kind: Kind) {
    let keys = Keys::new(kind).await;
    for _ in 0..3 {
        let lease = keys
            .store
            .lease(&keys.request(10, MAX_INVOCATIONS))
            .await
            .unwrap();
        assert_eq!(lease.version(), 1);
    }
    assert_eq!(keys.version().await, 1);
    assert!(keys.store.changes(Duration::MAX).await.unwrap().is_empty());
}

async fn changes_of_a_time(kind: Kind) {
    let keys = Keys::new(kind).await;
    keys.run(CHANGES[0]).await.unwrap();
    let changes = |within| keys.store.changes(Duration::from_secs(within));
    let ada = [(keys.owner.clone(), 2)];
    assert_eq!(changes(3_600).await.unwrap(), ada);
    keys.run("UPDATE ophie_crypt_owners SET changed_at = '2000-01-01 00:00:00' WHERE owner = $1")
        .await
        .unwrap();
    assert_eq!(changes(3_600).await.unwrap(), []);
    assert_eq!(changes(u64::MAX).await.unwrap(), ada);
}

async fn owners_and_the_installation_are_never_deleted(kind: Kind) {
    let keys = Keys::new(kind).await;
    let refused = keys
        .run("DELETE FROM ophie_crypt_owners WHERE owner = $1")
        .await;
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("shred them"), "{message}");
    keys.database
        .run_plain("DELETE FROM ophie_crypt_installation")
        .await
        .unwrap_err();
    keys.database
        .run_plain("INSERT INTO ophie_crypt_installation (schema_version) VALUES (1)")
        .await
        .unwrap_err();
    keys.database
        .run_plain("UPDATE ophie_crypt_installation SET epoch = 0")
        .await
        .unwrap_err();
    keys.load().await.unwrap().unwrap();

    // Nor by a REPLACE, of those databases that have it.
    let shred = "UPDATE ophie_crypt_owners SET state = 'shredded' WHERE owner = $1";
    keys.run(shred).await.unwrap();
    keys.run("REPLACE INTO ophie_crypt_owners (owner) VALUES ($1)")
        .await
        .ok();
    assert!(keys.load().await.unwrap().unwrap().is_shredded());
    let epoch = "UPDATE ophie_crypt_installation SET epoch = 7";
    keys.database.run_plain(epoch).await.unwrap();
    let replace = "REPLACE INTO ophie_crypt_installation (one, schema_version) VALUES (1, 1)";
    keys.database.run_plain(replace).await.unwrap_err();
    let epoch = "SELECT epoch FROM ophie_crypt_installation";
    assert_eq!(keys.database.number(epoch).await, 7);
}

async fn an_owner_seals_under_one_generation(kind: Kind) {
    let keys = Keys::new(kind).await;
    let second = CHANGES[4].replace("'announced'", "'sealing'");
    keys.run(&second).await.unwrap_err();
    keys.run(CHANGES[4]).await.unwrap();
    keys.run("UPDATE ophie_crypt_deks SET state = 'sealing' WHERE owner = $1")
        .await
        .unwrap_err();
}

async fn all_generations_are_loaded_newest_first(kind: Kind) {
    let keys = Keys::new(kind).await;
    for sql in [CHANGES[4], CHANGES[5], CHANGES[7]] {
        keys.run(sql).await.unwrap();
    }
    let record = keys.load().await.unwrap().unwrap();
    assert_eq!(record.version(), 4);
    let deks = record
        .deks()
        .iter()
        .map(|dek| (dek.generation(), dek.state()));
    assert_eq!(
        deks.collect::<Vec<_>>(),
        [(2, DekState::Announced), (1, DekState::Sealing)]
    );
    assert!(matches!(record.deks()[0].blob(), DekBlob::Wrapped(_)));
    assert!(matches!(record.deks()[1].blob(), DekBlob::Sealed(sealed) if sealed.len() == 16));
    let index_keys = record.index_keys().iter().map(IndexKeyRecord::generation);
    assert_eq!(index_keys.collect::<Vec<_>>(), [2, 1]);
    assert_ne!(record.deks()[0].key_id(), record.deks()[1].key_id());

    // A destroyed generation is left out.
    keys.run("UPDATE ophie_crypt_deks SET state = 'destroyed', sealed = NULL WHERE owner = $1 AND generation = 1")
        .await
        .unwrap();
    let record = keys.load().await.unwrap().unwrap();
    let generations = record.deks().iter().map(DekRecord::generation);
    assert_eq!(generations.collect::<Vec<_>>(), [2]);
}

async fn a_shredded_owner_has_no_keys(kind: Kind) {
    let keys = Keys::new(kind).await;
    // Also while its keys are still there: whoever set the state by hand meant it.
    keys.run("UPDATE ophie_crypt_owners SET state = 'shredded' WHERE owner = $1")
        .await
        .unwrap();
    assert_eq!(keys.load().await.unwrap(), Some(OwnerRecord::shredded(2)));
    keys.run("UPDATE ophie_crypt_deks SET kek = NULL, wrapped = NULL WHERE owner = $1")
        .await
        .unwrap();
    assert_eq!(keys.load().await.unwrap(), Some(OwnerRecord::shredded(3)));
    provision(&*keys.store, &keys.owner).await.unwrap();
    assert_eq!(keys.load().await.unwrap(), Some(OwnerRecord::shredded(3)));
}

async fn an_owner_whose_keys_were_removed_is_damaged(kind: Kind) {
    let keys = Keys::new(kind).await;
    keys.run("UPDATE ophie_crypt_deks SET kek = NULL, wrapped = NULL WHERE owner = $1")
        .await
        .unwrap();
    let loaded = keys.load().await;
    assert!(
        matches!(
            loaded,
            Err(StoreError::Corrupt {
                reason: "an owner whose keys were removed"
            })
        ),
        "{loaded:?}"
    );
}

async fn half_a_key_is_not_stored(kind: Kind) {
    let keys = Keys::new(kind).await;
    for set in [
        "kek = NULL",
        "wrapped = NULL",
        "sealed = key_id",
        "state = 'destroyed'",
        "state = 'unheard of'",
        "generation = 0",
    ] {
        let sql = format!("UPDATE ophie_crypt_deks SET {set} WHERE owner = $1");
        assert!(keys.run(&sql).await.is_err(), "{set}");
    }
    assert_eq!(keys.version().await, 1);
}
