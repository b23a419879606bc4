//! What the key store does on MariaDB only: the rights of an application's role.

use std::time::Duration;

use ophie_crypt::{
    FileLedger, KeyStore, Keyring, MAX_INVOCATIONS, Models, Rotation, Shred, ShredId, ShredStore,
    WaitsFor, restore_adopt, restore_replay,
};
use ophie_crypt_sqlx::MySqlModels;
use sqlx::AssertSqlSafe;

use crate::{
    Store,
    db::Pool,
    paths::{
        store::Keys,
        world::{ALICE, kms},
    },
};

/// What `MySqlKeyStore::migrate` lists, without the audit.
const GRANTS: [&str; 8] = [
    "SELECT ON {}.ophie_crypt_installation",
    "SELECT, INSERT ON {}.ophie_crypt_owners",
    "SELECT, INSERT ON {}.ophie_crypt_deks",
    "SELECT, INSERT ON {}.ophie_crypt_index_keys",
    "SELECT, INSERT, UPDATE (granted, leased_until) ON {}.ophie_crypt_budgets",
    "SELECT, INSERT (owner) ON {}.ophie_crypt_shreds",
    "SELECT, INSERT (owner, id, requested_at, entry, appended_at) ON {}.ophie_crypt_shreds",
    "UPDATE (epoch, ledger_position, ledger_hash) ON {}.ophie_crypt_installation",
];

/// And what it lists for rotation.
const ROTATOR: [&str; 4] = [
    "UPDATE (version) ON {}.ophie_crypt_owners",
    "UPDATE (state, stated_at, kek, wrapped, sealed) ON {}.ophie_crypt_deks",
    "UPDATE (state, announced_at, stated_at, key_id, sealed), DELETE ON {}.ophie_crypt_index_keys",
    "UPDATE (announced_at) ON {}.ophie_crypt_budgets",
];

/// And for restores.
const RESTORER: [&str; 2] = [
    "SELECT, UPDATE (id, epoch, ledger_position, ledger_hash) ON {}.ophie_crypt_installation",
    "SELECT, INSERT (owner, id, requested_at, entry, appended_at) ON {}.ophie_crypt_shreds",
];

/// From the announcement to the end of the old key.
#[tokio::test]
async fn a_role_that_rotates() {
    let keys = Keys::new().await;
    let name = keys.database.name();
    let run = async |text: String| {
        let done = sqlx::raw_sql(AssertSqlSafe(text)).execute(&keys.pool);
        done.await.unwrap();
    };
    let user = name;
    let role = format!("{user}@'127.0.0.1'");
    run(format!("CREATE USER {role}")).await;
    for grant in GRANTS.iter().chain(&ROTATOR) {
        run(format!("GRANT {} TO {role}", grant.replace("{}", name))).await;
    }
    let url = keys.database.url().replace("root@", &format!("{user}@"));
    let pool = Pool::connect(&url).await.unwrap();
    let store = || Store::new(pool.clone());
    let keyring = Keyring::builder().kms(kms()).key_store(store());
    let keyring = keyring.build().unwrap();
    keyring.provision(&ALICE).await.unwrap();
    let models = MySqlModels::new(pool.clone(), Models::new());
    let rotation = Rotation::new(keyring, store(), models).without_sidecars();
    assert_eq!(rotation.begin(&ALICE).await.unwrap(), 2);
    run(
        "UPDATE ophie_crypt_budgets SET announced_at = announced_at - INTERVAL 1 HOUR, \
         leased_until = leased_until - INTERVAL 1 HOUR"
            .to_owned(),
    )
    .await;
    assert_eq!(rotation.advance(&ALICE).await.unwrap().waits_for, None);
    rotation.rewrap(&ALICE).await.unwrap();
    let destroyed = rotation.destroy(&ALICE, Duration::ZERO).await.unwrap();
    assert_eq!(destroyed.destroyed, 1);

    assert_eq!(rotation.begin_index(&ALICE).await.unwrap(), 2);
    let passes = "UPDATE ophie_crypt_index_keys SET announced_at = announced_at - INTERVAL 1 HOUR, \
                  stated_at = stated_at - INTERVAL 1 HOUR";
    for waits in [Some(WaitsFor::Announcement), Some(WaitsFor::Writers), None] {
        let waited = rotation.advance(&ALICE).await.unwrap().waits_for;
        assert_eq!(waited, waits);
        run(passes.to_owned()).await;
    }
    let destroyed = rotation.destroy(&ALICE, Duration::ZERO).await.unwrap();
    assert_eq!(destroyed.destroyed, 1);
}

