//! Where one test runs the command: databases, a master key, a ledger, planted secrets.
//!
//! Invariant: no call prints a planted plaintext, the master key's bytes or a password. Absent: what is tested.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::Arc,
};

use ophie_crypt::{
    AuditStore, EncryptedModel, FileLedger, KeyStore, Keyring, LocalKms, Models, Purpose,
    RotationStore, Session,
};
use ophie_crypt_sqlx::{
    Encrypted, MySqlKeyStore, Owner, PostgresAudit, PostgresKeyStore, SqliteKeyStore, SqliteModels,
};
use ophie_crypt_tests::{mariadb, postgres, sqlite};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// In every value that is sealed or stands in plaintext.
pub(crate) const CANARY: &str = "canary-slept-badly";
/// The role's password, where there is one.
pub(crate) const PASSWORD: &str = "canary-pass-word";

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
#[expect(dead_code, reason = "only its columns are used")]
struct Note {
    owner: Owner<i64>,
    text: Encrypted<String, note::text>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    MariaDb,
    Postgres,
    Sqlite,
}

pub(crate) enum Rows {
    MariaDb(mariadb::Database),
    Postgres(postgres::Database),
    Sqlite(sqlite::Database),
}

/// Which program.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Program {
    /// Without models.
    Stock,
    /// With notes.
    Application,
    /// With notes and people, as this release has them.
    Release(&'static str),
}

/// `$call` with the pool of whichever database it is.
macro_rules! on_pool {
    ($rows:expr, |$pool:ident| $call:expr) => {
        match $rows {
            Rows::MariaDb(rows) => {
                let $pool = rows.pool();
                $call
            }
            Rows::Postgres(rows) => {
                let $pool = rows.pool();
                $call
            }
            Rows::Sqlite(rows) => {
                let $pool = rows.pool();
                $call
            }
        }
    };
}

pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) rows: Rows,
    folder: TempDir,
    secrets: Vec<Vec<u8>>,
}

/// What a call printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// The one JSON object.
    pub(crate) fn json(&self) -> Value {
        let value: Value = serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{self:?}"));
        assert!(value.is_object() && self.err.is_empty(), "{self:?}");
        value
    }

    /// That it ended so; itself again.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// That it printed this.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        let all = format!("{}{}", self.out, self.err);
        assert!(all.contains(text), "no {text:?} in {self:?}");
        self
    }
}

impl Place {
    /// With the application's table and no tables of the library's.
    pub(crate) async fn empty(kind: Kind) -> Self {
        let rows = match kind {
            Kind::MariaDb => Rows::MariaDb(mariadb::Database::create().await),
            Kind::Postgres => Rows::Postgres(postgres::Database::create().await),
            Kind::Sqlite => Rows::Sqlite(sqlite::Database::create().await),
        };
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("master.key");
        LocalKms::open_or_create(&key).unwrap();
        let mut secrets = vec![CANARY.into(), PASSWORD.into()];
        let key = std::fs::read(key).unwrap();
        secrets.push(hex(&key).into_bytes());
        secrets.push(key);
        FileLedger::open_or_create(folder.path().join("ledger")).unwrap();
        let place = Self {
            kind,
            rows,
            folder,
            secrets,
        };
        let sql = match kind {
            Kind::MariaDb => {
                "CREATE TABLE notes (id bigint PRIMARY KEY AUTO_INCREMENT, owner bigint NOT NULL, text blob, \
                 text_fp binary(17), plain text, KEY (owner))"
            }
            Kind::Postgres => {
                "CREATE TABLE notes (id bigserial PRIMARY KEY, owner bigint NOT NULL, text bytea, text_fp bytea, plain text)"
            }
            Kind::Sqlite => {
                "CREATE TABLE notes (id INTEGER PRIMARY KEY, owner INTEGER NOT NULL, text BLOB, text_fp BLOB, plain TEXT)"
            }
        };
        place.execute(sql).await;
        place
    }

