//! Seals the plaintext of a table in a soak, until it is killed or done.

use ophie_crypt::{EncryptedModel, Models, soak::Soaker};
use ophie_crypt_sqlx::{BlindIndex, Owner, PostgresKeyStore, PostgresModels, Soak};

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
    let pool = settings.pool();
    let keyring = settings
        .keyring_on(PostgresKeyStore::new(pool.clone()))
        .await;
    let models = PostgresModels::new(pool, Models::new().with::<Person>());
    let soaker = Soaker::new(&keyring, models)
        .batch(settings.number("batch"))
        .watch(|progress| say(progress.done));
    say("ready");
    let done = soaker.backfill("people", "name_ct").await;
    done.expect("the database answers");
    say("done");
    std::future::pending::<()>().await;
}
