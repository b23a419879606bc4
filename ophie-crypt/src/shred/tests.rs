//! The restore guard and a ledger that does not answer; several guards at once.

mod copies;
mod rounds;
mod worker;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use async_trait::async_trait;

use super::{
    entry::{NotAdded, View},
    *,
};
use crate::{
    Keyring,
    hazmat::fill_random,
    kms::{LocalKms, TwoShareKms},
    ledger::{FileLedger, Ledger, LedgerEntry, LedgerError, LedgerHead},
    owner::CanonicalId,
    shares::tests::Fallible,
    store::{KeyStore, MemoryKeyStore},
};

/// A file, or silence.
#[derive(Debug)]
struct Silent {
    ledger: FileLedger,
    hangs: AtomicBool,
    /// How often one waits for it.
    waits: AtomicUsize,
    /// Reads, and takes no entry.
    full: AtomicBool,
}

impl Silent {
    fn new() -> Arc<Self> {
        let mut id = [0; 16];
        fill_random(&mut id).unwrap();
        let file = std::env::temp_dir().join(format!("ophie-crypt-{}", crate::hex::to_hex(&id)));
        Arc::new(Self {
            ledger: FileLedger::open_or_create(file).unwrap(),
            hangs: AtomicBool::new(false),
            waits: AtomicUsize::new(0),
            full: AtomicBool::new(false),
        })
    }

