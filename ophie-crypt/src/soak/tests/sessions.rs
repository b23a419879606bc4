//! Keys of many owners: which are kept, and how they are fetched.

use core::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::{sync::Barrier, time::timeout};

use super::table::World;
use crate::{
    GeneratedDek, Keyring,
    clock::Clock,
    hazmat::aead::Nonce,
    kms::{Kms, KmsCall, KmsError, LocalKms},
    owner::{CanonicalId, OwnerId},
    passed_on::pass_on,
    plaintext::Codec,
    rotation::Rotation,
    session::Purpose,
    soak::{
        SoakState,
        sessions::{Keys, Sessions},
    },
    store::{ANNOUNCED_FOR, MemoryKeyStore, RotationStore as _, Step, StepTo},
};

const PURPOSE: Purpose = Purpose::new("tests");

fn owners<const N: usize>() -> [CanonicalId; N] {
    core::array::from_fn(|n| format!("owner {n}").canonical())
}

#[tokio::test]
async fn a_job_keeps_the_sessions_that_it_opened() {
    let world = World::new(SoakState::Sealed).await;
    let mut sessions = Sessions::new(&world.soaker.keyring, true);
    let [ada, ben] = owners();
    assert!(sessions.open_all([&ada, &ada], 0).await.unwrap());
    assert!(sessions.open_all([&ada, &ben], 0).await.unwrap());
    assert!(!sessions.open_all([&ada, &ben], 0).await.unwrap());

    // More than a session has by itself.
    assert!(!sessions.open_all([&ada], 100_000).await.unwrap());
    let open = sessions.snapshot();
    let pinned = open[&ada].session().unwrap().pin().unwrap();
    pinned.spend(100_000, super::NAME).unwrap();
}

/// A job may go on for longer than its sessions do.
#[tokio::test]
async fn a_session_that_ended_is_not_the_owners_any_more() {
    let world = World::new(SoakState::Verify).await;
    let mut sessions = Sessions::new(&world.soaker.keyring, false);
    let ada = "ada".canonical();
    assert!(sessions.open(&ada, 1).await.unwrap());
    world.soaker.keyring.shred("ada").await.unwrap();
    assert!(!sessions.open(&ada, 1).await.unwrap());
    assert!(matches!(sessions.keys(&ada), Some(Keys::Shredded)));
}

/// Where they are too many, those stay that were asked for just now, also if they were known before.
#[tokio::test]
async fn what_was_asked_for_is_kept() {
    let world = World::new(SoakState::Backfill).await;
    let mut sessions = Sessions::new(&world.soaker.keyring, true).most(3);
    let all: [CanonicalId; 5] = owners();
    let kept = |sessions: &Sessions| all.each_ref().map(|owner| sessions.keys(owner).is_some());
    sessions.open_all(&all[..3], 0).await.unwrap();
    assert_eq!(kept(&sessions), [true, true, true, false, false]);
    sessions.open_all(&all[1..4], 0).await.unwrap();
    assert_eq!(kept(&sessions), [false, true, true, true, false]);
    sessions.open(&all[4], 0).await.unwrap();
    assert_eq!(kept(&sessions), [false, false, false, false, true]);
    sessions.open_all(&all, 0).await.unwrap();
    assert_eq!(kept(&sessions), [true; 5], "at once, there may be more");
}

/// It answers once so many have asked.
struct Together {
    kms: LocalKms,
    asking: Barrier,
    at_once: AtomicUsize,
    most: AtomicUsize,
}

#[async_trait]
impl Kms for Together {
    async fn make_dek(&self, call: &KmsCall) -> Result<GeneratedDek, KmsError> {
        let at_once = self.at_once.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(at_once, SeqCst);
        self.asking.wait().await;
        self.at_once.fetch_sub(1, SeqCst);
        self.kms.make_dek(call).await
    }

    pass_on!(kms: unwrap_dek, rewrap_dek, holds);
}

#[tokio::test(start_paused = true)]
async fn keys_of_several_owners_are_fetched_at_a_time() {
    let kms = Arc::new(Together {
        kms: LocalKms::ephemeral().unwrap(),
        asking: Barrier::new(8),
        at_once: AtomicUsize::default(),
        most: AtomicUsize::default(),
    });
    let keyring = Keyring::builder()
        .kms(Arc::clone(&kms))
        .key_store(MemoryKeyStore::new())
        .build()
        .unwrap();
    let mut sessions = Sessions::new(&keyring, true);
    let all: [CanonicalId; 16] = owners();
    let opened = timeout(Duration::from_secs(1), sessions.open_all(&all, 0)).await;
    assert!(opened.unwrap().unwrap());
    assert_eq!(kms.most.load(SeqCst), 8);
}

/// As a rotation has it that goes on beside a job.
#[tokio::test]
async fn what_seals_no_more_is_fetched_anew() {
    let (clock, kms) = (Clock::default(), Arc::new(LocalKms::ephemeral().unwrap()));
    let keys = Arc::new(MemoryKeyStore::with_clock(clock.clone()));
    let [ours, theirs] = [1, 2].map(|_| {
        let builder = Keyring::builder()
            .kms(Arc::clone(&kms))
            .key_store(Arc::clone(&keys));
        builder.clock(clock.clone()).build().unwrap()
    });
    let mut sessions = Sessions::new(&ours, true);
    let ada = "ada".canonical();
    assert!(sessions.open(&ada, 1).await.unwrap());
    let models = Arc::clone(&World::new(SoakState::Backfill).await.table);
    let rotation = Rotation::new(theirs, Arc::clone(&keys), models);
    let generation = rotation.begin(&ada).await.unwrap();
    clock.pass(ANNOUNCED_FOR);
    let seals = Step::new(ada.clone(), generation, StepTo::Sealing);
    keys.step(&seals).await.unwrap();
    assert!(sessions.open(&ada, 100_000).await.unwrap());
}

/// Ada is at the hard stop of her DEK; her row has its plaintext, and is not sealed anew.
#[tokio::test]
async fn who_seals_no_more_is_in_nobodys_way() {
    let world = World::new(SoakState::Sealed).await;
    let (right, mut other) = (
        world.row("1", Some("Mom"), Some("Mom")),
        world.row("2", None, Some("Dad")),
    );
    let ben = world.soaker.keyring.open_or_provision("ben", PURPOSE).await;
    let pinned = ben.unwrap().pin().unwrap();
    let sealed = pinned
        .keys()
        .seal_bytes(&super::NAME, Codec::TEXT, b"Dad", Nonce::make());
    (other.owner, other.sealed) = ("ben".canonical(), Some(sealed.unwrap()));
    world.put([right, other]);
    let mut count = 1 << 26;
    while count > 0 {
        match world.session.reserve(count).await {
            Ok(()) => {
                let left = world.session.budget().unwrap().left();
                world
                    .session
                    .pin()
                    .unwrap()
                    .spend(left, super::NAME)
                    .unwrap();
            }
            Err(_) => count /= 2,
        }
    }
    assert_eq!(
        world
            .soaker
            .decrypt_back("people", "name_ct")
            .await
            .unwrap(),
        1
    );
}
