//! As `postgres.rs`, on SQLite: what `.dump` prints, the file, its write-ahead log, and a rollback journal.

use std::path::Path;

use ::diesel::{
    Connection,
    sqlite::{Sqlite, SqliteConnection},
};
use diesel_async::{AsyncConnection, sync_connection_wrapper::SyncConnectionWrapper};
use ophie_crypt::Session;
use ophie_crypt_sqlx::{
    Encrypted, Owner, SqliteAudit as Audit, SqliteKeyStore as Store, SqliteModels as Tables,
    SqliteShares as Shares,
};
use ophie_crypt_tests::sqlite as db;
use sqlx::{AssertSqlSafe, QueryBuilder, Row};
use uuid::Uuid;

use crate::{
    diesel::{EACH, drive},
    search::search,
    texts::Texts,
};

#[path = "jobs.rs"]
mod jobs;
#[path = "life.rs"]
mod life;

const TABLE: &str = "CREATE TABLE notes (id INTEGER PRIMARY KEY, user_id BLOB NOT NULL, text BLOB NOT NULL, data BLOB,
    mood BLOB, text_fp BLOB, label TEXT, UNIQUE (user_id, text_fp));
    CREATE TABLE diesel_notes (user_id INTEGER NOT NULL, text BLOB NOT NULL, data BLOB, text_fp BLOB UNIQUE, label TEXT)";

const SECRETS: &str =
    "CREATE TABLE secrets (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, text BLOB NOT NULL,
    text_fp BLOB NOT NULL, sidecar TEXT NOT NULL)";
const PLAIN_PEOPLE: &str =
    "CREATE TABLE plain_people (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, name TEXT)";

const OR_UPDATE: &str = "ON CONFLICT (user_id, text_fp) DO UPDATE SET text = excluded.text";

/// In one statement.
async fn insert_many(
    pool: &db::Pool,
    user: Uuid,
    texts: &[Encrypted<String, life::note::text>],
) -> Result<(), sqlx::Error> {
    let mut insert = QueryBuilder::new("INSERT INTO notes (user_id, text) ");
    insert.push_values(texts, |mut row, text| {
        row.push_bind(Owner(user)).push_bind(text);
    });
    insert.build().execute(pool).await.map(drop)
}

async fn for_jobs(database: &db::Database) -> db::Pool {
    db::Pool::connect(database.url()).await.unwrap()
}

async fn diesel(url: &str, session: &Session, canaries: &[String], texts: &Texts) {
    let path = url.trim_start_matches("sqlite://");
    let db = SqliteConnection::establish(path).unwrap();
    drive!(
        db,
        Sqlite,
        session,
        &canaries[..EACH],
        texts,
        diesel,
        [],
        []
    );
    let db = SyncConnectionWrapper::<SqliteConnection>::establish(path).await;
    drive!(db.unwrap(), Sqlite, session, &canaries[EACH..], texts, diesel_async, [.await], [async]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_leaks_on_sqlite() {
    let texts = Texts::collect();
    let database = db::Database::create().await;
    let (planted, pool) = life::live(&database, &texts).await;
    let dump = dump(&pool).await;
    let beside = |end: &str| {
        let path = database.path().display().to_string() + end;
        std::fs::read(Path::new(&path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let log = beside("-wal");
    // A rollback journal holds pages as they were; here it is kept.
    pool.close().await;
    database.pool().close().await;
    let pool = sqlx::SqlitePool::connect(database.url()).await.unwrap();
    let change = "PRAGMA journal_mode = PERSIST; BEGIN; UPDATE notes SET label = label || '.', text = text; \
                  UPDATE diesel_notes SET label = label || '.', text = text; COMMIT";
    sqlx::raw_sql(change).execute(&pool).await.unwrap();
    let places = [
        ("the dump", dump),
        ("the write-ahead log", log),
        ("the journal", beside("-journal")),
        ("the file", beside("")),
    ];
    pool.close().await;
    search(&planted, &texts, &places, &[]);
}

/// As the shell's `.dump`: every table's definition, and its rows as literals.
async fn dump(pool: &db::Pool) -> Vec<u8> {
    let tables = sqlx::query("SELECT name, sql FROM sqlite_master WHERE type = 'table'");
    let mut dump = String::new();
    for table in tables.fetch_all(pool).await.unwrap() {
        let (name, sql): (String, String) = (table.get(0), table.get(1));
        let columns =
            sqlx::query_scalar("SELECT 'quote(\"' || name || '\")' FROM pragma_table_info(?)");
        let columns: Vec<String> = columns.bind(&name).fetch_all(pool).await.unwrap();
        let rows = format!("SELECT {} FROM \"{name}\"", columns.join(" || ',' || "));
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(rows))
            .fetch_all(pool)
            .await
            .unwrap();
        dump.push_str(&format!("{sql};\n{}\n", rows.join("\n")));
    }
    dump.into_bytes()
}
