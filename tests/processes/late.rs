//! Processes that go on sealing with a key in their memory while its owner is shredded.
//!
//! Absent: how soon a process learns of it (`removal.rs`).

use std::time::Duration;

use ophie_crypt::{FileLedger, KeyStore, Models, OwnerId, Shredder, WriteFence};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner, PostgresKeyStore, PostgresModels};
use tokio::time::{Instant, sleep};

use crate::{busy, workers::Place};

const GONE: i64 = 1;
const LIVING: i64 = 2;
/// Far more than it takes; what never comes must not hang the run.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(ophie_crypt::EncryptedModel)]
#[crypt(table = "notes")]
#[expect(dead_code, reason = "its model is what is registered")]
struct Note {
    owner: Owner<i64>,
    #[crypt(plain)]
    writer: i64,
    text: Encrypted<String, note::text>,
    #[crypt(index_of = "text", normalize = "exact")]
    text_fp: BlindIndex<String, note::text_fp>,
}

impl Place {
    async fn rows(&self, writer: i64) -> i64 {
        let sql = "SELECT count(*) FROM notes WHERE writer = $1";
        let count = sqlx::query_scalar(sql)
            .bind(writer)
            .fetch_one(self.database.pool());
        count.await.unwrap()
    }

    /// Until the writer has so many rows more.
    async fn grows(&self, writer: i64, by: i64) {
        let (begun, before) = (Instant::now(), self.rows(writer).await);
        while self.rows(writer).await < before + by {
            assert!(begun.elapsed() < PATIENCE, "{writer} writes no more");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// What each writer says at its end: why a row of its was refused.
async fn shredded_under_writers(fenced: bool) -> Vec<String> {
    let _alone = busy().await;
    let place = Place::new().await;
    let pool = place.database.pool();
    let keys = PostgresKeyStore::new(pool.clone());
    let models = PostgresModels::new(pool.clone(), Models::new().with::<Note>());
    for owner in [GONE, LIVING] {
        place.keyring().provision(&owner).await.unwrap();
    }
    if fenced {
        models.raise_fence().await.unwrap();
    }
    let ledger = FileLedger::open_or_create(place.path("ledger")).unwrap();
    let shredder = Shredder::builder(keys.clone(), ledger)
        .rows(models)
        .sweep_again(Duration::ZERO)
        .build();

    let mut writers = Vec::new();
    // They miss their re-check too, which would come too soon on a busy machine.
    for (writer, owner) in [(10, GONE), (11, GONE), (20, LIVING)] {
        let settings = [
            ("owner", owner.to_string()),
            ("writer", writer.to_string()),
            ("unaware", "yes".to_owned()),
        ];
        let mut worker = place.worker("late", &format!("writer-{writer}"), &settings);
        worker.answers("running").await;
        place.grows(writer, 20).await;
        writers.push(worker);
    }

    // As of long ago, so that it is swept at once.
    sqlx::query("INSERT INTO ophie_crypt_shreds (owner, requested_at) VALUES ($1, 1000000)")
        .bind(GONE.canonical().as_bytes())
        .execute(pool)
        .await
        .unwrap();
    assert_eq!(shredder.work().await.unwrap().failed, 0);
    if !fenced {
        place.grows(10, 5).await;
        place.grows(11, 5).await;
    }
    assert!(shredder.sweep().await.unwrap().rows >= 40);
    if !fenced {
        place.grows(10, 5).await;
    }
    place.grows(20, 5).await;
    let mut refusals = Vec::new();
    for worker in &mut writers {
        refusals.push(worker.ask("stop").await);
    }
    assert_eq!(
        refusals.pop().unwrap(),
        "refused: never",
        "the living owner's"
    );

    let late = place.rows(10).await + place.rows(11).await;
    assert_eq!(late > 0, !fenced, "{late} rows came after the sweep");
    let swept = shredder.sweep().await.unwrap();
    assert_eq!(swept.rows, u64::try_from(late).unwrap());
    assert_eq!(place.rows(10).await + place.rows(11).await, 0);
    assert!(place.rows(20).await >= 25);
    assert!(keys.load(&LIVING.canonical()).await.unwrap().is_some());
    refusals
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_rows_are_refused_by_the_fence() {
    for refusal in shredded_under_writers(true).await {
        assert!(
            refusal.contains("the keys of its owner were destroyed"),
            "{refusal}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_rows_are_swept_where_there_is_no_fence() {
    for refusal in shredded_under_writers(false).await {
        assert_eq!(
            refusal, "refused: never",
            "nobody told it, or this shows nothing"
        );
    }
}
