//! A rotation of an index key whose workers are killed, and one under load.

use std::time::Duration;

use ophie_crypt::{IndexKeyState, KeyStore, OwnerId, Session};
use ophie_crypt_sqlx::{BlindIndex, PostgresKeyStore, Sealed};
use tokio::time::{Instant, sleep};

use crate::{
    busy,
    rotation::{OWNER, PURPOSE, Time, note},
    tell,
    workers::Place,
};

type TextFp = BlindIndex<String, note::text_fp>;

impl Place {
    /// Rows 0 to `count` with their fingerprints, in one statement each thousand.
    async fn write_indexed(&self, session: &Session, count: i64) {
        let all: Vec<i64> = (0..count).collect();
        for some in all.chunks(1_000) {
            let texts: Vec<_> = some.iter().map(|row| format!("row {row}")).collect();
            let sealed: Vec<_> = texts
                .iter()
                .map(|text| note::text(text.as_str()).seal(session).unwrap())
                .map(Sealed::into_bytes)
                .collect();
            let fingerprints: Vec<_> = texts
                .iter()
                .map(|text| TextFp::of_in(session, text.as_str()).unwrap())
                .map(|fingerprint| fingerprint.as_bytes().to_vec())
                .collect();
            sqlx::query(
                "INSERT INTO notes (owner, writer, text, text_fp) \
                 SELECT $1, * FROM UNNEST(CAST($2 AS bigint[]), CAST($3 AS bytea[]), CAST($4 AS bytea[]))",
            )
            .bind(OWNER)
            .bind(some)
            .bind(sealed)
            .bind(fingerprints)
            .execute(self.database.pool())
            .await
            .unwrap();
        }
        sqlx::raw_sql(
            "CREATE INDEX ON notes (owner, writer); CREATE INDEX ON notes (owner, text_fp)",
        )
        .execute(self.database.pool())
        .await
        .unwrap();
    }

    /// Asserts that each fingerprint is that of its value, under the key in use; how many rows there are.
    async fn assert_indexed(&self, session: &Session) -> usize {
        let rows: Vec<(i64, Vec<u8>, Vec<u8>)> =
            sqlx::query_as("SELECT writer, text, text_fp FROM notes")
                .fetch_all(self.database.pool())
                .await
                .unwrap();
        for (row, text, fingerprint) in &rows {
            let text = Sealed::<String, note::text>::from_bytes(text.as_slice());
            let text = text.open(session).unwrap();
            let expected = TextFp::of_in(session, text.expose_secret().as_str()).unwrap();
            assert_eq!(expected.as_bytes().to_vec(), *fingerprint, "row {row}");
        }
        rows.len()
    }

    async fn index_keys(&self) -> Vec<(u8, IndexKeyState)> {
        let store = PostgresKeyStore::new(self.database.pool().clone());
        let record = store.load(&OWNER.canonical()).await.unwrap().unwrap();
        let keys = record.index_keys().iter();
        keys.map(|key| (key.generation(), key.state())).collect()
    }
}

/// Between any two of its steps; whoever comes after goes on from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_of_an_index_key_that_are_killed_lose_nothing() {
    const KILLS: u64 = 60;
    const ROWS: i64 = 100;
    let _busy = busy().await;
    let place = Place::new().await;
    let keyring = place.keyring();
    let session = keyring.open_or_provision(&OWNER, PURPOSE).await.unwrap();
    place.write_indexed(&session, ROWS).await;
    drop(session);
    let _time = Time::passes(place.database.pool(), Duration::ZERO);
    let settings = [
        ("owner", OWNER.to_string()),
        ("page", "20".to_owned()),
        ("index", "yes".to_owned()),
    ];
    for kill in 0..KILLS {
        let mut worker = place.worker("rotate", "rotator", &settings);
        worker.answers("rotating").await;
        sleep(Duration::from_micros(kill * 3_989 % 250_000)).await;
        worker.kill().await;
    }
    let rotation = place.rotation().await;
    place.settle(&rotation).await;
    rotation.begin_index(&OWNER).await.unwrap();
    place.settle(&rotation).await;
    let destroying = async || rotation.destroy(&OWNER, Duration::ZERO).await.unwrap();
    while destroying().await.waits_for.is_some() {
        sleep(Duration::from_millis(20)).await;
    }
    let keys = place.index_keys().await;
    let [(generation, IndexKeyState::Writing)] = keys.as_slice() else {
        panic!("{keys:?}")
    };
    let session = keyring.open(&OWNER, PURPOSE).await.unwrap();
    let rows = place.assert_indexed(&session).await;
    assert_eq!(rows, usize::try_from(ROWS).unwrap());
    assert!(
        *generation > 2,
        "the workers came to generation {generation} only"
    );
    tell(format_args!(
        "killed {KILLS} workers, who came to index generation {generation}"
    ));
}

/// Three processes with six tasks write and look up rows whose fingerprints a fourth makes anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_look_up_misses_under_load() {
    const ROWS: i64 = 5_000;
    let _busy = busy().await;
    let place = Place::new().await;
    let keyring = place.keyring();
    let session = keyring.open_or_provision(&OWNER, PURPOSE).await.unwrap();
    session.reserve(50_000).await.unwrap();
    place.write_indexed(&session, ROWS).await;
    drop(session);
    let mut processes = Vec::new();
    for (n, first) in [0, 2, 4].into_iter().enumerate() {
        let settings = [
            ("owner", OWNER.to_string()),
            ("rows", ROWS.to_string()),
            ("first", first.to_string()),
            ("tasks", "2".to_owned()),
            ("recheck", "100".to_owned()),
        ];
        let mut worker = place.worker("look-up", &format!("look-up-{n}"), &settings);
        worker.answers("running").await;
        processes.push(worker);
    }
    let begun = Instant::now();
    // Each process has its two minutes within three seconds.
    let _time = Time::passes(place.database.pool(), Duration::from_secs(3));
    let rotation = place.rotation().await;
    assert_eq!(rotation.begin_index(&OWNER).await.unwrap(), 2);
    place.settle(&rotation).await;
    let took = begun.elapsed();
    let keys = place.index_keys().await;
    assert_eq!(
        keys,
        [(2, IndexKeyState::Writing), (1, IndexKeyState::Retired)]
    );
    let (mut look_ups, mut writes) = (0_u64, 0_u64);
    for mut process in processes {
        let stopped = process.ask("stop").await;
        let counts = stopped
            .strip_prefix("stopped ")
            .and_then(|counts| counts.split_once(' '));
        let (looked_up, wrote) = counts.unwrap_or_else(|| panic!("{stopped}"));
        look_ups += looked_up.parse::<u64>().unwrap();
        writes += wrote.parse::<u64>().unwrap();
    }
    assert!(
        writes > 100 && look_ups > 200,
        "{writes} writes are no load"
    );
    let session = keyring.open(&OWNER, PURPOSE).await.unwrap();
    session.refresh().await.unwrap();
    let rows = place.assert_indexed(&session).await;
    assert_eq!(rows, usize::try_from(ROWS).unwrap());
    tell(format_args!(
        "{ROWS} rows in {} s, beside {writes} writes and {look_ups} look-ups of which none missed",
        took.as_secs()
    ));
}
