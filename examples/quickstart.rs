//! The main job in one page: annotate structs, write ordinary SQLx queries, find only ciphertext in
//! the database. Run it with `cargo run --example quickstart`; it needs no set-up.

use std::{error::Error, fs, path::Path};

use ophie_crypt::{EncryptedModel, Keyring, LocalKms, Purpose, memory::ZeroAlloc};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner, SqliteKeyStore};
use sqlx::{FromRow, SqlitePool, sqlite::SqliteConnectOptions};
use uuid::Uuid;

/// What is freed is zeroed: plaintexts that the program takes out, and what drivers leave behind.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

#[derive(EncryptedModel, FromRow)]
#[crypt(table = "transcripts")]
struct Transcript {
    #[crypt(plain)]
    id: Uuid,
    user_id: Owner<Uuid>,
    text: Encrypted<String, transcript::text>,
}

#[derive(EncryptedModel, FromRow)]
#[crypt(table = "memories")]
struct Memory {
    user_id: Owner<Uuid>,
    text: Encrypted<String, memory::text>,
}

#[derive(EncryptedModel, FromRow)]
#[crypt(table = "people_links")]
struct PersonLink {
    user_id: Owner<Uuid>,
    #[crypt(plain)]
    transcript_id: Uuid,
    name: Encrypted<String, person_link::name>,
    #[crypt(index_of = "name", normalize = "name")]
    name_fp: BlindIndex<String, person_link::name_fp>,
}

/// Ordinary migrations: ciphertext and fingerprints are BLOB here, BYTEA on PostgreSQL. STRICT, so that SQLite
/// refuses a plain text in their place, as PostgreSQL does.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS transcripts (id BLOB PRIMARY KEY, user_id BLOB NOT NULL, text BLOB NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS memories (user_id BLOB NOT NULL, text BLOB NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS people_links (user_id BLOB NOT NULL, transcript_id BLOB NOT NULL,
                                             name BLOB NOT NULL, name_fp BLOB NOT NULL) STRICT;
    CREATE INDEX IF NOT EXISTS people_links_name ON people_links (user_id, name_fp);";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A master key in a file, wrapped keys in one database, the application's rows in another.
    let folder = Path::new("quickstart-data");
    fs::create_dir_all(folder)?;
    let keyring = Keyring::builder()
        .kms(LocalKms::open_or_create(folder.join("master.key"))?) // production: a KMS
        .key_store(SqliteKeyStore::open(folder.join("keys.db")).await?)
        .build()?;
    let options = SqliteConnectOptions::new()
        .filename(folder.join("app.db"))
        .create_if_missing(true);
    let db = SqlitePool::connect_with(options).await?;
    sqlx::raw_sql(SCHEMA).execute(&db).await?;

    // Sign-up gives each user a data key of their own, wrapped by the master key.
    let (ada, ben) = (Uuid::new_v4(), Uuid::new_v4());
    keyring.provision(&ada).await?;
    keyring.provision(&ben).await?;

    // Ordinary queries inside a session. Binding seals, reading opens.
    let adas = keyring.open(&ada, Purpose::new("voice-agent")).await?;
    let bens = keyring.open(&ben, Purpose::new("voice-agent")).await?;
    let monday = Uuid::new_v4();
    adas.scope(async {
        write(&db, ada, monday, "I told Mom that I can't sleep.").await?; // plaintext
        remember(&db, ada, "Sleeps badly before exams.").await?; // plaintext
        link(&db, ada, monday, "Mom").await?;
        link(&db, ada, monday, "Aunt Margarethe").await // plaintext
    })
    .await?;
    let tuesday = Uuid::new_v4();
    bens.scope(async {
        write(&db, ben, tuesday, "Work was fine, Mom called.").await?; // plaintext
        remember(&db, ben, "Moved to Lisbon in spring.").await?; // plaintext
        link(&db, ben, tuesday, "Mom").await
    })
    .await?;

    println!("What Ada reads in her session");
    adas.scope(async {
        let transcript = read(&db, monday).await?;
        let memories: Vec<Memory> = sqlx::query_as("SELECT * FROM memories WHERE user_id = $1")
            .bind(Owner(ada))
            .fetch_all(&db)
            .await?;
        let link: PersonLink =
            sqlx::query_as("SELECT * FROM people_links WHERE user_id = $1 AND name_fp = $2")
                .bind(Owner(ada))
                .bind(person_link::name_fp("  mom ")?)
                .fetch_one(&db)
                .await?;
        // `Owner` refused every row of another user before it got here.
        assert_eq!(transcript.user_id, Owner(ada));
        assert!(memories.iter().all(|memory| memory.user_id == Owner(ada)));
        assert_eq!(link.user_id, Owner(ada));
        println!("  transcript      {}", transcript.text.expose_secret());
        for memory in &memories {
            println!("  memory          {}", memory.text.expose_secret());
        }
        let this = link.transcript_id == transcript.id;
        println!(
            "  found \"mom\" as  {}, in {}",
            link.name.expose_secret(),
            if this { "this transcript" } else { "another" }
        );
        println!(
            "  in a log        {:?}, {:?}",
            transcript.text, link.name_fp
        );
        Ok::<_, sqlx::Error>(())
    })
    .await?;

    println!("\nWhat the database holds of it");
    let (text, name, name_fp): (String, String, String) = sqlx::query_as(
        "SELECT hex(text), hex(name), hex(name_fp) FROM transcripts
         JOIN people_links ON transcript_id = id WHERE id = $1",
    )
    .bind(monday)
    .fetch_one(&db)
    .await?;
    println!(
        "  transcripts.text      {text:.60}...\n  people_links.name     {name:.60}...\n  people_links.name_fp  {name_fp}"
    );

    println!("\nWhat does not work");
    refused("no session", read(&db, monday).await)?;
    refused(
        "Ben's session, Ada's row",
        bens.scope(read(&db, monday)).await,
    )?;
    sqlx::query(
        "UPDATE transcripts SET text = (SELECT text FROM transcripts WHERE id = $1) WHERE id = $2",
    )
    .bind(monday)
    .bind(tuesday)
    .execute(&db)
    .await?;
    refused(
        "Ada's ciphertext, copied into Ben's row",
        bens.scope(read(&db, tuesday)).await,
    )?;

    println!(
        "\nThe database: {}",
        fs::canonicalize(folder.join("app.db"))?.display()
    );
    println!(
        "Read next: README.md, SECURITY.md (what is protected, what is not), ophie-crypt/SPEC.md (the bytes)."
    );
    Ok(())
}

