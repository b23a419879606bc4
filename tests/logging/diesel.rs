//! Diesel and diesel-async: every event that an `Instrumentation` is given, and the logs of the drivers below.

use std::sync::{Mutex, PoisonError};

use ::diesel::{
    connection::{InstrumentationEvent, SimpleConnection, set_default_instrumentation},
    mysql::MysqlConnection,
    pg::PgConnection,
    prelude::*,
    result::Error as DieselError,
    sqlite::SqliteConnection,
};
use diesel_async::{
    AsyncConnection, AsyncMysqlConnection, AsyncPgConnection, SimpleAsyncConnection,
    sync_connection_wrapper::SyncConnectionWrapper,
};
use ophie_crypt::{EncryptedModel, Keyring, LocalKms, MemoryKeyStore, Purpose, Session};
use ophie_crypt_diesel::{BlindIndex, Encrypted, Owner};
use ophie_crypt_tests::{mariadb, postgres, sqlite};

use super::{
    CANARY, NORMALIZED, OWNER, PLAIN,
    capture::{forms, holds_none_of, logged, start},
};

#[derive(Debug, EncryptedModel, Insertable, Queryable)]
#[crypt(table = "things")]
#[diesel(table_name = things)]
#[allow(dead_code, reason = "its hooks are run")]
pub struct Thing {
    pub user_id: Owner<i64>,
    pub text: Encrypted<String, thing::text>,
    #[crypt(index_of = "text", normalize = "name")]
    pub text_fp: BlindIndex<String, thing::text_fp>,
    #[crypt(plain)]
    pub plain: String,
}

::diesel::table! {
    use diesel::sql_types::{BigInt, Text};
    use ophie_crypt_diesel::Ciphertext;
    use super::thing;

    things (user_id) {
        user_id -> BigInt,
        text -> Ciphertext<thing::text>,
        text_fp -> Ciphertext<thing::text_fp>,
        plain -> Text,
    }
}

/// The kinds of events, by the first word of their `Debug`.
const EVENTS: [&str; 8] = [
    "StartEstablishConnection",
    "FinishEstablishConnection",
    "StartQuery",
    "CacheQuery",
    "FinishQuery",
    "BeginTransaction",
    "CommitTransaction",
    "RollbackTransaction",
];