    /// With the library's tables.
    pub(crate) async fn new(kind: Kind) -> Self {
        let place = Self::empty(kind).await;
        match &place.rows {
            Rows::MariaDb(rows) => MySqlKeyStore::new(rows.pool().clone())
                .migrate()
                .await
                .unwrap(),
            Rows::Postgres(rows) => PostgresKeyStore::new(rows.pool().clone())
                .migrate()
                .await
                .unwrap(),
            Rows::Sqlite(rows) => {
                drop(SqliteKeyStore::open(place.path("keys.db")).await.unwrap());
                let models = SqliteModels::new(rows.pool().clone(), Models::new());
                models.migrate().await.unwrap();
            }
        }
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn url(&self) -> &str {
        match &self.rows {
            Rows::MariaDb(rows) => rows.url(),
            Rows::Postgres(rows) => rows.url(),
            Rows::Sqlite(rows) => rows.url(),
        }
    }

    /// On the application's database.
    pub(crate) async fn execute(&self, sql: &str) {
        self.tried(sql).await.unwrap();
    }

    pub(crate) async fn tried(&self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        on_pool!(&self.rows, |pool| sqlx::raw_sql(sql)
            .execute(pool)
            .await
            .map(drop))
    }

    async fn keys_of_sqlite(&self) -> sqlx::SqlitePool {
        let url = format!("sqlite:{}", self.path("keys.db").display());
        sqlx::SqlitePool::connect(&url).await.unwrap()
    }

    /// On the database of the keys.
    pub(crate) async fn execute_on_keys(&self, sql: &str) {
        match self.kind {
            Kind::Sqlite => {
                let pool = self.keys_of_sqlite().await;
                sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
                    .execute(&pool)
                    .await
                    .unwrap();
                pool.close().await;
            }
            _ => self.execute(sql).await,
        }
    }

    pub(crate) async fn count(&self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.to_owned());
        on_pool!(&self.rows, |pool| sqlx::query_scalar(sql)
            .fetch_one(pool)
            .await
            .unwrap())
    }

    /// Bytes in the database of the keys.
    pub(crate) async fn bytes_of_keys(&self, sql: &'static str) -> Vec<Vec<u8>> {
        match &self.rows {
            Rows::MariaDb(rows) => sqlx::query_scalar(sql)
                .fetch_all(rows.pool())
                .await
                .unwrap(),
            Rows::Postgres(rows) => sqlx::query_scalar(sql)
                .fetch_all(rows.pool())
                .await
                .unwrap(),
            Rows::Sqlite(_) => {
                let pool = self.keys_of_sqlite().await;
                sqlx::query_scalar(sql).fetch_all(&pool).await.unwrap()
            }
        }
    }

