//! Rows that are being written while their owner is buried, and more rows than one statement takes.

use core::{
    fmt,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
};
use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::{
    __private::Derived,
    column::{ColumnRef, Kind},
    model::{ColumnInfo, EncryptedModel, ModelInfo, Models},
    store::unasked::only_models,
};

macro_rules! table {
    ($model:ident, $table:literal) => {
        struct $model;

        impl Derived for $model {}

        impl EncryptedModel for $model {
            const MODEL: ModelInfo = ModelInfo::new(
                $table,
                &[ColumnInfo::new(
                    ColumnRef::new($table, "user_id"),
                    Kind::Owner,
                )],
            );
        }
    };
}

table!(Note, "notes");
table!(Invoice, "invoices");

/// Rows without a tombstone.
struct Rows {
    models: Models,
    notes: AtomicU32,
    invoices: AtomicU32,
    /// Notes of a transaction that is open, and for how many looks it stays so.
    unseen: AtomicU32,
    looks: AtomicU32,
    limits: Mutex<Vec<u32>>,
}

impl Rows {
    fn new(notes: u32, unseen: u32, looks: u32) -> Arc<Self> {
        Arc::new(Self {
            models: Models::new().with::<Note>().with_kept::<Invoice>("the law"),
            notes: AtomicU32::new(notes),
            invoices: AtomicU32::new(1),
            unseen: AtomicU32::new(unseen),
            looks: AtomicU32::new(looks),
            limits: Mutex::default(),
        })
    }

    async fn tombstone(self: &Arc<Self>) -> Result<(), ModelError> {
        let rows: Arc<dyn RowStore> = self.clone();
        tombstone(&[rows], &CanonicalId::text("ada")).await
    }

    fn left(&self) -> [u32; 3] {
        [&self.notes, &self.invoices, &self.unseen].map(|rows| rows.load(SeqCst))
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rows")
    }
}

#[async_trait]
impl RowStore for Rows {
    async fn bury(&self, _: &CanonicalId) -> Result<(), ModelError> {
        Ok(())
    }

    async fn writers(&self) -> Result<Vec<String>, ModelError> {
        let is_open = self
            .looks
            .fetch_update(SeqCst, SeqCst, |looks| looks.checked_sub(1));
        if is_open.is_ok() {
            return Ok(vec!["slow".to_owned(), "another".to_owned()]);
        }
        let committed = self.unseen.swap(0, SeqCst);
        self.notes.fetch_add(committed, SeqCst);
        // Another has begun.
        let younger = (committed > 0).then(|| "younger".to_owned());
        Ok(younger.into_iter().collect())
    }

    async fn tombstone(&self, _: &CanonicalId, table: &str, limit: u32) -> Result<u64, ModelError> {
        self.limits.lock().unwrap().push(limit);
        let rows = if table == "notes" {
            &self.notes
        } else {
            &self.invoices
        };
        let some = rows.load(SeqCst).min(limit);
        rows.fetch_sub(some, SeqCst);
        Ok(some.into())
    }

    async fn sweep(&self, _: &CanonicalId, _: &str, _: u32) -> Result<u64, ModelError> {
        unreachable!("nothing is swept")
    }
}

only_models!(Rows);

/// Its transaction is open when the owner is buried, and ends while one waits for it.
#[tokio::test(start_paused = true)]
async fn rows_of_a_writer_that_ends_meanwhile_are_tombstoned_too() {
    let rows = Rows::new(3, 2, 5);
    rows.tombstone().await.unwrap();
    assert_eq!(rows.left(), [0, 0, 0]);
}

/// It is tried again later, and not said to be done.
#[tokio::test(start_paused = true)]
async fn a_writer_that_does_not_end_is_not_waited_for_for_ever() {
    let rows = Rows::new(3, 2, 10 * LOOKS.0);
    let busy = rows.tombstone().await;
    assert!(matches!(busy, Err(ModelError::Busy)), "{busy:?}");
    assert_eq!(rows.left(), [0, 0, 2]);
}

#[tokio::test]
async fn an_owner_may_have_more_rows_than_a_statement_takes() {
    let rows = Rows::new(2 * BATCH + 1, 0, 0);
    rows.tombstone().await.unwrap();
    assert_eq!(rows.left(), [0, 0, 0]);
    let limits = rows.limits.lock().unwrap();
    assert!(limits.iter().all(|limit| *limit == BATCH), "{limits:?}");
}
