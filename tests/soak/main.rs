//! The soak: plaintext columns that become encrypted ones while writers, old and new, tools and crashes go on.
//!
//! Absent: what each store does by itself (`stores/soaking.rs`).

#![allow(
    clippy::arithmetic_side_effects,
    clippy::duplicate_mod,
    clippy::indexing_slicing,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "a test: what goes wrong here is seen"
)]

/// The tests of `name` that every database has.
macro_rules! on {
    ($($name:ident, $models:ident, $interleavings:literal, $sql:literal;)*) => {$(
        #[cfg(test)]
        #[path = "."]
        mod $name {
            use ophie_crypt_sqlx::$models as Tables;
            use ophie_crypt_tests::$name as db;

            /// Of the plaintext column and the table's id.
            const TABLE: &str = $sql;
            /// Of the model, if nothing else is said.
            const INTERLEAVINGS: u64 = $interleavings;

            #[path = "fields.rs"]
            mod fields;
            #[path = "model.rs"]
            mod model;
            #[path = "world.rs"]
            mod world;
        }
    )*};
}

on! {
    mariadb, MySqlModels, 6, "CREATE TABLE people (id INTEGER PRIMARY KEY, user_id BIGINT NOT NULL, name VARCHAR(80))";
    postgres, PostgresModels, 6, "CREATE TABLE people (id INTEGER PRIMARY KEY, user_id BIGINT NOT NULL, name TEXT)";
    sqlite, SqliteModels, 12, "CREATE TABLE people (id INTEGER PRIMARY KEY, user_id BIGINT NOT NULL, name TEXT)";
}

#[cfg(test)]
mod before;
#[cfg(test)]
mod embedded;
#[cfg(test)]
mod files;
#[cfg(test)]
mod killed;
