//! What stays of plaintext in the files of a database, once the column is dropped and the table written anew: nothing but
//! what the report of the drop names.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use ophie_crypt::{
    EncryptedModel, Keyring, LocalKms, MemoryKeyStore, Models,
    soak::{SoakState, SoakStore, SoakWatch, Soaker},
};
use ophie_crypt_sqlx::{Encrypted, MySqlModels, Owner, PostgresModels, Soak, SqliteModels};
use ophie_crypt_tests::{mariadb, sqlite};

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

const CANARIES: u32 = 50;

fn canary(n: u32) -> String {
    format!("canary-{n}-of-the-soak")
}

/// How many canaries stand in files below.
fn found(folder: &Path) -> usize {
    let canaries = (0..CANARIES).filter(|n| !holding(folder, &canary(*n)).is_empty());
    canaries.count()
}

/// Names of the files below that hold a text.
fn holding(folder: &Path, text: &str) -> BTreeSet<String> {
    let grep = Command::new("grep")
        .args(["-r", "-l", "-a", "-F", "-e", text])
        .arg(folder)
        .output()
        .unwrap();
    let files = String::from_utf8(grep.stdout).unwrap();
    let names = files
        .lines()
        .map(|file| PathBuf::from(file).file_name().unwrap().to_owned());
    names.map(|name| name.into_string().unwrap()).collect()
}

fn inserts() -> String {
    let rows = (0..CANARIES).map(|n| format!("({n}, 7, '{}')", canary(n)));
    let rows: Vec<_> = rows.collect();
    format!(
        "INSERT INTO people (id, user_id, name) VALUES {}",
        rows.join(", ")
    )
}

/// Through all states, to the drop of the plaintext column: what its report names.
async fn soaked<S: SoakStore + Clone>(store: impl Fn(Models) -> S) -> &'static [&'static str] {
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().unwrap())
        .key_store(MemoryKeyStore::new())
        .build()
        .unwrap();
    let models = store(Models::new().with::<Person>());
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
    let after = store(Models::new().with::<PersonAfter>());
    let (soaker, watch) = (
        Soaker::new(&keyring, after.clone()),
        SoakWatch::new(after).unwrap(),
    );
    watch.beat().await.unwrap();
    let dropped = soaker.drop_twin("people", "name_ct", "people.name").await;
    dropped.unwrap()
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
    run(inserts()).await;
    run("ANALYZE people".into()).await;
    run("CHECKPOINT".into()).await;
    assert_eq!(
        found(&place.path("primary")),
        usize::try_from(CANARIES).unwrap(),
        "or finding none would prove nothing"
    );

    let tables = |models| PostgresModels::new(pool.clone(), models);
    tables(Models::new()).migrate().await.unwrap();
    let residue = soaked(tables).await;
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

/// The write-ahead log is the only file beside the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_canary_is_left_in_sqlites_files() {
    let database = sqlite::Database::create().await;
    let pool = database.pool().clone();
    let run = async |sql: &str| {
        let done = sqlx::raw_sql(sqlite::sql(sql)).execute(&pool).await;
        done.unwrap();
    };
    run("CREATE TABLE people (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, name TEXT)").await;
    run(&inserts()).await;
    run("PRAGMA wal_checkpoint(TRUNCATE)").await;
    let all = usize::try_from(CANARIES).unwrap();
    assert_eq!(
        found(database.path()),
        all,
        "or finding none would prove nothing"
    );

    let tables = |models| SqliteModels::new(pool.clone(), models);
    tables(Models::new()).migrate().await.unwrap();
    let residue = soaked(tables).await;
    assert!(
        residue
            .iter()
            .any(|place| place.contains("wal_checkpoint(TRUNCATE)"))
    );
    run("PRAGMA wal_checkpoint(TRUNCATE)").await;
    assert_eq!(found(database.folder()), 0);
    assert!(
        !holding(database.folder(), "name_ct").is_empty(),
        "the files were searched"
    );
}

/// The table's own file holds none; the server's others, which all databases share, hold what the report says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mariadb_canaries_are_left_where_the_report_says() {
    let database = mariadb::Database::create().await;
    let pool = database.pool().clone();
    let run = async |sql: &str| {
        let done = sqlx::raw_sql(mariadb::sql(sql)).execute(&pool).await;
        done.unwrap();
    };
    let folder: String = sqlx::query_scalar("SELECT @@datadir")
        .fetch_one(&pool)
        .await
        .unwrap();
    let (all, own) = (Path::new(&folder), Path::new(&folder).join(database.name()));
    run("CREATE TABLE people (id INTEGER PRIMARY KEY, user_id BIGINT NOT NULL, name VARCHAR(80))")
        .await;
    run(&inserts()).await;
    let written_out = async || {
        let mut connection = pool.acquire().await.unwrap();
        let flush = sqlx::raw_sql("FLUSH TABLES people FOR EXPORT; UNLOCK TABLES");
        flush.execute(&mut *connection).await.unwrap();
    };
    written_out().await;
    let count = usize::try_from(CANARIES).unwrap();
    assert_eq!(found(&own), count, "or finding none would prove nothing");

    let tables = |models| MySqlModels::new(pool.clone(), models);
    tables(Models::new()).migrate().await.unwrap();
    let residue = soaked(tables).await;
    written_out().await;
    assert_eq!(found(&own), 0);
    // What the server calls them, and the report.
    let named = [
        ("mariadb-bin.", "the binary log"),
        ("ib_logfile", "the redo log"),
        ("undo", "undo logs"),
        ("ibdata", "undo logs and the doublewrite buffer"),
    ];
    let mut files = BTreeSet::new();
    for n in 0..CANARIES {
        let holding = holding(all, &canary(n));
        assert!(
            holding.iter().any(|file| file.starts_with("mariadb-bin.")),
            "it logs each row"
        );
        files.extend(holding);
    }
    for file in &files {
        let name = named.iter().find(|(name, _)| file.starts_with(name));
        let (_, called) = name.unwrap_or_else(|| panic!("{file} holds plaintext"));
        assert!(
            residue.iter().any(|place| place.contains(called)),
            "{called}"
        );
    }
    println!("files of the server that still hold plaintext: {files:?}");
}
