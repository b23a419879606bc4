//! As `postgres.rs`, on MariaDB: a dump, the log of all statements with the values of their parameters, the files of the
//! tables, the redo log, and the binary log.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use ::diesel::{
    Connection,
    mysql::{Mysql, MysqlConnection},
};
use diesel_async::{AsyncConnection, AsyncMysqlConnection};
use ophie_crypt::Session;
use ophie_crypt_sqlx::{
    Encrypted, MySqlAudit as Audit, MySqlKeyStore as Store, MySqlModels as Tables,
    MySqlShares as Shares, Owner,
};
use ophie_crypt_tests::{mariadb as db, variable};
use sqlx::{QueryBuilder, Row};
use uuid::Uuid;

use crate::{
    diesel::{EACH, drive},
    search::{Log, files as all_files, search},
    texts::Texts,
};

#[path = "jobs.rs"]
mod jobs;
#[path = "life.rs"]
mod life;

const TABLE: &str = "CREATE TABLE notes (id INT AUTO_INCREMENT PRIMARY KEY, user_id BINARY(16) NOT NULL,
    text BLOB NOT NULL, data BLOB, mood BLOB, text_fp BINARY(17), label TEXT, UNIQUE (user_id, text_fp));
    CREATE TABLE diesel_notes (user_id BIGINT NOT NULL, text BLOB NOT NULL, data BLOB, text_fp BINARY(17) UNIQUE, label TEXT NOT NULL)";

const SECRETS: &str =
    "CREATE TABLE secrets (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, text BLOB NOT NULL,
    text_fp BINARY(17) NOT NULL, sidecar TEXT NOT NULL)";
const PLAIN_PEOPLE: &str =
    "CREATE TABLE plain_people (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, name VARCHAR(80))";

const OR_UPDATE: &str = "ON DUPLICATE KEY UPDATE text = VALUES(text)";

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
    let db = MysqlConnection::establish(url).unwrap();
    drive!(db, Mysql, session, &canaries[..EACH], texts, diesel, [], []);
    let db = AsyncMysqlConnection::establish(url).await;
    drive!(db.unwrap(), Mysql, session, &canaries[EACH..], texts, diesel_async, [.await], [async]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_leaks_on_mariadb() {
    let texts = Texts::collect();
    let log = Log::new(variable("OPHIE_CRYPT_TEST_MARIADB_LOG"));
    let database = db::Database::create().await;
    let text = "SELECT @@datadir";
    let folder: String = sqlx::query_scalar(text)
        .fetch_one(database.pool())
        .await
        .unwrap();
    let (first, from) = binary_log(&database).await;
    let (planted, pool) = life::live(&database, &texts).await;
    let (last, _) = binary_log(&database).await;
    let folder = PathBuf::from(folder);
    let mut binary = all_files(&folder, |name| {
        (first.as_str()..=last.as_str()).contains(&name)
    });
    binary.drain(..from);
    let places = [
        ("the dump", dump(&database)),
        ("the files of the tables", files(&database, &folder).await),
        (
            "the redo log, and the files of all tables",
            all_files(&folder, |name| {
                let of_all = ["ib_logfile", "ibdata", "ibtmp", "undo", "aria_log"];
                of_all.iter().any(|file| name.starts_with(file))
            }),
        ),
        ("the binary log", binary),
        ("the server's log", unescaped(&log.since())),
    ];
    pool.close().await;
    search(&planted, &texts, &places, &[]);
}

/// Its present file, and how long that is.
async fn binary_log(database: &db::Database) -> (String, usize) {
    let status = sqlx::query("SHOW MASTER STATUS")
        .fetch_one(database.pool())
        .await
        .unwrap();
    let (file, at): (String, u64) = (status.get(0), status.get(1));
    (file, usize::try_from(at).unwrap())
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
async fn files(database: &db::Database, folder: &Path) -> Vec<u8> {
    let mut connection = database.pool().acquire().await.unwrap();
    sqlx::raw_sql("FLUSH TABLES notes, diesel_notes, secrets, plain_people FOR EXPORT")
        .execute(&mut *connection)
        .await
        .unwrap();
    let bytes = all_files(&folder.join(database.name()), |_| true);
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
