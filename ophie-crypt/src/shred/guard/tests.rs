//! Guards of processes that run while their database is put back, or their ledger is cut short or forked; and more shreds
//! than one question takes.

use async_trait::async_trait;

use super::*;
use crate::{
    ledger::{LedgerEntry, LedgerHead},
    shred::{ShredId, Shredder, Shreds, entry::tests::Entries},
    store::{KeyStore, MemoryKeyStore},
};

/// Half of how long a look holds.
const HALF: Duration = Duration::from_secs(15);

/// A guard that has looked, its store, and its ledger.
struct Running {
    guard: RestoreGuard,
    store: Arc<MemoryKeyStore>,
    ledger: Arc<Entries>,
    id: [u8; 16],
}

impl Running {
    async fn over(ledger: Entries) -> Self {
        let (store, ledger) = (Arc::new(MemoryKeyStore::new()), Arc::new(ledger));
        let guard = RestoreGuard::new(Arc::clone(&store), Arc::clone(&ledger));
        guard.admit().await.unwrap();
        let id = store.installation().await.unwrap().id;
        Self {
            guard,
            store,
            ledger,
            id,
        }
    }

    async fn is_shredded(&self, owner: &str) -> bool {
        let owner = CanonicalId::text(owner);
        let record = self.store.load(&owner).await.unwrap();
        record.is_some_and(|record| record.is_shredded())
    }

    /// What is admitted while a look at the ledger still holds, and when it holds no longer.
    async fn before_and_after_its_time(&self) -> [Result<(), RestoreError>; 2] {
        self.guard.clock.pass(HALF);
        let before = self.guard.admit().await;
        self.guard.clock.pass(HALF);
        [before, self.guard.admit().await]
    }
}

/// With what an application asks for, too, if that is more.
#[tokio::test]
async fn a_running_guard_notices_within_thirty_seconds() {
    for asked in [None, Some(Duration::from_secs(3600))] {
        let mut running = Running::over(Entries::default()).await;
        if let Some(asked) = asked {
            running.guard = running.guard.every(asked);
        }
        crate::shred::tests::provision(&running.store, &CanonicalId::text("ada")).await;
        running.ledger.add_shred(running.id, "ada", 7);
        running.guard.clock.pass(HALF);
        running.guard.admit().await.unwrap();
        assert!(!running.is_shredded("ada").await, "its look still holds");
        running.guard.clock.pass(HALF);
        running.guard.admit().await.unwrap();
        assert!(running.is_shredded("ada").await, "her keys are back");
        assert_eq!(running.store.installation().await.unwrap().epoch, 2);
    }
}

/// At once, if the database has forgotten what it knew of the ledger.
#[tokio::test]
async fn a_running_guard_notices_a_forgetful_database_at_once() {
    let running = Running::over(Entries::default()).await;
    let now = running.store.installation().await.unwrap();
    running.ledger.add_shred(running.id, "ada", 7);
    let before = Installation {
        ledger: LedgerHead::EMPTY,
        ..now
    };
    running.store.adopt(&before).await.unwrap();
    running.guard.admit().await.unwrap();
    assert!(running.is_shredded("ada").await);
}

#[tokio::test]
async fn a_running_guard_refuses_a_ledger_that_is_cut_short_until_it_is_whole() {
    let running = Running::over(Entries::default()).await;
    for owner in ["ada", "ben"] {
        running.ledger.add_shred(running.id, owner, 7);
    }
    running.guard.clock.pass(2 * HALF);
    running.guard.admit().await.unwrap();
    let whole = running.ledger.truncate(2);
    let [before, after] = running.before_and_after_its_time().await;
    before.unwrap();
    let forked = |refused: &Result<(), RestoreError>| {
        matches!(
            refused,
            Err(RestoreError::Ledger(LedgerError::Forked { position: 4 }))
        )
    };
    assert!(forked(&after), "{after:?}");
    let again = running.guard.admit().await;
    assert!(forked(&again), "not only once: {again:?}");

    for entry in whole {
        running.ledger.put(entry);
    }
    running.guard.admit().await.unwrap();
}

/// As long as before and longer.
#[tokio::test]
async fn a_running_guard_refuses_a_ledger_that_forked() {
    for further in [0, 1] {
        let running = Running::over(Entries::default()).await;
        for owner in ["ada", "ben"] {
            running.ledger.add_shred(running.id, owner, 7);
        }
        running.guard.clock.pass(2 * HALF);
        running.guard.admit().await.unwrap();
        running.ledger.truncate(3);
        for owner in ["cy", "dan"].iter().take(1 + further) {
            running.ledger.add_shred(running.id, owner, 7);
        }
        let [before, after] = running.before_and_after_its_time().await;
        before.unwrap();
        assert!(matches!(after, Err(RestoreError::Ledger(_))), "{after:?}");
        assert!(!running.is_shredded("cy").await, "nobody was destroyed");
    }
}

/// More than are asked for, destroyed, or read at a time, by more than one such part.
#[tokio::test]
async fn more_shreds_than_one_question_takes() {
    let many = 2 * CHUNK + 1;
    let running = Running::over(Entries::default()).await;
    for n in 0..many {
        running
            .ledger
            .add_shred(running.id, &format!("owner {n}"), 7);
    }
    running.guard.clock.pass(2 * HALF);
    running.guard.admit().await.unwrap();
    assert_eq!(running.store.count_shreds().await.unwrap(), 1_001);

    // And the other way round, into a ledger that begins.
    let ledger = Entries::default();
    restore_adopt(&*running.store, &ledger).await.unwrap();
    assert_eq!(ledger.head().await.unwrap().position(), 1_002);
}

