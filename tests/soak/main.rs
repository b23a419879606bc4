//! The soak: plaintext columns that become encrypted ones while writers, old and new, tools and crashes go on.
//!
//! Absent: what each store does by itself (`stores/soaking.rs`).

#![allow(
    clippy::arithmetic_side_effects,
    clippy::duplicate_mod,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "a test: what goes wrong here is seen"
)]

#[cfg(test)]
use ophie_crypt::soak::SoakState;

/// The tests of `name` that every database has.
macro_rules! on {
    ($($name:ident, $models:ident, $connected:ident, $interleavings:literal, $controls:literal, $same:literal, $on:literal,
        $guard:literal, $bytes:literal, $forgets:literal, $remembers:literal, $safe:literal, $sql:literal;)*) => {$(
        #[cfg(test)]
        #[path = "."]
        mod $name {
            use ophie_crypt_sqlx::$models as Tables;
            use diesel::$connected as Connected;
            use ophie_crypt_tests::$name as db;

            /// Of the plaintext column and the table's id.
            const TABLE: &str = $sql;
            /// Of the model, if nothing else is said.
            const INTERLEAVINGS: u64 = $interleavings;
            /// Of a control: in as many it must have been seen.
            const CONTROLS: u64 = $controls;
            /// Plaintext that is what was read, byte by byte.
            const SAME: &str = $same;
            /// The guard's triggers, and what follows their names where they are dropped.
            const GUARD: &str = $guard;
            const ON: &str = $on;

            /// Bytes, in hex.
            const BYTES: &str = $bytes;
            /// Where that is possible, triggers stand for nothing between the two.
            const FORGETS: &str = $forgets;
            const REMEMBERS: &str = $remembers;
            /// Whether a transaction goes on where a statement was refused.
            const TABLE_IS_SAFE: bool = $safe;

            #[path = "controls.rs"]
            mod controls;
            #[path = "diesel_writer.rs"]
            mod diesel_writer;
            #[path = "embedded.rs"]
            mod embedded;

            #[path = "fields.rs"]
            mod fields;
            #[path = "model.rs"]
            mod model;
            #[path = "shapes.rs"]
            mod shapes;
            #[path = "world.rs"]
            mod world;
        }
    )*};
}

on! {
    mariadb, MySqlModels, MysqlConnection, 6, 20, "AND BINARY name = $4", "",
        "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = database() AND trigger_name LIKE 'zz_ophie_crypt_soak_g%'",
        "x'%'", "SELECT 1", "SELECT 1", true,
        "CREATE TABLE people (id INTEGER PRIMARY KEY, user_id BIGINT NOT NULL, name VARCHAR(80))";
    postgres, PostgresModels, PgConnection, 6, 20, "AND name = $4", " ON people",
        "SELECT CAST(tgname AS text) FROM pg_trigger WHERE tgname LIKE 'zz_ophie_crypt_soak_g%'",
        "decode('%', 'hex')", "ALTER TABLE people DISABLE TRIGGER USER", "ALTER TABLE people ENABLE TRIGGER USER", false,
        "CREATE TABLE people (id INTEGER PRIMARY KEY, user_id BIGINT NOT NULL, name TEXT)";
    sqlite, SqliteModels, SqliteConnection, 12, 20, "AND name = $4", "",
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'zz_ophie_crypt_soak_g%'",
        "x'%'", "SELECT 1", "SELECT 1", true,
        "CREATE TABLE people (id INTEGER PRIMARY KEY, user_id BIGINT NOT NULL, name TEXT)";
}

/// The reference that the core's simulation goes by.
#[cfg(test)]
#[path = "../../ophie-crypt/src/soak/tests/guard.rs"]
mod guard;

#[cfg(test)]
mod before;
#[cfg(test)]
mod files;
#[cfg(test)]
mod killed;
#[cfg(test)]
mod many;
#[cfg(test)]
mod plans;
