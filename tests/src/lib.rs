//! A fresh database for each test, on SQLite, PostgreSQL or MariaDB; and an AWS KMS in the process.
//!
//! [`mariadb`], [`postgres`] and [`sqlite`] have the same names, so that one test source runs on all:
//! `use ophie_crypt_tests::sqlite as db;`, then `use db::{Database, Db, Pool};`.

pub mod events;
pub mod keys;
pub mod mariadb;
pub mod postgres;
pub mod sqlite;
pub mod strict_kms;

/// The value of an environment variable that `tests/run` sets.
///
/// # Panics
///
/// If the variable is missing: a missing service is an error, never a skip.
#[must_use]
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run `tests/run` (it installs and starts what is needed), or set the variable yourself")
    })
}