/// Behind the ledger's epoch, however far the database was put back.
#[tokio::test]
async fn the_epoch_of_a_database_that_was_put_back_is_a_new_one() {
    let running = Running::over(Entries::default()).await;
    let first = running.store.installation().await.unwrap();
    for _ in 0..2 {
        restore_replay(&*running.store, &*running.ledger)
            .await
            .unwrap();
    }
    running.ledger.add_shred(running.id, "ada", 7);
    let back = Arc::new(MemoryKeyStore::new());
    back.adopt(&first).await.unwrap();
    let guard = RestoreGuard::new(Arc::clone(&back), Arc::clone(&running.ledger));
    guard.admit().await.unwrap();
    assert_eq!(back.installation().await.unwrap().epoch, 4);
    let all = back.shreds(Shreds::All, None, 10).await.unwrap();
    assert_eq!(all[0].id, ShredId::from_bytes([7; 16]), "the same shred");
}

/// Restored to before the epoch was raised, and no shred was lost by it.
#[tokio::test]
async fn the_epoch_is_raised_where_no_shred_was_lost() {
    let running = Running::over(Entries::default()).await;
    let first = running.store.installation().await.unwrap();
    for _ in 0..2 {
        restore_replay(&*running.store, &*running.ledger)
            .await
            .unwrap();
    }
    let back = Arc::new(MemoryKeyStore::new());
    back.adopt(&first).await.unwrap();
    let guard = RestoreGuard::new(Arc::clone(&back), Arc::clone(&running.ledger));
    guard.admit().await.unwrap();
    assert_eq!(back.installation().await.unwrap().epoch, 4);
}

/// Shreds that only the database has make up for none that only the ledger has.
#[tokio::test]
async fn a_shred_that_is_missing_is_found_however_many_others_there_are() {
    for since in [false, true] {
        let running = Running::over(Entries::default()).await;
        let shred =
            |owner| Shred::requested(CanonicalId::text(owner), ShredId::from_bytes([7; 16]), 5);
        for owner in ["ada", "ben"] {
            running.ledger.add_shred(running.id, owner, 7);
            running.store.remember(&[shred(owner)]).await.unwrap();
        }
        // One that is not in the ledger yet, before the guard has looked or since.
        if !since {
            running.store.remember(&[shred("cy")]).await.unwrap();
        }
        running.guard.clock.pass(2 * HALF);
        running.guard.admit().await.unwrap();
        running.store.unremember(&CanonicalId::text("ben"));
        if since {
            running.store.remember(&[shred("cy")]).await.unwrap();
            running.ledger.add_shred(running.id, "dan", 7);
        }
        running.guard.clock.pass(2 * HALF);
        running.guard.admit().await.unwrap();
        let ben = running.store.shreds_of(&[CanonicalId::text("ben")]).await;
        assert_eq!(ben.unwrap().len(), 1, "since: {since}");
    }
}

/// A ledger in whose first answer the database is put back, and that takes no entry.
#[derive(Debug)]
struct Meddling {
    entries: Entries,
    store: Arc<MemoryKeyStore>,
    back: std::sync::Mutex<Option<Installation>>,
}

#[async_trait]
impl Ledger for Meddling {
    async fn head(&self) -> Result<LedgerHead, LedgerError> {
        self.entries.head().await
    }

    async fn append(
        &self,
        expected: &LedgerHead,
        kind: &str,
        payload: &[u8],
    ) -> Result<LedgerHead, LedgerError> {
        if expected.position() > 0 {
            return Err(LedgerError::unavailable("no space"));
        }
        self.entries.append(expected, kind, payload).await
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Vec<LedgerEntry>, LedgerError> {
        let back = self.back.lock().unwrap().take();
        if let Some(back) = back {
            self.store.adopt(&back).await.unwrap();
        }
        self.entries.read(after, limit).await
    }
}

/// Another process raised the epoch, and before this one has read of it the database is put back.
#[tokio::test]
async fn a_restore_while_the_guard_looks_is_proven_too() {
    let store = Arc::new(MemoryKeyStore::new());
    let ledger = Arc::new(Meddling {
        entries: Entries::default(),
        store: Arc::clone(&store),
        back: std::sync::Mutex::default(),
    });
    let guard = RestoreGuard::new(Arc::clone(&store), Arc::clone(&ledger));
    guard.admit().await.unwrap();
    let now = store.installation().await.unwrap();
    ledger.entries.add_installation(now.id, 2);
    *ledger.back.lock().unwrap() = Some(Installation {
        ledger: LedgerHead::EMPTY,
        ..now
    });
    guard.clock.pass(2 * HALF);
    let refused = guard.admit().await;
    assert!(
        matches!(refused, Err(RestoreError::Ledger(_))),
        "{refused:?}"
    );
}

/// Each by its name, and with nothing of what it holds.
#[test]
fn what_is_printed_says_what_it_is() {
    let (store, ledger) = (
        Arc::new(MemoryKeyStore::new()),
        Arc::new(Entries::default()),
    );
    let guard = RestoreGuard::new(Arc::clone(&store), Arc::clone(&ledger));
    assert_eq!(format!("{guard:?}"), "RestoreGuard { .. }");
    let builder = Shredder::builder(store, ledger);
    assert_eq!(format!("{builder:?}"), "ShredderBuilder { .. }");
    assert_eq!(format!("{:?}", builder.build()), "Shredder { .. }");
    let id = ShredId::from_bytes([0xa5; 16]);
    assert_eq!(format!("{id:?}"), format!("ShredId({id})"));
    assert!(id.to_string().contains("a5a5"));
}
