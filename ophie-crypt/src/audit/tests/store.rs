//! Rows in memory, which a test may change, and failures on demand.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use super::super::*;

#[derive(Debug)]
pub(super) struct Rows {
    pub(super) writers: Mutex<Vec<AuditWriter>>,
    pub(super) rows: Mutex<Vec<AuditRow>>,
    /// INSERTs.
    pub(super) appends: AtomicUsize,
    /// Nothing is stored, and an error says so.
    pub(super) is_down: AtomicBool,
    /// It is stored, and an error says that it may be.
    pub(super) loses_answers: AtomicBool,
    /// Appends wait while a test holds it.
    pub(super) gate: tokio::sync::Mutex<()>,
}

impl Rows {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            writers: Mutex::default(),
            rows: Mutex::default(),
            appends: AtomicUsize::new(0),
            is_down: AtomicBool::new(false),
            loses_answers: AtomicBool::new(false),
            gate: tokio::sync::Mutex::default(),
        })
    }

    /// Places of each writer, in the order of writers as they began.
    pub(super) fn places(&self) -> Vec<Vec<i64>> {
        let rows = self.rows.lock().unwrap();
        let of = |id| rows.iter().filter(move |row| row.writer == id);
        let writers = self.writers.lock().unwrap();
        writers
            .iter()
            .map(|writer| of(writer.id).map(|row| row.seq).collect())
            .collect()
    }
}

#[async_trait]
impl AuditStore for Rows {
    async fn begin(&self, writer: &AuditWriter) -> Result<(), AuditStoreError> {
        if self.is_down.load(SeqCst) {
            return Err(AuditStoreError::unavailable("down"));
        }
        self.writers.lock().unwrap().push(writer.clone());
        Ok(())
    }

    async fn append(&self, new: &[AuditRow]) -> Result<(), AuditStoreError> {
        drop(self.gate.lock().await);
        self.appends.fetch_add(1, SeqCst);
        if self.is_down.load(SeqCst) {
            return Err(AuditStoreError::unavailable("down"));
        }
        let mut rows = self.rows.lock().unwrap();
        let place = |row: &AuditRow| (row.writer, row.seq);
        let there: Vec<_> = rows
            .iter()
            .filter(|row| new.iter().any(|new| place(new) == place(row)))
            .cloned()
            .collect();
        if there.is_empty() {
            rows.extend_from_slice(new);
        } else if there != new {
            return Err(AuditStoreError::refused("another record is there"));
        }
        if self.loses_answers.load(SeqCst) {
            return Err(AuditStoreError::unavailable("reset"));
        }
        Ok(())
    }

    async fn writers(
        &self,
        after: Option<WriterId>,
        limit: u32,
    ) -> Result<Vec<AuditWriter>, AuditStoreError> {
        let mut writers = self.writers.lock().unwrap().clone();
        writers.sort_by_key(|writer| writer.id);
        writers.retain(|writer| after.is_none_or(|after| writer.id > after));
        writers.truncate(limit.try_into().unwrap());
        Ok(writers)
    }

    async fn unknown_writers(&self, _: u32) -> Result<Vec<Vec<u8>>, AuditStoreError> {
        let writers = self.writers.lock().unwrap();
        let rows = self.rows.lock().unwrap();
        let mut ids: Vec<_> = rows.iter().map(|row| row.writer).collect();
        ids.sort();
        ids.dedup();
        ids.retain(|id| writers.iter().all(|writer| writer.id != *id));
        Ok(ids.iter().map(|id| id.as_bytes().to_vec()).collect())
    }

    async fn rows(
        &self,
        writer: WriterId,
        after: i64,
        limit: u32,
    ) -> Result<Vec<AuditRow>, AuditStoreError> {
        let mut rows = self.rows.lock().unwrap().clone();
        rows.retain(|row| row.writer == writer && row.seq > after);
        rows.sort_by_key(|row| row.seq);
        rows.truncate(limit.try_into().unwrap());
        Ok(rows)
    }

    async fn macs(
        &self,
        of: &[(WriterId, i64)],
    ) -> Result<Vec<(WriterId, i64, Vec<u8>)>, AuditStoreError> {
        let rows = self.rows.lock().unwrap();
        let asked = rows
            .iter()
            .filter(|row| of.contains(&(row.writer, row.seq)));
        Ok(asked
            .map(|row| (row.writer, row.seq, row.mac.clone()))
            .collect())
    }
}
