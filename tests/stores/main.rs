//! The contract of key stores, audit stores and model stores, on every store: in memory, of SQLx and of Diesel, on
//! each database; and stores of both ORMs on one database.
//!
//! Absent: what only one database does (`sqlx/`).

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "a test: what goes wrong here is seen"
)]

/// A test of each function on every store that has a database.
macro_rules! every_database {
    ($($test:ident),* $(,)?) => {$(
        mod $test {
            use super::$test as test;
            use crate::world::Kind;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlx_mariadb() {
                test(Kind::SqlxMariaDb).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlx_postgres() {
                test(Kind::SqlxPostgres).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlx_sqlite() {
                test(Kind::SqlxSqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn diesel_mariadb() {
                test(Kind::DieselMariaDb).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn diesel_postgres() {
                test(Kind::DieselPostgres).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn diesel_sqlite() {
                test(Kind::DieselSqlite).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn diesel_async_mariadb() {
                test(Kind::AsyncMariaDb).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn diesel_async_postgres() {
                test(Kind::AsyncPostgres).await;
            }
        }
    )*};
}

/// The same, and on the store in memory.
macro_rules! every_store {
    ($($test:ident),* $(,)?) => {
        every_database!($($test),*);

        mod memory {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::world::Kind::Memory).await;
            }
        )*}
    };
}

#[cfg(test)]
mod audit;
#[cfg(test)]
mod both;
#[cfg(test)]
mod cancelled;
#[cfg(test)]
mod copies;
#[cfg(test)]
mod deceived;
#[cfg(test)]
mod fence;
#[cfg(test)]
mod gone;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod index_keys;
#[cfg(test)]
mod indexes;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod ledgers;
#[cfg(test)]
mod models;
#[cfg(test)]
mod people;
mod place;
#[cfg(test)]
mod reindexing;
#[cfg(test)]
mod rotating;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod share_roles;
mod shares;
mod shred_in;
#[cfg(test)]
mod shredder;
#[cfg(test)]
mod shredding;
#[cfg(test)]
mod shreds;
#[cfg(test)]
mod soak_back;
mod soak_guard;
mod soak_live;
#[cfg(test)]
mod soak_releases;
#[cfg(test)]
mod soak_rows;
#[cfg(test)]
mod soak_steps;
#[cfg(test)]
mod soaking;
mod stores;
#[cfg(test)]
mod versions;
#[cfg(test)]
mod world;
