//! Statements that PostgreSQL prepared for a release of before, when columns are added below them.

use ophie_crypt::{
    EncryptedModel, Keyring, LocalKms, MemoryKeyStore, Models,
    soak::{SoakStore, Soaker},
};
use ophie_crypt_sqlx::{Owner, PostgresModels, Soak};
use ophie_crypt_tests::postgres::Database;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

#[derive(EncryptedModel)]
#[crypt(table = "people")]
#[allow(dead_code, reason = "its fields are columns, which nothing here reads")]
struct Person {
    user_id: Owner<i64>,
    #[crypt(column = "name_ct", soak(twin = "name"))]
    name: Soak<Option<String>, person::name>,
}

const NAMED: &str = "SELECT id, name FROM people WHERE id = $1";
const STAR: &str = "SELECT * FROM people WHERE id = $1";

async fn name(
    connection: &mut PgConnection,
    sql: &str,
    persistent: bool,
) -> Result<String, sqlx::Error> {
    let query = sqlx::query(AssertSqlSafe(sql.to_owned()))
        .persistent(persistent)
        .bind(1);
    query.fetch_one(connection).await.map(|row| row.get("name"))
}

/// What the manual says of `SELECT *`: by name, or not prepared for longer than it runs, or on connections that are opened
/// after the columns were added.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_of_before_goes_on_if_it_names_its_columns_or_keeps_no_plans() {
    let database = Database::create().await;
    let tables = "CREATE TABLE people (id integer PRIMARY KEY, user_id bigint NOT NULL, name text); \
                  INSERT INTO people VALUES (1, 7, 'before')";
    sqlx::raw_sql(tables)
        .execute(database.pool())
        .await
        .unwrap();
    let mut old = PgConnection::connect(database.url()).await.unwrap();
    for sql in [NAMED, STAR] {
        assert_eq!(name(&mut old, sql, true).await.unwrap(), "before");
    }
    let models = PostgresModels::new(database.pool().clone(), Models::new().with::<Person>());
    models.migrate().await.unwrap();
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().unwrap())
        .key_store(MemoryKeyStore::new())
        .build()
        .unwrap();
    let soaker = Soaker::new(&keyring, models.clone());
    soaker.expand("people", "name_ct").await.unwrap();
    assert_eq!(models.soaks().await.unwrap().len(), 1);
    assert_eq!(name(&mut old, NAMED, true).await.unwrap(), "before");
    let planned = name(&mut old, STAR, true).await.unwrap_err();
    assert!(planned.to_string().contains("cached plan"), "{planned}");
    assert_eq!(
        name(&mut old, &format!("{STAR} "), false).await.unwrap(),
        "before"
    );
    old.close().await.unwrap();
    let mut old = PgConnection::connect(database.url()).await.unwrap();
    assert_eq!(name(&mut old, STAR, true).await.unwrap(), "before");
}
