//! Workers of a rotation that are killed, between any two of its steps, on each database.
//!
//! Absent: a rotation under load (`rotation.rs`); shreds (`shredding.rs`).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ophie_crypt::{DekRecord, KeyStore, Keyring, LocalKms, Models, OwnerId, Purpose, Rotation};
use ophie_crypt_sqlx::{
    BlindIndex, Encrypted, MySqlKeyStore, MySqlModels, Owner, PostgresKeyStore, PostgresModels,
    Sealed, SqliteKeyStore, SqliteModels,
};
use tokio::time::sleep;

use crate::{busy, tell, workers::Worker};

const OWNER: i64 = 1;
/// Beside it in the same table, and never rotated.
const OTHER: i64 = 2;
/// What a generation goes through.
const STATES: [&str; 5] = ["announced", "sealing", "draining", "retired", "destroyed"];
/// More kills than were asked for, until all of these were met.
const MORE: u64 = 80;
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
            for owner in [OWNER, OTHER] {
                let session = keyring.open_or_provision(&owner, PURPOSE).await.unwrap();
                for row in 0..ROWS {
                    let text = note::text(format!("row {row} of {owner}"));
                    sqlx::query(sql(
                        "INSERT INTO notes (owner, writer, text, text_fp) VALUES ($1, $2, $3, $4)",
                    ))
                    .bind(owner)
                    .bind(row)
                    .bind(text.seal(&session).unwrap().into_bytes())
                    .bind(vec![1_u8; 17])
                    .execute(&pool)
                    .await
                    .unwrap();
                }
            }

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
            let (mut met, mut halves, mut kills) = (BTreeSet::new(), 0, 0);
            while kills < $kills
                || kills < $kills + MORE && (met.len() < STATES.len() || halves == 0)
            {
                let mut worker = Worker::of("rotate", "rotator", &settings);
                worker.answers("rotating").await;
                // A machine that is slow comes no further in this time; it is given more, if it must.
                let most = 150_000 + 50_000 * kills.saturating_sub($kills);
                sleep(Duration::from_micros(kills * 9_973 % most)).await;
                worker.kill().await;
                kills += 1;
                let states = "SELECT DISTINCT state FROM ophie_crypt_deks WHERE owner = $1";
                let states: Vec<String> = sqlx::query_scalar(sql(states))
                    .bind(OWNER.canonical().as_bytes().to_vec())
                    .fetch_all(&pool)
                    .await
                    .unwrap();
                met.extend(states);
                let keys =
                    "SELECT COUNT(DISTINCT substr(text, 2, 16)) FROM notes WHERE owner = 1";
                let keys: i64 = sqlx::query_scalar(sql(keys)).fetch_one(&pool).await.unwrap();
                halves += i64::from(keys > 1);
            }
            assert_eq!(met, STATES.map(str::to_owned).into(), "each was met");
            assert!(halves > 0, "none died with rows under two generations");

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
            let other = store.load(&OTHER.canonical()).await.unwrap().unwrap();
            let generations: Vec<u32> = other.deks().iter().map(DekRecord::generation).collect();
            assert_eq!(generations, [1], "nobody rotated it");
            for (owner, record) in [(OWNER, &record), (OTHER, &other)] {
                let key_id = record.newest().unwrap().key_id();
                let session = keyring.open(&owner, PURPOSE).await.unwrap();
                let rows = sql("SELECT writer, text FROM notes WHERE owner = $1");
                let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(rows)
                    .bind(owner)
                    .fetch_all(&pool)
                    .await
                    .unwrap();
                let read: BTreeMap<i64, String> = rows
                    .into_iter()
                    .map(|(row, text)| {
                        let under = &text[1..17];
                        assert_eq!(under, key_id.as_bytes(), "row {row} is under another key");
                        let text = Sealed::<String, note::text>::from_bytes(text).open(&session);
                        (row, text.unwrap().expose_secret().clone())
                    })
                    .collect();
                let expected: BTreeMap<_, _> = (0..ROWS)
                    .map(|row| (row, format!("row {row} of {owner}")))
                    .collect();
                assert_eq!(read, expected);
            }
            let generation = dek.generation();
            assert!(
                generation > 2,
                "the workers came to generation {generation} only"
            );
            tell(format_args!(
                "{}: killed {kills} workers, who came to generation {generation}, {halves} of them with rows under two",
                stringify!($test),
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
