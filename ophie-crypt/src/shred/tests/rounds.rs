//! What one round finds of an owner, and what it notes.

use core::{
    fmt,
    sync::atomic::{AtomicU32, AtomicU64},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

use super::{
    worker::{behind_the_horizon, shred},
    *,
};
use crate::{
    __private::Derived,
    column::{ColumnRef, Kind},
    logged::Logged,
    model::{ColumnInfo, EncryptedModel, ModelInfo, Models},
    shred::round::Round,
    store::{ModelError, unasked::only_models},
    vectors::{VectorStore, VectorStoreError, VectorsDeleted},
};

struct Note;

impl Derived for Note {}

impl EncryptedModel for Note {
    const MODEL: ModelInfo = ModelInfo::new(
        "notes",
        &[ColumnInfo::new(
            ColumnRef::new("notes", "user_id"),
            Kind::Owner,
        )],
    );
}

/// Rows and vectors of one owner.
struct Left {
    models: Models,
    rows: AtomicU32,
    vectors: AtomicU64,
    buried: AtomicU32,
    /// No row is tombstoned.
    refuses: AtomicBool,
}

impl Left {
    fn new(rows: u32, vectors: u64) -> Arc<Self> {
        Arc::new(Self {
            models: Models::new().with::<Note>(),
            rows: AtomicU32::new(rows),
            vectors: AtomicU64::new(vectors),
            buried: AtomicU32::default(),
            refuses: AtomicBool::default(),
        })
    }
}

impl fmt::Debug for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Left")
    }
}

only_models!(Left);

#[async_trait]
impl RowStore for Left {
    async fn bury(&self, _: &CanonicalId) -> Result<(), ModelError> {
        self.buried.fetch_add(1, SeqCst);
        Ok(())
    }

    async fn writers(&self) -> Result<Vec<String>, ModelError> {
        Ok(Vec::new())
    }

    async fn tombstone(&self, _: &CanonicalId, _: &str, _: u32) -> Result<u64, ModelError> {
        match self.refuses.load(SeqCst) {
            true => Err(ModelError::unavailable("down")),
            false => Ok(0),
        }
    }

    async fn sweep(&self, _: &CanonicalId, _: &str, limit: u32) -> Result<u64, ModelError> {
        let left = self.rows.load(SeqCst);
        let some = left.min(limit);
        self.rows.store(left.saturating_sub(some), SeqCst);
        Ok(some.into())
    }
}

#[async_trait]
impl VectorStore for Left {
    async fn delete_owner(&self, _: &CanonicalId) -> Result<VectorsDeleted, VectorStoreError> {
        Ok(VectorsDeleted::new(
            Some(self.vectors.swap(0, SeqCst)),
            true,
        ))
    }
}

fn shredder(store: &Arc<MemoryKeyStore>, ledger: &Arc<Silent>, left: &Arc<Left>) -> Shredder {
    Shredder::builder(Arc::clone(store), Arc::clone(ledger))
        .rows(Arc::clone(left))
        .vectors("left", Arc::clone(left))
        .build()
}

/// More than a statement takes; and whether anything was there decides when one looks again.
#[tokio::test]
async fn a_sweep_takes_all_and_says_whether_there_was_any() {
    let (store, ledger) = (Arc::new(MemoryKeyStore::new()), Silent::new());
    behind_the_horizon(&store, &ledger, "ada").await;
    let shreds = store.shreds_of(&[CanonicalId::text("ada")]).await;
    let shred = shreds.unwrap().remove(0);
    for (rows, vectors, found) in [
        (0, 0, false),
        (1, 0, true),
        (2_500, 0, true),
        (0, 1, true),
        (3, 2, true),
    ] {
        let left = Left::new(rows, vectors);
        let shredder = shredder(&store, &ledger, &left);
        let mut deleted = 7; // of others
        let swept = Round::of(&shredder.0).sweep(&shred, &mut deleted).await;
        assert_eq!(swept.unwrap(), found, "{rows} rows, {vectors} vectors");
        assert_eq!(deleted, 7 + u64::from(rows));
        assert_eq!(left.rows.load(SeqCst), 0);
        assert_eq!(
            left.buried.load(SeqCst),
            1,
            "the database knows whose rows go"
        );
    }
}

