//! As `postgres.rs`, on MariaDB: a dump, the log of all statements with the values of their parameters, and the files
//! of the tables.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "a test: what goes wrong here is seen"
)]

use std::{path::PathBuf, process::Command};

use ophie_crypt_sqlx::{Encrypted, MySqlKeyStore as Store, Owner};
use ophie_crypt_tests::{mariadb as db, variable};
use sqlx::QueryBuilder;
use uuid::Uuid;

use self::{
    search::{Log, search},
    texts::Texts,
};

mod life;
mod search;
mod texts;

const TABLE: &str = "CREATE TABLE notes (id INT AUTO_INCREMENT PRIMARY KEY, user_id BINARY(16) NOT NULL,
    text BLOB NOT NULL, data BLOB, mood BLOB, text_fp BINARY(17), label TEXT, UNIQUE (user_id, text_fp))";

const OR_UPDATE: &str = "ON DUPLICATE KEY UPDATE text = VALUES(text)";

async fn store(pool: &db::Pool) -> Store {
    let store = Store::new(pool.clone());
    store.migrate().await.unwrap();
    store
}

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

#[tokio::test]
async fn nothing_leaks() {
    let texts = Texts::collect();
    let log = Log::new(variable("OPHIE_CRYPT_TEST_MARIADB_LOG"));
    let database = db::Database::create().await;
    let (planted, pool) = life::live(&database, &texts).await;
    let places = [
        ("the dump", dump(&database)),
        ("the files of the tables", files(&database).await),
        ("the server's log", unescaped(&log.since())),
    ];
    pool.close().await;
    search(&planted, &texts, &places);
}

fn dump(database: &db::Database) -> Vec<u8> {
    let options = database.pool().connect_options();
    let dump = Command::new("mariadb-dump")
        .args(["--no-defaults", "--hex-blob", "--routines"])
        .args(["--host", options.get_host(), "--user", "root"])
        .args(["--port", &options.get_port().to_string(), database.name()])
        .output()
        .expect("mariadb-dump comes with the server");
    assert!(
        dump.status.success(),
        "{}",
        String::from_utf8_lossy(&dump.stderr)
    );
    dump.stdout
}

/// All files of the database, with everything written out that the server holds in memory.
async fn files(database: &db::Database) -> Vec<u8> {
    let mut connection = database.pool().acquire().await.unwrap();
    let folder: String = sqlx::query_scalar("SELECT @@datadir")
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    sqlx::raw_sql("FLUSH TABLES notes FOR EXPORT")
        .execute(&mut *connection)
        .await
        .unwrap();
    let mut bytes = Vec::new();
    for file in std::fs::read_dir(PathBuf::from(folder).join(database.name())).unwrap() {
        bytes.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    connection.close().await.unwrap(); // with its locks
    bytes
}

/// The log's values without the backslashes before bytes that are no characters.
fn unescaped(log: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(log.len());
    let mut bytes = log.iter();
    while let Some(&byte) = bytes.next() {
        let escaped = if byte == b'\\' { bytes.next() } else { None };
        out.push(match escaped {
            Some(b'0') => 0,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b'Z') => 0x1a,
            Some(&escaped) => escaped,
            None => byte,
        });
    }
    out
}
