//! Whose turn it is, and transactions of those who take them.
//!
//! Invariant: whoever takes part lets go before and after each statement, and is gone without a trace if it is dropped
//! there. Absent: who is next (`turns`).

use core::{future::poll_fn, task::Poll};
use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use super::{
    super::guard::Row,
    database::{Database, Refused, Value},
};
use crate::store::ModelError;

/// How many turns who waits for a lock does so.
const PATIENCE: u32 = 8;

pub(super) struct World {
    database: Mutex<Database>,
    /// Whether who was asked last let go by itself, and waits for no timer or task.
    let_go: AtomicBool,
}

impl World {
    pub(super) fn new(database: Database) -> Arc<Self> {
        Arc::new(Self {
            database: Mutex::new(database),
            let_go: AtomicBool::default(),
        })
    }

    /// Never kept over a turn.
    pub(super) fn database(&self) -> MutexGuard<'_, Database> {
        self.database.lock().unwrap()
    }

    /// Lets others go first.
    pub(super) async fn turn(&self) {
        let mut waited = false;
        poll_fn(|_| {
            if core::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            self.let_go.store(true, SeqCst);
            Poll::Pending
        })
        .await;
    }

    /// Whether who was asked last let go by itself.
    pub(super) fn has_let_go(&self) -> bool {
        self.let_go.swap(false, SeqCst)
    }
}

/// A transaction, which is rolled back unless it is committed.
pub(super) struct Transaction {
    pub(super) world: Arc<World>,
    pub(super) id: u64,
}

impl Transaction {
    pub(super) fn begin(world: &Arc<World>) -> Self {
        let id = world.database().begin();
        Self {
            world: Arc::clone(world),
            id,
        }
    }

    /// The same with the whole table locked.
    pub(super) async fn exclusive(world: &Arc<World>) -> Result<Self, ModelError> {
        let tx = Self::begin(world);
        for _ in 0..PATIENCE {
            if world.database().try_lock_table(tx.id) {
                return Ok(tx);
            }
            world.turn().await;
        }
        Err(ModelError::Busy)
    }

    /// A row's lock, which others may have.
    pub(super) async fn lock(&self, key: i64) -> Result<(), ModelError> {
        for _ in 0..PATIENCE {
            if self.try_lock(key) {
                return Ok(());
            }
            self.world.turn().await;
        }
        Err(ModelError::Busy)
    }

    pub(super) fn try_lock(&self, key: i64) -> bool {
        self.world.database().try_lock(self.id, key)
    }

    pub(super) fn seen(&self, key: i64) -> Option<Row> {
        self.world.database().seen(self.id, key)
    }

    pub(super) fn write(&self, key: i64, row: Option<Row>) -> Result<(), Refused> {
        self.world.database().write(self.id, key, row)
    }

    pub(super) fn means(&self, key: i64, value: Option<Value>) {
        self.world.database().means(self.id, key, value);
    }

    pub(super) fn commit(self) {
        self.world.database().commit(self.id);
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.world.database().roll_back(self.id);
    }
}
