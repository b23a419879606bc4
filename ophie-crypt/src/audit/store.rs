//! Where the records of the audit are kept: rows that are added and never changed.
//!
//! Invariant: a record is there for good, whole and once, before `append` says so.
//! Absent: what the rows prove (`chain`, `verify`), SQL.

use core::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::chain::{AuditRow, AuditWriter, WriterId};

/// Keeps audit records. The adapters have one for each database; `ChainedAudit` writes to it.
///
/// A store that loses or changes rows is found out by `AuditVerifier`, never trusted.
#[async_trait]
pub trait AuditStore: Debug + Send + Sync + 'static {
    /// Adds a writer.
    ///
    /// # Errors
    ///
    /// [`AuditStoreError`].
    async fn begin(&self, writer: &AuditWriter) -> Result<(), AuditStoreError>;

    /// Adds records of one writer, all or none, and returns once they outlive a crash. If exactly these are
    /// there already, because an earlier answer was lost, that is no error.
    ///
    /// # Errors
    ///
    /// [`AuditStoreError::Refused`] only if they are not there and never will be: another record stands in
    /// their place, or the database takes none like them.
    async fn append(&self, rows: &[AuditRow]) -> Result<(), AuditStoreError>;

    /// Writers behind `after`, in the order of their ids, at most `limit`. Without those whose id is not one
    /// of 16 bytes.
    ///
    /// # Errors
    ///
    /// [`AuditStoreError`].
    async fn writers(
        &self,
        after: Option<WriterId>,
        limit: u32,
    ) -> Result<Vec<AuditWriter>, AuditStoreError>;

    /// Ids in the records that are no writer's, and ids of writers that are not of 16 bytes, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`AuditStoreError`].
    async fn unknown_writers(&self, limit: u32) -> Result<Vec<Vec<u8>>, AuditStoreError>;

    /// Records of a writer whose `seq` is greater than `after`, in the order of `seq`, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`AuditStoreError`].
    async fn rows(
        &self,
        writer: WriterId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<AuditRow>, AuditStoreError>;

    /// The MACs of records, in any order; what is not there is left out.
    ///
    /// # Errors
    ///
    /// [`AuditStoreError`].
    async fn macs(
        &self,
        of: &[(WriterId, i64)],
    ) -> Result<Vec<(WriterId, i64, Vec<u8>)>, AuditStoreError>;
}

#[async_trait]
impl<S: AuditStore + ?Sized> AuditStore for Arc<S> {
    async fn begin(&self, writer: &AuditWriter) -> Result<(), AuditStoreError> {
        (**self).begin(writer).await
    }

    async fn append(&self, rows: &[AuditRow]) -> Result<(), AuditStoreError> {
        (**self).append(rows).await
    }

    async fn writers(
        &self,
        after: Option<WriterId>,
        limit: u32,
    ) -> Result<Vec<AuditWriter>, AuditStoreError> {
        (**self).writers(after, limit).await
    }

    async fn unknown_writers(&self, limit: u32) -> Result<Vec<Vec<u8>>, AuditStoreError> {
        (**self).unknown_writers(limit).await
    }

    async fn rows(
        &self,
        writer: WriterId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<AuditRow>, AuditStoreError> {
        (**self).rows(writer, after, limit).await
    }

    async fn macs(
        &self,
        of: &[(WriterId, i64)],
    ) -> Result<Vec<(WriterId, i64, Vec<u8>)>, AuditStoreError> {
        (**self).macs(of).await
    }
}

/// An audit store did not do its work. None of these names an owner or a reason.
///
/// ```
/// let error = ophie_crypt::AuditStoreError::unavailable("database is locked");
/// assert!(error.to_string().contains("try again"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditStoreError {
    /// The tables are missing.
    #[error(
        "the audit has no tables; run the library's migrations first, for example `store.migrate().await?`"
    )]
    NotMigrated,
    /// A replica, or a server that takes no writes.
    #[error("the audit is on a replica or a read-only server; connect it to the primary")]
    ReadOnly,
    /// The database takes no such record, now or later.
    #[error(
        "the audit table refused the records; check its constraints and that no other process writes under this writer's id"
    )]
    Refused {
        /// What it said.
        #[source]
        source: Arc<dyn core::error::Error + Send + Sync>,
    },
    /// It could not be reached, is locked or full. What was to be written may be there or not.
    #[error(
        "the audit table cannot be written or read; check that its database is up, not locked and not full, then try again"
    )]
    Unavailable {
        /// What happened.
        #[source]
        source: Arc<dyn core::error::Error + Send + Sync>,
    },
}

impl AuditStoreError {
    /// Records that are not taken.
    #[must_use]
    pub fn refused(source: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Self {
        Self::Refused {
            source: source.into().into(),
        }
    }

    /// A store that cannot be reached.
    #[must_use]
    pub fn unavailable(source: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable {
            source: source.into().into(),
        }
    }
}
