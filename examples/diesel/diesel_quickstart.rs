//! The main job under Diesel, in one page: a schema that tells encrypted columns apart, ordinary queries,
//! only ciphertext in the database. Run it with `cargo run --example diesel_quickstart`; it needs no set-up. On
//! PostgreSQL, with its client library: `DATABASE_URL=.. cargo run --example diesel_quickstart --features postgres`.

use std::{env, error::Error, fs, path::Path};

use diesel::r2d2::{ConnectionManager, Pool};
use diesel::{connection::SimpleConnection, prelude::*, sql_types::Binary};
use ophie_crypt::{EncryptedModel, Keyring, LocalKms, Purpose};
use ophie_crypt_diesel::{BlindIndex, DieselKeyStore, Encrypted, Owner};

#[derive(EncryptedModel, Insertable, Queryable, Selectable)]
#[crypt(table = "memories")]
#[diesel(table_name = memories)]
pub struct Memory {
    pub user_id: Owner<i64>,
    pub text: Encrypted<String, memory::text>,
}

#[derive(EncryptedModel, Insertable, Queryable, Selectable)]
#[crypt(table = "people_links")]
#[diesel(table_name = people_links)]
pub struct PersonLink {
    pub user_id: Owner<i64>,
    pub name: Encrypted<String, person_link::name>,
    #[crypt(index_of = "name", normalize = "name")]
    pub name_fp: BlindIndex<String, person_link::name_fp>,
}

/// A column under its marker takes no other column's value, no bytes and no text: that does not compile.
mod schema {
    diesel::table! {
        use diesel::sql_types::BigInt;
        use ophie_crypt_diesel::Ciphertext;
        use crate::memory;

        memories (user_id) {
            user_id -> BigInt,
            text -> Ciphertext<memory::text>,
        }
    }

    diesel::table! {
        use diesel::sql_types::BigInt;
        use ophie_crypt_diesel::Ciphertext;
        use crate::person_link;

        people_links (user_id) {
            user_id -> BigInt,
            name -> Ciphertext<person_link::name>,
            name_fp -> Ciphertext<person_link::name_fp>,
        }
    }
}
use schema::{memories, people_links};

#[cfg(not(feature = "postgres"))]
type Db = SqliteConnection;
#[cfg(feature = "postgres")]
type Db = diesel::PgConnection;

const BYTES: &str = if cfg!(feature = "postgres") {
    "BYTEA"
} else {
    "BLOB"
};

const ADA: i64 = 1;
const BEN: i64 = 2;

