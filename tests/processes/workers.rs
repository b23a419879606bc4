//! Starts workers, speaks with them in lines, stops and kills them.
//!
//! Invariant: no worker outlives its value. Absent: what a worker does (`worker/`).

use std::{path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use ophie_crypt::{KeyStore, Keyring, LocalKms, OwnerId};
use ophie_crypt_sqlx::PostgresKeyStore;
use ophie_crypt_tests::postgres::Database;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::kms::KmsServer;

/// Far longer than any answer takes; a worker that hangs must not hang the run.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the processes of one test share: a database with the library's tables, a master key, a folder.
pub(crate) struct Place {
    pub(crate) database: Database,
    pub(crate) folder: TempDir,
    pub(crate) kms: Option<Arc<KmsServer>>,
}

impl Place {
    /// With a master key in a file.
    pub(crate) async fn new() -> Self {
        let database = Database::create().await;
        let store = PostgresKeyStore::new(database.pool().clone());
        store.migrate().await.unwrap();
        let notes = "CREATE TABLE notes (owner bigint, writer bigint, text bytea, text_fp bytea)";
        sqlx::raw_sql(notes).execute(database.pool()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        LocalKms::open_or_create(folder.path().join("master.key")).unwrap();
        Self {
            database,
            folder,
            kms: None,
        }
    }

    /// With the strict KMS behind a socket.
    pub(crate) async fn with_kms() -> Self {
        let mut place = Self::new().await;
        place.kms = Some(KmsServer::start(place.path("journal")).await);
        place
    }

    pub(crate) fn kms(&self) -> &KmsServer {
        self.kms.as_deref().expect("made by `with_kms`")
    }

    /// This process's own.
    pub(crate) fn keyring(&self) -> Keyring {
        let kms = LocalKms::open(self.path("master.key")).unwrap();
        let store = PostgresKeyStore::new(self.database.pool().clone());
        Keyring::builder()
            .kms(kms)
            .key_store(store)
            .build()
            .unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a worker in a role; `actor` is its name, in the audit and at the KMS.
    pub(crate) fn worker(&self, role: &str, actor: &str, settings: &[(&str, String)]) -> Worker {
        let mut command = worker(role, actor, settings);
        let mut set = |name: &str, value: &str| {
            command.arg(format!("{name}={value}"));
        };
        if !settings.iter().any(|(name, _)| *name == "database") {
            set("database", self.database.url());
        }
        set("master", &self.path("master.key").to_string_lossy());
        if let Some(kms) = &self.kms {
            set("arn", kms.arn());
            set("journal", &self.path("journal").to_string_lossy());
            command.env("AWS_ENDPOINT_URL", kms.url());
        }
        command
            .env("AWS_ACCESS_KEY_ID", actor)
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        Worker::start(command)
    }

    /// Shreds an owner.
    pub(crate) async fn remove(&self, owner: i64) {
        let store = PostgresKeyStore::new(self.database.pool().clone());
        let shredded = store.shred(&owner.canonical()).await.unwrap();
        shredded.expect("the owner was provisioned");
    }
}

/// A process. It is killed when the value is dropped.
pub(crate) struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// The program, with its role, its name and its settings.
fn worker(role: &str, actor: &str, settings: &[(&str, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ophie-crypt-worker"));
    command.arg(role).arg(format!("actor={actor}"));
    command.args(
        settings
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    command
}

impl Worker {
    /// Without a [`Place`]: the settings name database and master key.
    pub(crate) fn of(role: &str, actor: &str, settings: &[(&str, String)]) -> Self {
        Self::start(worker(role, actor, settings))
    }

    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the worker starts");
        Self {
            orders: child.stdin.take().expect("piped"),
            answers: BufReader::new(child.stdout.take().expect("piped")).lines(),
            child,
        }
    }

    pub(crate) async fn order(&mut self, line: &str) {
        let line = format!("{line}\n");
        let written = self.orders.write_all(line.as_bytes()).await;
        written.expect("the worker lives");
    }

    /// Its next line.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> impl Future<Output = String> + use<'_> {
        let caller = std::panic::Location::caller();
        async move {
            let line = timeout(PATIENCE, self.answers.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("{caller}: the worker does not answer"));
            line.expect("lines of UTF-8").unwrap_or_else(|| {
                panic!("{caller}: the worker ended; its standard error says why")
            })
        }
    }

    #[track_caller]
    pub(crate) fn answers(&mut self, expected: &str) -> impl Future<Output = ()> + use<'_> {
        let (caller, expected) = (std::panic::Location::caller(), expected.to_owned());
        let answer = self.answer();
        async move {
            let line = answer.await;
            assert_eq!(line, expected, "at {caller}");
        }
    }

    /// Orders, and returns the answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, line: &str) -> impl Future<Output = String> + use<'_> {
        let line = line.to_owned();
        async move {
            self.order(&line).await;
            self.answer().await
        }
    }

    /// Orders, and asserts the answer.
    pub(crate) async fn told(&mut self, line: &str, expected: &str) {
        assert_eq!(self.ask(line).await, expected, "to {line:?}");
    }

    /// SIGKILL.
    pub(crate) async fn kill(mut self) {
        let ended = self.child.try_wait().expect("a child of ours");
        assert!(ended.is_none(), "it ended; its standard error says why");
        self.child.kill().await.expect("it lives");
    }

    /// SIGSTOP: it stands still as if the machine slept.
    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| id.try_into().ok());
        let pid = Pid::from_raw(id.expect("it lives")).expect("not 0");
        kill_process(pid, signal).expect("a process of ours");
    }
}
