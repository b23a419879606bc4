//! The audit trail on the library's own tables.
//!
//! Invariant: rows are added, whole INSERTs at a time, and never changed; no statement leans on
//! connection state. Absent: what the rows prove (the core's `audit`).

mod methods;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
mod rows;
mod sql;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

use ophie_crypt::AuditStoreError;

use crate::store::Refusal;

fn error(error: sqlx::Error) -> AuditStoreError {
    let Some(said) = error.as_database_error() else {
        return AuditStoreError::unavailable(error);
    };
    let code = said.code().unwrap_or_default();
    // SQLite's are numbers, of which the low byte is the kind; PostgreSQL's are five characters.
    let sqlite: Option<u32> = code.parse().ok().filter(|_| code.len() < 5);
    match (sqlite.map(|code| code & 0xff), &*code) {
        (Some(8), _) | (None, "25006") => AuditStoreError::ReadOnly,
        (Some(18..=20), _) => AuditStoreError::refused(Refusal::of(said)),
        (Some(_), _) if said.message().starts_with("no such table") => AuditStoreError::NotMigrated,
        (None, "42P01") => AuditStoreError::NotMigrated,
        (None, code) if code.starts_with("22") || code.starts_with("23") => {
            AuditStoreError::refused(Refusal::of(said)) // data exceptions, constraints
        }
        _ => AuditStoreError::unavailable(Refusal::of(said)),
    }
}
