//! A soak's first step as text.
//!
//! Absent: who writes it (the adapters).

/// A soak's first step as SQL, for people to read, and for the migrations of an application.
///
/// It runs after the library's own migrations, like every migration as the role that owns the table, and within a
/// transaction where the database has such for DDL. Both directions fail, on a CHECK of `ophie_crypt_soaks`, once the soak
/// is further than `Expand`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "what stores give to tools")]
pub struct SoakMigration {
    /// Adds columns, a CHECK and the guard, and says that the column is in `Expand`.
    pub up: String,
    /// Takes them away again; of the columns, those that `up` adds. Stop releases that name them first.
    pub down: String,
}
