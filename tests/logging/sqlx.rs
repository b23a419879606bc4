//! SQLx: its log of statements and of slow ones, and whatever else it traces, on three databases.

use std::{str::FromStr, time::Duration};

use log::LevelFilter;
use ophie_crypt::{EncryptedModel, Keyring, LocalKms, MemoryKeyStore, Purpose};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner};
use sqlx::{ConnectOptions, Connection};

use super::{
    CANARY, NORMALIZED, OWNER, PLAIN,
    capture::{holds_none_of, logged, start},
};

#[derive(EncryptedModel, sqlx::FromRow)]
#[crypt(table = "things")]
struct Thing {
    #[allow(dead_code, reason = "its hook is run")]
    user_id: Owner<i64>,
    text: Encrypted<String, thing::text>,
    #[crypt(index_of = "text", normalize = "name")]
    #[allow(dead_code, reason = "its hook is run")]
    text_fp: BlindIndex<String, thing::text_fp>,
}

macro_rules! on {
    ($test:ident, $db:ident, $connection:ty, $bytes:literal, $first:literal, $insert:literal) => {
        #[tokio::test]
        async fn $test() {
            start();
            let database = ophie_crypt_tests::$db::Database::create().await;
            let options = <$connection as Connection>::Options::from_str(database.url())
                .unwrap()
                .log_statements(LevelFilter::Info)
                .log_slow_statements(LevelFilter::Warn, Duration::ZERO);
            let mut db = options.connect().await.unwrap();
            let keyring = Keyring::builder()
                .kms(LocalKms::ephemeral().unwrap())
                .key_store(MemoryKeyStore::new())
                .build()
                .unwrap();
            let purpose = Purpose::new("tests");
            let session = keyring.open_or_provision(&OWNER, purpose).await.unwrap();
            let table = concat!(
                "CREATE TABLE things (user_id BIGINT, text ",
                $bytes,
                ", text_fp ",
                $first,
                " UNIQUE, plain VARCHAR(40))"
            );
            sqlx::raw_sql(table).execute(&mut db).await.unwrap();
            let insert = concat!(
                "INSERT INTO things (user_id, text, text_fp, plain) VALUES ",
                $insert
            );
            let run = async {
                let mut twice = Vec::new();
                for _ in 0..2 {
                    let insert = sqlx::query(insert)
                        .bind(Owner(OWNER))
                        .bind(thing::text(CANARY))
                        .bind(thing::text_fp(CANARY).unwrap())
                        .bind(PLAIN);
                    twice.push(insert.execute(&mut db).await);
                }
                // The second breaks the unique index: its error holds what the server says of the row.
                let error = twice.pop().expect("two").unwrap_err();
                holds_none_of(&format!("{error} {error:?}"), CANARY);
                let select = "SELECT user_id, text, text_fp FROM things";
                let found: Thing = sqlx::query_as(select).fetch_one(&mut db).await.unwrap();
                assert_eq!(found.text.expose_secret(), CANARY);
                let literal = concat!("SELECT 'literal of ", stringify!($test), "'");
                let _: String = sqlx::query_scalar(literal)
                    .fetch_one(&mut db)
                    .await
                    .unwrap();
            };
            session.scope(run).await;
            let logged = logged();
            for control in [
                concat!("literal of ", stringify!($test)),
                concat!("VALUES ", $insert),
                "slow statement",
            ] {
                assert!(logged.contains(control), "nothing of {control}");
            }
            holds_none_of(&logged, CANARY);
            holds_none_of(&logged, NORMALIZED);
        }
    };
}

on!(
    on_sqlite,
    sqlite,
    sqlx::SqliteConnection,
    "BLOB",
    "BLOB",
    "(?, ?, ?, ?)"
);
on!(
    on_postgres,
    postgres,
    sqlx::PgConnection,
    "BYTEA",
    "BYTEA",
    "($1, $2, $3, $4)"
);
on!(
    on_mariadb,
    mariadb,
    sqlx::MySqlConnection,
    "BLOB",
    "VARBINARY(17)",
    "(?,?,?,?)"
);
