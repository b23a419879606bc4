//! A rotation of many rows under load. Absent: workers that are killed (`kills.rs`).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ophie_crypt::{Models, Purpose, Rotation, Session};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner, PostgresKeyStore, PostgresModels, Sealed};
use ophie_crypt_tests::postgres::Pool;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{busy, tell, workers::Place};

pub(crate) const OWNER: i64 = 1;
pub(crate) const PURPOSE: Purpose = Purpose::new("tests");

#[derive(ophie_crypt::EncryptedModel)]
#[crypt(table = "notes")]
#[expect(dead_code, reason = "its markers and its model are what the tests use")]
pub(crate) struct Note {
    owner: Owner<i64>,
    #[crypt(plain)]
    writer: i64,
    pub(crate) text: Encrypted<String, note::text>,
    #[crypt(index_of = "text", normalize = "exact")]
    pub(crate) text_fp: BlindIndex<String, note::text_fp>,
}

/// Lets the time pass that steps wait for. It ends with the value.
pub(crate) struct Time(JoinHandle<()>);

impl Time {
    /// `known` is how long a new generation has to be loaded by others.
    pub(crate) fn passes(pool: &Pool, known: Duration) -> Self {
        let pool = pool.clone();
        let known = format!("{} milliseconds", known.as_millis());
        Self(tokio::spawn(async move {
            loop {
                for sql in [
                    "UPDATE ophie_crypt_budgets SET announced_at = announced_at - interval '1 hour' \
                     WHERE announced_at BETWEEN now() - interval '1 minute' AND now() - CAST($1 AS text)::interval",
                    "UPDATE ophie_crypt_budgets AS budget SET leased_until = now() - interval '1 hour' \
                     FROM ophie_crypt_deks AS dek WHERE dek.owner = budget.owner \
                     AND dek.generation = budget.generation AND dek.state = 'draining' \
                     AND dek.stated_at < now() - CAST($1 AS text)::interval AND budget.leased_until > now()",
                    "UPDATE ophie_crypt_index_keys SET announced_at = announced_at - interval '1 hour' \
                     WHERE state = 'announced' \
                     AND announced_at BETWEEN now() - interval '1 minute' AND now() - CAST($1 AS text)::interval",
                    "UPDATE ophie_crypt_index_keys SET stated_at = stated_at - interval '1 hour' \
                     WHERE state = 'draining' \
                     AND stated_at BETWEEN now() - interval '1 minute' AND now() - CAST($1 AS text)::interval",
                ] {
                    sqlx::query(sql).bind(&known).execute(&pool).await.unwrap();
                }
                sleep(Duration::from_millis(5)).await;
            }
        }))
    }
}

impl Drop for Time {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Place {
    pub(crate) async fn rotation(&self) -> Rotation {
        let keys = PostgresKeyStore::new(self.database.pool().clone());
        let models = Models::new().with::<Note>();
        let models = PostgresModels::new(self.database.pool().clone(), models);
        Rotation::new(self.keyring(), keys, models).without_sidecars()
    }

    /// Rows 0 to `count`, in one statement each thousand.
    async fn write(&self, session: &Session, count: i64) {
        let all: Vec<i64> = (0..count).collect();
        for some in all.chunks(1_000) {
            let values: Vec<_> = some
                .iter()
                .map(|row| note::text(format!("row {row}")))
                .collect();
            let sealed = Encrypted::seal_many(&values, session).unwrap();
            let texts: Vec<_> = sealed.into_iter().map(Sealed::into_bytes).collect();
            let fingerprints: Vec<_> = some.iter().map(|_| vec![1; 17]).collect();
            sqlx::query(
                "INSERT INTO notes (owner, writer, text, text_fp) \
                 SELECT $1, * FROM UNNEST(CAST($2 AS bigint[]), CAST($3 AS bytea[]), CAST($4 AS bytea[]))",
            )
            .bind(OWNER)
            .bind(some)
            .bind(texts)
            .bind(fingerprints)
            .execute(self.database.pool())
            .await
            .unwrap();
        }
    }

    /// All rows, opened.
    async fn read(&self, session: &Session) -> BTreeMap<i64, String> {
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as("SELECT writer, text FROM notes")
            .fetch_all(self.database.pool())
            .await
            .unwrap();
        let open = |(row, text): (i64, Vec<u8>)| {
            let text = Sealed::<String, note::text>::from_bytes(text);
            let text = text
                .open(session)
                .unwrap_or_else(|error| panic!("row {row}: {error}"));
            (row, text.expose_secret().clone())
        };
        rows.into_iter().map(open).collect()
    }

    async fn under_others(&self) -> i64 {
        let sql = "SELECT COUNT(*) FROM notes WHERE substr(text, 2, 16) <> \
                   (SELECT key_id FROM ophie_crypt_deks WHERE state = 'sealing')";
        sqlx::query_scalar(sql)
            .fetch_one(self.database.pool())
            .await
            .unwrap()
    }

    pub(crate) async fn settle(&self, rotation: &Rotation) {
        while rotation.advance(&OWNER).await.unwrap().waits_for.is_some() {
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Three processes with eight tasks read and change rows that a fourth seals anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_rows_under_load() {
    const ROWS: i64 = 100_000;
    let _busy = busy().await;
    let place = Arc::new(Place::new().await);
    let keyring = place.keyring();
    let session = keyring.open_or_provision(&OWNER, PURPOSE).await.unwrap();
    session.reserve(200_000).await.unwrap();
    let pool = place.database.pool();
    sqlx::raw_sql("CREATE INDEX ON notes (owner, writer)")
        .execute(pool)
        .await
        .unwrap();
    place.write(&session, ROWS).await;
    drop(session);
    let mut traffic = Vec::new();
    for (n, (first, tasks)) in [(0, 3), (3, 3), (6, 2)].into_iter().enumerate() {
        let settings = [
            ("owner", OWNER.to_string()),
            ("first", first.to_string()),
            ("tasks", tasks.to_string()),
            ("recheck", "100".to_owned()),
        ];
        let mut worker = place.worker("traffic", &format!("traffic-{n}"), &settings);
        worker.answers("running").await;
        traffic.push(worker);
    }
    let begun = Instant::now();
    // Each process has its two minutes within five seconds.
    let _time = Time::passes(pool, Duration::from_secs(5));
    let rotation = place.rotation().await.page(1_000);
    rotation.begin(&OWNER).await.unwrap();
    place.settle(&rotation).await;
    let took = begun.elapsed();
    let mut changes = 0;
    for mut worker in traffic {
        let stopped = worker.ask("stop").await;
        let count = stopped
            .strip_prefix("stopped ")
            .and_then(|count| count.parse::<u64>().ok());
        changes += count.unwrap_or_else(|| panic!("{stopped}"));
    }
    assert_eq!(place.under_others().await, 0);
    let session = keyring.open(&OWNER, PURPOSE).await.unwrap();
    let read = place.read(&session).await;
    assert_eq!(read.len(), usize::try_from(ROWS).unwrap());
    for (row, text) in &read {
        assert!(*text == format!("row {row}") || *row < 8, "{row}: {text}");
    }
    assert!(changes > 100, "{changes} changes are no load");
    tell(format_args!(
        "{ROWS} rows in {} s, beside {changes} changes",
        took.as_secs()
    ));
}
