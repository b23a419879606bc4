//! A replica that follows, and jobs of a soak that wait for it.

use std::time::Duration;

use ophie_crypt::{
    EncryptedModel, Keyring, LocalKms, Models, Purpose,
    soak::{SoakState, SoakStore, Soaker},
};
use ophie_crypt_sqlx::{Owner, PostgresKeyStore, PostgresModels, Soak};
use sqlx::PgPool;
use tokio::time::{sleep, timeout};

use crate::cluster::{Cluster, Place};

#[derive(EncryptedModel)]
#[crypt(table = "people")]
#[expect(dead_code, reason = "only its columns are used")]
struct Person {
    owner: Owner<i64>,
    #[crypt(column = "name_ct", soak(twin = "name", floor = "expand"))]
    name: Soak<Option<String>, person::name>,
}

const MOST: Duration = Duration::from_millis(300);

fn models(pool: &PgPool) -> PostgresModels {
    PostgresModels::new(pool.clone(), Models::new().with::<Person>())
}

/// Until this is so of what the primary knows; what is written meanwhile is what the replica lacks.
async fn until(primary: &Cluster<'_>, holds: impl Fn(Option<Duration>) -> bool) {
    let holds = async {
        while !holds(models(&primary.pool).lag().await.unwrap()) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(60), holds).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_wait_for_a_replica_that_is_behind() {
    let place = Place::new();
    let primary = place.cluster().await;
    assert_eq!(models(&primary.pool).lag().await.unwrap(), None);
    let store = PostgresKeyStore::new(primary.pool.clone());
    store.migrate().await.unwrap();
    primary
        .run(
            "CREATE TABLE people (id integer PRIMARY KEY, owner bigint NOT NULL, name text); \
             INSERT INTO people SELECT n, 7, 'name ' || n FROM generate_series(1, 3) AS n; CREATE ROLE app LOGIN",
        )
        .await;
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().unwrap())
        .key_store(store)
        .build()
        .unwrap();
    let purpose = Purpose::new("tests");
    drop(keyring.open_or_provision(&7_i64, purpose).await.unwrap());
    let soaker = Soaker::new(&keyring, models(&primary.pool));
    soaker.expand("people", "name_ct").await.unwrap();
    for state in [SoakState::DualWrite, SoakState::Backfill] {
        soaker.step("people", "name_ct", state).await.unwrap();
    }

    primary.back_up("replica");
    let follows = format!(
        "archive_mode = off\nhot_standby = on\nprimary_conninfo = '{}'\nwal_receiver_status_interval = 1\n",
        primary.url
    );
    place.configure("replica", &follows);
    place.signal("replica", "standby.signal");
    let replica = place.start("replica").await;
    let streams = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
    let streaming = async {
        while sqlx::query_scalar::<_, i64>(streams)
            .fetch_one(&primary.pool)
            .await
            .unwrap()
            == 0
        {}
    };
    timeout(Duration::from_secs(60), streaming).await.unwrap();

    // One that has replayed all is not waited for, and one that stands still is.
    let soaker = soaker.batch(1).max_lag(MOST);
    replica.run("SELECT pg_wal_replay_pause()").await;
    primary.run("UPDATE people SET owner = owner").await;
    until(&primary, |lag| lag > Some(MOST)).await;
    let app = primary.url.replace("postgres@", "app@");
    let app = PgPool::connect(&app).await.unwrap();
    assert_eq!(models(&app).lag().await.unwrap(), None); // it may not look
    let job = soaker.clone();
    let job = tokio::spawn(async move { job.verify("people", "name_ct").await });
    let waits = async {
        while soaker.waited_for_replicas().is_zero() {
            assert!(!job.is_finished(), "it did not wait");
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(60), waits).await.unwrap();
    replica.run("SELECT pg_wal_replay_resume()").await;
    let done = timeout(Duration::from_secs(60), job).await.unwrap();
    let done = done.unwrap().unwrap();
    assert!(done.complete && done.pending == 3, "{done:?}");
    until(&primary, |lag| lag.is_none()).await;

    // And who is stopped waits no longer.
    replica.run("SELECT pg_wal_replay_pause()").await;
    primary.run("UPDATE people SET owner = owner").await;
    until(&primary, |lag| lag > Some(MOST)).await;
    let before = soaker.waited_for_replicas();
    let job = soaker.clone();
    let job = tokio::spawn(async move { job.verify("people", "name_ct").await });
    let waits = async {
        while soaker.waited_for_replicas() == before {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(60), waits).await.unwrap();
    soaker.stop_handle().stop();
    let stopped = timeout(Duration::from_secs(60), job).await.unwrap();
    assert!(!stopped.unwrap().unwrap().complete);
}
