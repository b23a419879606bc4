//! Workers of a rotation that are killed, between any two of its steps, on each database.
//!
//! Absent: a rotation under load (`rotation.rs`); shreds (`shredding.rs`).

use std::{collections::BTreeMap, time::Duration};

use ophie_crypt::{KeyStore, Keyring, LocalKms, Models, OwnerId, Purpose, Rotation};
use ophie_crypt_sqlx::{
    BlindIndex, Encrypted, MySqlKeyStore, MySqlModels, Owner, PostgresKeyStore, PostgresModels,
    Sealed, SqliteKeyStore, SqliteModels,
};
use tokio::time::sleep;

use crate::{busy, tell, workers::Worker};

const OWNER: i64 = 1;
const ROWS: i64 = 300;
const PURPOSE: Purpose = Purpose::new("tests");

#[derive(ophie_crypt::EncryptedModel)]
#[crypt(table = "notes")]
#[expect(dead_code, reason = "its markers and its model are what the tests use")]
struct Note {
    owner: Owner<i64>,
    #[crypt(plain)]
    writer: i64,
    text: Encrypted<String, note::text>,
    #[crypt(index_of = "text", normalize = "exact")]
    text_fp: BlindIndex<String, note::text_fp>,
}

/// A test named as its database. `time` lets pass what steps wait for: the two minutes in which a generation is made
/// known, and the leases of those who seal under an old one, of which here there are none.
macro_rules! killed {
    ($test:ident, $database:ident, $kills:expr, $keys:ident, $models:ident, $blob:literal, $time:expr) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            let _alone = busy().await;
            let database = ophie_crypt_tests::$database::Database::create().await;
            let (pool, sql) = (database.pool().clone(), ophie_crypt_tests::$database::sql);
            let folder = tempfile::tempdir().unwrap();
            let master = folder.path().join("master.key");
            let store = $keys::new(pool.clone());
            store.migrate().await.unwrap();
            let notes = concat!(
                "CREATE TABLE notes (owner bigint, writer bigint, text ",
                $blob,
                ", text_fp ",
                $blob,
                ")"
            );
            sqlx::raw_sql(notes).execute(&pool).await.unwrap();
            let keyring = Keyring::builder()
                .kms(LocalKms::open_or_create(&master).unwrap())
                .key_store(store.clone())
                .build()
                .unwrap();
            let session = keyring.open_or_provision(&OWNER, PURPOSE).await.unwrap();
            for row in 0..ROWS {
                let text = note::text(format!("row {row}")).seal(&session).unwrap();
                sqlx::query(sql(
                    "INSERT INTO notes (owner, writer, text, text_fp) VALUES ($1, $2, $3, $4)",
                ))
                .bind(OWNER)
                .bind(row)
                .bind(text.into_bytes())
                .bind(vec![1_u8; 17])
                .execute(&pool)
                .await
                .unwrap();
            }
            drop(session);

            let time = {
                let pool = pool.clone();
                tokio::spawn(async move {
                    loop {
                        for sql in $time {
                            // A deadlock with a worker is the database's to end; the next turn comes.
                            sqlx::raw_sql(sql).execute(&pool).await.ok();
                        }
                        sleep(Duration::from_millis(5)).await;
                    }
                })
            };
            let settings = [
                ("database", database.url().to_owned()),
                ("master", master.to_string_lossy().into_owned()),
                ("owner", OWNER.to_string()),
                ("page", "20".to_owned()),
            ];
            for kill in 0..$kills {
                let mut worker = Worker::of("rotate", "rotator", &settings);
                worker.answers("rotating").await;
                sleep(Duration::from_micros(kill * 9_973 % 150_000)).await;
                worker.kill().await;
            }

            // Whoever comes after goes on from there.
            let models = $models::new(pool.clone(), Models::new().with::<Note>());
            let rotation = Rotation::new(keyring.clone(), store.clone(), models).without_sidecars();
            let settle = async || {
                while rotation.advance(&OWNER).await.unwrap().waits_for.is_some() {
                    sleep(Duration::from_millis(20)).await;
                }
            };
            settle().await;
            rotation.begin(&OWNER).await.unwrap();
            settle().await;
            while rotation
                .destroy(&OWNER, Duration::ZERO)
                .await
                .unwrap()
                .waits_for
                .is_some()
            {
                sleep(Duration::from_millis(20)).await;
            }
            time.abort();
            let record = store.load(&OWNER.canonical()).await.unwrap().unwrap();
            let [dek] = record.deks() else {
                panic!("{} generations", record.deks().len())
            };
            let key_id: Vec<u8> =
                sqlx::query_scalar("SELECT key_id FROM ophie_crypt_deks WHERE state = 'sealing'")
                    .fetch_one(&pool)
                    .await
                    .unwrap();
            let session = keyring.open(&OWNER, PURPOSE).await.unwrap();
            let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as("SELECT writer, text FROM notes")
                .fetch_all(&pool)
                .await
                .unwrap();
            let read: BTreeMap<i64, String> = rows
                .into_iter()
                .map(|(row, text)| {
                    assert_eq!(text[1..17], key_id, "row {row} is under another generation");
                    let text = Sealed::<String, note::text>::from_bytes(text).open(&session);
                    (row, text.unwrap().expose_secret().clone())
                })
                .collect();
            let expected: BTreeMap<_, _> =
                (0..ROWS).map(|row| (row, format!("row {row}"))).collect();
            assert_eq!(read, expected);
            let generation = dek.generation();
            assert!(
                generation > 2,
                "the workers came to generation {generation} only"
            );
            tell(format_args!(
                "{}: killed {} workers, who came to generation {generation}",
                stringify!($test),
                $kills
            ));
        }
    };
}

killed!(
    postgres,
    postgres,
    80,
    PostgresKeyStore,
    PostgresModels,
    "bytea",
    [
        "UPDATE ophie_crypt_budgets SET announced_at = announced_at - interval '1 hour' \
         WHERE announced_at > now() - interval '1 minute'",
        "UPDATE ophie_crypt_budgets SET leased_until = now() - interval '1 hour' WHERE leased_until > now() \
         AND (owner, generation) IN (SELECT owner, generation FROM ophie_crypt_deks WHERE state = 'draining')",
    ]
);

killed!(
    mariadb,
    mariadb,
    70,
    MySqlKeyStore,
    MySqlModels,
    "blob",
    [
        "UPDATE ophie_crypt_budgets SET announced_at = announced_at - INTERVAL 1 HOUR \
         WHERE announced_at > utc_timestamp(6) - INTERVAL 1 MINUTE",
        "UPDATE ophie_crypt_budgets SET leased_until = utc_timestamp(6) - INTERVAL 1 HOUR \
         WHERE leased_until > utc_timestamp(6) \
         AND (owner, generation) IN (SELECT owner, generation FROM ophie_crypt_deks WHERE state = 'draining')",
    ]
);

killed!(
    sqlite,
    sqlite,
    60,
    SqliteKeyStore,
    SqliteModels,
    "blob",
    [
        "UPDATE ophie_crypt_budgets SET announced_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 hour') \
         WHERE announced_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 minute')",
        "UPDATE ophie_crypt_budgets SET leased_until = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 hour') \
         WHERE leased_until > strftime('%Y-%m-%dT%H:%M:%fZ', 'now') \
         AND (owner, generation) IN (SELECT owner, generation FROM ophie_crypt_deks WHERE state = 'draining')",
    ]
);
