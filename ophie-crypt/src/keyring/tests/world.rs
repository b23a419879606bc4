//! A keyring whose KMS and key store count their calls, on a clock that can jump.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};

use async_trait::async_trait;

use super::super::{fill, *};
use crate::{
    audit::{AuditError, AuditEvent, AuditSink},
    hazmat::data_key::{DataKey, Dek},
    kms::{EncryptionContext, GeneratedDek, KmsCall, KmsError, LocalKms, WrappedDek},
    passed_on::pass_on,
    store::{
        DekBlob, DekRecord, DekState, IndexKeyRecord, Lease, MemoryKeyStore, OwnerRecord,
        StoreError,
    },
};

pub(super) const ADA: &str = "ada";
pub(super) const PURPOSE: Purpose = Purpose::new("test");

pub(super) struct World {
    pub(super) keyring: Keyring,
    pub(super) clock: Clock,
    pub(super) kms: Arc<CountingKms>,
    pub(super) store: Arc<CountingStore>,
    pub(super) audit: Arc<Events>,
}

pub(super) struct CountingKms {
    local: LocalKms,
    pub(super) calls: AtomicUsize,
    pub(super) is_down: AtomicBool,
    pub(super) refuses: AtomicBool,
    pub(super) hangs: AtomicBool,
    /// Unwraps under way, and how many there ever were at once.
    asking: AtomicUsize,
    pub(super) most_asking: AtomicUsize,
    /// Happens while it is asked to unwrap.
    pub(super) meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

#[derive(Default)]
pub(super) struct CountingStore {
    pub(super) memory: MemoryKeyStore,
    pub(super) calls: AtomicUsize,
    pub(super) leases: AtomicUsize,
    pub(super) is_down: AtomicBool,
    /// The connection breaks after the next insert was committed.
    pub(super) breaks_at_commit: AtomicBool,
    pub(super) leases_hang: AtomicBool,
    /// Happens before the next insert.
    pub(super) before_insert: Mutex<Option<BoxFuture>>,
    /// What the next read saw is told only then; `has_read` says that it has read.
    pub(super) tells_late: Mutex<Option<tokio::sync::oneshot::Receiver<()>>>,
    pub(super) has_read: tokio::sync::Notify,
}

type BoxFuture = core::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Default)]
pub(super) struct Events {
    pub(super) seen: Mutex<Vec<AuditEvent>>,
    pub(super) is_down: AtomicBool,
    pub(super) takes_ms: AtomicU64,
}

impl World {
    pub(super) fn new(set: impl FnOnce(KeyringBuilder) -> KeyringBuilder) -> Self {
        let clock = Clock::default();
        let kms = Arc::new(CountingKms {
            local: LocalKms::ephemeral().unwrap(),
            calls: AtomicUsize::new(0),
            is_down: AtomicBool::new(false),
            refuses: AtomicBool::new(false),
            hangs: AtomicBool::new(false),
            asking: AtomicUsize::new(0),
            most_asking: AtomicUsize::new(0),
            meanwhile: Mutex::default(),
        });
        let store = Arc::new(CountingStore {
            memory: MemoryKeyStore::with_clock(clock.clone()),
            ..CountingStore::default()
        });
        let audit = Arc::new(Events::default());
        let builder = Keyring::builder()
            .kms(Arc::clone(&kms))
            .key_store(Arc::clone(&store))
            .audit(Arc::clone(&audit))
            .clock(clock.clone());
        Self {
            keyring: set(builder).build().unwrap(),
            clock,
            kms,
            store,
            audit,
        }
    }

    /// Another process on the same keys.
    pub(super) fn another(&self, set: impl FnOnce(KeyringBuilder) -> KeyringBuilder) -> Keyring {
        let builder = Keyring::builder()
            .kms(Arc::clone(&self.kms))
            .key_store(Arc::clone(&self.store));
        set(builder).build().unwrap()
    }

    /// Calls of the KMS and of the key store since the last look.
    pub(super) fn calls(&self) -> (usize, usize) {
        (
            self.kms.calls.swap(0, SeqCst),
            self.store.calls.swap(0, SeqCst),
        )
    }

    /// An owner's record with a second generation: the first was generation 1.
    pub(super) async fn second_generation(
        &self,
        owner: &CanonicalId,
        first: DekState,
        second: DekState,
    ) -> OwnerRecord {
        let old = self.store.memory.load(owner).await.unwrap().unwrap();
        let dek = old.newest().unwrap();
        let DekBlob::Wrapped(wrapped) = dek.blob() else {
            panic!("the first generation is wrapped")
        };
        let context =
            |generation| KmsCall::new(EncryptionContext::new("ophie-crypt", owner, generation));
        let old_dek = self
            .kms
            .local
            .unwrap_dek(wrapped, &context(1))
            .await
            .unwrap();
        let made = self.kms.local.make_dek(&context(2)).await.unwrap();
        let key = DataKey::derive(&made.dek);
        let index_key = fill::make_index_key(&key, owner);
        let sealed = fill::seal_older(&key, owner, 1, &old_dek).unwrap();
        OwnerRecord::living(
            old.version() + 1,
            [
                DekRecord::new(2, second, *key.id(), DekBlob::Wrapped(made.wrapped)),
                DekRecord::new(1, first, dek.key_id(), DekBlob::Sealed(sealed)),
            ],
            [IndexKeyRecord::new(1, *key.id(), index_key)],
        )
    }

