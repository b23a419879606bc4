//! Holds sessions and plaintexts open until it is told to close them, so that `memory.rs` can search its
//! memory before and after: `holder FOLDER [without-dumps]`, then a line on stdin for each step.
//!
//! Invariant: it keeps no secret anywhere but in what the library and sqlx give it.

#![allow(clippy::print_stdout, reason = "how it tells that a step is done")]

#[path = "canary.rs"]
mod canary;

use std::{error::Error, io::Read, path::Path};

use canary::canary;
use ophie_crypt::{EncryptedModel, Keyring, LocalKms, Purpose, Session, memory::ZeroAlloc};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner, SqliteKeyStore};
use sqlx::{FromRow, SqlitePool, sqlite::SqliteConnectOptions};
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

const SESSIONS: u64 = 100;

type Failure = Box<dyn Error + Send + Sync>;

#[derive(EncryptedModel, FromRow)]
#[crypt(table = "memories")]
#[expect(dead_code, reason = "held, not read")]
struct Memory {
    user_id: Owner<Uuid>,
    text: Encrypted<String, memory::text>,
    #[crypt(index_of = "text", normalize = "name")]
    text_fp: BlindIndex<String, memory::text_fp>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let folder = std::env::args().nth(1).ok_or("no folder")?;
    if std::env::args().nth(2).as_deref() == Some("without-dumps") {
        ophie_crypt::memory::forbid_dumps()?;
    }
    let folder = Path::new(&folder);
    let keyring = Keyring::builder()
        .kms(LocalKms::open(folder.join("master.key"))?)
        .key_store(SqliteKeyStore::open(folder.join("keys.db")).await?)
        .build()?;
    let options = SqliteConnectOptions::new()
        .filename(folder.join("app.db"))
        .create_if_missing(true);
    let db = SqlitePool::connect_with(options).await?;
    sqlx::raw_sql(
        "CREATE TABLE memories (user_id BLOB NOT NULL, text BLOB NOT NULL, text_fp BLOB NOT NULL)",
    )
    .execute(&db)
    .await?;

    let mut held = Vec::new();
    for number in 0..SESSIONS {
        held.push(tokio::spawn(remember(keyring.clone(), db.clone(), number)).await??);
    }
    step("open")?;

    for (number, (session, row)) in held.into_iter().enumerate() {
        match number % 2 {
            0 => session.close(),
            _ => drop(session),
        }
        // What the application takes out is wiped by the allocator alone.
        drop(row.text.into_secret());
    }
    step("closed")
}

/// Writes a memory of a new owner, reads it back, and keeps both.
async fn remember(
    keyring: Keyring,
    db: SqlitePool,
    number: u64,
) -> Result<(Session, Memory), Failure> {
    let user = Uuid::from_u128(number.into());
    let session = keyring
        .open_or_provision(&user, Purpose::new("memory-test"))
        .await?;
    let row = session
        .scope(async {
            sqlx::query("INSERT INTO memories VALUES ($1, $2, $3)")
                .bind(Owner(user))
                .bind(memory::text(canary(number)))
                .bind(memory::text_fp(canary(number))?)
                .execute(&db)
                .await?;
            let row: Memory =
                sqlx::query_as("SELECT user_id, text, text_fp FROM memories WHERE text_fp = $1")
                    .bind(memory::text_fp(canary(number))?)
                    .fetch_one(&db)
                    .await?;
            Ok::<_, Failure>(row)
        })
        .await?;
    Ok((session, row))
}

/// Says that a step is done, and waits for a byte.
fn step(done: &str) -> Result<(), Failure> {
    println!("{done}");
    std::io::stdin().read_exact(&mut [0])?;
    Ok(())
}
