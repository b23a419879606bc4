//! Many rows, of which three are wrong.
//!
//! `OPHIE_CRYPT_TEST_ROWS` says how many.

use tokio::time::Instant;

use ophie_crypt::{
    EncryptedModel, Keyring, LocalKms, MemoryKeyStore, Models,
    soak::{SoakState, SoakWatch, Soaker, Wrong},
};
use ophie_crypt_sqlx::{Owner, PostgresModels, Soak};
use ophie_crypt_tests::postgres::Database;

#[derive(EncryptedModel)]
#[crypt(table = "people")]
#[allow(dead_code, reason = "its fields are columns, which nothing here reads")]
struct Person {
    user_id: Owner<i64>,
    #[crypt(column = "name_ct", soak(twin = "name"))]
    name: Soak<Option<String>, person::name>,
}

/// If nothing else is said.
const ROWS: i64 = 2_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_names_a_flipped_bit_a_swapped_row_and_a_null_for_nothing() {
    let rows = std::env::var("OPHIE_CRYPT_TEST_ROWS").map_or(ROWS, |text| text.parse().unwrap());
    let database = Database::create().await;
    let run = async |sql: String| {
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
        done.execute(database.pool()).await.unwrap();
    };
    run(format!(
        "CREATE TABLE people (id bigint PRIMARY KEY, user_id bigint NOT NULL, name text);
         INSERT INTO people SELECT n, n % 100, CASE n % 10 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'slept badly ' || n END
             FROM generate_series(1, {rows}) AS n"
    ))
    .await;
    let models = PostgresModels::new(database.pool().clone(), Models::new().with::<Person>());
    models.migrate().await.unwrap();
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().unwrap())
        .key_store(MemoryKeyStore::new())
        .build()
        .unwrap();
    let (soaker, watch) = (
        Soaker::new(&keyring, models.clone())
            .batch(2_000)
            .pause(std::time::Duration::ZERO),
        SoakWatch::new(models).unwrap(),
    );
    soaker.expand("people", "name_ct").await.unwrap();
    for to in [SoakState::DualWrite, SoakState::Backfill] {
        watch.beat().await.unwrap();
        soaker.step("people", "name_ct", to).await.unwrap();
    }
    let began = Instant::now();
    let done = soaker.backfill("people", "name_ct").await.unwrap();
    assert_eq!(i64::try_from(done.written).unwrap(), rows - rows / 10);
    let filled = began.elapsed();
    // All three, where a program would look last.
    let (bit, swapped, null) = (rows / 2 + 2, rows / 2 + 3, rows / 2 / 10 * 10 + 1);
    let (bit, swapped) = (
        bit + i64::from(bit % 10 < 2) * 2,
        swapped + i64::from(swapped % 10 < 2) * 2,
    );
    run(format!(
        "ALTER TABLE people DISABLE TRIGGER USER;
         UPDATE people SET name_ct = set_byte(name_ct, 40, get_byte(name_ct, 40) # 1) WHERE id = {bit};
         UPDATE people SET name_ct = (SELECT name_ct FROM people WHERE id = {swapped} - 100) WHERE id = {swapped};
         UPDATE people SET name = NULL WHERE id = {null};
         ALTER TABLE people ENABLE TRIGGER USER"
    ))
    .await;
    let began = Instant::now();
    let report = soaker.verify("people", "name_ct").await.unwrap();
    let mut wrong: Vec<(i64, Wrong)> = report
        .wrong
        .iter()
        .map(|row| (row.key.parse().unwrap(), row.wrong))
        .collect();
    wrong.sort_unstable_by_key(|(key, _)| *key);
    let mut expected = vec![
        (bit, Wrong::DoesNotOpen),
        (swapped, Wrong::Differs),
        (null, Wrong::NoPlaintext),
    ];
    expected.sort_unstable_by_key(|(key, _)| *key);
    assert_eq!(wrong, expected);
    assert_eq!((report.wrong_rows, report.pending), (3, 0));
    assert_eq!(i64::try_from(report.rows).unwrap(), rows - rows / 10);
    if rows > ROWS {
        println!(
            "{rows} rows: sealed in {filled:?}, compared in {:?}",
            began.elapsed()
        );
    }
}
