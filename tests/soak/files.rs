//! What stays of plaintext in the files of PostgreSQL, once the column is dropped and the table written anew.

use std::{path::Path, process::Command};

use ophie_crypt::{
    EncryptedModel, Keyring, LocalKms, MemoryKeyStore, Models,
    soak::{SoakState, SoakWatch, Soaker},
};
use ophie_crypt_sqlx::{Encrypted, Owner, PostgresModels, Soak};

use cluster::Place;

#[path = "../shred/cluster.rs"]
#[allow(dead_code, reason = "one cluster, which is not put back here")]
mod cluster;

#[derive(EncryptedModel)]
#[crypt(table = "people")]
#[allow(dead_code, reason = "its fields are columns, which nothing here reads")]
struct Person {
    user_id: Owner<i64>,
    #[crypt(column = "name_ct", soak(twin = "name"))]
    name: Soak<String, person::name>,
}

#[derive(EncryptedModel)]
#[crypt(table = "people", module = "after")]
#[allow(dead_code, reason = "its fields are columns, which nothing here reads")]
struct PersonAfter {
    user_id: Owner<i64>,
    #[crypt(column = "name_ct", id = "name")]
    name: Encrypted<String, after::name>,
}

const CANARIES: u32 = 20;

fn canary(n: u32) -> String {
    format!("canary-{n}-of-the-soak")
}

/// How many canaries stand in files below.
fn found(folder: &Path) -> usize {
    let canaries = (0..CANARIES).filter(|n| {
        let grep = Command::new("grep")
            .args(["-r", "-q", "-a", "-F", "-e", &canary(*n)])
            .arg(folder)
            .status();
        grep.unwrap().success()
    });
    canaries.count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_canary_is_left_in_the_data_directory() {
    let place = Place::new();
    let cluster = place.cluster().await;
    let pool = cluster.pool.clone();
    let run = async |sql: String| {
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await;
        done.unwrap();
    };
    for setting in [
        "wal_recycle = off",
        "min_wal_size = '32MB'",
        "max_wal_size = '64MB'",
    ] {
        run(format!("ALTER SYSTEM SET {setting}")).await;
    }
    run("SELECT pg_reload_conf()".into()).await;
    run("CREATE TABLE people (id integer PRIMARY KEY, user_id bigint NOT NULL, name text)".into())
        .await;
    for n in 0..CANARIES {
        run(format!(
            "INSERT INTO people VALUES ({n}, 7, '{}')",
            canary(n)
        ))
        .await;
    }
    run("ANALYZE people".into()).await;
    run("CHECKPOINT".into()).await;
    assert_eq!(
        found(&place.path("primary")),
        usize::try_from(CANARIES).unwrap(),
        "or finding none would prove nothing"
    );

    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().unwrap())
        .key_store(MemoryKeyStore::new())
        .build()
        .unwrap();
    let models = PostgresModels::new(pool.clone(), Models::new().with::<Person>());
    models.migrate().await.unwrap();
    let (soaker, watch) = (
        Soaker::new(&keyring, models.clone()),
        SoakWatch::new(models).unwrap(),
    );
    soaker.expand("people", "name_ct").await.unwrap();
    for to in [
        SoakState::DualWrite,
        SoakState::Backfill,
        SoakState::Verify,
        SoakState::Soak,
        SoakState::Sealed,
        SoakState::Retired,
    ] {
        if to == SoakState::Verify {
            assert_eq!(
                soaker.backfill("people", "name_ct").await.unwrap().written,
                u64::from(CANARIES)
            );
        }
        if to == SoakState::Retired {
            soaker
                .admit_old_binaries("people", "name_ct", false)
                .await
                .unwrap();
        }
        watch.beat().await.unwrap();
        if matches!(to, SoakState::Soak | SoakState::Retired) {
            assert!(soaker.verify("people", "name_ct").await.unwrap().is_clean());
        }
        soaker.step("people", "name_ct", to).await.unwrap();
    }
    watch.stop().await.unwrap();
    soaker.null_out("people", "name_ct").await.unwrap();
    let after = PostgresModels::new(pool.clone(), Models::new().with::<PersonAfter>());
    let (soaker, watch) = (
        Soaker::new(&keyring, after.clone()),
        SoakWatch::new(after).unwrap(),
    );
    watch.beat().await.unwrap();
    let residue = soaker
        .drop_twin("people", "name_ct", "people.name")
        .await
        .unwrap();
    // What the report names, for a cluster that has no replica and whose archive is its own folder.
    assert!(residue.iter().any(|place| place.contains("pg_statistic")));
    run("VACUUM FULL pg_statistic".into()).await;
    cluster.archive().await; // or its segments are kept
    for _ in 0..2 {
        run("CHECKPOINT".into()).await;
        run("SELECT pg_switch_wal()".into()).await;
    }
    cluster.archive().await;
    run("CHECKPOINT".into()).await;
    assert_eq!(found(&place.path("primary")), 0);
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM people WHERE name_ct IS NOT NULL")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(rows, i64::from(CANARIES));
}
