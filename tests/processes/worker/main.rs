//! One process among several: `ophie-crypt-worker ROLE NAME=VALUE...`.
//!
//! It speaks in lines: commands on its standard input, one answer each on its standard output. Whatever
//! must outlive a SIGKILL it appends to files. Absent: what is asserted (the tests that start it).

mod backfill;
mod imports;
mod late;
mod look_up;
mod meet;
mod rotate;
mod seal;
mod serve;
mod setup;
mod shred;
mod traffic;

use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

use self::setup::Settings;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let role = std::env::args().nth(1).expect("a role");
    let settings = Settings::read();
    match role.as_str() {
        "backfill" => backfill::run(&settings).await,
        "imports" => imports::run(&settings).await,
        "late" => late::run(&settings).await,
        "look-up" => look_up::run(&settings).await,
        "meet" => meet::run(&settings).await,
        "rotate" => rotate::run(&settings).await,
        "seal" => seal::run(&settings).await,
        "serve" => serve::run(&settings).await,
        "shred" => shred::run(&settings).await,
        "traffic" => traffic::run(&settings).await,
        other => panic!("no role {other}"),
    }
}

/// What the parent says, line by line.
struct Orders(Lines<BufReader<Stdin>>);

impl Orders {
    fn new() -> Self {
        Self(BufReader::new(tokio::io::stdin()).lines())
    }

    /// `None` once the parent is gone.
    async fn next(&mut self) -> Option<String> {
        self.0.next_line().await.expect("lines of UTF-8")
    }

    /// Waits for this very line, and ends the process if the parent is gone.
    async fn expect(&mut self, line: &str) {
        match self.next().await {
            Some(read) => assert_eq!(read, line),
            None => std::process::exit(0),
        }
    }
}

/// Answers one line.
#[allow(clippy::print_stdout, reason = "how a worker answers")]
fn say(line: impl std::fmt::Display) {
    println!("{line}");
}
