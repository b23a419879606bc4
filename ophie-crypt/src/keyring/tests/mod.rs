//! One unwrap for overlapping sessions, and no key that outlives them.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use async_trait::async_trait;
use tokio::sync::Semaphore;

mod audits;
mod leases;
mod life;
mod shreds;
mod stands_still;
mod states;
mod upkeep;
mod world;

use self::world::{ADA, World};
use super::*;
use crate::{
    hazmat::data_key::Dek,
    kms::{KmsCall, KmsError, LocalKms, WrappedDek},
    passed_on::pass_on,
    store::MemoryKeyStore,
};

const PURPOSE: Purpose = Purpose::new("test");

/// Counts unwraps; each waits for a permit.
struct Gate {
    kms: LocalKms,
    unwraps: AtomicUsize,
    permits: Semaphore,
}

impl Gate {
    fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            kms: LocalKms::ephemeral().unwrap(),
            unwraps: AtomicUsize::new(0),
            permits: Semaphore::new(permits),
        })
    }
}

#[async_trait]
impl Kms for Gate {
    pass_on!(kms: make_dek, rewrap_dek, holds);

    async fn unwrap_dek(&self, wrapped: &WrappedDek, call: &KmsCall) -> Result<Dek, KmsError> {
        self.unwraps.fetch_add(1, SeqCst);
        self.permits.acquire().await.unwrap().forget();
        self.kms.unwrap_dek(wrapped, call).await
    }
}

fn keyring(kms: impl Kms, ttl: Duration) -> Keyring {
    Keyring::builder()
        .kms(kms)
        .key_store(MemoryKeyStore::new())
        .ttl(ttl)
        .build()
        .unwrap()
}

