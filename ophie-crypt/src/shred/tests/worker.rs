//! Whom a shredder works at first, and who waits for whom.

use std::sync::Mutex;

use core::time::Duration;

use super::*;
use crate::{VectorStore, VectorStoreError, VectorsDeleted};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Milliseconds; less than a vector store is waited for.
const PATIENCE: u32 = 30_000;

/// A vector store that answers nothing about one owner, and goes on showing vectors of another. It notes who was asked
/// for, and how many entries the ledger had.
#[derive(Debug)]
struct Mulish {
    ledger: Arc<Silent>,
    silent: &'static str,
    full: &'static str,
    calls: Mutex<Vec<(CanonicalId, usize)>>,
    waits: AtomicUsize,
}

impl Mulish {
    fn over(ledger: &Arc<Silent>, silent: &'static str, full: &'static str) -> Arc<Self> {
        Arc::new(Self {
            ledger: Arc::clone(ledger),
            silent,
            full,
            calls: Mutex::default(),
            waits: AtomicUsize::new(0),
        })
    }

    fn calls_for(&self, owner: &str) -> Vec<usize> {
        let (calls, owner) = (self.calls.lock().unwrap(), CanonicalId::text(owner));
        let of = calls.iter().filter(|(of, _)| *of == owner);
        of.map(|(_, entries)| *entries).collect()
    }

