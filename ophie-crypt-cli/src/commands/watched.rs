//! What long work reads and writes, with a bar over it and an ear for Ctrl-C.
//!
//! Invariant: what is asked of a store is asked of the one behind it, as it is. Absent: the work.

use core::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use ophie_crypt::{
    AuditRow, AuditStore, AuditStoreError, AuditWriter, CanonicalId, ColumnRef, IndexedColumn,
    IndexedRow, KeyId, ModelError, ModelStore, Models, Reindex, Reseal, RowStore, WriterId,
};

use crate::{database::Database, error::Error, output::Progress, stop::Stop, world::World};

/// The application's rows. Whoever works with them is left between two batches, and while they are only read.
pub(super) struct Watched {
    rows: Arc<dyn RowStore>,
    stop: Stop,
    bar: Progress,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Whose rows were seen last, and whether to be deleted.
    last: Option<(CanonicalId, bool)>,
    rows: u64,
}

impl Watched {
    /// With a bar over so many owners' shreds, or counts of a column.
    pub(super) fn new(
        world: &World,
        rows: Arc<dyn RowStore>,
        what: &'static str,
        all: Option<u64>,
    ) -> Self {
        Self {
            rows,
            stop: world.stop.clone(),
            bar: world.output.progress(what, all),
            seen: Mutex::default(),
        }
    }

    /// Rows of an owner, to be deleted or only tombstoned. An owner before is done with.
    fn batch(&self, owner: &CanonicalId, deleted: bool, rows: u64) -> u64 {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let present = Some((owner.clone(), deleted));
        if seen.last != present {
            self.bar.done(u64::from(seen.last.is_some()));
            seen.last = present;
        }
        seen.rows = seen.rows.saturating_add(rows);
        self.bar.says(format!("shreds, {} rows,", seen.rows));
        drop(seen);
        self.stop.batch_is_done();
        rows
    }

    async fn counted(
        &self,
        counting: impl Future<Output = Result<Option<u64>, ModelError>>,
    ) -> Result<Option<u64>, ModelError> {
        let counted = self.stop.reading(counting).await;
        self.bar.done(1);
        counted
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched(..)")
    }
}

#[async_trait]
impl ModelStore for Watched {
    fn models(&self) -> &Models {
        self.rows.models()
    }

    async fn sealed_under(
        &self,
        owner: &CanonicalId,
        column: &ColumnRef,
        key_id: KeyId,
        after: Option<&[u8]>,
        limit: u32,
    ) -> Result<Vec<Vec<u8>>, ModelError> {
        let rows = &self.rows;
        let page = rows.sealed_under(owner, column, key_id, after, limit);
        self.stop.reading(page).await
    }

    async fn replace(
        &self,
        owner: &CanonicalId,
        column: &ColumnRef,
        reseals: &[Reseal],
    ) -> Result<u64, ModelError> {
        self.rows.replace(owner, column, reseals).await
    }

    async fn moment(&self) -> Result<u64, ModelError> {
        self.stop.reading(self.rows.moment()).await
    }

    async fn count_under(
        &self,
        owner: Option<&CanonicalId>,
        column: &ColumnRef,
        key_id: KeyId,
        since: u64,
    ) -> Result<Option<u64>, ModelError> {
        let counting = self.rows.count_under(owner, column, key_id, since);
        self.counted(counting).await
    }

    async fn indexed_under(
        &self,
        owner: &CanonicalId,
        column: &IndexedColumn,
        generation: u8,
        after: Option<&IndexedRow>,
        limit: u32,
    ) -> Result<Vec<IndexedRow>, ModelError> {
        let rows = &self.rows;
        let page = rows.indexed_under(owner, column, generation, after, limit);
        self.stop.reading(page).await
    }

    async fn reindex(
        &self,
        owner: &CanonicalId,
        column: &IndexedColumn,
        reindexes: &[Reindex],
    ) -> Result<u64, ModelError> {
        self.rows.reindex(owner, column, reindexes).await
    }

    async fn count_indexed(
        &self,
        owner: &CanonicalId,
        column: &ColumnRef,
        generation: u8,
        since: u64,
    ) -> Result<Option<u64>, ModelError> {
        let counting = self.rows.count_indexed(owner, column, generation, since);
        self.counted(counting).await
    }
}

#[async_trait]
impl RowStore for Watched {
    async fn bury(&self, owner: &CanonicalId) -> Result<(), ModelError> {
        self.rows.bury(owner).await
    }

    async fn writers(&self) -> Result<Vec<String>, ModelError> {
        self.rows.writers().await
    }

    async fn tombstone(
        &self,
        owner: &CanonicalId,
        table: &str,
        limit: u32,
    ) -> Result<u64, ModelError> {
        let rows = self.rows.tombstone(owner, table, limit).await?;
        Ok(self.batch(owner, false, rows))
    }

    async fn sweep(&self, owner: &CanonicalId, table: &str, limit: u32) -> Result<u64, ModelError> {
        let rows = self.rows.sweep(owner, table, limit).await?;
        Ok(self.batch(owner, true, rows))
    }
}

/// The records of the audit, as they are verified.
pub(super) struct Records {
    audit: Arc<dyn AuditStore>,
    bar: Progress,
}

impl Records {
    /// With a bar over all of them, which are counted if somebody sees it.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub(super) async fn of(world: &World, database: &Database) -> Result<Self, Error> {
        let all = match world.output.is_watched() {
            true => Some(database.audit_records().await?),
            false => None,
        };
        Ok(Self {
            audit: database.keys().audit,
            bar: world.output.progress("verifying", all),
        })
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Records(..)")
    }
}

#[async_trait]
impl AuditStore for Records {
    async fn begin(&self, writer: &AuditWriter) -> Result<(), AuditStoreError> {
        self.audit.begin(writer).await
    }

    async fn append(&self, rows: &[AuditRow]) -> Result<(), AuditStoreError> {
        self.audit.append(rows).await
    }

    async fn writers(
        &self,
        after: Option<WriterId>,
        limit: u32,
    ) -> Result<Vec<AuditWriter>, AuditStoreError> {
        self.audit.writers(after, limit).await
    }

    async fn unknown_writers(&self, limit: u32) -> Result<Vec<Vec<u8>>, AuditStoreError> {
        self.audit.unknown_writers(limit).await
    }

    async fn rows(
        &self,
        writer: WriterId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<AuditRow>, AuditStoreError> {
        let rows = self.audit.rows(writer, after, limit).await?;
        self.bar.done(super::count(rows.len()));
        Ok(rows)
    }

    async fn macs(
        &self,
        of: &[(WriterId, i64)],
    ) -> Result<Vec<(WriterId, i64, Vec<u8>)>, AuditStoreError> {
        self.audit.macs(of).await
    }
}
