//! PostgreSQL clusters that are backed up, put back and promoted.
//!
//! Invariant: a cluster stops with its value. Absent: what is in them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use ophie_crypt_tests::variable;
use sqlx::{AssertSqlSafe, PgPool};
use tempfile::TempDir;

/// A folder for clusters, of the user as whom PostgreSQL runs: it refuses to run as root.
pub(crate) struct Place {
    folder: TempDir,
    user: Option<String>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
        let user = is_root.then(|| {
            let known = Command::new("id")
                .args(["-u", "postgres"])
                .output()
                .unwrap();
            if known.status.success() {
                "postgres"
            } else {
                "nobody"
            }
            .to_owned()
        });
        if let Some(user) = &user {
            let chown = Command::new("chown").arg(user).arg(folder.path()).output();
            assert!(chown.unwrap().status.success());
        }
        Self { folder, user }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program of PostgreSQL's, as its user.
    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let program = Path::new(&variable("OPHIE_CRYPT_TEST_PG_BIN")).join(program);
        let mut command = match &self.user {
            Some(user) => {
                let mut command = Command::new("setpriv");
                command
                    .arg(format!("--reuid={user}"))
                    .args(["--clear-groups", "--"]);
                command.arg(program);
                command
            }
            None => Command::new(program),
        };
        let output = command
            .args(arguments)
            .current_dir(self.folder.path())
            .output();
        output.unwrap()
    }

    fn must(&self, program: &str, arguments: &[&str]) -> Vec<u8> {
        let output = self.run(program, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {said}");
        output.stdout
    }

    /// A new cluster that archives its write-ahead log in `archive`.
    pub(crate) async fn cluster(&self) -> Cluster<'_> {
        self.must(
            "initdb",
            &[
                "-D",
                "primary",
                "-U",
                "postgres",
                "-A",
                "trust",
                "--no-sync",
            ],
        );
        self.must("initdb", &["--version"]);
        let archive = self.path("archive");
        fs::create_dir(&archive).unwrap();
        if let Some(user) = &self.user {
            let chown = Command::new("chown").arg(user).arg(&archive).output();
            assert!(chown.unwrap().status.success());
        }
        self.configure(
            "primary",
            &format!(
                "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\nwal_level = replica\n\
                 max_connections = 50\narchive_mode = on\narchive_command = 'cp %p {archive}/part && mv {archive}/part {archive}/%f'\n",
                archive = archive.display()
            ),
        );
        self.start("primary").await
    }

    pub(crate) fn configure(&self, cluster: &str, lines: &str) {
        use std::io::Write;
        let file = self.path(cluster).join("postgresql.conf");
        let mut file = fs::OpenOptions::new().append(true).open(file).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
    }

    /// An empty file with this name, which tells the cluster how to start.
    pub(crate) fn signal(&self, cluster: &str, name: &str) {
        let file = self.path(cluster).join(name);
        fs::write(&file, "").unwrap();
        if let Some(user) = &self.user {
            let chown = Command::new("chown").arg(user).arg(&file).output();
            assert!(chown.unwrap().status.success());
        }
    }

    /// Starts a cluster on a free port, and waits until it takes connections.
    pub(crate) async fn start(&self, name: &str) -> Cluster<'_> {
        let mut said = String::new();
        for _ in 0..5 {
            let port = free_port();
            let options = format!("-p {port}");
            let log = format!("{name}.log");
            let start = [
                "start", "-D", name, "-w", "-s", "-t", "120", "-l", &log, "-o", &options,
            ];
            let output = self.run("pg_ctl", &start);
            if output.status.success() {
                let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
                let pool = PgPool::connect(&url).await.unwrap();
                return Cluster {
                    place: self,
                    name: name.to_owned(),
                    port,
                    url,
                    pool,
                };
            }
            said = fs::read_to_string(self.path(&log)).unwrap_or_default();
        }
        panic!("{name} does not start: {said}");
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

pub(crate) struct Cluster<'p> {
    place: &'p Place,
    name: String,
    port: u16,
    pub(crate) url: String,
    pub(crate) pool: PgPool,
}

impl Cluster<'_> {
    pub(crate) async fn run(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.pool).await.unwrap();
    }

    /// A base backup in a folder.
    pub(crate) fn back_up(&self, folder: &str) {
        let port = self.port.to_string();
        let arguments = [
            "-D",
            folder,
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "postgres",
            "-c",
            "fast",
        ];
        self.place.must("pg_basebackup", &arguments);
    }

    /// A dump as statements, `NAME.sql`.
    pub(crate) fn dump(&self, name: &str) {
        let arguments = ["-d", &self.url, "-f", &format!("{name}.sql")];
        self.place.must("pg_dump", &arguments);
    }

    /// What the dump `NAME.sql` holds, into another database of this cluster.
    pub(crate) async fn put_back(&self, name: &str) -> PgPool {
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::raw_sql(create).execute(&self.pool).await.unwrap();
        let (server, _) = self.url.rsplit_once('/').unwrap();
        let (url, file) = (format!("{server}/{name}"), format!("{name}.sql"));
        self.place.must(
            "psql",
            &["-d", &url, "-q", "-v", "ON_ERROR_STOP=1", "-f", &file],
        );
        PgPool::connect(&url).await.unwrap()
    }

    /// Waits until the archive has all of the write-ahead log up to now.
    pub(crate) async fn archive(&self) {
        let segment: String = sqlx::query_scalar("SELECT pg_walfile_name(pg_switch_wal())")
            .fetch_one(&self.pool)
            .await
            .unwrap();
        let file = self.place.path("archive").join(segment);
        for _ in 0..600 {
            if file.exists() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("the archive lacks {}", file.display());
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        let stop = ["stop", "-D", &self.name, "-m", "immediate", "-w", "-s"];
        let _ = self.place.run("pg_ctl", &stop); // it is gone with its folder anyway
    }
}
