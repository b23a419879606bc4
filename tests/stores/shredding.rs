//! What a shredder works on: keys, rows, a ledger and vectors, each of which can be out of reach.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use ophie_crypt::{
    CanonicalId, EncryptedModel, FileLedger, Ledger, LedgerEntry, LedgerError, LedgerHead, Models,
    Shredder, ShredderBuilder, VectorStore, VectorStoreError, VectorsDeleted,
};
use ophie_crypt_sqlx::{Encrypted, MySqlModels, Owner, SqliteModels};
use tempfile::TempDir;

use crate::world::{Database, Kind, Store, is_postgres, provision};

#[derive(EncryptedModel)]
#[crypt(table = "notes", tombstone = "deleted_at")]
#[expect(dead_code, reason = "of the model, only its names count")]
pub(crate) struct Note {
    user_id: Owner<i64>,
    #[crypt(column = "text_ct", soak(twin = "text"))]
    text: Encrypted<String, note::text>,
}

#[derive(EncryptedModel)]
#[crypt(table = "letters")]
#[expect(dead_code, reason = "of the model, only its names count")]
pub(crate) struct Letter {
    user_id: Owner<i64>,
    text: Encrypted<String, letter::text>,
}

#[derive(EncryptedModel)]
#[crypt(table = "invoices")]
#[expect(dead_code, reason = "of the model, only its names count")]
pub(crate) struct Invoice {
    user_id: Owner<i64>,
    text: Encrypted<String, invoice::text>,
}

pub(crate) fn ada() -> CanonicalId {
    CanonicalId::integer(7)
}

/// A ledger that can be out of reach.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) ledger: FileLedger,
    pub(crate) is_down: AtomicBool,
    pub(crate) appended: AtomicU32,
}

#[async_trait]
impl Ledger for Reached {
    async fn head(&self) -> Result<LedgerHead, LedgerError> {
        self.check()?;
        self.ledger.head().await
    }

    async fn append(
        &self,
        expected: &LedgerHead,
        kind: &str,
        payload: &[u8],
    ) -> Result<LedgerHead, LedgerError> {
        self.check()?;
        let head = self.ledger.append(expected, kind, payload).await?;
        self.appended.fetch_add(1, SeqCst);
        Ok(head)
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Vec<LedgerEntry>, LedgerError> {
        self.check()?;
        self.ledger.read(after, limit).await
    }
}

impl Reached {
    fn at(path: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            ledger: FileLedger::open_or_create(path).unwrap(),
            is_down: AtomicBool::new(false),
            appended: AtomicU32::new(0),
        })
    }

    fn check(&self) -> Result<(), LedgerError> {
        match self.is_down.load(SeqCst) {
            true => Err(LedgerError::unavailable("no route to it")),
            false => Ok(()),
        }
    }
}

/// A vector store that is down, then empty at the second call.
#[derive(Debug, Default)]
pub(crate) struct Vectors {
    pub(crate) is_down: AtomicBool,
    pub(crate) calls: AtomicU32,
    refused: Mutex<Option<CanonicalId>>,
}

impl Vectors {
    /// Fails for this owner alone.
    pub(crate) fn refuse(&self, owner: Option<CanonicalId>) {
        *self.refused.lock().unwrap() = owner;
    }
}

#[async_trait]
impl VectorStore for Vectors {
    async fn delete_owner(&self, owner: &CanonicalId) -> Result<VectorsDeleted, VectorStoreError> {
        let is_refused = self.refused.lock().unwrap().as_ref() == Some(owner);
        if is_refused || self.is_down.load(SeqCst) {
            return Err(VectorStoreError::unavailable("overloaded"));
        }
        let calls = self.calls.fetch_add(1, SeqCst);
        Ok(VectorsDeleted::new(None, calls > 0))
    }
}

pub(crate) struct World {
    pub(crate) kind: Kind,
    /// Of the keys.
    pub(crate) keys: Database,
    /// Of the rows: on PostgreSQL the same as that of the keys.
    pub(crate) rows: Option<Database>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ledger: Arc<Reached>,
    pub(crate) vectors: Arc<Vectors>,
    folder: TempDir,
}