    async fn answer(&self) {
        if self.hangs.load(SeqCst) {
            self.waits.fetch_add(1, SeqCst);
            core::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Ledger for Silent {
    async fn head(&self) -> Result<LedgerHead, LedgerError> {
        self.answer().await;
        self.ledger.head().await
    }

    async fn append(
        &self,
        expected: &LedgerHead,
        kind: &str,
        payload: &[u8],
    ) -> Result<LedgerHead, LedgerError> {
        self.answer().await;
        if self.full.load(SeqCst) {
            return Err(LedgerError::unavailable("no space"));
        }
        self.ledger.append(expected, kind, payload).await
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Vec<LedgerEntry>, LedgerError> {
        self.answer().await;
        self.ledger.read(after, limit).await
    }
}

#[tokio::test]
async fn a_ledger_that_never_answers_stops_only_those_who_never_verified_it() {
    let (store, ledger) = (Arc::new(MemoryKeyStore::new()), Silent::new());
    let guard = || RestoreGuard::new(Arc::clone(&store), Arc::clone(&ledger));
    let verified = guard().every(core::time::Duration::ZERO);
    verified.admit().await.unwrap();
    ledger.hangs.store(true, SeqCst);
    tokio::time::pause(); // five seconds pass at once
    let refused = guard().admit().await;
    assert!(
        matches!(refused, Err(RestoreError::Ledger(_))),
        "{refused:?}"
    );
    verified.admit().await.unwrap();
    let then = store.installation().await.unwrap();
    assert_eq!(then.ledger.position(), 1);
    let further = LedgerHead::EMPTY.next("note", b"").next("note", b"");
    store.raise_epoch(1, &further).await.unwrap();
    verified.admit().await.unwrap();
    // The database was put back meanwhile: it knows less of the ledger than it did, if no less than when it was verified.
    store.adopt(&then).await.unwrap();
    let refused = verified.admit().await;
    assert!(
        matches!(refused, Err(RestoreError::Ledger(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn of_many_first_starts_one_names_the_installation() {
    let (store, ledger) = (Arc::new(MemoryKeyStore::new()), Silent::new());
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let guard = RestoreGuard::new(Arc::clone(&store), Arc::clone(&ledger));
        tasks.push(tokio::spawn(async move { guard.admit().await }));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(ledger.ledger.read(0, 100).await.unwrap().len(), 1);
    let other = RestoreGuard::new(MemoryKeyStore::new(), Arc::clone(&ledger));
    let foreign = other.admit().await;
    assert!(matches!(foreign, Err(RestoreError::Foreign)), "{foreign:?}");
}

#[tokio::test]
async fn a_shred_that_is_there_is_not_added_again() {
    let ledger = Silent::new();
    let shred = Shred::requested(CanonicalId::text("ada"), ShredId::from_bytes([7; 16]), 5);
    for _ in 0..2 {
        // Each as after a restart.
        let mut view = View::new();
        assert_eq!(view.add_shred(&*ledger, &[1; 16], &shred).await.unwrap(), 1);
        let known = view.shred(&shred.owner).unwrap();
        assert_eq!((known.id, known.requested_at), (shred.id, 5));
    }
    assert_eq!(ledger.ledger.read(0, 100).await.unwrap().len(), 1);
}

/// A shred without a guard names the installation as well.
#[tokio::test]
async fn a_shred_names_whose_ledger_it_is() {
    let ledger = Silent::new();
    let shred = |owner| Shred::requested(CanonicalId::text(owner), ShredId::from_bytes([7; 16]), 5);
    let (mut view, mut other) = (View::new(), View::new());
    let first = view.add_shred(&*ledger, &[1; 16], &shred("ada")).await;
    assert_eq!(first.unwrap(), 1);
    let refused = other.add_shred(&*ledger, &[2; 16], &shred("ada")).await;
    assert!(matches!(refused, Err(NotAdded::Foreign)), "{refused:?}");
    let refused = other.add_installation(&*ledger, &[2; 16], 1).await;
    assert!(matches!(refused, Err(NotAdded::Foreign)), "{refused:?}");
    view.add_installation(&*ledger, &[1; 16], 1).await.unwrap();
    assert_eq!(view.installation, Some(([1; 16], 1)));
    assert_eq!(ledger.ledger.read(0, 100).await.unwrap().len(), 2);
}

/// A restore that lost no shred forgot leases as well.
#[tokio::test]
async fn a_replay_raises_the_epoch_each_time() {
    let (store, ledger) = (Arc::new(MemoryKeyStore::new()), Silent::new());
    let guard = RestoreGuard::new(Arc::clone(&store), Arc::clone(&ledger));
    guard.admit().await.unwrap();
    for epoch in [2, 3] {
        assert_eq!(restore_replay(&store, &ledger).await.unwrap(), 0);
        assert_eq!(store.installation().await.unwrap().epoch, epoch);
    }
    guard.admit().await.unwrap();
    assert_eq!(ledger.ledger.read(0, 100).await.unwrap().len(), 3);
}

/// An entry that says it is a shred and is none is damage, not nobody.
#[tokio::test]
async fn an_entry_that_is_none_is_damage() {
    for (kind, payload) in [
        ("shred", &[0; 40][..]),
        ("shred", &[0; 7]),
        ("installation", &[0; 23]),
    ] {
        let ledger = Silent::new();
        ledger
            .append(&LedgerHead::EMPTY, kind, payload)
            .await
            .unwrap();
        let followed = View::new().follow(&*ledger).await;
        assert!(
            matches!(followed, Err(LedgerError::Damaged { position: 1 })),
            "{followed:?}"
        );
    }
}

pub(super) async fn provision(store: &MemoryKeyStore, owner: &CanonicalId) {
    let id = crate::KeyId::from_bytes([7; 16]);
    let blob = crate::DekBlob::Sealed(vec![1]);
    let dek = crate::DekRecord::new(1, crate::DekState::Sealing, id, blob);
    let index_key = crate::IndexKeyRecord::new(1, id, [2]);
    let done = store.insert_if_absent(owner, &dek, &index_key);
    done.await.unwrap();
}

/// A store that was put back to before the shred of Ada, and the ledger that has it.
async fn restored() -> (Arc<MemoryKeyStore>, Arc<Silent>, CanonicalId) {
    let (store, ledger, ada) = (
        Arc::new(MemoryKeyStore::new()),
        Silent::new(),
        CanonicalId::text("ada"),
    );
    provision(&store, &ada).await;
    let guard = RestoreGuard::new(Arc::clone(&store), Arc::clone(&ledger));
    guard.admit().await.unwrap();
    let id = store.installation().await.unwrap().id;
    let shred = Shred::requested(ada.clone(), ShredId::from_bytes([7; 16]), 5);
    let mut view = View::new();
    view.add_shred(&*ledger, &id, &shred).await.unwrap();
    (store, ledger, ada)
}

/// A death after the keys were destroyed again leaves nothing that proves the restore but the epoch.
#[tokio::test]
async fn the_epoch_is_raised_before_the_proof_of_a_restore_goes() {
    let (store, ledger, ada) = restored().await;
    let guard = || RestoreGuard::new(Arc::clone(&store), Arc::clone(&ledger));
    ledger.full.store(true, SeqCst);
    let refused = guard().admit().await;
    assert!(
        matches!(refused, Err(RestoreError::Ledger(_))),
        "{refused:?}"
    );
    assert!(store.load(&ada).await.unwrap().unwrap().is_shredded());
    assert_eq!(store.installation().await.unwrap().epoch, 2);

    ledger.full.store(false, SeqCst);
    guard().admit().await.unwrap();
    assert_eq!(store.installation().await.unwrap().epoch, 2);
    let mut view = View::new();
    view.follow(&*ledger).await.unwrap();
    assert_eq!(view.installation.map(|(_, epoch)| epoch), Some(2));
}

/// "Unreachable" delays receipts, not opens; but not once it is known that the database was put back.
#[tokio::test]
async fn who_was_verified_is_refused_once_a_restore_is_proven() {
    let (store, ledger) = (Arc::new(MemoryKeyStore::new()), Silent::new());
    let guard = RestoreGuard::new(Arc::clone(&store), Arc::clone(&ledger));
    let guard = guard.every(core::time::Duration::ZERO);
    guard.admit().await.unwrap();
    let installation = store.installation().await.unwrap();
    let shred = Shred::requested(CanonicalId::text("ada"), ShredId::from_bytes([7; 16]), 5);
    let mut view = View::new();
    view.add_shred(&*ledger, &installation.id, &shred)
        .await
        .unwrap();
    ledger.full.store(true, SeqCst);
    let refused = guard.admit().await;
    assert!(
        matches!(refused, Err(RestoreError::Ledger(_))),
        "{refused:?}"
    );
}

/// The keys were back until the guard destroyed them again.
#[tokio::test]
async fn a_receipt_counts_from_when_the_keys_were_gone_for_good() {
    let (store, ledger, ada) = restored().await;
    RestoreGuard::new(Arc::clone(&store), Arc::clone(&ledger))
        .admit()
        .await
        .unwrap();
    let shredder = Shredder::builder(Arc::clone(&store), Arc::clone(&ledger)).build();
    let receipt = shredder.receipt(&ada).await.unwrap();
    assert_eq!(receipt.shred.requested_at, 5);
    assert!(receipt.live_from > 5);
    assert_eq!(Some(receipt.live_from), receipt.shred.appended_at);
}
