//! Memories with embeddings in PostgreSQL with pgvector: search by similarity, open what is found, and delete all of
//! a user's. Run it on a database of your own that has the extension:
//! `DATABASE_URL=postgres://.. cargo run --example pgvector --features postgres`.

use std::error::Error;

use ophie_crypt::{
    BoundColumn, ColumnRef, Keyring, LocalKms, OwnerId, Purpose, Session, Sidecar, VectorStore,
};
use ophie_crypt_sqlx::{PgVectors, PostgresKeyStore};
use sqlx::PgPool;
use uuid::Uuid;

/// What a memory's text is bound to. Padded, so that its length tells little.
enum MemoryText {}

impl BoundColumn for MemoryText {
    const COLUMN: ColumnRef = ColumnRef::new("memory_vectors", "text").with_padding(64);
}

type Text = Sidecar<String, MemoryText>;

/// The embedding is plain, or it could not be searched: it says much of the text. The text is a sidecar.
const SCHEMA: &str = "
    CREATE EXTENSION IF NOT EXISTS vector;
    CREATE TABLE IF NOT EXISTS memory_vectors (
        id uuid PRIMARY KEY, user_id uuid NOT NULL, embedding vector(26) NOT NULL, metadata jsonb NOT NULL);
    CREATE INDEX IF NOT EXISTS memory_vectors_user ON memory_vectors (user_id);";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let db = PgPool::connect(&std::env::var("DATABASE_URL")?).await?;
    sqlx::raw_sql(SCHEMA).execute(&db).await?;
    let keys = PostgresKeyStore::new(db.clone());
    keys.migrate().await?;
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral()?) // testing only: its keys are gone when the program ends
        .key_store(keys)
        .build()?;

    let (ada, ben) = (Uuid::new_v4(), Uuid::new_v4());
    let adas = keyring
        .open_or_provision(&ada, Purpose::new("memory"))
        .await?;
    let bens = keyring
        .open_or_provision(&ben, Purpose::new("memory"))
        .await?;
    remember(&db, &adas, ada, "Sleeps badly before exams.").await?; // plaintext
    remember(&db, &adas, ada, "Grew up by the sea in Galicia.").await?; // plaintext
    remember(&db, &bens, ben, "Slept badly, too: the exam is tomorrow.").await?; // plaintext

    let found = nearest(&db, ada, "sleep and exams").await?;
    println!("Nearest to \"sleep and exams\", among Ada's");
    for (id, text) in &found {
        // Bound to its vector: a sidecar that was moved to another does not open.
        println!("  {}", text.open_row(&adas, id)?.expose_secret());
    }
    let (id, text) = found.first().ok_or("nothing was found")?;
    assert_eq!(
        text.open_row(&adas, id)?.expose_secret(),
        "Sleeps badly before exams."
    );
    println!("What the database holds of it\n  {:.60}...", text.as_str());
    println!("In Ben's session");
    match text.open_row(&bens, id) {
        Ok(_) => return Err("Ben read Ada's memory".into()),
        Err(error) => println!("  {error}"),
    }

    // Ada leaves: embeddings are not made unreadable by destroying a key, so they go.
    let vectors = PgVectors::new(db.clone(), "memory_vectors", "user_id");
    loop {
        let deleted = vectors.delete_owner(&ada.canonical()).await?;
        println!("Deleted {} vectors", deleted.count().unwrap_or_default());
        if deleted.verified_empty() {
            break;
        }
    }
    assert!(nearest(&db, ada, "sleep").await?.is_empty());
    assert_eq!(nearest(&db, ben, "sleep").await?.len(), 1);
    Ok(())
}

async fn remember(
    db: &PgPool,
    session: &Session,
    user: Uuid,
    text: &str,
) -> Result<(), Box<dyn Error>> {
    let id = Uuid::new_v4();
    let metadata = serde_json::json!({ "text": Text::seal_row(text, session, &id)? });
    sqlx::query("INSERT INTO memory_vectors VALUES ($1, $2, $3::text::vector, $4)")
        .bind(id)
        .bind(user)
        .bind(embedding(text))
        .bind(metadata)
        .execute(db)
        .await?;
    Ok(())
}

async fn nearest(db: &PgPool, user: Uuid, text: &str) -> Result<Vec<(Uuid, Text)>, Box<dyn Error>> {
    let rows: Vec<(Uuid, serde_json::Value)> = sqlx::query_as(
        "SELECT id, metadata -> 'text' FROM memory_vectors
         WHERE user_id = $1 ORDER BY embedding <=> $2::text::vector LIMIT 5",
    )
    .bind(user)
    .bind(embedding(text))
    .fetch_all(db)
    .await?;
    let texts = rows.into_iter();
    let texts = texts.map(|(id, text)| Ok((id, serde_json::from_value(text)?)));
    texts.collect()
}

/// How often each letter occurs: a stand-in for a model that makes embeddings.
fn embedding(text: &str) -> String {
    let letters = ('a'..='z').map(|letter| {
        let count = text.to_lowercase().matches(letter).count();
        count.to_string()
    });
    format!("[{}]", letters.collect::<Vec<_>>().join(","))
}
