//! Columns in a soak while others go on: writers that hold what they wrote, healthy processes, and rows that are no values;
//! on every database.

#![allow(
    dead_code,
    reason = "models: their fields are columns, which nothing here reads"
)]

use std::time::Duration;

use ophie_crypt::{
    EncryptedModel, ModelError, ModelStore, Models,
    soak::{Gate, SoakColumn, SoakJobError, SoakState, SoakStore, SoakWatch},
};
use ophie_crypt_sqlx::{Owner, Soak, SqliteModels};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tokio::time::timeout;

use crate::{
    soaking::{ADA, COLUMN, Person, Soaking, TABLE, is_mariadb, is_postgres},
    world::Kind,
};

every_database!(
    a_backfill_waits_for_no_writer,
    a_healthy_process_writes_on_while_its_column_retires,
    a_row_that_is_no_value_is_passed_over,
    no_column_is_dropped_that_a_process_still_knows,
    what_would_come_back_as_something_else_does_not_soak,
);

fn is_sqlite(kind: Kind) -> bool {
    matches!(kind, Kind::SqlxSqlite | Kind::DieselSqlite)
}

/// What a guarded write locks, no job writes.
async fn a_backfill_waits_for_no_writer(kind: Kind) {
    if is_sqlite(kind) {
        return; // it has one writer at a time
    }
    let soaking = Soaking::new(kind).await;
    for id in 0..20 {
        soaking.insert(id, ADA, "'Mom'").await.unwrap();
    }
    soaking.until(SoakState::Backfill).await;
    let late = format!("INSERT INTO people (id, user_id, name) VALUES (100, {ADA}, 'late')");
    let held = soaking.database.hold(&late).await;
    let soaker = soaking.soaker.clone().batch(5);
    let done = timeout(Duration::from_secs(60), soaker.backfill(TABLE, COLUMN)).await;
    let done = done.expect("it waits for who writes").unwrap();
    assert_eq!((done.written, done.pending), (20, 0));
    held.commit().await;
    assert_eq!(soaker.backfill(TABLE, COLUMN).await.unwrap().written, 1);
}

/// It goes by `Sealed` until its next heartbeat, and writes both columns.
async fn a_healthy_process_writes_on_while_its_column_retires(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    soaking.insert(1, ADA, "'Mom'").await.unwrap();
    soaking.until(SoakState::Sealed).await;
    soaking.pass(SoakState::Retired).await;
    let sealed = soaking.sealed("new");
    let mut id = 1;
    let mut admits = async |name: &str, sealed: &str| {
        id += 1;
        let sql = format!(
            "INSERT INTO people (id, user_id, name, name_ct) VALUES ({id}, {ADA}, {name}, {sealed})"
        );
        soaking.run(&sql).await.is_ok()
    };
    let change = format!("UPDATE people SET name = 'new', name_ct = {sealed} WHERE id = 1");
    soaking.run(&change).await.unwrap();
    assert!(admits("'new'", &sealed).await, "by `Sealed`");
    assert!(admits("NULL", &sealed).await, "by `Retired`");
    assert!(!admits("'new'", "NULL").await, "plaintext alone");
    let alone = soaking.run("UPDATE people SET name = 'x' WHERE name IS NOT NULL");
    assert!(alone.await.is_err(), "plaintext alone");
    let early = soaking.soaker.null_out(TABLE, COLUMN).await;
    let Err(SoakJobError::Gates { unmet, .. }) = early else {
        panic!("{early:?}")
    };
    assert_eq!(unmet, [Gate::Acknowledged]);
    let emptied = soaking.models.empty(&soaking.soak, 100).await.unwrap();
    assert_eq!(emptied, Some(0), "who is told to too early does nothing");
    soaking.watch.beat().await.unwrap();
    assert_eq!(soaking.soaker.null_out(TABLE, COLUMN).await.unwrap(), 2);
    assert!(!admits("'new'", &sealed).await, "once all know");
    assert!(admits("NULL", &sealed).await, "by `Retired`");
    let whole = "name IS NULL AND name_ct IS NOT NULL";
    assert_eq!(soaking.count(whole).await, 4);
    // And on the way back there is no plaintext without its ciphertext.
    let soaker = &soaking.soaker;
    soaker.step(TABLE, COLUMN, SoakState::Sealed).await.unwrap();
    assert!(admits("'new'", &sealed).await && admits("NULL", &sealed).await);
    assert!(!admits("'new'", "NULL").await);
}

async fn no_column_is_dropped_that_a_process_still_knows(kind: Kind) {
    let soaking = Soaking::new(kind).await;
    soaking.insert(1, ADA, "'Mom'").await.unwrap();
    soaking.until(SoakState::Retired).await;
    let row = soaking.soaker.status(TABLE, COLUMN).await.unwrap().row;
    soaking.watch.stop().await.unwrap();
    let dropped = soaking.models.drop_twin(&soaking.soak, &row).await;
    assert!(!dropped.unwrap(), "a row has plaintext");
    assert_eq!(soaking.count("name = 'Mom'").await, 1);
    let watch = SoakWatch::new(soaking.models.clone()).unwrap();
    watch.beat().await.unwrap();
    soaking.soaker.null_out(TABLE, COLUMN).await.unwrap();
    // It has come since the tool looked.
    let dropped = soaking.models.drop_twin(&soaking.soak, &row).await;
    assert!(!dropped.unwrap());
    soaking.run("SELECT name FROM people").await.unwrap();
    watch.stop().await.unwrap();
    let dropped = soaking.models.drop_twin(&soaking.soak, &row).await;
    assert!(dropped.unwrap());
}