#[tokio::test]
async fn a_role_that_restores() {
    let keys = Keys::new().await;
    let name = keys.database.name();
    let run = async |text: String| {
        let done = sqlx::raw_sql(AssertSqlSafe(text)).execute(&keys.pool);
        done.await.unwrap();
    };
    let role = format!("{name}@'127.0.0.1'");
    run(format!("CREATE USER {role}")).await;
    for grant in RESTORER {
        run(format!("GRANT {} TO {role}", grant.replace("{}", name))).await;
    }
    let url = keys.database.url().replace("root@", &format!("{name}@"));
    let store = Store::new(Pool::connect(&url).await.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let ledger = FileLedger::open_or_create(folder.path().join("ledger")).unwrap();
    assert_eq!(restore_adopt(&store, &ledger).await.unwrap(), 2);
    assert_eq!(restore_replay(&store, &ledger).await.unwrap(), 0);
}

#[tokio::test]
async fn a_role_that_may_change_no_key() {
    let keys = Keys::new().await;
    let name = keys.database.name();
    let run = async |text: String| {
        let done = sqlx::raw_sql(AssertSqlSafe(text)).execute(&keys.pool);
        done.await.unwrap();
    };
    let role = format!("{}@'127.0.0.1'", name);
    run(format!("CREATE USER {role}")).await;
    for grant in GRANTS {
        run(format!("GRANT {} TO {role}", grant.replace("{}", name))).await;
    }
    let user = name;
    let url = keys.database.url().replace("root@", &format!("{user}@"));
    let pool = Pool::connect(&url).await.unwrap();
    let store = Store::new(pool.clone());

    let (dek, index_key) = ophie_crypt_tests::keys::first_keys();
    let ben = ophie_crypt::CanonicalId::text("ben");
    store
        .insert_if_absent(&ben, &dek, &index_key)
        .await
        .unwrap();
    store.load(&ben).await.unwrap().expect("it was provisioned");
    store
        .lease(&keys.request(1, MAX_INVOCATIONS))
        .await
        .unwrap();
    store.shred(&ben).await.unwrap().unwrap();
    assert!(store.load(&ben).await.unwrap().unwrap().is_shredded());
    let mut restored = Shred::requested(keys.owner.clone(), ShredId::from_bytes([1; 16]), 1);
    restored.entry = Some(1);
    store.remember(&[restored]).await.unwrap();
    let head = store.installation().await.unwrap().ledger;
    store.raise_epoch(2, &head).await.unwrap();
    for text in [
        "UPDATE ophie_crypt_deks SET wrapped = key_id",
        "UPDATE ophie_crypt_shreds SET done_at = 1",
        "DELETE FROM ophie_crypt_shreds",
        "DELETE FROM ophie_crypt_index_keys",
        "UPDATE ophie_crypt_owners SET state = 'shredded'",
        "UPDATE ophie_crypt_budgets SET generation = 2",
        "UPDATE ophie_crypt_installation SET id = random_bytes(16)",
        "DROP TABLE ophie_crypt_budgets",
    ] {
        let refused = sqlx::raw_sql(text).execute(&pool).await.unwrap_err();
        assert!(refused.to_string().contains("denied"), "{text}: {refused}");
    }
}
