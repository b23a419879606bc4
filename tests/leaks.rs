//! Plaintexts and keys are planted, driven through the whole library on PostgreSQL, and searched for in a
//! dump, in the server's log at its most talkative, in this process's log at TRACE, and in every error and
//! `Debug` text on the way: none of them may be there.
//!
//! Controls: what must be in those places (a plain column, an envelope in hex, statements) is searched for
//! by the same function, so that a search that finds nothing means something.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "a test: what goes wrong here is seen"
)]

use std::{
    fmt::Debug,
    io,
    process::Command,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use ophie_crypt::{
    CanonicalId, Dek, EncryptedModel, GeneratedDek, Json, KeyStore, Keyring, Kms, KmsCall,
    KmsError, LocalKms, OwnerId, Purpose, WrappedDek,
};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner, PostgresKeyStore};
use ophie_crypt_tests::{postgres::Database, variable};
use sqlx::{ConnectOptions, PgPool, QueryBuilder, postgres::PgPoolOptions};
use uuid::Uuid;

#[derive(Debug, EncryptedModel, sqlx::FromRow)]
#[crypt(table = "notes")]
#[allow(dead_code, reason = "printed, not read")]
struct Note {
    #[crypt(plain)]
    id: i32,
    user_id: Owner<Uuid>,
    text: Encrypted<String, note::text>,
    data: Option<Encrypted<Vec<u8>, note::data>>,
    mood: Option<Encrypted<Json<Vec<String>>, note::mood>>,
    #[crypt(index_of = "text", normalize = "name")]
    text_fp: Option<BlindIndex<String, note::text_fp>>,
    #[crypt(plain)]
    label: Option<String>,
}

/// Twenty texts that occur nowhere else.
fn canaries() -> Vec<String> {
    (0..20)
        .map(|i| format!("canary-{i:02}-{}", Uuid::new_v4().simple()))
        .collect()
}

const CONTROL: &str = "plain-control-3f9c1d";

/// Keeps a copy of every DEK that passes, so that the test can search for it.
struct Spy<K>(K, Arc<Mutex<Vec<[u8; 32]>>>);

#[async_trait]
impl<K: Kms> Kms for Spy<K> {
    async fn make_dek(&self, call: &KmsCall) -> Result<GeneratedDek, KmsError> {
        let made = self.0.make_dek(call).await?;
        self.1.lock().unwrap().push(*made.dek.expose_secret());
        Ok(made)
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, call: &KmsCall) -> Result<Dek, KmsError> {
        self.0.unwrap_dek(wrapped, call).await
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        call: &KmsCall,
    ) -> Result<WrappedDek, KmsError> {
        self.0.rewrap_dek(wrapped, call).await
    }
}

/// Everything that this process logs, and every text that the library gave out.
#[derive(Clone, Default)]
struct Texts(Arc<Mutex<Vec<u8>>>);

impl Texts {
    fn add(&self, of: impl Debug) {
        self.0
            .lock()
            .unwrap()
            .extend(format!("{of:?} {of:#?}\n").bytes());
    }

    fn add_error(&self, error: &(dyn std::error::Error + 'static)) {
        let mut next = Some(error);
        while let Some(error) = next {
            self.add(format_args!("{error} {error:?}"));
            next = error.source();
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl io::Write for Texts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .fold(0_usize, |word, byte| word << 8 | usize::from(*byte))
            << (8 * (3 - chunk.len()));
        for i in 0..=chunk.len() {
            out.push(ALPHABET[word >> (18 - 6 * i) & 63].into());
        }
    }
    out
}

/// Raw, hex in both cases, and base64 (whose last group depends on what follows).
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut base64 = base64(secret);
    base64.truncate(secret.len() / 3 * 4);
    vec![
        secret.to_vec(),
        hex(secret).into(),
        hex(secret).to_uppercase().into(),
        base64.into(),
    ]
}

fn contains(place: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(place, needle).is_some()
}

/// The index keys in clear, as SPEC.md says to read them.
async fn index_key(store: &PostgresKeyStore, owner: &CanonicalId, dek: &[u8; 32]) -> Vec<u8> {
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

#[tokio::test]
async fn nothing_leaks() {
    let texts = Texts::default();
    let log = texts.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || log.clone())
        .with_ansi(false)
        .init();

    let database = Database::create().await;
    let options = database
        .pool()
        .connect_options()
        .as_ref()
        .clone()
        .log_statements(log::LevelFilter::Info)
        .log_slow_statements(log::LevelFilter::Info, std::time::Duration::ZERO);
    let pool = PgPoolOptions::new().connect_with(options).await.unwrap();
    sqlx::raw_sql(
        "CREATE TABLE notes (id serial PRIMARY KEY, user_id uuid NOT NULL, text bytea NOT NULL,
             data bytea, mood bytea, text_fp bytea, label text, UNIQUE (user_id, text_fp))",
    )
    .execute(&pool)
    .await
    .unwrap();

    let deks = Arc::new(Mutex::new(Vec::new()));
    let store = PostgresKeyStore::new(pool.clone());
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
    texts.add((&keyring, &adas, &store));

    let canaries = canaries();
    adas.scope(drive(&pool, ada, &canaries, &texts))
        .await
        .unwrap();
    bens.scope(misuse(&pool, ada, &canaries, &texts)).await;
    misuse(&pool, ada, &canaries, &texts).await; // without a session
    adas.close();
    adas.scope(misuse(&pool, ada, &canaries, &texts)).await;