    async fn waits(&self) {
        for _ in 0..PATIENCE {
            if self.waits.load(SeqCst) > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("nobody was asked for");
    }
}

#[async_trait]
impl VectorStore for Mulish {
    async fn delete_owner(&self, owner: &CanonicalId) -> Result<VectorsDeleted, VectorStoreError> {
        let entries = self.ledger.ledger.read(0, 100).await.unwrap().len();
        self.calls.lock().unwrap().push((owner.clone(), entries));
        if *owner == CanonicalId::text(self.silent) {
            self.waits.fetch_add(1, SeqCst);
            core::future::pending::<()>().await;
        }
        let full = *owner == CanonicalId::text(self.full);
        Ok(VectorsDeleted::new(Some(0), !full))
    }
}

pub(super) async fn shred(store: &MemoryKeyStore, owner: &str) {
    let owner = CanonicalId::text(owner);
    provision(store, &owner).await;
    store.shred(&owner).await.unwrap().unwrap();
}

/// Of long ago, and all done but the sweep.
pub(super) async fn behind_the_horizon(store: &MemoryKeyStore, ledger: &Silent, owner: &str) {
    let owner = CanonicalId::text(owner);
    let mut shred = Shred::requested(owner.clone(), ShredId::from_bytes([7; 16]), 5);
    let id = store.installation().await.unwrap().id;
    let added = View::new().add_shred(ledger, &id, &shred).await;
    shred.entry = Some(added.unwrap());
    store.remember(&[shred]).await.unwrap();
    for step in [ShredStep::Tombstoned, ShredStep::Emptied, ShredStep::Done] {
        store.note(&owner, step).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn no_entry_waits_for_anothers_vectors() {
    let (store, ledger) = (Arc::new(MemoryKeyStore::new()), Silent::new());
    let vectors = Mulish::over(&ledger, "ada", "ben");
    let shredder = Shredder::builder(Arc::clone(&store), Arc::clone(&ledger));
    let shredder = shredder.vectors("mulish", Arc::clone(&vectors)).build();
    for owner in ["ada", "ben", "cy"] {
        shred(&store, owner).await;
    }
    let working = tokio::spawn({
        let shredder = shredder.clone();
        async move { shredder.work().await.unwrap() }
    });
    vectors.waits().await;
    assert_eq!(vectors.calls_for("ada"), [3], "all are in the ledger");
    shred(&store, "dan").await;

    let worked = working.await.unwrap(); // a minute passes at once
    assert_eq!((worked.done, worked.failed), (2, 2));
    assert_eq!(
        vectors.calls_for("ben"),
        [4; 3],
        "who came meanwhile is too"
    );
    for owner in ["cy", "dan"] {
        let receipt = shredder.receipt(owner).await.unwrap();
        assert!(receipt.shred.done_at.is_some());
    }
    let receipt = shredder.receipt("ada").await.unwrap();
    assert!(receipt.shred.failure.unwrap().contains("within a minute"));
}

#[tokio::test]
async fn a_long_sweep_delays_no_entry() {
    let (store, ledger) = (Arc::new(MemoryKeyStore::new()), Silent::new());
    behind_the_horizon(&store, &ledger, "ada").await;
    let vectors = Mulish::over(&ledger, "ada", "nobody");
    let shredder = Shredder::builder(Arc::clone(&store), Arc::clone(&ledger));
    let shredder = shredder.vectors("mulish", Arc::clone(&vectors)).build();
    let _task = shredder.start(Duration::from_millis(5));
    vectors.waits().await;
    shred(&store, "ben").await;
    for _ in 0..PATIENCE {
        if shredder.receipt("ben").await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    shredder.receipt("ben").await.unwrap();
    assert_eq!(vectors.calls_for("ada").len(), 1, "it is still swept");
}

#[tokio::test]
async fn who_has_nothing_left_is_swept_more_and_more_seldom() {
    let (store, ledger) = (MemoryKeyStore::new(), Silent::new());
    let shredder = Shredder::builder(store, ledger).build();
    let now = shredder.0.clock.now().wall();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    let mut shred = Shred::requested(CanonicalId::text("ada"), ShredId::from_bytes([7; 16]), 5);
    assert_eq!(shredder.0.rest(&shred, false), DAY, "the first time");
    for (days, least, most) in [(1, 2, 3), (2, 4, 5), (15, 30, 31), (100, 32, 32)] {
        let before = now.checked_sub(DAY * days).unwrap();
        shred.swept_at = Some(i64::try_from(before.as_micros()).unwrap());
        let rest = shredder.0.rest(&shred, false);
        assert!(
            DAY * least <= rest && rest <= DAY * most,
            "{days}: {rest:?}"
        );
        assert_eq!(shredder.0.rest(&shred, true), DAY, "somebody writes");
    }
    shred.swept_at = Some(i64::MAX); // a clock that was set back
    assert_eq!(shredder.0.rest(&shred, false), DAY);
}

#[tokio::test]
async fn in_the_background_shreds_are_finished_until_it_is_stopped() {
    let (store, ledger) = (Arc::new(MemoryKeyStore::new()), Silent::new());
    let shredder = Shredder::builder(Arc::clone(&store), Arc::clone(&ledger)).build();
    let task = shredder.start(Duration::from_millis(5));
    let shred = |owner: &str| {
        let (store, owner) = (Arc::clone(&store), CanonicalId::text(owner));
        async move {
            provision(&store, &owner).await;
            store.shred(&owner).await.unwrap().unwrap();
        }
    };
    shred("ada").await;
    while shredder.receipt("ada").await.is_err() {
        tokio::task::yield_now().await;
    }
    task.stop().await;
    shred("ben").await;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let early = shredder.receipt("ben").await;
    assert!(matches!(early, Err(ReceiptError::TooEarly)), "{early:?}");
}

#[tokio::test(start_paused = true)]
async fn no_shred_waits_for_a_share_store_that_another_waited_for() {
    let (keys, shares) = (
        Arc::new(MemoryKeyStore::new()),
        Arc::new(Fallible::default()),
    );
    let kms = TwoShareKms::new(LocalKms::ephemeral().unwrap(), Arc::clone(&shares));
    let keyring = Keyring::builder().kms(kms).key_store(Arc::clone(&keys));
    let keyring = keyring.build().unwrap();
    let shredder = Shredder::builder(Arc::clone(&keys), Silent::new());
    let shredder = shredder.shares(Arc::clone(&shares), Duration::ZERO).build();
    let owners = ["ada", "ben", "cy"];
    for owner in owners {
        keyring.provision(owner).await.unwrap();
        keyring.shred(owner).await.unwrap();
    }
    shares.hangs.store(true, SeqCst);
    let worked = shredder.work().await.unwrap();
    assert_eq!((worked.done, worked.failed), (0, 3));
    assert_eq!(shares.destroyed.load(SeqCst), 1, "one waited for it");
    let ids = owners.map(CanonicalId::text);
    let shreds = keys.shreds_of(&ids).await.unwrap();
    assert!(shreds.iter().all(|shred| shred.tombstoned_at.is_some()));
    assert!(shredder.destroy_shares_again().await.is_err());
    assert_eq!(shares.destroyed.load(SeqCst), 2);

    shares.hangs.store(false, SeqCst);
    assert_eq!(shredder.destroy_shares_again().await.unwrap(), 3);
    assert!(shares.memory.is_empty());
}

fn unix_micros() -> i64 {
    let now = crate::clock::Clock::default().now().wall();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_micros()).unwrap()
}

/// Twice as long after each failure, up to an hour, however often it fails.
#[tokio::test]
async fn what_fails_rests_up_to_an_hour() {
    let (store, ada) = (Arc::new(MemoryKeyStore::new()), CanonicalId::text("ada"));
    shred(&store, "ada").await;
    let shredder = Shredder::builder(Arc::clone(&store), Silent::new()).build();
    let shreds = store.shreds_of(core::slice::from_ref(&ada)).await;
    let mut shred = shreds.unwrap().remove(0);
    let hour = 3600;
    for (attempts, seconds) in [
        (0, 1),
        (1, 2),
        (5, 32),
        (11, 2048),
        (12, hour),
        (31, hour),
        (32, hour),
        (u32::MAX, hour),
    ] {
        shred.attempts = attempts;
        let began = unix_micros();
        let failed = shredder.0.postpone(&shred, &ShredderError::NotInLedger);
        failed.await.unwrap();
        let pause = seconds * 1_000_000;
        let due = store.due_at(&ada) - pause;
        assert!(began <= due && due <= unix_micros(), "after {attempts}");
    }
}
