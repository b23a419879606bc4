//! The release of before: it knows the plaintext column, and nothing of this library. `migrate_existing` has it work beside
//! its own releases; as a program of its own it is the previous binary, here for people 500 to 599:
//! `cargo run --example migrate_existing_before sqlite:migrate_existing-data/app.db 500 100`

use std::error::Error;

use sqlx::{AnyPool, Executor, any::AnyPoolOptions};

/// What a release saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// People who signed up, changed their name, and looked at it.
    pub people: u64,
    /// Statements that failed.
    pub errors: u64,
    /// Names that were not what had been written last.
    pub wrong: u64,
}

/// To a database that has one writer at a time if it is SQLite: while jobs write much, five seconds may be too short to wait.
pub async fn connect(url: &str) -> sqlx::Result<AnyPool> {
    sqlx::any::install_default_drivers();
    let waits = AnyPoolOptions::new().after_connect(|connection, _| {
        Box::pin(async move {
            if connection.backend_name() == "SQLite" {
                connection.execute("PRAGMA busy_timeout = 60000").await?;
            }
            Ok(())
        })
    });
    waits.connect(url).await
}

/// One person signs up, changes their name, and looks at it.
pub async fn visit(db: &AnyPool, id: i64, seen: &mut Seen) {
    let name = String::from("Cousin Friederike ") + &id.to_string(); // plaintext
    let visited = async {
        sqlx::query("INSERT INTO people (id, user_id, name) VALUES ($1, $2, 'nameless')")
            .bind(id)
            .bind(id % 50)
            .execute(db)
            .await?;
        sqlx::query("UPDATE people SET name = $1 WHERE id = $2")
            .bind(name.as_str())
            .bind(id)
            .execute(db)
            .await?;
        read(db, id).await
    };
    seen.people += 1;
    match visited.await {
        Ok(read) => seen.wrong += u64::from(read != Some(name)),
        Err(error) => {
            eprintln!("the release of before: {error}");
            seen.errors += 1;
        }
    }
}

async fn read(db: &AnyPool, id: i64) -> sqlx::Result<Option<String>> {
    let row: Option<(String,)> = sqlx::query_as("SELECT name FROM people WHERE id = $1")
        .bind(id)
        .fetch_optional(db)
        .await?;
    Ok(row.map(|(name,)| name))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, first, count] = arguments.as_slice() else {
        return Err("say a URL, the first id, and how many people".into());
    };
    let (first, count): (i64, i64) = (first.parse()?, count.parse()?);
    let db = connect(url).await?;
    let (ids, mut seen) = (first..first + count, Seen::default());
    for id in ids.clone() {
        visit(&db, id, &mut seen).await;
    }
    let mut there = 0;
    for id in ids {
        there += i64::from(read(&db, id).await?.is_some());
    }
    println!(
        "{count} people, {} errors, {} wrong names, {} vanished",
        seen.errors,
        seen.wrong,
        count - there
    );
    match (seen.errors + seen.wrong, there == count) {
        (0, true) => Ok(()),
        _ => Err("the release of before did not go on as ever".into()),
    }
}
