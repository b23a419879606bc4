//! The ordinary life of rows and keys, and what must fail. Compiled for each database, whose file has the SQL
//! that differs.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use ophie_crypt::{
    CanonicalId, EncryptedModel, GeneratedDek, Json, KeyStore, Keyring, Kms, KmsCall, KmsError,
    LocalKms, OwnerId, Purpose,
};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner};
use sqlx::{ConnectOptions, QueryBuilder, pool::PoolOptions};
use uuid::Uuid;

use super::{
    Store,
    db::{Database, Db, Pool, sql},
    jobs,
};
use crate::{
    passed_on::pass_on,
    search::{CONTROL, Planted, canaries},
    texts::Texts,
};

#[derive(Debug, EncryptedModel, sqlx::FromRow)]
#[crypt(table = "notes")]
#[allow(dead_code, reason = "printed, not read")]
pub(crate) struct Note {
    #[crypt(plain)]
    id: i32,
    user_id: Owner<Uuid>,
    pub(crate) text: Encrypted<String, note::text>,
    data: Option<Encrypted<Vec<u8>, note::data>>,
    mood: Option<Encrypted<Json<Vec<String>>, note::mood>>,
    #[crypt(index_of = "text", normalize = "name")]
    text_fp: Option<BlindIndex<String, note::text_fp>>,
    #[crypt(plain)]
    label: Option<String>,
}

/// Keeps a copy of every DEK that passes, so that the test can search for it.
pub(crate) struct Spy<K>(pub(crate) K, pub(crate) Arc<Mutex<Vec<[u8; 32]>>>);

#[async_trait]
impl<K: Kms> Kms for Spy<K> {
    pass_on!(0: unwrap_dek, rewrap_dek, forget_all_but, holds);

    async fn make_dek(&self, call: &KmsCall) -> Result<GeneratedDek, KmsError> {
        let made = self.0.make_dek(call).await?;
        self.1.lock().unwrap().push(*made.dek.expose_secret());
        Ok(made)
    }
}

/// The index keys in clear, as SPEC.md says to read them.
async fn index_key(store: &Store, owner: &CanonicalId, dek: &[u8; 32]) -> Vec<u8> {
    use aes_gcm::{
        Aes256Gcm, KeyInit,
        aead::{Aead, Payload},
    };

    let record = store.load(owner).await.unwrap().unwrap();
    let [index_key] = record.index_keys() else {
        panic!("one index key");
    };
    let sealed = index_key.sealed();
    let mut key = [0; 32];
    hkdf::Hkdf::<sha2::Sha256>::new(None, dek)
        .expand(b"ophie-crypt/v1/seal", &mut key)
        .unwrap();
    let parts: [&[u8]; 4] = [
        b"ophie-crypt/v1/index-key",
        &sealed[..17],
        owner.as_bytes(),
        &[index_key.generation()],
    ];
    let mut aad = 4_u64.to_le_bytes().to_vec();
    for part in parts {
        aad.extend(u64::try_from(part.len()).unwrap().to_le_bytes());
        aad.extend(part);
    }
    let nonce = sealed[17..29].try_into().unwrap();
    let payload = Payload {
        msg: &sealed[29..],
        aad: &aad,
    };
    Aes256Gcm::new(&key.into())
        .decrypt(&nonce, payload)
        .unwrap()
}

/// Two owners with their keys and rows; the pool, on which every statement is logged.
pub(crate) async fn live(database: &Database, texts: &Texts) -> (Planted, Pool) {
    let options = database
        .pool()
        .connect_options()
        .as_ref()
        .clone()
        .log_statements(log::LevelFilter::Info)
        .log_slow_statements(log::LevelFilter::Info, std::time::Duration::ZERO);
    let pool = PoolOptions::<Db>::new()
        .connect_with(options)
        .await
        .unwrap();
    sqlx::raw_sql(super::TABLE).execute(&pool).await.unwrap();

    let deks = Arc::new(Mutex::new(Vec::new()));
    let store = Store::new(pool.clone()); // where the rows are, so that all is in one place
    store.migrate().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let master = folder.path().join("master.key");
    let keyring = Keyring::builder()
        .kms(Spy(
            LocalKms::open_or_create(&master).unwrap(),
            Arc::clone(&deks),
        ))
        .key_store(store.clone())
        .build()
        .unwrap();
    let (ada, ben) = (Uuid::new_v4(), Uuid::new_v4());
    keyring.provision(&ada).await.unwrap();
    keyring.provision(&ben).await.unwrap();
    let adas = keyring.open(&ada, Purpose::new("leaks")).await.unwrap();
    let bens = keyring.open(&ben, Purpose::new("leaks")).await.unwrap();
    let dora = keyring
        .open_or_provision(&crate::diesel::OWNER, Purpose::new("leaks"))
        .await
        .unwrap();
    texts.add((&keyring, &adas, &store));

    let mut canaries = canaries(0..50);
    adas.scope(drive(&pool, ada, &canaries, texts))
        .await
        .unwrap();
    bens.scope(misuse(&pool, ada, &canaries, texts)).await;
    misuse(&pool, ada, &canaries, texts).await; // without a session
    super::diesel(database.url(), &dora, &canaries[20..], texts).await;
    adas.close();
    adas.scope(misuse(&pool, ada, &canaries, texts)).await;

    let mut others = crate::search::canaries(50..50 + jobs::EVERYWHERE + jobs::SOAKING);
    let own = super::for_jobs(database).await;
    let mut keys = jobs::run(&pool, &own, &others, texts).await;
    own.close().await;
    let soaking = others.split_off(jobs::EVERYWHERE);
    canaries.extend(others);
    keys.push(std::fs::read(&master).unwrap());
    let planted = deks.lock().unwrap().clone();
    let owners = [
        ada.canonical(),
        ben.canonical(),
        crate::diesel::OWNER.canonical(),
    ];
    for (owner, dek) in owners.iter().zip(&planted) {
        let mut seal_key = vec![0; 32];
        hkdf::Hkdf::<sha2::Sha256>::new(None, dek)
            .expand(b"ophie-crypt/v1/seal", &mut seal_key)
            .unwrap();
        keys.push(index_key(&store, owner, dek).await);
        keys.push(seal_key);
        keys.push(dek.to_vec());
    }
    assert_eq!(keys.len(), 16);
    let envelope = sqlx::query_scalar("SELECT text FROM notes ORDER BY id LIMIT 1")
        .fetch_one(&pool)
        .await
        .unwrap();
    let planted = Planted {
        canaries,
        soaking,
        keys,
        envelope,
    };
    (planted, pool)
}

