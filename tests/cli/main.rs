//! The command `ophie-crypt` as a process, on SQLite, PostgreSQL and MariaDB: the stock one, and an application's own.
//!
//! Each test has a place of its own: databases, a master key, a ledger and a folder that the process runs in. After each
//! call the place looks for planted secrets in all that was printed.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "a test: what goes wrong here is seen"
)]

mod audit;
mod config;
mod doctor;
mod keys;
mod looked;
mod migrations;
mod place;
mod reference;
mod report;
mod report_bad;
mod rotation;
mod shreds;
mod soaking;
mod tables;
mod terminal;

/// Each of these functions as a test on each database.
macro_rules! on_each_database {
    ($($name:ident)*) => {$(
        mod $name {
            use crate::place::Kind;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn mariadb() {
                super::$name(Kind::MariaDb).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                super::$name(Kind::Postgres).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$name(Kind::Sqlite).await;
            }
        }
    )*};
}
pub(crate) use on_each_database;