#[tokio::test]
async fn sessions_that_overlap_share_one_unwrap() {
    let gate = Gate::new(2);
    let keyring = keyring(Arc::clone(&gate), Keyring::MAX_TTL);
    keyring.provision("ada").await.unwrap();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let keyring = keyring.clone();
            tokio::spawn(async move { keyring.open("ada", PURPOSE).await.unwrap() })
        })
        .collect();
    let mut sessions = Vec::new();
    for task in tasks {
        sessions.push(task.await.unwrap());
    }
    assert_eq!(gate.unwraps.load(SeqCst), 1);

    sessions.pop().unwrap().close();
    assert!(
        sessions.iter().all(|session| session.ended().is_none()),
        "closing one ended another"
    );
    drop(sessions);
    keyring.open("ada", PURPOSE).await.unwrap();
    assert_eq!(
        gate.unwraps.load(SeqCst),
        2,
        "the key outlived its last session"
    );
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_nothing() {
    let gate = Gate::new(0);
    let keyring = keyring(Arc::clone(&gate), Keyring::MAX_TTL);
    keyring.provision("ada").await.unwrap();
    let first = {
        let keyring = keyring.clone();
        tokio::spawn(async move { keyring.open("ada", PURPOSE).await })
    };
    while gate.unwraps.load(SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let second = {
        let keyring = keyring.clone();
        tokio::spawn(async move { keyring.open("ada", PURPOSE).await })
    };
    tokio::task::yield_now().await;
    first.abort();
    gate.permits.add_permits(1);
    second.await.unwrap().unwrap();
    assert_eq!(gate.unwraps.load(SeqCst), 1);
}

/// Another's read is under way that began before the owner was there.
#[tokio::test]
async fn whoever_was_provisioned_is_opened_beside_a_read_of_before() {
    for read_only in [false, true] {
        let world = World::new(|builder| builder);
        let (tell, late) = tokio::sync::oneshot::channel();
        let (store, keyring) = (Arc::clone(&world.store), world.keyring.clone());
        *world.store.before_insert.lock().unwrap() = Some(Box::pin(async move {
            *store.tells_late.lock().unwrap() = Some(late);
            tokio::spawn(async move { keyring.open(ADA, PURPOSE).await });
            store.has_read.notified().await;
        }));
        let keyring = world.keyring.clone();
        let opening = tokio::spawn(async move {
            keyring.provision(ADA).await?;
            match read_only {
                false => Ok::<_, ProvisionError>(keyring.open(ADA, PURPOSE).await?),
                true => Ok(keyring.open_read_only(ADA, PURPOSE).await?),
            }
        });
        let ada = ADA.canonical();
        while world.store.memory.load(&ada).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        for _ in 0..1_000 {
            tokio::task::yield_now().await; // it joins
        }
        tell.send(()).unwrap();
        opening.await.unwrap().unwrap();
        assert_eq!(world.store.leases.load(SeqCst), usize::from(!read_only));
    }
}

#[tokio::test]
async fn a_failure_is_not_remembered_and_a_panic_is_an_error() {
    struct Panics(LocalKms, AtomicUsize);
    #[async_trait]
    impl Kms for Panics {
        pass_on!(0: make_dek, rewrap_dek, holds);

        async fn unwrap_dek(&self, wrapped: &WrappedDek, call: &KmsCall) -> Result<Dek, KmsError> {
            assert!(self.1.fetch_add(1, SeqCst) >= 2, "on purpose");
            self.0.unwrap_dek(wrapped, call).await
        }
    }
    let kms = Panics(LocalKms::ephemeral().unwrap(), AtomicUsize::new(0));
    let keyring = keyring(kms, Keyring::MAX_TTL);
    assert!(matches!(
        keyring.open("ada", PURPOSE).await,
        Err(SessionError::UnknownOwner)
    ));
    keyring.provision("ada").await.unwrap();
    for _ in 0..2 {
        assert!(matches!(
            keyring.open("ada", PURPOSE).await,
            Err(SessionError::Interrupted)
        ));
    }
    keyring.open("ada", PURPOSE).await.unwrap();
}

#[tokio::test]
async fn an_empty_owner_is_refused() {
    let keyring = keyring(LocalKms::ephemeral().unwrap(), Keyring::MAX_TTL);
    assert!(matches!(
        keyring.provision("").await,
        Err(ProvisionError::EmptyOwner)
    ));
    assert!(matches!(
        keyring.open("", PURPOSE).await,
        Err(SessionError::EmptyOwner)
    ));
}

#[tokio::test]
async fn an_owner_that_is_too_long_is_refused() {
    let keyring = keyring(LocalKms::ephemeral().unwrap(), Keyring::MAX_TTL);
    let longest = "x".repeat(CanonicalId::MAX_LEN - 1);
    keyring.open_or_provision(&longest, PURPOSE).await.unwrap();
    let longer = longest + "x";
    let provisioned = keyring.provision(&longer).await;
    assert!(matches!(provisioned, Err(ProvisionError::LongOwner)));
    for opened in [
        keyring.open(&longer, PURPOSE).await,
        keyring.break_glass(&longer, PURPOSE, "a reason").await,
    ] {
        assert!(matches!(opened, Err(SessionError::LongOwner)), "{opened:?}");
    }
}

#[tokio::test]
async fn what_broke_while_it_committed_is_provisioned_by_another_call() {
    let world = World::new(|builder| builder);
    world.store.breaks_at_commit.store(true, SeqCst);
    let broke = world.keyring.provision(ADA).await;
    assert!(matches!(broke, Err(ProvisionError::Store(_))), "{broke:?}");
    let stored = world.store.memory.load(&ADA.canonical()).await.unwrap();
    assert!(stored.is_some(), "it was committed");

    world.keyring.provision(ADA).await.unwrap();
    let kept = world.store.memory.load(&ADA.canonical()).await.unwrap();
    assert_eq!(stored, kept, "and nothing takes its place");
    world.keyring.open(ADA, PURPOSE).await.unwrap();
}

#[test]
fn a_time_to_live_out_of_range_is_refused() {
    for ttl in [Duration::ZERO, Keyring::MAX_TTL + Duration::from_nanos(1)] {
        let built = Keyring::builder()
            .kms(LocalKms::ephemeral().unwrap())
            .key_store(MemoryKeyStore::new())
            .ttl(ttl)
            .build();
        assert_eq!(built.unwrap_err(), BuildError::Ttl);
    }
}
