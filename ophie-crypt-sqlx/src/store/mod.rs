//! Key stores on the library's own tables.
//!
//! Absent: what they do there (`ophie_crypt_sql`), keys in clear, the application's tables.

mod driver;
#[cfg(feature = "postgres")]
mod listen;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
