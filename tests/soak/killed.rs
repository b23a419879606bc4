//! Backfills that are killed, two at a time, at any point of a batch, on every database.

use std::time::Duration;

use ophie_crypt::{
    EncryptedModel, Keyring, LocalKms, Models,
    soak::{SoakState, SoakWatch, Soaker},
};
use ophie_crypt_sqlx::{BlindIndex, Owner, Soak};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{sleep, timeout},
};

#[derive(EncryptedModel)]
#[crypt(table = "people")]
#[allow(dead_code, reason = "its fields are columns, which nothing here reads")]
struct Person {
    user_id: Owner<i64>,
    #[crypt(column = "name_ct", soak(twin = "name"))]
    name: Soak<String, person::name>,
    #[crypt(index_of = "name")]
    name_fp: BlindIndex<String, person::name_fp>,
}

fn worker(url: &str, master: &std::path::Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_ophie-crypt-worker"))
        .args(["backfill", "actor=backfill", "batch=10"])
        .arg(format!("database={url}"))
        .arg(format!("master={}", master.display()))
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

macro_rules! killed {
    ($($name:ident, $keys:ident, $models:ident, $kills:literal, $table:expr, $noted:expr;)*) => {$(
        mod $name {
            use ophie_crypt_sqlx::{$keys as Keys, $models as Tables};
            use ophie_crypt_tests::$name::Database;

            use super::*;

            /// Processes that are killed while rows are left for them.
            const KILLS: u32 = $kills;
            /// As many come again once less than half of them are left.
            const ROWS: i64 = 2_000;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn no_kill_skips_a_row_or_seals_one_twice() {
                let database = Database::create().await;
                let (pool, folder) = (database.pool(), tempfile::tempdir().unwrap());
                let master = folder.path().join("master.key");
                let store = Keys::new(pool.clone());
                store.migrate().await.unwrap();
                let keyring = Keyring::builder()
                    .kms(LocalKms::open_or_create(&master).unwrap())
                    .key_store(store)
                    .build()
                    .unwrap();
                // What each row goes through is written down by the database itself.
                let tables = $table.replace("ROWS", &ROWS.to_string());
                sqlx::raw_sql(sqlx::AssertSqlSafe(tables))
                    .execute(pool)
                    .await
                    .unwrap();
                let models = Tables::new(pool.clone(), Models::new().with::<Person>());
                let (soaker, watch) = (
                    Soaker::new(&keyring, models.clone()),
                    SoakWatch::new(models).unwrap(),
                );
                soaker.expand("people", "name_ct").await.unwrap();
                sqlx::raw_sql($noted).execute(pool).await.unwrap();
                for to in [SoakState::DualWrite, SoakState::Backfill] {
                    watch.beat().await.unwrap();
                    soaker.step("people", "name_ct", to).await.unwrap();
                }
                let (mut killed, mut tried, mut rows, mut lines_of) = (0, 0, ROWS, Vec::new());
                while killed < KILLS {
                    let mut pair = [worker(database.url(), &master), worker(database.url(), &master)];
                    for child in &mut pair {
                        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
                        for _ in ["ready", "its first batch, or that there is none"] {
                            let said = timeout(Duration::from_secs(120), lines.next_line()).await;
                            said.unwrap().unwrap().expect("it lives");
                        }
                        lines_of.push(lines); // or it would die of a closed pipe
                    }
                    for child in &mut pair {
                        // Anything from the beginning of a batch to its end.
                        sleep(Duration::from_micros(tried * 7_919 % 9_000)).await;
                        child.kill().await.unwrap();
                        tried += 1;
                        let pending = "SELECT count(*) FROM people WHERE name_ct IS NULL";
                        let pending: i64 = sqlx::query_scalar(pending).fetch_one(pool).await.unwrap();
                        // Whoever was at its end died of nothing.
                        killed += u32::from(pending > 0);
                        if pending < ROWS / 2 {
                            let more = format!(
                                "INSERT INTO people (id, user_id, name) SELECT id + {rows}, user_id, name FROM people WHERE id <= {ROWS}"
                            );
                            sqlx::raw_sql(sqlx::AssertSqlSafe(more)).execute(pool).await.unwrap();
                            rows += ROWS;
                        }
                    }
                    lines_of.clear();
                }
                let done = soaker.backfill("people", "name_ct").await.unwrap();
                assert_eq!(done.pending, 0, "a row was skipped");
                let twice: i64 = sqlx::query_scalar(
                    "SELECT count(*) FROM (SELECT id FROM sealings GROUP BY id HAVING count(*) <> 1) AS twice",
                )
                .fetch_one(pool)
                .await
                .unwrap();
                assert_eq!(twice, 0, "a row was sealed twice");
                let all: i64 = sqlx::query_scalar("SELECT count(*) FROM sealings")
                    .fetch_one(pool)
                    .await
                    .unwrap();
                assert_eq!(all, rows);
                let report = soaker.verify("people", "name_ct").await.unwrap();
                assert!(report.is_clean() && report.pending == 0, "{report:?}");
                let status = soaker.status("people", "name_ct").await.unwrap();
                assert_eq!(i64::try_from(status.row.filled).unwrap(), rows);
            }
        }
    )*};
}

killed! {
    mariadb, MySqlKeyStore, MySqlModels, 20,
        "CREATE TABLE people (id INTEGER PRIMARY KEY, user_id BIGINT NOT NULL, name VARCHAR(80));
         INSERT INTO people SELECT seq, seq % 5, concat('slept badly ', seq) FROM seq_1_to_ROWS;
         CREATE TABLE sealings (id INTEGER);",
        "CREATE TRIGGER noted AFTER UPDATE ON people FOR EACH ROW INSERT INTO sealings VALUES (NEW.id);";
    postgres, PostgresKeyStore, PostgresModels, 200,
        "CREATE TABLE people (id integer PRIMARY KEY, user_id bigint NOT NULL, name text);
         INSERT INTO people SELECT n, n % 5, 'slept badly ' || n FROM generate_series(1, ROWS) AS n;
         CREATE TABLE sealings (id integer);",
        "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS \
         $$BEGIN INSERT INTO sealings VALUES (NEW.id); RETURN NULL; END$$; \
         CREATE TRIGGER noted AFTER UPDATE OF name_ct ON people FOR EACH ROW EXECUTE FUNCTION noted();";
    sqlite, SqliteKeyStore, SqliteModels, 20,
        "CREATE TABLE people (id INTEGER PRIMARY KEY, user_id BIGINT NOT NULL, name TEXT);
         WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ROWS)
             INSERT INTO people SELECT n, n % 5, 'slept badly ' || n FROM numbers;
         CREATE TABLE sealings (id INTEGER);",
        "CREATE TRIGGER noted AFTER UPDATE OF name_ct ON people BEGIN INSERT INTO sealings VALUES (NEW.id); END;";
}
