//! The example's database: SQLite in a folder, or the PostgreSQL that `DATABASE_URL` names. Nothing in it is about a soak.

use std::{error::Error, fs, path::Path, sync::Arc};

use ophie_crypt::{KeyStore, Keyring, Models, Purpose, soak::SoakStore};
use ophie_crypt_sqlx::{Owner, SqliteKeyStore, SqliteModels};
use sqlx::{
    AnyPool, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};

use crate::{EncryptedPerson, before::connect};

/// What the releases work on, and what the library reaches the tables by.
pub struct Database {
    /// For the releases, which name their columns: a statement `SELECT *` that SQLite's driver remembers is not what the
    /// table is after a column was added or dropped.
    pub app: AnyPool,
    rows: Rows,
    keys: String,
    shown: String,
}

enum Rows {
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
    Sqlite(SqlitePool),
}

impl Database {
    pub async fn open(folder: &Path) -> Result<Self, Box<dyn Error>> {
        fs::create_dir_all(folder)?;
        let keys = folder.join("keys.db").display().to_string();
        #[cfg(feature = "postgres")]
        if let Ok(url) = std::env::var("DATABASE_URL") {
            let rows = Rows::Postgres(sqlx::PgPool::connect(&url).await?);
            let app = connect(&url).await?;
            let shown = "the one of DATABASE_URL".to_owned();
            return Ok(Self {
                app,
                rows,
                keys,
                shown,
            });
        }
        let file = folder.join("app.db");
        for old in ["app.db", "app.db-wal", "app.db-shm"] {
            fs::remove_file(folder.join(old)).ok(); // of the last time
        }
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal);
        let rows = Rows::Sqlite(SqlitePool::connect_with(options).await?);
        let file = fs::canonicalize(file)?.display().to_string();
        let app = connect(&format!("sqlite:{file}")).await?;
        Ok(Self {
            app,
            rows,
            keys,
            shown: file,
        })
    }

    /// People with names in plaintext, who belong to 50 users.
    pub async fn fill(&self, rows: i64) -> sqlx::Result<()> {
        let table =
            "CREATE TABLE people (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, name TEXT)";
        sqlx::raw_sql(table).execute(&self.app).await?;
        sqlx::raw_sql("CREATE INDEX people_user ON people (user_id)")
            .execute(&self.app)
            .await?;
        let sql =
            "WITH RECURSIVE n (id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM n WHERE id + 1 < $1)
                   INSERT INTO people SELECT id, id % 50, $2 || id FROM n";
        let name = "Grandmother Adelheid "; // plaintext
        sqlx::query(sql)
            .bind(rows)
            .bind(name)
            .execute(&self.app)
            .await
            .map(drop)
    }

    /// The tables, as the tool and the watch reach them, with the library's own beside them.
    pub async fn models(&self, models: Models) -> Result<Arc<dyn SoakStore>, Box<dyn Error>> {
        match &self.rows {
            #[cfg(feature = "postgres")]
            Rows::Postgres(pool) => {
                ophie_crypt_sqlx::PostgresKeyStore::new(pool.clone())
                    .migrate()
                    .await?;
                let models = ophie_crypt_sqlx::PostgresModels::new(pool.clone(), models);
                Ok(Arc::new(models))
            }
            Rows::Sqlite(pool) => {
                let models = SqliteModels::new(pool.clone(), models);
                models.migrate().await?;
                Ok(Arc::new(models))
            }
        }
    }

    /// On SQLite they have a file of their own.
    pub async fn keys(&self) -> Result<Arc<dyn KeyStore>, Box<dyn Error>> {
        match &self.rows {
            #[cfg(feature = "postgres")]
            Rows::Postgres(pool) => Ok(Arc::new(ophie_crypt_sqlx::PostgresKeyStore::new(
                pool.clone(),
            ))),
            Rows::Sqlite(_) => Ok(Arc::new(SqliteKeyStore::open(&self.keys).await?)),
        }
    }

    /// How many names open in their owners' sessions.
    pub async fn readable(&self, keyring: &Keyring) -> Result<i64, Box<dyn Error>> {
        let mut readable = 0;
        for user in 0..50_i64 {
            let session = keyring.open(&user, Purpose::new("the end")).await?;
            let people = session.scope(async {
                let sql = "SELECT id, user_id, name_ct FROM people WHERE user_id = $1";
                let people = sqlx::query_as::<_, EncryptedPerson>(sql).bind(Owner(user));
                people.fetch_all(&self.app).await
            });
            let people = people.await?;
            let of = |person: &&EncryptedPerson| {
                let name = person.name.expose_secret();
                name.ends_with(&format!(" {}", person.id))
            };
            readable += i64::try_from(people.iter().filter(of).count())?;
        }
        Ok(readable)
    }

    /// Closes it, so that SQLite's write-ahead log goes too.
    pub async fn close(self) {
        self.app.close().await;
        match self.rows {
            #[cfg(feature = "postgres")]
            Rows::Postgres(pool) => pool.close().await,
            Rows::Sqlite(pool) => pool.close().await,
        }
        println!("The database: {}", self.shown);
    }
}