static EVENTS_SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn take_events() -> Vec<String> {
    std::mem::take(&mut EVENTS_SEEN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// As `set_default_instrumentation` wants it: for every connection from then on.
fn observe(event: InstrumentationEvent<'_>) {
    let mut seen = EVENTS_SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    seen.push(format!("{event:?}"));
    // What loggers print in its place.
    if let InstrumentationEvent::StartQuery { query, .. }
    | InstrumentationEvent::FinishQuery { query, .. } = event
    {
        seen.push(format!("{query} {query:?}"));
    }
}

fn thing() -> Thing {
    Thing {
        user_id: Owner(OWNER),
        text: thing::text(CANARY),
        text_fp: thing::text_fp(CANARY).unwrap(),
        plain: PLAIN.to_owned(),
    }
}

/// Statements on one connection and a look at what was seen; `$wait` is `.await` or nothing.
macro_rules! on {
    ($session:ident, $db:expr, $table:expr, $orm:ident, [$($wait:tt)*], [$($asynchronous:tt)?]) => {{
        let mut db = $db;
        db.batch_execute($table)$($wait)*.unwrap();
        let run = async {
            let insert = || ::diesel::insert_into(things::table).values(thing());
            let written = ::$orm::RunQueryDsl::execute(insert(), &mut db)$($wait)*;
            assert_eq!(written, Ok(1));
            let twice = ::$orm::RunQueryDsl::execute(insert(), &mut db)$($wait)*.unwrap_err();
            holds_none_of(&format!("{twice} {twice:?}"), CANARY);
            for _ in 0..2 {
                let select = things::table
                    .filter(things::user_id.eq(Owner(OWNER)))
                    .filter(things::text_fp.eq(thing::text_fp(CANARY).unwrap()));
                let found: Thing = ::$orm::RunQueryDsl::first(select, &mut db)$($wait)*.unwrap();
                assert_eq!(found.text.expose_secret(), CANARY);
            }
            let update = || ::diesel::update(things::table).set(things::text.eq(thing::text(CANARY)));
            let kept = db.transaction($($asynchronous)? |db| {
                ::$orm::RunQueryDsl::execute(update(), db)$($wait)*
            });
            assert_eq!(kept$($wait)*, Ok(1));
            let gone: QueryResult<()> = db.transaction($($asynchronous)? |db| {
                let _ = ::$orm::RunQueryDsl::execute(update(), db)$($wait)*?;
                Err(DieselError::RollbackTransaction)
            })$($wait)*;
            assert!(gone.is_err());
        };
        $session.scope(run).await;
        let shown = events();
        holds_none_of(&shown, CANARY);
        holds_none_of(&shown, NORMALIZED);
        shown
    }};
}

/// What was seen: all kinds of events, and a plain value among them.
#[track_caller]
fn events() -> String {
    let events = take_events();
    for kind in EVENTS {
        let seen = events.iter().any(|event| event.starts_with(kind));
        assert!(seen, "no {kind} in {events:#?}");
    }
    let shown = events.join("\n");
    assert!(shown.contains(PLAIN), "{shown}");
    shown
}

/// Binds are shown by their `Debug`, which hides them.
#[track_caller]
fn hides_binds(shown: &str) {
    for hidden in ["[REDACTED]", "BlindIndex(..)", "Owner(..)"] {
        assert!(shown.contains(hidden), "{shown}");
    }
    holds_none_of(shown, &OWNER.to_string());
}

/// One after the other, as the events of all go to one place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_every_connection() {
    start();
    set_default_instrumentation(|| Some(Box::new(observe))).unwrap();
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().unwrap())
        .key_store(MemoryKeyStore::new())
        .build()
        .unwrap();
    let purpose = Purpose::new("tests");
    let session: Session = keyring.open_or_provision(&OWNER, purpose).await.unwrap();
    let bytes =
        "CREATE TABLE things (user_id BIGINT, text BYTEA, text_fp BYTEA UNIQUE, plain VARCHAR(40))";
    let blobs =
        "CREATE TABLE things (user_id BIGINT, text BLOB, text_fp BLOB UNIQUE, plain VARCHAR(40))";
    let short = "CREATE TABLE things (user_id BIGINT, text BLOB, text_fp VARBINARY(17) UNIQUE, plain VARCHAR(40))";

    let db = SqliteConnection::establish(":memory:").unwrap();
    hides_binds(&on!(session, db, blobs, diesel, [], []));
    let database = postgres::Database::create().await;
    let db = PgConnection::establish(database.url()).unwrap();
    hides_binds(&on!(session, db, bytes, diesel, [], []));
    let database = mariadb::Database::create().await;
    let db = MysqlConnection::establish(database.url()).unwrap();
    hides_binds(&on!(session, db, short, diesel, [], []));

    let database = sqlite::Database::create().await;
    let path = database.path().display().to_string();
    let db = SyncConnectionWrapper::<SqliteConnection>::establish(&path).await;
    let shown = on!(session, db.unwrap(), blobs, diesel_async, [.await], [async]);
    // It shows what goes to SQLite: envelopes, fingerprints, and the owner.
    assert!(
        shown.contains(&OWNER.to_string()) && shown.contains("Binary(["),
        "{shown}"
    );
    let database = postgres::Database::create().await;
    let db = AsyncPgConnection::establish(database.url()).await;
    hides_binds(&on!(session, db.unwrap(), bytes, diesel_async, [.await], [async]));
    let database = mariadb::Database::create().await;
    let db = AsyncMysqlConnection::establish(database.url()).await;
    hides_binds(&on!(session, db.unwrap(), short, diesel_async, [.await], [async]));

    // tokio-postgres logs parameters as bytes: a plain one's are found, those of what is sealed are not.
    let logged = logged();
    let mut parameters = logged
        .lines()
        .filter(|line| line.contains("with parameters"));
    let plain = forms(PLAIN);
    assert!(
        parameters.any(|line| plain.iter().any(|form| line.contains(form))),
        "no parameters in the log"
    );
    holds_none_of(&logged, CANARY);
    holds_none_of(&logged, NORMALIZED);
}
