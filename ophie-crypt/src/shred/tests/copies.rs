//! Two databases and one ledger, and how a guard tells them from a restore; how much it compares.

use core::time::Duration;

use super::*;

/// A store as a copy of this one is: its id, its epoch, and what it knows of the ledger; with the owners given.
async fn copy(of: &MemoryKeyStore, owners: &[&str]) -> Arc<MemoryKeyStore> {
    let copy = Arc::new(MemoryKeyStore::new());
    copy.adopt(&of.installation().await.unwrap()).await.unwrap();
    for owner in owners {
        provision(&copy, &CanonicalId::text(owner)).await;
    }
    copy
}

fn guard(store: &Arc<MemoryKeyStore>, ledger: &Arc<Silent>) -> RestoreGuard {
    RestoreGuard::new(Arc::clone(store), Arc::clone(ledger)).every(Duration::ZERO)
}

fn shredder(store: &Arc<MemoryKeyStore>, ledger: &Arc<Silent>) -> Shredder {
    Shredder::builder(Arc::clone(store), Arc::clone(ledger)).build()
}

async fn shred(store: &MemoryKeyStore, owner: &str) {
    store.shred(&CanonicalId::text(owner)).await.unwrap();
}

async fn lives(store: &MemoryKeyStore, owner: &str) -> bool {
    let record = store.load(&CanonicalId::text(owner)).await.unwrap();
    !record.unwrap().is_shredded()
}

/// A backup that somebody tries, with the ledger of the database that it is of.
#[tokio::test]
async fn a_copy_with_the_same_ledger_destroys_nobody_here() {
    let (store, ledger) = (Arc::new(MemoryKeyStore::new()), Silent::new());
    let owners = ["ada", "ben", "cy"];
    for owner in owners {
        provision(&store, &CanonicalId::text(owner)).await;
    }
    let running = guard(&store, &ledger);
    running.admit().await.unwrap();
    let drill = copy(&store, &owners).await;
    shred(&store, "ada").await;
    assert_eq!(shredder(&store, &ledger).work().await.unwrap().done, 1);
    running.admit().await.unwrap();

    guard(&drill, &ledger).admit().await.unwrap();
    assert_eq!(drill.installation().await.unwrap().epoch, 2, "put back");
    shred(&drill, "ben").await;
    assert_eq!(shredder(&drill, &ledger).work().await.unwrap().done, 2);
    let head = ledger.head().await.unwrap();

    for _ in 0..2 {
        let refused = running.admit().await;
        let expected = matches!(refused, Err(RestoreError::Shared { epoch: 1, last: 2 }));
        assert!(expected, "{refused:?}");
    }
    assert!(lives(&store, "ben").await);
    assert_eq!(store.installation().await.unwrap().epoch, 1);
    // Nor is anything added or deleted from here.
    shred(&store, "cy").await;
    let worked = shredder(&store, &ledger).work().await.unwrap();
    assert_eq!((worked.done, worked.failed), (0, 1));
    let shreds = store.shreds_of(&[CanonicalId::text("cy")]).await.unwrap();
    let failure = shreds.first().unwrap().failure.clone().unwrap();
    assert!(failure.contains("later epoch"), "{failure}");
    let again = shredder(&store, &ledger).destroy_shares_again().await;
    assert!(matches!(again, Err(ShredderError::Epoch)), "{again:?}");
    assert_eq!(ledger.head().await.unwrap(), head);

    // What the error says to do.
    let own = Silent::new();
    let before = store.installation().await.unwrap();
    assert_eq!(restore_adopt(&store, &own).await.unwrap(), 2);
    assert_ne!(store.installation().await.unwrap().id, before.id);
    guard(&store, &own).admit().await.unwrap();
    assert!(lives(&store, "ben").await && !lives(&store, "ada").await);
    guard(&drill, &ledger).admit().await.unwrap();
    for (store, ledger) in [(&store, &ledger), (&drill, &own)] {
        let foreign = guard(store, ledger).admit().await;
        assert!(matches!(foreign, Err(RestoreError::Foreign)), "{foreign:?}");
    }
}

/// Its own installation keeps its name, whoever died on the way.
#[tokio::test]
async fn the_ledger_that_is_its_own_is_adopted_under_the_same_id() {
    let (store, ledger) = (Arc::new(MemoryKeyStore::new()), Silent::new());
    guard(&store, &ledger).admit().await.unwrap();
    let id = store.installation().await.unwrap().id;
    for epoch in [2, 3] {
        assert_eq!(restore_adopt(&store, &ledger).await.unwrap(), epoch);
        let now = store.installation().await.unwrap();
        assert_eq!((now.id, now.epoch), (id, epoch));
        assert_eq!(now.ledger, ledger.head().await.unwrap());
    }
}

/// Raises the epoch, as another process of the same database does, when it is asked for its head.
#[derive(Debug)]
struct Raising {
    ledger: Arc<Silent>,
    raise: AtomicBool,
    store: Store,
}

/// Has no `Debug` of its own worth printing.
struct Store(Arc<MemoryKeyStore>);