/// Ordinary migrations, but for the DROP, which lets the example run again.
fn schema_sql() -> String {
    format!(
        "DROP TABLE IF EXISTS memories;
         DROP TABLE IF EXISTS people_links;
         CREATE TABLE memories (user_id BIGINT NOT NULL, text {BYTES} NOT NULL);
         CREATE TABLE people_links (user_id BIGINT NOT NULL, name {BYTES} NOT NULL, name_fp {BYTES} NOT NULL);
         CREATE INDEX people_links_name ON people_links (user_id, name_fp);"
    )
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A master key in a file, wrapped keys in one database, the application's rows in another. PostgreSQL holds both.
    let folder = Path::new("quickstart-data");
    fs::create_dir_all(folder)?;
    let file = |name| folder.join(name).display().to_string();
    let (keys, rows) = match cfg!(feature = "postgres") {
        true => (env::var("DATABASE_URL")?, env::var("DATABASE_URL")?),
        false => (file("diesel-keys.db"), file("diesel.db")),
    };
    let pool = Pool::builder()
        .max_size(2)
        .build(ConnectionManager::<Db>::new(keys))?;
    let store = DieselKeyStore::new(pool);
    store.migrate().await?;
    let keyring = Keyring::builder()
        .kms(LocalKms::open_or_create(folder.join("master.key"))?) // production: a KMS
        .key_store(store)
        .build()?;
    let mut db = Db::establish(&rows)?;
    db.batch_execute(&schema_sql())?;

    // Keys are opened asynchronously, as a KMS is asked; queries are synchronous.
    let purpose = Purpose::new("voice-agent");
    let adas = keyring.open_or_provision(&ADA, purpose).await?;
    let bens = keyring.open_or_provision(&BEN, purpose).await?;
    let read = tokio::task::spawn_blocking(move || -> Result<(), Box<dyn Error + Send + Sync>> {
        // Another thread has no session of its own: enter one.
        adas.scope_sync(|| {
            remember(&mut db, ADA, "Sleeps badly before exams.")?; // plaintext
            link(&mut db, ADA, "Mom")?;
            link(&mut db, ADA, "Aunt Margarethe") // plaintext
        })?;
        bens.scope_sync(|| {
            remember(&mut db, BEN, "Moved to Lisbon in spring.")?; // plaintext
            link(&mut db, BEN, "Mom")
        })?;

        println!("What Ada reads in her session");
        adas.scope_sync(|| {
            let memories: Vec<Memory> = memories::table
                .filter(memories::user_id.eq(Owner(ADA)))
                .load(&mut db)?;
            let link: PersonLink = people_links::table
                .filter(people_links::user_id.eq(Owner(ADA)))
                .filter(people_links::name_fp.eq(person_link::name_fp("  mom ")?))
                .first(&mut db)?;
            // `Owner` refused every row of another user before it got here.
            assert_eq!(link.user_id, Owner(ADA));
            for memory in &memories {
                assert_eq!(memory.user_id, Owner(ADA));
                println!("  memory          {}", memory.text.expose_secret());
            }
            println!("  found \"mom\" as  {}", link.name.expose_secret());
            println!("  in a log        {:?}, {:?}", link.name, link.name_fp);
            QueryResult::Ok(())
        })?;

        println!("\nWhat the database holds of it");
        let held: Vec<Held> =
            diesel::sql_query("SELECT name FROM people_links LIMIT 2").load(&mut db)?;
        for row in held {
            let hex: String = row.name.iter().map(|byte| format!("{byte:02x}")).collect();
            println!("  people_links.name  {hex:.60}...");
        }

        println!("\nWhat does not work");
        refused("no session", all(&mut db))?;
        refused("Ben's session, all rows", bens.scope_sync(|| all(&mut db)))?;
        Ok(())
    });
    read.await?.map_err(|error| error as Box<dyn Error>)?;

    let database = fs::canonicalize(&rows).map_or_else(
        |_| "DATABASE_URL's".into(),
        |path| path.display().to_string(),
    );
    println!("\nThe database: {database}");
    Ok(())
}

#[derive(QueryableByName)]
struct Held {
    #[diesel(sql_type = Binary)]
    name: Vec<u8>,
}

fn remember(db: &mut Db, user: i64, text: &str) -> QueryResult<usize> {
    let memory = Memory {
        user_id: Owner(user),
        text: memory::text(text),
    };
    diesel::insert_into(memories::table)
        .values(&memory)
        .execute(db)
}

fn link(db: &mut Db, user: i64, name: &str) -> QueryResult<usize> {
    let link = PersonLink {
        user_id: Owner(user),
        name: person_link::name(name),
        name_fp: person_link::name_fp(name)?,
    };
    diesel::insert_into(people_links::table)
        .values(&link)
        .execute(db)
}

fn all(db: &mut Db) -> QueryResult<Vec<Memory>> {
    memories::table.load(db)
}

/// Prints our error, which says what to do; Diesel's own says where it failed.
fn refused(what: &str, result: QueryResult<Vec<Memory>>) -> Result<(), String> {
    let Err(error) = result else {
        return Err(format!("{what}: the rows were read"));
    };
    let ours = ophie_crypt_diesel::find_error(&error).map(ToString::to_string);
    println!("  {what}:\n    {}", ours.unwrap_or(error.to_string()));
    Ok(())
}