impl World {
    pub(crate) async fn new(kind: Kind) -> Self {
        let keys = Database::create(kind).await;
        let is_postgres = is_postgres(kind);
        let rows = match is_postgres {
            true => None,
            false => Some(Database::create(kind).await),
        };
        let store = keys.store(kind).await;
        store.migrate().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let world = Self {
            kind,
            keys,
            rows,
            store,
            ledger: Reached::at(folder.path().join("ledger")),
            vectors: Arc::default(),
            folder,
        };
        let time = if is_postgres {
            "TIMESTAMPTZ"
        } else {
            "DATETIME"
        };
        let time = if matches!(kind, Kind::SqlxSqlite | Kind::DieselSqlite) {
            "TEXT"
        } else {
            time
        };
        let bytes = if is_postgres { "BYTEA" } else { "BLOB" };
        world
            .rows()
            .run_plain(&format!(
                "CREATE TABLE notes (user_id BIGINT, text_ct {bytes}, text VARCHAR(100), deleted_at {time}); \
                 CREATE TABLE letters (user_id BIGINT, text {bytes}); \
                 CREATE TABLE invoices (user_id BIGINT, text {bytes})"
            ))
            .await
            .unwrap();
        for owner in [7, 8] {
            provision(&*world.store, &CanonicalId::integer(owner))
                .await
                .unwrap();
            world.write(owner, 5).await;
        }
        world
    }

    /// An empty one.
    pub(crate) fn another_ledger(&self) -> Arc<Reached> {
        Reached::at(self.folder.path().join("another"))
    }

    pub(crate) fn rows(&self) -> &Database {
        self.rows.as_ref().unwrap_or(&self.keys)
    }

    pub(crate) async fn write(&self, owner: i64, rows: u32) {
        for _ in 0..rows {
            let sql = format!(
                "INSERT INTO notes (user_id, text) VALUES ({owner}, 'plain'); \
                 INSERT INTO letters (user_id) VALUES ({owner}); \
                 INSERT INTO invoices (user_id) VALUES ({owner})"
            );
            self.rows().run_plain(&sql).await.unwrap();
        }
    }

    pub(crate) async fn count(&self, table: &str, condition: &str) -> i64 {
        let sql = format!("SELECT COUNT(*) FROM {table} WHERE {condition}");
        self.rows().number(&sql).await
    }

    /// A worker with connections of its own.
    pub(crate) async fn builder(&self) -> ShredderBuilder {
        self.builder_on(&self.ledger).await
    }

    /// With a ledger that may be another's.
    pub(crate) async fn builder_on(&self, ledger: &Arc<Reached>) -> ShredderBuilder {
        let models = Models::new()
            .with::<Note>()
            .with::<Letter>()
            .with_kept::<Invoice>("ten years, by law");
        let rows = self.rows().models(self.kind, models).await;
        let store = self.keys.store(self.kind).await;
        Shredder::builder(store, Arc::clone(ledger))
            .rows(rows)
            .vectors("memories", Arc::clone(&self.vectors))
    }

    pub(crate) async fn shredder(&self) -> Shredder {
        self.builder().await.build()
    }

    /// Where the keys have a database of their own, the application makes the tables of tombstones and soaks. The
    /// plaintext of notes soaks.
    pub(crate) async fn tombstones(&self) {
        if let Some(rows) = &self.rows {
            let made = match rows {
                Database::MariaDb(rows) => {
                    let models = MySqlModels::new(rows.pool().clone(), Models::new());
                    models.migrate().await
                }
                Database::Sqlite(rows) => {
                    let models = SqliteModels::new(rows.pool().clone(), Models::new());
                    models.migrate().await
                }
                Database::Memory(_) | Database::Postgres(_) => unreachable!("one database"),
            };
            made.unwrap();
        }
        let soak = "INSERT INTO ophie_crypt_soaks (table_name, column_name, twin, state, floor) \
                    VALUES ('notes', 'text_ct', 'text', 'expand', 'dual-write')";
        self.rows().run_plain(soak).await.unwrap();
    }

    /// As if it had been asked for long ago.
    pub(crate) async fn shred_long_ago(&self) {
        self.shred_long_ago_of(&ada()).await;
    }

    pub(crate) async fn shred_long_ago_of(&self, owner: &CanonicalId) {
        let sql = "INSERT INTO ophie_crypt_shreds (owner, requested_at) VALUES ($1, 1000000)";
        self.keys.run(sql, owner).await.unwrap();
    }

    /// A backup and a clone have the installation's id.
    pub(crate) async fn is_a_copy_of(&self, installation: [u8; 16]) {
        let sql = "UPDATE ophie_crypt_installation SET id = $1";
        let id = CanonicalId::from_bytes(&installation); // bytes, as an owner's are
        self.keys.run(sql, &id).await.unwrap();
    }
}