impl core::fmt::Debug for Store {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Store")
    }
}

#[async_trait]
impl Ledger for Raising {
    async fn head(&self) -> Result<LedgerHead, LedgerError> {
        if self.raise.swap(false, SeqCst) {
            restore_replay(&self.store.0, &self.ledger).await.unwrap();
        }
        self.ledger.head().await
    }

    async fn append(
        &self,
        expected: &LedgerHead,
        kind: &str,
        payload: &[u8],
    ) -> Result<LedgerHead, LedgerError> {
        self.ledger.append(expected, kind, payload).await
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Vec<LedgerEntry>, LedgerError> {
        self.ledger.read(after, limit).await
    }
}

#[tokio::test]
async fn an_epoch_that_is_raised_meanwhile_is_no_copys() {
    let store = Arc::new(MemoryKeyStore::new());
    let ledger = Arc::new(Raising {
        ledger: Silent::new(),
        raise: AtomicBool::new(false),
        store: Store(Arc::clone(&store)),
    });
    let guard = RestoreGuard::new(Arc::clone(&store), Arc::clone(&ledger)).every(Duration::ZERO);
    guard.admit().await.unwrap();
    ledger.raise.store(true, SeqCst);
    guard.admit().await.unwrap();
    assert_eq!(store.installation().await.unwrap().epoch, 2);
}

/// A worker that was handed another ledger, or one that lost its end.
#[tokio::test]
async fn a_shredder_adds_nothing_to_a_ledger_that_does_not_go_with_the_database() {
    let ada = CanonicalId::text("ada");
    let note = LedgerHead::EMPTY.next("note", b"here");
    for (known, says) in [
        (LedgerHead::EMPTY.next("note", b"there"), "ledger's error"),
        (note.next("note", b"more"), "ends at entry 1"),
    ] {
        let (store, ledger) = (Arc::new(MemoryKeyStore::new()), Silent::new());
        ledger
            .append(&LedgerHead::EMPTY, "note", b"here")
            .await
            .unwrap();
        provision(&store, &ada).await;
        store.shred(&ada).await.unwrap();
        store.raise_epoch(1, &known).await.unwrap();
        let worked = shredder(&store, &ledger).work().await.unwrap();
        assert_eq!((worked.done, worked.failed), (0, 1));
        assert_eq!(ledger.head().await.unwrap(), note);
        let shreds = store.shreds_of(core::slice::from_ref(&ada)).await.unwrap();
        let failure = shreds.first().unwrap().failure.clone().unwrap();
        assert!(failure.contains(says), "{failure}");
    }
}

/// Half a minute, once for all owners.
#[tokio::test(start_paused = true)]
async fn a_shredder_waits_for_a_ledger_that_never_answers_once_in_a_round() {
    let (store, ledger) = (Arc::new(MemoryKeyStore::new()), Silent::new());
    for owner in ["ada", "ben", "cy"] {
        provision(&store, &CanonicalId::text(owner)).await;
        shred(&store, owner).await;
    }
    ledger.hangs.store(true, SeqCst);
    let worked = shredder(&store, &ledger).work().await.unwrap();
    assert_eq!((worked.done, worked.failed), (0, 3));
    assert_eq!(ledger.waits.load(SeqCst), 1);
}

async fn remembered(store: &MemoryKeyStore, ledger: &Silent, view: &mut View, owner: &str) {
    let id = store.installation().await.unwrap().id;
    let owner = CanonicalId::text(owner);
    let mut shred = Shred::requested(owner.clone(), ShredId::from_bytes([7; 16]), 5);
    shred.entry = Some(view.add_shred(ledger, &id, &shred).await.unwrap());
    store.remember(&[shred]).await.unwrap();
}

/// However slow the database is, and however many shreds there are: the time that is limited is the ledger's.
#[tokio::test(start_paused = true)]
async fn a_guard_that_has_verified_compares_what_is_new() {
    let (store, ledger) = (Arc::new(MemoryKeyStore::new()), Silent::new());
    let mut view = View::new();
    for owner in ["ada", "ben", "cy"] {
        remembered(&store, &ledger, &mut view, owner).await;
    }
    store.looks.lock().unwrap().0 = Duration::from_secs(60);
    let asked = || store.looks.lock().unwrap().1.clone();
    let guard = guard(&store, &ledger);
    guard.admit().await.unwrap();
    assert_eq!(asked(), [3], "all, however long it takes");
    guard.admit().await.unwrap();
    remembered(&store, &ledger, &mut view, "dan").await;
    guard.admit().await.unwrap();
    assert_eq!(asked(), [3, 1], "what is new");

    // One is missing that was there: all are looked at again.
    store.unremember(&CanonicalId::text("ben"));
    guard.admit().await.unwrap();
    assert_eq!(asked(), [3, 1, 4]);
    let ben = store.load(&CanonicalId::text("ben")).await.unwrap();
    assert!(ben.unwrap().is_shredded());
    assert_eq!(store.installation().await.unwrap().epoch, 2);
}
