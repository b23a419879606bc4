//! The audit trail on MariaDB.
//!
//! Absent: what it shares with other databases (`ophie_crypt_sql`).

use ophie_crypt_sql::AuditTables;
use sqlx::MySqlPool;

use crate::store::mysql::MySqlDriver;

/// Keeps the audit trail in MariaDB: [`MySqlKeyStore::audit`](crate::MySqlKeyStore::audit), or on a pool of its own.
///
/// ```no_run
/// use ophie_crypt::{ChainedAudit, LocalKms};
/// use ophie_crypt_sqlx::MySqlAudit;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = sqlx::MySqlPool::connect("mysql://audit@localhost/app").await?;
/// let kms = LocalKms::open("master.key")?;
/// let audit = ChainedAudit::builder(MySqlAudit::new(pool), kms).start().await?;
/// # Ok(()) }
/// ```
///
/// # Security
///
/// Give the application's role INSERT and SELECT on `ophie_crypt_audit_writers` and
/// `ophie_crypt_audit_records`, and the auditor's SELECT, no more. Records are as durable as a commit:
/// with `innodb_flush_log_at_trx_commit` other than 1, a crash of the server loses some, and breaks the chain.
#[derive(Clone)]
pub struct MySqlAudit {
    tables: AuditTables<MySqlDriver>,
}

impl MySqlAudit {
    /// On the database of this pool, which has the library's tables.
    #[must_use]
    pub const fn new(pool: MySqlPool) -> Self {
        Self {
            tables: AuditTables::new(MySqlDriver(pool)),
        }
    }
}

ophie_crypt_sql::audit_store!(MySqlAudit);
