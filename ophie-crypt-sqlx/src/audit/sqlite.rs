//! The audit trail on SQLite.
//!
//! Absent: what it shares with other databases (`methods`, `sql`).

use sqlx::{Sqlite, SqlitePool};

/// Keeps the audit trail in SQLite: [`SqliteKeyStore::audit`](crate::SqliteKeyStore::audit), beside the keys.
///
/// ```
/// use ophie_crypt_sqlx::SqliteKeyStore;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = std::env::temp_dir().join(format!("ophie-crypt-sqlx-audit-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// let audit = SqliteKeyStore::open(dir.join("keys.db")).await?.audit();
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct SqliteAudit {
    pool: SqlitePool,
}

impl SqliteAudit {
    /// On the database of this pool, which has the library's tables. Not the application's own: its
    /// transactions would keep the audit, and with it every session, waiting. With `synchronous` at
    /// FULL, or a power cut loses records and breaks the chain.
    #[must_use]
    pub const fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }
}

super::methods::audit_store!(
    SqliteAudit,
    Sqlite,
    begin: "BEGIN IMMEDIATE",
    writers: super::sql::SQLITE_WRITERS,
    rows: super::sql::SQLITE_ROWS,
    unknown: super::sql::SQLITE_UNKNOWN,
    time: |part, at| {
        part.push("strftime('%Y-%m-%dT%H:%M:%S', ");
        part.push_bind_unseparated(at.div_euclid(1_000_000));
        part.push_unseparated(", 'unixepoch') || printf('.%06dZ', ");
        part.push_bind_unseparated(at.rem_euclid(1_000_000));
        part.push_unseparated(")");
    },
);
