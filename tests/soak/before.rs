//! The release of before, as a process of its own, in every state in which it is admitted; the example that has it; and
//! what drivers have prepared when a column is added.

use std::path::{Path, PathBuf};

use ophie_crypt::{
    EncryptedModel, Keyring, LocalKms, MemoryKeyStore, Models, Purpose,
    soak::{SoakState, SoakWatch, Soaker},
};
use ophie_crypt_sqlx::{Owner, PostgresModels, Soak};
use ophie_crypt_tests::postgres::{Database, sql};
use tokio::process::Command;

#[derive(EncryptedModel, sqlx::FromRow)]
#[crypt(table = "people")]
struct Person {
    #[crypt(plain)]
    id: i64,
    #[allow(dead_code, reason = "its hook reads it")]
    user_id: Owner<i64>,
    #[sqlx(flatten)]
    #[crypt(column = "name_ct", soak(twin = "name"))]
    name: Soak<String, person::name>,
}

const TABLE: &str =
    "CREATE TABLE people (id bigint PRIMARY KEY, user_id bigint NOT NULL, name text)";

/// A program that cargo puts beside those of the tests.
fn example(name: &str) -> PathBuf {
    let worker = Path::new(env!("CARGO_BIN_EXE_ophie-crypt-worker"));
    let path = worker.with_file_name("examples").join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --workspace --all-features --example 'migrate_existing*' --test soak`, or `tests/run soak`",
        path.display()
    );
    path
}

/// Whether the release of before ended well with so many people, and what it printed.
async fn before(url: &str, first: i64, people: i64) -> (bool, String) {
    let mut command = Command::new(example("migrate_existing_before"));
    command.args([url, &first.to_string(), &people.to_string()]);
    let output = command.output().await.unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), printed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_release_of_before_goes_on_in_every_state_until_it_is_refused() {
    const PEOPLE: i64 = 20;
    let database = Database::create().await;
    let pool = database.pool();
    sqlx::raw_sql(TABLE).execute(pool).await.unwrap();
    let old = "INSERT INTO people SELECT n, n % 50, 'old ' || n FROM generate_series(1, 100) AS n";
    sqlx::raw_sql(old).execute(pool).await.unwrap();
    let models = PostgresModels::new(pool.clone(), Models::new().with::<Person>());
    models.migrate().await.unwrap();
    let watch = SoakWatch::new(models.clone()).unwrap();
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().unwrap())
        .key_store(MemoryKeyStore::new())
        .soak_watch(watch.clone())
        .build()
        .unwrap();
    let soaker = Soaker::new(&keyring, models);
    let mut first = 1_000;
    let mut states = Vec::new();
    soaker.expand("people", "name_ct").await.unwrap();
    watch.beat().await.unwrap();
    loop {
        let state = watch
            .state(&<person::name as ophie_crypt::BoundColumn>::COLUMN)
            .unwrap();
        states.push(state);
        // The release of now writes too, and the step is taken while the one of before is at work.
        let session = keyring
            .open_or_provision(&7_i64, Purpose::new("soak"))
            .await
            .unwrap();
        let new = session.scope(async {
            let name = person::name(format!("new in {state}"));
            sqlx::query("INSERT INTO people (id, user_id, name, name_ct) VALUES ($1, $2, $3, $4)")
                .bind(first + PEOPLE)
                .bind(Owner(7_i64))
                .bind(name.twin())
                .bind(name.sealed())
                .execute(pool)
                .await
        });
        let next = state.next().filter(|next| *next < SoakState::Retired);
        let step = async {
            if state.is_filled() {
                soaker.backfill("people", "name_ct").await.unwrap();
            }
            if next == Some(SoakState::Soak) {
                assert!(soaker.verify("people", "name_ct").await.unwrap().is_clean());
            }
            let Some(next) = next else { return };
            while soaker.step("people", "name_ct", next).await.is_err() {
                // The one of before makes pending rows meanwhile.
                soaker.backfill("people", "name_ct").await.unwrap();
            }
            watch.beat().await.unwrap();
        };
        let ((ended, printed), written, ()) =
            tokio::join!(before(database.url(), first, PEOPLE), new, step);
        written.unwrap();
        assert_eq!(
            printed,
            format!("{PEOPLE} people, 0 errors, 0 wrong names, 0 vanished\n"),
            "{state}"
        );
        assert!(ended);
        // What each of them wrote, the other one sees.
        let nameless = "SELECT count(*) FROM people WHERE name IS NULL";
        let nameless: i64 = sqlx::query_scalar(nameless).fetch_one(pool).await.unwrap();
        assert_eq!(nameless, 0, "{state}");
        for id in first..first + PEOPLE {
            let user = id % 50;
            let session = keyring
                .open_or_provision(&user, Purpose::new("soak"))
                .await
                .unwrap();
            let read = session.scope(async {
                sqlx::query_as::<_, Person>(
                    "SELECT id, user_id, name, name_ct FROM people WHERE id = $1",
                )
                .bind(id)
                .fetch_one(pool)
                .await
            });
            let read = read.await.unwrap();
            assert!(
                read.name
                    .expose_secret()
                    .ends_with(&format!(" {}", read.id)),
                "{state}"
            );
        }
        first += 100;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(states.len(), 6);
    assert_eq!(states.last(), Some(&SoakState::Sealed));
    // Control: refused, its every write fails, and it says so.
    soaker
        .admit_old_binaries("people", "name_ct", false)
        .await
        .unwrap();
    let (ended, printed) = before(database.url(), first, 3).await;
    assert!(
        !ended && printed == "3 people, 3 errors, 0 wrong names, 3 vanished\n",
        "{printed}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_loses_no_name() {
    let (database, folder) = (Database::create().await, tempfile::tempdir().unwrap());
    let mut command = Command::new(example("migrate_existing"));
    command
        .env("DATABASE_URL", database.url())
        .env("ROWS", "600");
    let output = command.current_dir(folder.path()).output().await.unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{printed}{errors}");
    assert_eq!(
        printed.matches("0 errors, 0 wrong names").count(),
        3,
        "{printed}{errors}"
    );
    assert!(
        printed.contains("0 mismatches, 0 failures") && printed.contains(" rows, 0 wrong"),
        "{printed}"
    );
    let plain = sqlx::query("SELECT name FROM people")
        .execute(database.pool())
        .await;
    assert!(plain.is_err());
}

/// A statement that a connection has prepared with `*` fails once a column was added, for as long as the connection lives; one
/// that names its columns, or that is not kept, does not.
#[tokio::test]
async fn statements_that_name_their_columns_outlive_an_added_one() {
    let database = Database::create().await;
    let mut connection = database.pool().acquire().await.unwrap();
    sqlx::raw_sql(TABLE)
        .execute(&mut *connection)
        .await
        .unwrap();
    let kept = |statement: &'static str| sqlx::query(sql(statement));
    let [all, named] = [
        "SELECT * FROM people",
        "SELECT id, user_id, name FROM people",
    ];
    let not_kept = "SELECT * FROM people ORDER BY id";
    for statement in [all, named] {
        kept(statement).fetch_all(&mut *connection).await.unwrap();
    }
    kept(not_kept)
        .persistent(false)
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    let add = "ALTER TABLE people ADD COLUMN name_ct bytea";
    sqlx::raw_sql(add).execute(database.pool()).await.unwrap();
    for _ in 0..2 {
        let refused = kept(all).fetch_all(&mut *connection).await.unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("cached plan must not change result type"),
            "{refused}"
        );
        kept(named).fetch_all(&mut *connection).await.unwrap();
        kept(not_kept)
            .persistent(false)
            .fetch_all(&mut *connection)
            .await
            .unwrap();
    }
    // A new connection has prepared nothing.
    connection.close().await.unwrap();
    let mut connection = database.pool().acquire().await.unwrap();
    kept(all).fetch_all(&mut *connection).await.unwrap();
}
