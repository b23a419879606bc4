//! Sessions of one owner in every state that a hook can meet, and one of another owner.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use ophie_crypt::{
    BoundColumn, ColumnRef, Dek, KeyStore, Keyring, Kms, KmsCall, KmsError, LocalKms,
    MemoryKeyStore, NoSession, OwnerId, Purpose, Session, WrappedDek,
};

use crate::passed_on::pass_on;

pub(crate) const ALICE: i64 = 11;
const BOB: i64 = 22;
const PURPOSE: Purpose = Purpose::new("tests");
/// One lease, and the index key.
const FEW: u64 = 4096 + 1;

pub(crate) struct Sessions {
    pub(crate) alice: Session,
    pub(crate) bob: Session,
    pub(crate) read_only: Session,
    /// Each for its reason; without one for none.
    pub(crate) ended: Vec<(NoSession, Option<Session>)>,
    /// There will be one lease and no other.
    pub(crate) few: Session,
    /// Of an owner with two index keys.
    pub(crate) two_keys: Session,
}

/// A KMS that may take its consent back.
struct Fickle {
    kms: LocalKms,
    refuses: std::sync::atomic::AtomicBool,
}

#[async_trait]
impl Kms for Fickle {
    pass_on!(kms: make_dek, rewrap_dek, holds);

    async fn unwrap_dek(&self, wrapped: &WrappedDek, call: &KmsCall) -> Result<Dek, KmsError> {
        if self.refuses.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(KmsError::refused("access denied"));
        }
        self.kms.unwrap_dek(wrapped, call).await
    }
}

impl Sessions {
    pub(crate) async fn open() -> Self {
        let kms = Arc::new(Fickle {
            kms: LocalKms::ephemeral().unwrap(),
            refuses: false.into(),
        });
        let store = Arc::new(MemoryKeyStore::new());
        let builder = || {
            Keyring::builder()
                .kms(Arc::clone(&kms))
                .key_store(Arc::clone(&store))
        };
        let keyring = builder().build().unwrap();
        let of = async |keyring: &Keyring, owner: i64| {
            let opened = keyring.open_or_provision(&owner, PURPOSE).await;
            opened.unwrap()
        };
        let alice = of(&keyring, ALICE).await;
        let bob = of(&keyring, BOB).await;
        let read_only = keyring.open_read_only(&ALICE, PURPOSE).await.unwrap();

        let closed = of(&keyring, ALICE).await;
        closed.close();
        let short = builder().ttl(Duration::from_nanos(1)).build().unwrap();
        let expired = of(&short, ALICE).await;
        let revoked = of(&builder().build().unwrap(), ALICE).await;
        kms.refuses
            .store(true, std::sync::atomic::Ordering::Relaxed);
        revoked.refresh().await.unwrap_err();
        kms.refuses
            .store(false, std::sync::atomic::Ordering::Relaxed);

        Self {
            alice,
            bob,
            read_only,
            ended: vec![
                (NoSession::Absent, None),
                (NoSession::Closed, Some(closed)),
                (NoSession::Expired, Some(expired)),
                (NoSession::Revoked, Some(revoked)),
                (NoSession::Shredded, Some(shredded().await)),
            ],
            few: few().await,
            two_keys: two_keys().await,
        }
    }
}

/// In a key store of its own, as nothing brings keys back.
async fn shredded() -> Session {
    let store = Arc::new(MemoryKeyStore::new());
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().unwrap())
        .key_store(Arc::clone(&store))
        .build()
        .unwrap();
    let session = keyring.open_or_provision(&ALICE, PURPOSE).await.unwrap();
    store.shred(&ALICE.canonical()).await.unwrap();
    session.refresh().await.unwrap_err();
    session
}

async fn few() -> Session {
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().unwrap())
        .key_store(MemoryKeyStore::new())
        .max_invocations(FEW)
        .build()
        .unwrap();
    keyring.open_or_provision(&ALICE, PURPOSE).await.unwrap()
}

async fn two_keys() -> Session {
    let store = Arc::new(MemoryKeyStore::new());
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().unwrap())
        .key_store(Arc::clone(&store))
        .build()
        .unwrap();
    keyring.provision(&ALICE).await.unwrap();
    ophie_crypt_tests::keys::announce_index_key(&keyring, store, &ALICE).await;
    keyring.open(&ALICE, PURPOSE).await.unwrap()
}

/// Uses the lease up. Until the caller awaits something, no task can have asked for another.
pub(crate) fn spend(session: &Session) {
    enum Spent {}
    impl BoundColumn for Spent {
        const COLUMN: ColumnRef = ColumnRef::new("things", "spent");
    }
    let value = ophie_crypt_sqlx::Encrypted::<i64, Spent>::new(1_i64);
    let mut sealed = 0_u64;
    while value.seal(session).is_ok() {
        sealed = sealed.saturating_add(1);
    }
    assert!(sealed > 0, "there was a lease");
}
