//! The audit trail on SQLite.
//!
//! Absent: what it shares with other databases (`ophie_crypt_sql`).

use ophie_crypt_sql::AuditTables;
use sqlx::SqlitePool;

use crate::store::sqlite::SqliteDriver;

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
    tables: AuditTables<SqliteDriver>,
}

impl SqliteAudit {
    /// On the database of this pool, which has the library's tables. Not the application's own: its
    /// transactions would keep the audit, and with it every session, waiting. With `synchronous` at
    /// FULL, or a power cut loses records and breaks the chain.
    #[must_use]
    pub const fn new(pool: SqlitePool) -> Self {
        Self {
            tables: AuditTables::new(SqliteDriver(pool)),
        }
    }
}

ophie_crypt_sql::audit_store!(SqliteAudit);
