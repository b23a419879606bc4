//! Seals the plaintext of a table in a soak, until it is killed or done.

use std::time::Duration;

use ophie_crypt::{
    EncryptedModel, KeyStore, Models,
    soak::{SoakStore, Soaker},
};
use ophie_crypt_sqlx::{
    BlindIndex, MySqlKeyStore, MySqlModels, Owner, PostgresKeyStore, PostgresModels, Soak,
    SqliteKeyStore, SqliteModels,
};
use sqlx::{MySqlPool, SqlitePool};

use super::{say, setup::Settings};

#[derive(EncryptedModel)]
#[crypt(table = "people")]
struct Person {
    #[allow(dead_code, reason = "a column, which nothing here reads")]
    user_id: Owner<i64>,
    #[allow(dead_code, reason = "a column, which nothing here reads")]
    #[crypt(column = "name_ct", soak(twin = "name"))]
    name: Soak<String, person::name>,
    #[allow(dead_code, reason = "a column, which nothing here reads")]
    #[crypt(index_of = "name")]
    name_fp: BlindIndex<String, person::name_fp>,
}

pub(crate) async fn run(settings: &Settings) {
    let (url, models) = (settings.text("database"), Models::new().with::<Person>());
    let soaker = match url.split(':').next() {
        Some("mysql") => {
            let pool = MySqlPool::connect(url).await.expect("MariaDB");
            let store = MySqlKeyStore::new(pool.clone());
            soaker(settings, store, MySqlModels::new(pool, models)).await
        }
        Some("sqlite") => {
            let pool = SqlitePool::connect(url).await.expect("a file");
            let store = SqliteKeyStore::new(pool.clone());
            soaker(settings, store, SqliteModels::new(pool, models)).await
        }
        _ => {
            let pool = settings.pool();
            let store = PostgresKeyStore::new(pool.clone());
            soaker(settings, store, PostgresModels::new(pool, models)).await
        }
    };
    say("ready");
    let done = soaker.backfill("people", "name_ct").await;
    done.expect("the database answers");
    say("done");
    std::future::pending::<()>().await;
}

async fn soaker(settings: &Settings, store: impl KeyStore, models: impl SoakStore) -> Soaker {
    let keyring = settings.keyring_on(store).await;
    Soaker::new(&keyring, models)
        .batch(settings.number("batch"))
        .pause(Duration::ZERO)
        .watch(|progress| say(progress.done))
}
