//! The audit trail on PostgreSQL.
//!
//! Absent: what it shares with other databases (`methods`, `sql`).

use sqlx::{PgPool, Postgres};

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
    pool: PgPool,
}

impl PostgresAudit {
    /// On the database of this pool, which has the library's tables.
    #[must_use]
    pub const fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

super::methods::audit_store!(
    PostgresAudit,
    Postgres,
    // Whatever the role's default: under a stricter level one could not see what stands in the way.
    begin: "BEGIN ISOLATION LEVEL READ COMMITTED",
    writers: super::sql::POSTGRES_WRITERS,
    rows: super::sql::POSTGRES_ROWS,
    unknown: super::sql::POSTGRES_UNKNOWN,
    time: |part, at| {
        part.push("timestamptz 'epoch' + interval '1 microsecond' * ");
        part.push_bind_unseparated(at);
    },
);