    let mut keys = vec![std::fs::read(&master).unwrap()];
    let planted = deks.lock().unwrap().clone();
    for (owner, dek) in [ada, ben].iter().zip(&planted) {
        let mut seal_key = vec![0; 32];
        hkdf::Hkdf::<sha2::Sha256>::new(None, dek)
            .expand(b"ophie-crypt/v1/seal", &mut seal_key)
            .unwrap();
        keys.push(index_key(&store, &owner.canonical(), dek).await);
        keys.push(seal_key);
        keys.push(dek.to_vec());
    }
    assert_eq!(keys.len(), 7);

    // The places.
    let envelope: Vec<u8> = sqlx::query_scalar("SELECT text FROM notes ORDER BY id LIMIT 1")
        .fetch_one(&pool)
        .await
        .unwrap();
    let dump = Command::new(format!("{}/pg_dump", variable("OPHIE_CRYPT_TEST_PG_BIN")))
        .args(["--inserts", "--dbname", database.url()])
        .output()
        .unwrap();
    assert!(
        dump.status.success(),
        "{}",
        String::from_utf8_lossy(&dump.stderr)
    );
    pool.close().await;
    let server_log = std::fs::read(variable("OPHIE_CRYPT_TEST_POSTGRES_LOG")).unwrap();
    let process_log = texts.bytes();
    let places = [
        ("the dump", &dump.stdout),
        ("the server's log", &server_log),
        ("this process's texts", &process_log),
    ];

    // Controls: the search finds what is there.
    for (name, place) in &places[..2] {
        assert!(
            contains(place, CONTROL.as_bytes()),
            "{name} misses the plain column"
        );
        assert!(
            contains(place, hex(&envelope).as_bytes()),
            "{name} misses the envelope"
        );
    }
    assert!(
        contains(&process_log, b"INSERT INTO notes"),
        "the process's log misses the statements"
    );
    assert!(
        contains(&process_log, b"[REDACTED]"),
        "no Debug text was collected"
    );
    assert!(
        contains(&process_log, b"cannot open notes.text"),
        "no error text was collected"
    );

    // What must not be anywhere.
    let mut secrets: Vec<Vec<u8>> = canaries
        .iter()
        .map(|canary| canary.clone().into_bytes())
        .collect();
    secrets.extend(
        keys.iter()
            .flat_map(|key| [key[..16].to_vec(), key[16..].to_vec()]),
    ); // halves, too
    let mut searched = 0;
    for secret in &secrets {
        for form in forms(secret) {
            for (name, place) in places {
                assert!(
                    !contains(place, &form),
                    "{name} holds a secret: {}",
                    String::from_utf8_lossy(&form)
                );
                searched += 1;
            }
        }
    }
    assert_eq!(searched, (20 + 14) * 4 * 3);
}

/// The ordinary life of a row, by every way of writing one.
async fn drive(
    pool: &PgPool,
    user: Uuid,
    canaries: &[String],
    texts: &Texts,
) -> Result<(), sqlx::Error> {
    let text = |i: usize| note::text(canaries[i].as_str());
    let inserted: Note = sqlx::query_as(
        "INSERT INTO notes (user_id, text, data, mood, text_fp, label) VALUES ($1, $2, $3, $4, $5, $6) RETURNING *",
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

    let many: Vec<_> = (9..13).map(text).collect();
    sqlx::query("INSERT INTO notes (user_id, text) SELECT $1, * FROM UNNEST($2::bytea[])")
        .bind(Owner(user))
        .bind(&many)
        .execute(pool)
        .await?;
    for i in 13..15 {
        sqlx::query(
            "INSERT INTO notes (user_id, text, text_fp) VALUES ($1, $2, $3)
             ON CONFLICT (user_id, text_fp) DO UPDATE SET text = excluded.text",
        )
        .bind(Owner(user))
        .bind(text(i))
        .bind(note::text_fp(canaries[13].as_str())?)
        .execute(pool)
        .await?;
    }
    let mut tx = pool.begin().await?;
    sqlx::query("UPDATE notes SET text = $1 WHERE id = $2")
        .bind(text(15))
        .bind(inserted.id)
        .execute(&mut *tx)
        .await?;
    tx.rollback().await?;

    // A constraint error, whose detail prints the row.
    let twice = sqlx::query("INSERT INTO notes (user_id, text, text_fp) VALUES ($1, $2, $3)")
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
async fn misuse(pool: &PgPool, user: Uuid, canaries: &[String], texts: &Texts) {
    let text = || note::text(canaries[17].as_str());
    let reads: Result<Vec<Note>, _> = sqlx::query_as("SELECT * FROM notes").fetch_all(pool).await;
    texts.add_error(&reads.unwrap_err());
    let reads: Result<Vec<(Encrypted<String, note::text>,)>, _> =
        sqlx::query_as("SELECT text FROM notes")
            .fetch_all(pool)
            .await;
    texts.add_error(&reads.unwrap_err());
    let writes = sqlx::query("INSERT INTO notes (user_id, text) VALUES ($1, $2)")
        .bind(Owner(user))
        .bind(text())
        .execute(pool)
        .await;
    texts.add_error(&writes.unwrap_err());
    let mut query =
        sqlx::query::<sqlx::Postgres>("INSERT INTO notes (user_id, text) VALUES ($1, $2)");
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
        QueryBuilder::<sqlx::Postgres>::new("SELECT ").push_bind(note::text(canaries[19].as_str()));
        QueryBuilder::<sqlx::Postgres>::new("SELECT ").push_bind(Owner(user));
    });
    let panic = panicked.unwrap_err();
    texts.add(panic.downcast_ref::<String>().expect("a message"));
}
