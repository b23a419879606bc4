//! On PostgreSQL: what `pg_dump` prints, the log of all statements with their parameters, the files of the database, and
//! the write-ahead log.

use std::{path::Path, process::Command};

use ::diesel::{
    Connection,
    pg::{Pg, PgConnection},
};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use ophie_crypt::Session;
use ophie_crypt_sqlx::{
    Encrypted, Owner, PostgresAudit as Audit, PostgresKeyStore as Store, PostgresModels as Tables,
    PostgresShares as Shares,
};
use ophie_crypt_tests::{postgres as db, variable};
use uuid::Uuid;

use crate::{
    diesel::{EACH, drive},
    search::{Log, files, search},
    texts::Texts,
};

#[path = "jobs.rs"]
mod jobs;
#[path = "life.rs"]
mod life;

const TABLE: &str =
    "CREATE TABLE notes (id serial PRIMARY KEY, user_id uuid NOT NULL, text bytea NOT NULL,
    data bytea, mood bytea, text_fp bytea, label text, UNIQUE (user_id, text_fp));
    CREATE TABLE diesel_notes (user_id bigint NOT NULL, text bytea NOT NULL, data bytea, text_fp bytea UNIQUE, label text)";

const SECRETS: &str =
    "CREATE TABLE secrets (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, text bytea NOT NULL,
    text_fp bytea NOT NULL, sidecar TEXT NOT NULL)";
const PLAIN_PEOPLE: &str =
    "CREATE TABLE plain_people (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, name text)";

const OR_UPDATE: &str = "ON CONFLICT (user_id, text_fp) DO UPDATE SET text = excluded.text";

/// As an array.
async fn insert_many(
    pool: &db::Pool,
    user: Uuid,
    texts: &[Encrypted<String, life::note::text>],
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO notes (user_id, text) SELECT $1, * FROM UNNEST($2::bytea[])")
        .bind(Owner(user))
        .bind(texts)
        .execute(pool)
        .await
        .map(drop)
}

/// Through pgbouncer, whose log is searched too.
async fn for_jobs(database: &db::Database) -> db::Pool {
    db::Pool::connect(database.bouncer_url()).await.unwrap()
}

async fn diesel(url: &str, session: &Session, canaries: &[String], texts: &Texts) {
    let db = PgConnection::establish(url).unwrap();
    drive!(db, Pg, session, &canaries[..EACH], texts, diesel, [], []);
    let db = AsyncPgConnection::establish(url).await;
    drive!(db.unwrap(), Pg, session, &canaries[EACH..], texts, diesel_async, [.await], [async]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_leaks_on_postgres() {
    let texts = Texts::collect();
    let log = Log::new(variable("OPHIE_CRYPT_TEST_POSTGRES_LOG"));
    let bouncer = Log::new(variable("OPHIE_CRYPT_TEST_PGBOUNCER_LOG"));
    let database = db::Database::create().await;
    let segment = "SELECT pg_walfile_name(pg_current_wal_lsn())";
    let first: String = sqlx::query_scalar(segment)
        .fetch_one(database.pool())
        .await
        .unwrap();
    let (planted, pool) = life::live(&database, &texts).await;

    let dump = Command::new(format!("{}/pg_dump", variable("OPHIE_CRYPT_TEST_PG_BIN")))
        .args(["--inserts", "--dbname", database.url()])
        .output()
        .unwrap();
    assert!(
        dump.status.success(),
        "{}",
        String::from_utf8_lossy(&dump.stderr)
    );
    // What the server holds in memory goes to the files first.
    sqlx::raw_sql("CHECKPOINT").execute(&pool).await.unwrap();
    let (folder, of_this): (String, String) = sqlx::query_as(
        "SELECT current_setting('data_directory'), 'base/' || oid FROM pg_database WHERE datname = current_database()",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    let last: String = sqlx::query_scalar(segment).fetch_one(&pool).await.unwrap();
    pool.close().await;
    let folder = Path::new(&folder);
    let wal = files(&folder.join("pg_wal"), |name| {
        (first.as_str()..=last.as_str()).contains(&name)
    });
    search(
        &planted,
        &texts,
        &[
            ("the dump", dump.stdout),
            ("the server's log", log.since()),
            ("the write-ahead log", wal),
            (
                "the database's files",
                files(&folder.join(of_this), |_| true),
            ),
        ],
        &[("pgbouncer's log", bouncer.since(), database.name())],
    );
}
