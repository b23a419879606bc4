//! The audit trail on the library's own tables.
//!
//! Absent: what it does there (`ophie_crypt_sql`), what the rows prove (the core's `audit`).

#[cfg(feature = "mysql")]
pub(crate) mod mysql;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