    /// Waits until `done`, while the keyring's tasks run.
    pub(super) async fn until(&self, done: impl Fn() -> bool) {
        for _ in 0..2000 {
            if done() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("it did not happen");
    }
}

impl CountingKms {
    fn check(&self) -> Result<(), KmsError> {
        self.calls.fetch_add(1, SeqCst);
        if self.is_down.load(SeqCst) {
            return Err(KmsError::unavailable("down"));
        }
        if self.refuses.load(SeqCst) {
            return Err(KmsError::refused("no"));
        }
        Ok(())
    }
}

/// One unwrap, also one that is cut short.
struct Asking<'a>(&'a CountingKms);

impl<'a> Asking<'a> {
    fn of(kms: &'a CountingKms) -> Self {
        let now = kms.asking.fetch_add(1, SeqCst) + 1;
        kms.most_asking.fetch_max(now, SeqCst);
        Self(kms)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, SeqCst);
    }
}

#[async_trait]
impl Kms for CountingKms {
    pass_on!(local: rewrap_dek, holds);

    async fn make_dek(&self, call: &KmsCall) -> Result<GeneratedDek, KmsError> {
        self.check()?;
        self.local.make_dek(call).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, call: &KmsCall) -> Result<Dek, KmsError> {
        self.check()?;
        let _asking = Asking::of(self);
        if self.hangs.load(SeqCst) {
            core::future::pending::<()>().await;
        }
        if let Some(happens) = self.meanwhile.lock().unwrap().take() {
            happens();
            if self.refuses.load(SeqCst) {
                return Err(KmsError::refused("no longer"));
            }
        }
        call.note_request_id("request");
        self.local.unwrap_dek(wrapped, call).await
    }
}

impl CountingStore {
    fn check(&self) -> Result<(), StoreError> {
        self.calls.fetch_add(1, SeqCst);
        if self.is_down.load(SeqCst) {
            return Err(StoreError::unavailable("down"));
        }
        Ok(())
    }
}

#[async_trait]
impl KeyStore for CountingStore {
    async fn load(&self, owner: &CanonicalId) -> Result<Option<OwnerRecord>, StoreError> {
        self.check()?;
        let read = self.memory.load(owner).await;
        let late = self.tells_late.lock().unwrap().take();
        if let Some(late) = late {
            self.has_read.notify_one();
            late.await.unwrap();
        }
        read
    }

    async fn insert_if_absent(
        &self,
        owner: &CanonicalId,
        dek: &DekRecord,
        index_key: &IndexKeyRecord,
    ) -> Result<(), StoreError> {
        self.check()?;
        let before = self.before_insert.lock().unwrap().take();
        if let Some(before) = before {
            before.await;
        }
        self.memory.insert_if_absent(owner, dek, index_key).await?;
        if self.breaks_at_commit.swap(false, SeqCst) {
            return Err(StoreError::unavailable("the connection broke"));
        }
        Ok(())
    }

    async fn version(&self, owner: &CanonicalId) -> Result<Option<u64>, StoreError> {
        self.check()?;
        self.memory.version(owner).await
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Lease, LeaseError> {
        self.check()?;
        self.leases.fetch_add(1, SeqCst);
        if self.leases_hang.load(SeqCst) {
            core::future::pending::<()>().await;
        }
        self.memory.lease(request).await
    }

    async fn changes(&self, within: Duration) -> Result<Vec<(CanonicalId, u64)>, StoreError> {
        if self.is_down.load(SeqCst) {
            return Err(StoreError::unavailable("down"));
        }
        self.memory.changes(within).await
    }

    async fn shred(&self, owner: &CanonicalId) -> Result<Option<crate::ShredId>, StoreError> {
        self.check()?;
        self.memory.shred(owner).await
    }
}

#[async_trait]
impl AuditSink for Events {
    async fn record(&self, event: &AuditEvent) -> Result<(), AuditError> {
        let takes = self.takes_ms.load(SeqCst);
        if takes > 0 {
            tokio::time::sleep(Duration::from_millis(takes)).await;
        }
        if self.is_down.load(SeqCst) {
            return Err(AuditError::unavailable("down"));
        }
        self.seen.lock().unwrap().push(event.clone());
        Ok(())
    }
}