/// The ordinary life of a row, by every way of writing one.
async fn drive(
    pool: &Pool,
    user: Uuid,
    canaries: &[String],
    texts: &Texts,
) -> Result<(), sqlx::Error> {
    let text = |i: usize| note::text(canaries[i].as_str());
    let inserted: Note = sqlx::query_as(sql("INSERT INTO notes (user_id, text, data, mood, text_fp, label) VALUES ($1, $2, $3, $4, $5, $6) RETURNING *"),
    )
    .bind(Owner(user))
    .bind(text(0))
    .bind(note::data(canaries[1].as_bytes()))
    .bind(note::mood(Json(vec![canaries[2].clone()])))
    .bind(note::text_fp(canaries[0].as_str())?)
    .bind(CONTROL)
    .fetch_one(pool)
    .await?;
    assert_eq!(inserted.text.expose_secret(), &canaries[0]);
    texts.add(&inserted);
    texts.add((
        &text(3),
        note::text_fp(canaries[3].as_str())?,
        text(4).seal(&ophie_crypt::Session::current().unwrap())?,
    ));

    let mut builder = QueryBuilder::new("INSERT INTO notes (user_id, text) ");
    builder.push_values(5..9, |mut row, i| {
        row.push_bind(Owner(user)).push_bind(text(i));
    });
    builder.build().execute(pool).await?;

    let many: Vec<_> = (9..11).map(text).collect();
    super::insert_many(pool, user, &many).await?;
    let many: Vec<_> = (11..13).map(text).collect();
    let session = ophie_crypt::Session::current().unwrap();
    for sealed in Encrypted::seal_many(&many, &session)? {
        texts.add(&sealed);
        sqlx::query(sql("INSERT INTO notes (user_id, text) VALUES ($1, $2)"))
            .bind(Owner(user))
            .bind(sealed)
            .execute(pool)
            .await?;
    }
    for i in 13..15 {
        sqlx::query(sql(&format!(
            "INSERT INTO notes (user_id, text, text_fp) VALUES ($1, $2, $3) {}",
            super::OR_UPDATE
        )))
        .bind(Owner(user))
        .bind(text(i))
        .bind(note::text_fp(canaries[13].as_str())?)
        .execute(pool)
        .await?;
    }
    let mut tx = pool.begin().await?;
    sqlx::query(sql("UPDATE notes SET text = $1 WHERE id = $2"))
        .bind(text(15))
        .bind(inserted.id)
        .execute(&mut *tx)
        .await?;
    tx.rollback().await?;

    // A constraint error, whose detail prints the row.
    let twice = sqlx::query(sql(
        "INSERT INTO notes (user_id, text, text_fp) VALUES ($1, $2, $3)",
    ))
    .bind(Owner(user))
    .bind(text(16))
    .bind(note::text_fp(canaries[0].as_str())?)
    .execute(pool)
    .await;
    texts.add_error(&twice.unwrap_err());
    let rows: Vec<Note> = sqlx::query_as("SELECT * FROM notes")
        .fetch(pool)
        .try_collect()
        .await?;
    assert_eq!(rows.len(), 10);
    texts.add(&rows);
    Ok(())
}

/// What must fail: its errors and panics are texts to be searched.
async fn misuse(pool: &Pool, user: Uuid, canaries: &[String], texts: &Texts) {
    let text = || note::text(canaries[17].as_str());
    let reads: Result<Vec<Note>, _> = sqlx::query_as("SELECT * FROM notes").fetch_all(pool).await;
    texts.add_error(&reads.unwrap_err());
    let reads: Result<Vec<(Encrypted<String, note::text>,)>, _> =
        sqlx::query_as("SELECT text FROM notes")
            .fetch_all(pool)
            .await;
    texts.add_error(&reads.unwrap_err());
    let writes = sqlx::query(sql("INSERT INTO notes (user_id, text) VALUES ($1, $2)"))
        .bind(Owner(user))
        .bind(text())
        .execute(pool)
        .await;
    texts.add_error(&writes.unwrap_err());
    let mut query = sqlx::query::<Db>(sql("INSERT INTO notes (user_id, text) VALUES ($1, $2)"));
    if let Err(error) = query.try_bind(Owner(user)) {
        texts.add_error(&*error);
    }
    if let Err(error) = query.try_bind(text()) {
        texts.add_error(&*error);
    }
    if let Err(error) = note::text_fp(canaries[18].as_str()) {
        texts.add_error(&error);
    }
    let panicked = std::panic::catch_unwind(|| {
        QueryBuilder::<Db>::new("SELECT ").push_bind(note::text(canaries[19].as_str()));
        QueryBuilder::<Db>::new("SELECT ").push_bind(Owner(user));
    });
    let panic = panicked.unwrap_err();
    texts.add(panic.downcast_ref::<String>().expect("a message"));
}
