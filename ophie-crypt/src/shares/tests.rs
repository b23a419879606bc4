//! An owner's life with a key in two shares: sign-up, outages, crashes between the two stores, shred.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use super::*;
use crate::{
    FileLedger, Keyring, KmsError, LocalKms, MemoryKeyStore, NoSession, Purpose, ReceiptError,
    SessionError, Shredder, TwoShareKms,
    audit::{AuditError, AuditEvent, AuditSink, AuditStep, KmsResult},
    keyring::ProvisionError,
    owner::OwnerId,
    passed_on::pass_on,
    store::{DekRecord, IndexKeyRecord, KeyStore, StoreError},
};

const ADA: &str = "ada";
const PURPOSE: Purpose = Purpose::new("test");

/// A share store that can be out of reach.
#[derive(Debug, Default)]
pub(crate) struct Fallible {
    pub(crate) memory: MemoryShares,
    pub(crate) is_down: AtomicBool,
    pub(crate) hangs: AtomicBool,
    /// A share comes as soon as all are destroyed.
    pub(crate) comes_late: AtomicBool,
    pub(crate) reads: AtomicU32,
    pub(crate) destroyed: AtomicU32,
}

impl Fallible {
    async fn check(&self) -> Result<(), ShareStoreError> {
        if self.hangs.load(SeqCst) {
            core::future::pending::<()>().await;
        }
        match self.is_down.load(SeqCst) {
            true => Err(ShareStoreError::unavailable("no route to it")),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl ShareStore for Fallible {
    async fn put(
        &self,
        owner: &CanonicalId,
        generation: u32,
        id: ShareId,
        share: &Share,
    ) -> Result<(), ShareStoreError> {
        self.check().await?;
        self.memory.put(owner, generation, id, share).await
    }

    async fn get(
        &self,
        owner: &CanonicalId,
        generation: u32,
        id: ShareId,
    ) -> Result<Option<Share>, ShareStoreError> {
        self.reads.fetch_add(1, SeqCst);
        self.check().await?;
        self.memory.get(owner, generation, id).await
    }

    async fn destroy_all_but(
        &self,
        owner: &CanonicalId,
        generations: &[u32],
    ) -> Result<(), ShareStoreError> {
        self.check().await?;
        self.memory.destroy_all_but(owner, generations).await
    }

    async fn destroy_all(&self, owner: &CanonicalId) -> Result<(), ShareStoreError> {
        self.destroyed.fetch_add(1, SeqCst);
        self.check().await?;
        self.memory.destroy_all(owner).await?;
        if self.comes_late.swap(false, SeqCst) {
            self.memory.come_back(owner, Share::make().unwrap());
        }
        Ok(())
    }

    async fn destroyed_at(&self, owner: &CanonicalId) -> Result<Option<i64>, ShareStoreError> {
        self.check().await?;
        self.memory.destroyed_at(owner).await
    }
}

/// A key store at whose door processes die.
#[derive(Default)]
struct Dying {
    memory: MemoryKeyStore,
    dies: AtomicBool,
}

#[async_trait]
impl KeyStore for Dying {
    pass_on!(memory: load, version, lease, changes, shred);

    async fn insert_if_absent(
        &self,
        owner: &CanonicalId,
        dek: &DekRecord,
        index_key: &IndexKeyRecord,
    ) -> Result<(), StoreError> {
        match self.dies.load(SeqCst) {
            true => Err(StoreError::unavailable("dead")),
            false => self.memory.insert_if_absent(owner, dek, index_key).await,
        }
    }
}

#[derive(Default)]
struct Outcomes(std::sync::Mutex<Vec<KmsResult>>);

#[async_trait]
impl AuditSink for Outcomes {
    async fn record(&self, event: &AuditEvent) -> Result<(), AuditError> {
        if let AuditStep::Outcome { result, .. } = event.step {
            self.0.lock().unwrap().push(result);
        }
        Ok(())
    }
}

struct World {
    local: Arc<LocalKms>,
    keys: Arc<Dying>,
    shares: Arc<Fallible>,
    audit: Arc<Outcomes>,
    keyring: Keyring,
}

impl World {
    fn new() -> Self {
        let (local, keys, shares, audit) = (
            Arc::new(LocalKms::ephemeral().unwrap()),
            Arc::<Dying>::default(),
            Arc::<Fallible>::default(),
            Arc::<Outcomes>::default(),
        );
        let keyring = Keyring::builder()
            .kms(TwoShareKms::new(Arc::clone(&local), Arc::clone(&shares)))
            .key_store(Arc::clone(&keys))
            .audit(Arc::clone(&audit))
            .build()
            .unwrap();
        Self {
            local,
            keys,
            shares,
            audit,
            keyring,
        }
    }

    fn outcomes(&self) -> Vec<KmsResult> {
        core::mem::take(&mut *self.audit.0.lock().unwrap())
    }
}

fn ledger() -> FileLedger {
    let id = ShareId::make().unwrap();
    FileLedger::open_or_create(std::env::temp_dir().join(format!("ophie-crypt-{id}"))).unwrap()
}

#[tokio::test]
async fn one_read_for_each_unwrap() {
    let world = World::new();
    world.keyring.provision(ADA).await.unwrap();
    assert_eq!(world.shares.reads.load(SeqCst), 0);
    let session = world.keyring.open(ADA, PURPOSE).await.unwrap();
    world.keyring.open(ADA, PURPOSE).await.unwrap();
    assert_eq!(world.shares.reads.load(SeqCst), 1, "the keys are shared");
    session.refresh().await.unwrap();
    assert_eq!(world.shares.reads.load(SeqCst), 2);
    assert_eq!(world.outcomes(), [KmsResult::Done; 3]);
}

/// The share is stored, and the process dies before its other half is.
#[tokio::test]
async fn what_a_crash_between_the_stores_leaves_is_of_no_use_and_goes_with_the_owner() {
    let world = World::new();
    world.keys.dies.store(true, SeqCst);
    let died = world.keyring.provision(ADA).await;
    assert!(matches!(died, Err(ProvisionError::Store(_))), "{died:?}");
    assert_eq!(world.shares.memory.len(), 1, "an orphan");
    let unknown = world.keyring.open(ADA, PURPOSE).await;
    assert!(matches!(unknown, Err(SessionError::UnknownOwner)));

    world.keys.dies.store(false, SeqCst);
    world.keyring.provision(ADA).await.unwrap();
    world.keyring.open(ADA, PURPOSE).await.unwrap();
    assert_eq!(world.shares.memory.len(), 2);
    // An orphan is no second share of the key that there is.
    let record = world.keys.load(&ADA.canonical()).await.unwrap().unwrap();
    let crate::DekBlob::Wrapped(wrapped) = record.deks()[0].blob() else {
        panic!("the newest is wrapped")
    };
    let used = wrapped.as_bytes()[1..17].try_into().unwrap();
    let ada = ADA.canonical();
    world.shares.memory.remove(&ada, ShareId::from_bytes(used));
    let opened = world.keyring.open(ADA, PURPOSE).await;
    assert!(
        matches!(opened, Err(SessionError::Kms(KmsError::NoShare))),
        "{opened:?}"
    );
    world.shares.destroy_all(&ada).await.unwrap();
    assert!(world.shares.memory.is_empty());
}

#[tokio::test]
async fn of_many_sign_ups_at_once_one_key_stays_and_opens() {
    let world = World::new();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let keyring = world.keyring.clone();
            tokio::spawn(async move { keyring.provision(ADA).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    world.keyring.open(ADA, PURPOSE).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_out_of_reach_delays_and_a_share_that_is_gone_ends() {
    let world = World::new();
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    world.outcomes();
    world.shares.is_down.store(true, SeqCst);
    let refreshed = session.refresh().await;
    assert!(
        matches!(
            refreshed,
            Err(SessionError::Kms(KmsError::Shares(
                ShareStoreError::Unavailable { .. }
            )))
        ),
        "{refreshed:?}"
    );
    assert_eq!(session.ended(), None, "it goes on until its time to live");
    assert_eq!(world.outcomes(), [KmsResult::Unavailable; 3]);
    let no_sign_up = world.keyring.provision("ben").await;
    assert!(
        matches!(no_sign_up, Err(ProvisionError::Kms(KmsError::Shares(_)))),
        "{no_sign_up:?}"
    );
    assert!(world.keys.load(&"ben".canonical()).await.unwrap().is_none());
    world.outcomes();

    world.shares.is_down.store(false, SeqCst);
    world.shares.hangs.store(true, SeqCst);
    let refreshed = session.refresh().await;
    assert!(
        matches!(refreshed, Err(SessionError::Kms(KmsError::Shares(_)))),
        "{refreshed:?}"
    );
    assert_eq!(world.outcomes(), [KmsResult::Unavailable; 3]);
    world.shares.hangs.store(false, SeqCst);
    world.shares.destroy_all(&ADA.canonical()).await.unwrap();
    let refreshed = session.refresh().await;
    assert!(
        matches!(refreshed, Err(SessionError::Shredded)),
        "{refreshed:?}"
    );
    assert_eq!(session.ended(), Some(NoSession::Shredded));
    assert_eq!(world.outcomes(), [KmsResult::Refused], "asked once");
}

/// Whatever is destroyed first, the other alone opens nothing.
#[tokio::test]
async fn either_share_is_enough_to_destroy_the_key() {
    let world = World::new();
    world.keyring.provision(ADA).await.unwrap();
    let record = world.keys.load(&ADA.canonical()).await.unwrap().unwrap();
    world.keyring.shred(ADA).await.unwrap();
    assert!(!world.shares.memory.is_empty());
    let opened = world.keyring.open(ADA, PURPOSE).await;
    assert!(matches!(opened, Err(SessionError::Shredded)), "{opened:?}");

    // The database was put back, and nobody looks at the ledger.
    let ada = ADA.canonical();
    world.keys.memory.forget(&ada);
    let (dek, index_key) = (&record.deks()[0], &record.index_keys()[0]);
    let restored = world.keys.memory.insert_if_absent(&ada, dek, index_key);
    restored.await.unwrap();
    world.keyring.open(ADA, PURPOSE).await.unwrap(); // the negative control
    world.shares.destroy_all(&ADA.canonical()).await.unwrap();
    let opened = world.keyring.open(ADA, PURPOSE).await;
    assert!(matches!(opened, Err(SessionError::Shredded)), "{opened:?}");
    // Nor is it given keys where the database does not know it at all.
    world.keys.memory.forget(&ada);
    let again = world.keyring.provision(ADA).await;
    assert!(matches!(again, Err(ProvisionError::Shredded)), "{again:?}");
    let restored = world.keys.memory.insert_if_absent(&ada, dek, index_key);
    restored.await.unwrap();
    let one_piece = Keyring::builder()
        .kms(Arc::clone(&world.local))
        .key_store(Arc::clone(&world.keys))
        .build()
        .unwrap();
    let opened = one_piece.open(ADA, PURPOSE).await;
    assert!(
        matches!(opened, Err(SessionError::Kms(KmsError::Refused { .. }))),
        "{opened:?}"
    );
}

#[tokio::test]
async fn a_shred_destroys_the_second_share_and_the_receipt_waits_for_it() {
    let world = World::new();
    let keys = Arc::new(MemoryKeyStore::new());
    let kms = || TwoShareKms::new(Arc::clone(&world.local), Arc::clone(&world.shares));
    let keyring = Keyring::builder().kms(kms()).key_store(Arc::clone(&keys));
    let keyring = keyring.build().unwrap();
    for owner in [ADA, "ben"] {
        keyring.provision(owner).await.unwrap();
    }
    let day = core::time::Duration::from_secs(24 * 3600);
    let shredder = Shredder::builder(Arc::clone(&keys), ledger());
    let shredder = shredder.shares(Arc::clone(&world.shares), day).build();
    keyring.shred(ADA).await.unwrap();

    world.shares.is_down.store(true, SeqCst);
    let worked = shredder.work().await.unwrap();
    assert_eq!((worked.done, worked.failed), (0, 1));
    let shred = crate::ShredStore::shreds_of(&*keys, &[ADA.canonical()]).await;
    let shred = shred.unwrap().remove(0);
    assert!(shred.appended_at.is_some() && shred.done_at.is_none());
    assert!(shred.tombstoned_at.is_some(), "nothing else waits for it");
    assert!(shred.failure.unwrap().contains("second shares"));
    let receipt = shredder.receipt(ADA).await;
    assert!(
        matches!(receipt, Err(ReceiptError::Shares(_))),
        "{receipt:?}"
    );
    world.shares.is_down.store(false, SeqCst);
    let receipt = shredder.receipt(ADA).await.unwrap();
    assert_eq!(
        (receipt.shares_destroyed_at, receipt.shares_from),
        (None, None)
    );
    let text = receipt.to_string();
    assert!(
        text.contains("not done second shares of DEKs destroyed, if there were any\n"),
        "{text}"
    );
    assert!(!text.contains("\nshares "), "{text}");

    let ada = ADA.canonical();
    crate::ShredStore::postpone(&*keys, &ada, core::time::Duration::ZERO, "")
        .await
        .unwrap();
    world.shares.comes_late.store(true, SeqCst);
    let worked = shredder.work().await.unwrap();
    assert_eq!((worked.done, worked.failed), (0, 1), "one is there");
    crate::ShredStore::postpone(&*keys, &ada, core::time::Duration::ZERO, "")
        .await
        .unwrap();
    assert_eq!(shredder.work().await.unwrap().done, 1);
    let receipt = shredder.receipt(ADA).await.unwrap();
    let destroyed = receipt.shares_destroyed_at.unwrap();
    assert_eq!(
        receipt.shares_from,
        Some(destroyed.max(receipt.live_from) + 24 * 3600 * 1_000_000)
    );
    assert!(receipt.shares_from.unwrap() < receipt.backups_from);
    let text = receipt.to_string();
    assert!(
        text.contains(": second shares of DEKs destroyed, if there were any\n"),
        "{text}"
    );
    assert!(text.contains("\nshares   "), "{text}");
    assert_eq!(world.shares.memory.len(), 1, "Ben's");
    keyring.open("ben", PURPOSE).await.unwrap();

    // The share store is put back to before the shred. The key store has no first share; a backup of it may.
    let share = Share::make().unwrap();
    world.shares.memory.come_back(&ADA.canonical(), share);
    let receipt = shredder.receipt(ADA).await.unwrap();
    assert_eq!(receipt.shares_destroyed_at, None, "it says what is so");
    // One whom no ledger knows yet holds up nobody.
    keyring.provision("abe").await.unwrap();
    keyring.shred("abe").await.unwrap();
    assert_eq!(shredder.destroy_shares_again().await.unwrap(), 1);
    assert!(
        shredder
            .receipt(ADA)
            .await
            .unwrap()
            .shares_destroyed_at
            .is_some()
    );
    assert_eq!(world.shares.memory.len(), 2, "Ben's, and Abe's still");
    let without = Shredder::builder(keys, ledger()).build();
    assert!(
        without.destroy_shares_again().await.is_err(),
        "not in its ledger"
    );
}
