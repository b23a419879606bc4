//! The audit trail on PostgreSQL.
//!
//! Absent: what it shares with other databases (`ophie_crypt_sql`).

use ophie_crypt_sql::AuditTables;
use sqlx::PgPool;

use crate::store::postgres::PostgresDriver;

/// Keeps the audit trail in PostgreSQL: [`PostgresKeyStore::audit`](crate::PostgresKeyStore::audit), or on a pool of its own.
///
/// ```no_run
/// use ophie_crypt::{ChainedAudit, LocalKms};
/// use ophie_crypt_sqlx::PostgresAudit;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = sqlx::PgPool::connect("postgres://audit@localhost/app").await?;
/// let kms = LocalKms::open("master.key")?;
/// let audit = ChainedAudit::builder(PostgresAudit::new(pool), kms).start().await?;
/// # Ok(()) }
/// ```
///
/// # Security
///
/// Give the application's role INSERT and SELECT on `ophie_crypt_audit_writers` and
/// `ophie_crypt_audit_records`, and the auditor's SELECT, no more. Records are as durable as a commit:
/// with `synchronous_commit = off`, a crash of the server loses some, and breaks the chain.
#[derive(Clone)]
pub struct PostgresAudit {
    tables: AuditTables<PostgresDriver>,
}

impl PostgresAudit {
    /// On the database of this pool, which has the library's tables.
    #[must_use]
    pub const fn new(pool: PgPool) -> Self {
        Self {
            tables: AuditTables::new(PostgresDriver(pool)),
        }
    }
}

ophie_crypt_sql::audit_store!(PostgresAudit);