async fn write(db: &SqlitePool, user: Uuid, id: Uuid, text: &str) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO transcripts (id, user_id, text) VALUES ($1, $2, $3)")
        .bind(id)
        .bind(Owner(user))
        .bind(transcript::text(text))
        .execute(db)
        .await
        .map(drop)
}

async fn remember(db: &SqlitePool, user: Uuid, text: &str) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO memories (user_id, text) VALUES ($1, $2)")
        .bind(Owner(user))
        .bind(memory::text(text))
        .execute(db)
        .await
        .map(drop)
}

async fn link(db: &SqlitePool, user: Uuid, transcript: Uuid, name: &str) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO people_links (user_id, transcript_id, name, name_fp) VALUES ($1, $2, $3, $4)",
    )
    .bind(Owner(user))
    .bind(transcript)
    .bind(person_link::name(name))
    .bind(person_link::name_fp(name)?)
    .execute(db)
    .await
    .map(drop)
}

async fn read(db: &SqlitePool, id: Uuid) -> sqlx::Result<Transcript> {
    sqlx::query_as("SELECT * FROM transcripts WHERE id = $1")
        .bind(id)
        .fetch_one(db)
        .await
}

/// Prints the innermost error: the one that says what to do.
fn refused(what: &str, result: sqlx::Result<Transcript>) -> Result<(), String> {
    let Err(error) = result else {
        return Err(format!("{what}: the row was read"));
    };
    let ours = ophie_crypt_sqlx::find_error(&error).map(ToString::to_string);
    println!("  {what}:\n    {}", ours.unwrap_or(error.to_string()));
    Ok(())
}
