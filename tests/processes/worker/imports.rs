//! Seals in its own application's open write transaction, on SQLite, with pools of one connection.

use std::time::Duration;

use ophie_crypt::Session;
use ophie_crypt_sqlx::{Owner, SqliteKeyStore};
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions},
};

use super::{
    Orders, say,
    setup::{PURPOSE, Settings, note},
};

pub(crate) async fn run(settings: &Settings) {
    let keys = settings.text("keys");
    let store = match settings.optional("one") {
        Some(_) => SqliteKeyStore::new(pool_of_one(keys).await),
        None => SqliteKeyStore::open(keys).await.expect("the file opens"),
    };
    let keyring = settings.keyring_on(store).await;
    let application = pool_of_one(settings.text("application")).await;
    let table = "CREATE TABLE notes (owner bigint, writer bigint, text blob, text_fp blob)";
    sqlx::raw_sql(table)
        .execute(&application)
        .await
        .expect("a new file");
    let mut orders = Orders::new();
    say("ready");
    orders.expect("import").await;
    let owner: i64 = settings.number("owner");
    // Nothing of an owner was there before: also its keys are made inside the transaction.
    let mut tx = application
        .begin_with("BEGIN EXCLUSIVE")
        .await
        .expect("nobody else has the file");
    let session: Session = keyring
        .open_or_provision(&owner, PURPOSE)
        .await
        .expect("keys of the owner");
    let notes: u32 = settings.number("notes");
    for n in 0..notes {
        if settings.optional("reserve").is_some() && n.is_multiple_of(500) {
            session.reserve(1_000).await.expect("a lease");
        }
        // A refill in the background may come late on a busy machine; a lock would be another error.
        let mut late = 0..500;
        loop {
            let insert = session.scope(async {
                sqlx::query(
                    "INSERT INTO notes (owner, writer, text, text_fp) VALUES ($1, $2, $3, $4)",
                )
                .bind(Owner(owner))
                .bind(i64::from(n))
                .bind(note::text("text"))
                .bind(note::text_fp("text")?)
                .execute(&mut *tx)
                .await
            });
            match insert.await {
                Err(error)
                    if error.to_string().contains("used up its lease") && late.next().is_some() =>
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                inserted => {
                    inserted.expect("no lock, and a lease");
                    break;
                }
            }
        }
    }
    tx.commit().await.expect("the transaction ends well");
    let written: i64 = sqlx::query_scalar("SELECT count(*) FROM notes")
        .fetch_one(&application)
        .await
        .expect("a count");
    say(format_args!("imported {written}"));
}

async fn pool_of_one(path: &str) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(10));
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options);
    pool.await.expect("the file opens")
}
