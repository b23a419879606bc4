//! Records of the key store that were changed, cut or swapped: refused, and never replaced by a new key.

use ophie_crypt::{KmsError, OwnerId, ProvisionError, SessionError, StoreError};
use sqlx::Row;

use super::world::{ALICE, BOB, PURPOSE, World};
use crate::db::{Pool, sql};

/// An owner's record, without the foreign key that would keep a test from changing it.
#[derive(Clone, PartialEq)]
struct Record {
    key_id: Vec<u8>,
    kek: String,
    wrapped: Vec<u8>,
    sealed: Vec<u8>,
}

async fn load(pool: &Pool, owner: &impl OwnerId) -> Record {
    let row = sqlx::query(sql(
        "SELECT dek.key_id, dek.kek, dek.wrapped, idx.sealed FROM ophie_crypt_deks AS dek \
         JOIN ophie_crypt_index_keys AS idx ON idx.owner = dek.owner WHERE dek.owner = $1",
    ))
    .bind(owner.canonical().as_bytes())
    .fetch_one(pool)
    .await
    .unwrap();
    Record {
        key_id: row.get(0),
        kek: row.get(1),
        wrapped: row.get(2),
        sealed: row.get(3),
    }
}

async fn delete(pool: &Pool, owner: &impl OwnerId, tables: &[&str]) {
    for table in tables {
        sqlx::query(sql(&format!("DELETE FROM {table} WHERE owner = $1")))
            .bind(owner.canonical().as_bytes())
            .execute(pool)
            .await
            .unwrap();
    }
}

async fn insert(pool: &Pool, owner: &impl OwnerId, record: &Record) {
    sqlx::query(sql("INSERT INTO ophie_crypt_deks (owner, generation, epoch, state, key_id, kek, wrapped) VALUES ($1, 1, 1, 'sealing', $2, $3, $4)"))
        .bind(owner.canonical().as_bytes())
        .bind(&record.key_id)
        .bind(&record.kek)
        .bind(&record.wrapped)
        .execute(pool)
        .await
        .unwrap();
    sqlx::query(sql(
        "INSERT INTO ophie_crypt_budgets (owner, generation, granted) VALUES ($1, 1, 1)",
    ))
    .bind(owner.canonical().as_bytes())
    .execute(pool)
    .await
    .unwrap();
    sqlx::query(sql("INSERT INTO ophie_crypt_index_keys (owner, generation, key_id, sealed) VALUES ($1, 1, $2, $3)"))
        .bind(owner.canonical().as_bytes())
        .bind(&record.key_id)
        .bind(&record.sealed)
        .execute(pool)
        .await
        .unwrap();
}

const KEYS: [&str; 3] = [
    "ophie_crypt_index_keys",
    "ophie_crypt_budgets",
    "ophie_crypt_deks",
];

/// Opens Alice's session, in a process of its own, after her record was changed and Bob's taken away.
async fn open_with(change: impl FnOnce(&mut Record, &Record)) -> SessionError {
    let world = World::new().await;
    let pool = crate::key_pool(&world.database).await;
    let (mut alices, bobs) = (load(&pool, &ALICE).await, load(&pool, &BOB).await);
    change(&mut alices, &bobs);
    for owner in [ALICE, BOB] {
        delete(&pool, &owner, &KEYS).await;
    }
    insert(&pool, &ALICE, &alices).await;
    let keyring = world.another_keyring().await;
    // Provisioning sees that there is a record, and neither mends nor replaces it.
    keyring.provision(&ALICE).await.unwrap();
    assert!(
        load(&pool, &ALICE).await == alices,
        "the record was replaced"
    );
    keyring.open(&ALICE, PURPOSE).await.unwrap_err()
}

fn refused(error: &SessionError) -> bool {
    matches!(error, SessionError::Kms(KmsError::Refused { .. }))
}

#[tokio::test]
async fn an_unchanged_record_opens() {
    let world = World::new().await;
    let pool = crate::key_pool(&world.database).await;
    let record = load(&pool, &ALICE).await;
    delete(&pool, &ALICE, &KEYS).await;
    insert(&pool, &ALICE, &record).await;
    world
        .another_keyring()
        .await
        .open(&ALICE, PURPOSE)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_wrong_key_id() {
    let error = open_with(|record, _| record.key_id = vec![7; 16]).await;
    assert!(matches!(error, SessionError::WrongKey), "{error:?}");
}

#[tokio::test]
async fn a_wrapped_key_cut_short() {
    for len in [0, 1, 16, 28, 76] {
        let error = open_with(|record, _| record.wrapped.truncate(len)).await;
        assert!(refused(&error), "{len}: {error:?}");
    }
}

#[tokio::test]
async fn a_wrapped_key_with_one_bit_changed() {
    for at in [0, 5, 20, 40, 76] {
        let error = open_with(|record, _| record.wrapped[at] ^= 1).await;
        assert!(refused(&error), "{at}: {error:?}");
    }
}

#[tokio::test]
async fn another_owners_wrapped_key() {
    let error = open_with(|alices, bobs| alices.wrapped.clone_from(&bobs.wrapped)).await;
    assert!(refused(&error), "{error:?}");
}

#[tokio::test]
async fn another_owners_whole_record() {
    let error = open_with(|alices, bobs| *alices = bobs.clone()).await;
    assert!(refused(&error), "{error:?}");
}

#[tokio::test]
async fn another_owners_index_key() {
    let error = open_with(|alices, bobs| alices.sealed.clone_from(&bobs.sealed)).await;
    assert!(matches!(error, SessionError::WrongKey), "{error:?}");
}

#[tokio::test]
async fn an_index_key_that_was_changed() {
    for len in [0, 17, 44, 76] {
        let error = open_with(|record, _| record.sealed.truncate(len)).await;
        assert!(matches!(error, SessionError::WrongKey), "{len}: {error:?}");
    }
    let error = open_with(|record, _| record.sealed[40] ^= 1).await;
    assert!(matches!(error, SessionError::WrongKey), "{error:?}");
}

/// A half-restored database: the owner was provisioned, so no new key may be made, and nobody should
/// be told to provision.
#[tokio::test]
async fn an_owner_whose_keys_are_gone() {
    for gone in [&KEYS[..], &KEYS[..1]] {
        let world = World::new().await;
        let pool = crate::key_pool(&world.database).await;
        delete(&pool, &ALICE, gone).await;
        let keyring = world.another_keyring().await;
        let opened = keyring.open(&ALICE, PURPOSE).await;
        assert!(
            matches!(opened, Err(SessionError::Store(StoreError::Corrupt { .. }))),
            "{opened:?}"
        );
        let provisioned = keyring.provision(&ALICE).await;
        assert!(
            matches!(
                provisioned,
                Err(ProvisionError::Store(StoreError::Corrupt { .. }))
            ),
            "{provisioned:?}"
        );
        keyring.open(&BOB, PURPOSE).await.unwrap();
    }
}