    /// All notes are locked; on PostgreSQL.
    pub(crate) async fn locked(&self) -> sqlx::Transaction<'static, sqlx::Postgres> {
        let Rows::Postgres(rows) = &self.rows else {
            panic!("only PostgreSQL's are locked")
        };
        let mut tx = rows.pool().begin().await.unwrap();
        let lock = "SELECT id FROM notes FOR UPDATE";
        sqlx::raw_sql(lock).execute(&mut *tx).await.unwrap();
        tx
    }

    /// The key store, as the application has it.
    pub(crate) async fn store(&self) -> Arc<dyn RotationStore> {
        match &self.rows {
            Rows::MariaDb(rows) => Arc::new(MySqlKeyStore::new(rows.pool().clone())),
            Rows::Postgres(rows) => Arc::new(PostgresKeyStore::new(rows.pool().clone())),
            Rows::Sqlite(_) => Arc::new(SqliteKeyStore::open(self.path("keys.db")).await.unwrap()),
        }
    }

    /// The audit trail, as the application has it.
    pub(crate) async fn audit(&self) -> Arc<dyn AuditStore> {
        match &self.rows {
            Rows::MariaDb(rows) => Arc::new(MySqlKeyStore::new(rows.pool().clone()).audit()),
            Rows::Postgres(rows) => Arc::new(PostgresAudit::new(rows.pool().clone())),
            Rows::Sqlite(_) => {
                let store = SqliteKeyStore::open(self.path("keys.db")).await.unwrap();
                Arc::new(store.audit())
            }
        }
    }

    pub(crate) async fn session(&self, owner: i64) -> Session {
        let store: Arc<dyn KeyStore> = self.store().await;
        let keyring = Keyring::builder()
            .kms(LocalKms::open(self.path("master.key")).unwrap())
            .key_store(store)
            .build()
            .unwrap();
        keyring
            .open_or_provision(&owner, Purpose::new("tests"))
            .await
            .unwrap()
    }

    /// So many notes of this owner, each with the canary.
    pub(crate) async fn fill(&self, owner: i64, count: usize) {
        let session = self.session(owner).await;
        session
            .reserve(u32::try_from(count).unwrap())
            .await
            .unwrap();
        let texts: Vec<_> = (0..count)
            .map(|at| note::text(format!("{CANARY} {at}")))
            .collect();
        for texts in texts.chunks(200) {
            let rows: Vec<_> = texts
                .iter()
                .map(|text| {
                    let hex = hex(text.seal(&session).unwrap().as_bytes());
                    match self.kind {
                        Kind::Postgres => format!("({owner}, '\\x{hex}', '{CANARY}')"),
                        _ => format!("({owner}, x'{hex}', '{CANARY}')"),
                    }
                })
                .collect();
            let rows = rows.join(", ");
            self.execute(&format!(
                "INSERT INTO notes (owner, text, plain) VALUES {rows}"
            ))
            .await;
        }
    }

    /// How many of the owner's notes open, with the canary in them.
    pub(crate) async fn readable(&self, owner: i64) -> usize {
        let session = self.session(owner).await;
        let sql = AssertSqlSafe(format!("SELECT text FROM notes WHERE owner = {owner}"));
        let values: Vec<Vec<u8>> = on_pool!(&self.rows, |pool| sqlx::query_scalar(sql)
            .fetch_all(pool)
            .await
            .unwrap());
        let opens = |value: &Vec<u8>| {
            let sealed = ophie_crypt_sqlx::Sealed::<String, note::text>::from_bytes(value.clone());
            let opened = sealed.open(&session);
            opened.is_ok_and(|text| text.expose_secret().starts_with(CANARY))
        };
        values.iter().filter(|value| opens(value)).count()
    }

    /// The command's environment is this place and nothing else.
    pub(crate) fn command(&self, program: Program, arguments: &[&str]) -> Command {
        let application = Path::new(env!("CARGO_BIN_EXE_ophie-crypt-of-application"));
        let path = match program {
            Program::Application | Program::Release(_) => application.to_owned(),
            Program::Stock => application.with_file_name("ophie-crypt"),
        };
        assert!(
            path.exists(),
            "{} is missing: run `cargo build --workspace --all-features --bin ophie-crypt --test cli`, or `tests/run cli`",
            path.display()
        );
        let mut command = Command::new(path);
        let keys = self.path("keys.db");
        command
            .args(arguments)
            .env_clear()
            .env("DATABASE_URL", self.url())
            .env(
                "OPHIE_CRYPT_KMS",
                format!("local:{}", self.path("master.key").display()),
            )
            .env(
                "OPHIE_CRYPT_LEDGER",
                format!("file:{}", self.path("ledger").display()),
            )
            .env("USER", "ops")
            .env("RUST_LOG", "trace")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Program::Release(release) = program {
            command.env("TEST_RELEASE", release);
        }
        if self.kind == Kind::Sqlite {
            command.env("OPHIE_CRYPT_KEYS_URL", format!("sqlite:{}", keys.display()));
        }
        command
    }

    /// Runs the application's command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        self.ended(&mut self.command(Program::Application, arguments))
            .await
    }

    /// Runs the stock command to its end.
    pub(crate) async fn stock(&self, arguments: &[&str]) -> Ended {
        self.ended(&mut self.command(Program::Stock, arguments))
            .await
    }

    pub(crate) async fn ended(&self, command: &mut Command) -> Ended {
        let output = command.output().await.unwrap();
        self.looked_through(&output)
    }

    pub(crate) async fn wait(&self, child: Child) -> Ended {
        let output = child.wait_with_output().await.unwrap();
        self.looked_through(&output)
    }

    pub(crate) fn looked_through(&self, output: &Output) -> Ended {
        use std::os::unix::process::ExitStatusExt;

        for printed in [&output.stdout, &output.stderr] {
            for secret in &self.secrets {
                let found = memchr::memmem::find(printed, secret).is_some();
                assert!(!found, "a secret in {}", String::from_utf8_lossy(printed));
            }
        }
        // What it leaves in its folder; the application's own rows are elsewhere. By another process: to close a file of
        // SQLite's would give up the locks that this one has on it.
        let left = std::process::Command::new("grep")
            .args(["-rlaF", CANARY])
            .arg(self.folder.path())
            .output()
            .unwrap();
        let left = String::from_utf8_lossy(&left.stdout).into_owned();
        assert!(left.is_empty(), "a plaintext in {left}");
        let code = output.status.code();
        Ended {
            code: code.unwrap_or_else(|| -output.status.signal().unwrap()),
            out: String::from_utf8(output.stdout.clone()).unwrap(),
            err: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