#[derive(EncryptedModel)]
#[crypt(table = "badges")]
struct Badge {
    user_id: Owner<i64>,
    #[crypt(column = "code_ct", soak(twin = "code"))]
    code: Soak<Option<uuid::Uuid>, badge::code>,
}

async fn a_row_that_is_no_value_is_passed_over(kind: Kind) {
    if is_postgres(kind) {
        return; // its type admits no other
    }
    let table = "CREATE TABLE badges (id INT PRIMARY KEY, user_id BIGINT NOT NULL, code CHAR(36))";
    let models = Models::new().with::<Badge>();
    let soaking = Soaking::of(kind, models, "badges", "code_ct", table).await;
    for (id, code) in [
        (1, "00112233-4455-6677-8899-aabbccddeeff"),
        (2, "no UUID"),
        (3, "0011"),
        (4, "00112233-4455-6677-8899-aabbccddeef0"),
    ] {
        let row = format!("INSERT INTO badges (id, user_id, code) VALUES ({id}, {ADA}, '{code}')");
        soaking.run(&row).await.unwrap();
    }
    soaking.soaker.expand("badges", "code_ct").await.unwrap();
    soaking.pass(SoakState::DualWrite).await;
    soaking.pass(SoakState::Backfill).await;
    let done = soaking.soaker.backfill("badges", "code_ct").await.unwrap();
    assert_eq!((done.written, done.pending), (2, 2));
}

async fn what_would_come_back_as_something_else_does_not_soak(kind: Kind) {
    let cannot = |expanded: Result<bool, ModelError>| {
        assert!(
            matches!(expanded, Err(ModelError::CannotSoak { .. })),
            "{expanded:?}"
        );
    };
    match kind {
        // Blanks at its end are none of a value's, or are put there.
        _ if is_postgres(kind) => {
            let soaking = Soaking::new(kind).await;
            let narrow = "ALTER TABLE people ALTER COLUMN name TYPE CHAR(9)";
            soaking.run(narrow).await.unwrap();
            cannot(soaking.models.expand(&soaking.soak).await);
            let wide = "ALTER TABLE people ALTER COLUMN name TYPE TEXT; CREATE TABLE heirs () INHERITS (people)";
            soaking.run(wide).await.unwrap();
            cannot(soaking.models.expand(&soaking.soak).await);
            let alone =
                "DROP TABLE heirs; CREATE TABLE ancestors (); ALTER TABLE people INHERIT ancestors";
            soaking.run(alone).await.unwrap();
            cannot(soaking.models.expand(&soaking.soak).await);
            soaking.run("DROP TABLE people").await.unwrap();
            let parts = "CREATE TABLE people (id INTEGER PRIMARY KEY, user_id BIGINT NOT NULL, name TEXT) PARTITION BY HASH (id); \
                         CREATE TABLE parts PARTITION OF people FOR VALUES WITH (MODULUS 1, REMAINDER 0)";
            soaking.run(parts).await.unwrap();
            assert!(soaking.models.expand(&soaking.soak).await.unwrap());
        }
        // Foreign keys write without a trigger.
        _ if is_mariadb(kind) => {
            let soaking = Soaking::new(kind).await;
            soaking
                .run("CREATE TABLE users (id BIGINT PRIMARY KEY)")
                .await
                .unwrap();
            for (rule, soaks) in [("ON UPDATE CASCADE", false), ("ON DELETE CASCADE", true)] {
                let key = format!(
                    "ALTER TABLE people ADD CONSTRAINT of_user FOREIGN KEY (user_id) REFERENCES users (id) {rule}"
                );
                soaking.run(&key).await.unwrap();
                let expanded = soaking.models.expand(&soaking.soak).await;
                match soaks {
                    true => assert!(expanded.unwrap()),
                    false => cannot(expanded),
                }
                let drop = "ALTER TABLE people DROP FOREIGN KEY of_user";
                soaking.run(drop).await.unwrap();
            }
        }
        // Its texts are no UTF-8 below.
        Kind::SqlxSqlite => {
            let file = tempfile::tempdir().unwrap();
            let options = SqliteConnectOptions::new()
                .filename(file.path().join("wide.db"))
                .create_if_missing(true)
                .pragma("encoding", "'UTF-16'");
            let pool = SqlitePool::connect_with(options).await.unwrap();
            let models = SqliteModels::new(pool.clone(), Models::new().with::<Person>());
            models.migrate().await.unwrap();
            sqlx::raw_sql(
                "CREATE TABLE people (id INTEGER PRIMARY KEY, user_id BIGINT NOT NULL, name TEXT)",
            )
            .execute(&pool)
            .await
            .unwrap();
            let soak = SoakColumn::of(models.models(), TABLE, COLUMN).unwrap();
            cannot(models.expand(&soak).await);
        }
        _ => {}
    }
}