/// Vectors do not wait for it, and it is tried again.
#[tokio::test]
async fn what_was_not_tombstoned_is_not_noted_as_it() {
    let (store, ledger) = (Arc::new(MemoryKeyStore::new()), Silent::new());
    let left = Left::new(0, 1);
    let shredder = shredder(&store, &ledger, &left);
    let owner = CanonicalId::text("ada");
    shred(&store, "ada").await;
    left.refuses.store(true, SeqCst);
    let worked = shredder.work().await.unwrap();
    assert_eq!((worked.done, worked.failed), (0, 1));
    let now = store.shreds_of(core::slice::from_ref(&owner)).await;
    let now = now.unwrap().remove(0);
    assert_eq!((now.tombstoned_at, now.done_at), (None, None));
    assert!(now.emptied_at.is_some());

    left.refuses.store(false, SeqCst);
    let finished = Round::of(&shredder.0).finish(&now).await;
    finished.unwrap();
    let now = store.shreds_of(&[owner]).await.unwrap().remove(0);
    assert!(now.tombstoned_at.is_some());
}

/// Other shreds wait for it no longer, and it is tried again.
#[tokio::test(start_paused = true)]
async fn a_vacuum_that_hangs_is_given_up() {
    let (store, ledger) = (Arc::new(MemoryKeyStore::new()), Silent::new());
    let shredder = shredder(&store, &ledger, &Left::new(0, 0));
    shred(&store, "ada").await;
    store.hang_vacuum(true);
    let worked = timeout(Duration::from_secs(3600), shredder.work()).await;
    let worked = worked.expect("it ends").unwrap();
    assert_eq!((worked.done, worked.failed), (0, 1));
    store.hang_vacuum(false);
    let owner = CanonicalId::text("ada");
    let now = store.shreds_of(&[owner]).await.unwrap().remove(0);
    assert_eq!((now.vacuumed_at, now.done_at), (None, None));
}

/// By the shred's id and how often, and not by whose it is.
#[tokio::test]
async fn what_does_not_go_forward_is_logged_without_its_owner() {
    let (store, ledger) = (Arc::new(MemoryKeyStore::new()), Silent::new());
    let left = Left::new(0, 0);
    left.refuses.store(true, SeqCst);
    shred(&store, "ada").await;
    let logged = Logged::here();
    let worked = shredder(&store, &ledger, &left).work().await.unwrap();
    let log = logged.take();
    assert_eq!(worked.failed, 1);
    let shreds = store.shreds_of(&[CanonicalId::text("ada")]).await;
    let id = shreds.unwrap()[0].id;
    assert!(log.contains(&format!("shred={id} attempts=1 ")), "{log}");
    assert!(log.contains("down") && !log.contains("ada"), "{log}");
}

/// Ten times in a row, and one that another worker holds is not counted by this one.
#[tokio::test]
async fn what_fails_ten_times_is_stuck() {
    let (store, ledger) = (Arc::new(MemoryKeyStore::new()), Silent::new());
    let shredder = shredder(&store, &ledger, &Left::new(0, 0));
    shred(&store, "ada").await;
    let owner = CanonicalId::text("ada");
    let now = store
        .shreds_of(core::slice::from_ref(&owner))
        .await
        .unwrap()
        .remove(0);
    for attempts in 1..=10 {
        assert!(shredder.stuck().await.unwrap().is_empty(), "{attempts}");
        assert!(store.claim(&now, Duration::from_secs(60)).await.unwrap());
        assert!(!store.claim(&now, Duration::ZERO).await.unwrap());
        store.postpone(&owner, Duration::ZERO, "why").await.unwrap();
    }
    let stuck = shredder.stuck().await.unwrap();
    assert_eq!((stuck.len(), &stuck[0].owner), (1, &owner));
}

/// Vectors that take as long as the test wants.
#[derive(Debug, Default)]
struct Slow {
    asked: Notify,
    done: Notify,
}

#[async_trait]
impl VectorStore for Slow {
    async fn delete_owner(&self, _: &CanonicalId) -> Result<VectorsDeleted, VectorStoreError> {
        self.asked.notify_one();
        self.done.notified().await;
        Ok(VectorsDeleted::new(Some(0), true))
    }
}

#[tokio::test]
async fn who_stops_it_waits_for_the_step_under_way() {
    let (store, slow) = (Arc::new(MemoryKeyStore::new()), Arc::new(Slow::default()));
    shred(&store, "ada").await;
    let shredder = Shredder::builder(Arc::clone(&store), Silent::new());
    let task = shredder
        .vectors("slow", Arc::clone(&slow))
        .build()
        .start(Duration::from_secs(3600));
    slow.asked.notified().await;
    let stopping = tokio::spawn(task.stop());
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!stopping.is_finished());
    slow.done.notify_one();
    stopping.await.unwrap();
    let shreds = store.shreds_of(&[CanonicalId::text("ada")]).await;
    assert!(shreds.unwrap()[0].done_at.is_some(), "the step was done");
}
