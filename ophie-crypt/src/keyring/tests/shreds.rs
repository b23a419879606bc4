//! The end of an owner's keys in the process that asks for it.

use core::task::{Context, Waker};
use std::sync::atomic::Ordering::SeqCst;

use super::{
    super::*,
    world::{ADA, PURPOSE, World},
};
use crate::{error::NoSession, kms::KmsError};

#[tokio::test]
async fn sessions_of_this_process_end_at_once() {
    let world = World::new(|builder| builder.linger(Duration::from_secs(60)));
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    let ben = world
        .keyring
        .open_or_provision("ben", PURPOSE)
        .await
        .unwrap();
    world.calls();
    let id = world.keyring.shred(ADA).await.unwrap();
    assert_eq!(session.ended(), Some(NoSession::Shredded));
    assert_eq!(world.calls().0, 0, "no key was unwrapped for it");
    let opened = world.keyring.open(ADA, PURPOSE).await;
    assert!(matches!(opened, Err(SessionError::Shredded)), "{opened:?}");
    let again = world.keyring.provision(ADA).await;
    assert!(matches!(again, Err(ProvisionError::Shredded)), "{again:?}");
    assert_eq!(world.keyring.shred(ADA).await.unwrap(), id);
    assert_eq!(ben.ended(), None);
}

#[tokio::test]
async fn keys_that_linger_go_too() {
    let world = World::new(|builder| builder.linger(Duration::from_secs(60)));
    drop(world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap());
    let entry = world.keyring.0.entry(ADA.canonical()).unwrap();
    assert!(entry.slot.held.pin().is_ok(), "they linger");
    world.keyring.shred(ADA).await.unwrap();
    assert!(entry.slot.held.pin().is_err());
}

#[tokio::test]
async fn an_owner_who_is_unknown_or_a_store_that_is_down() {
    let world = World::new(|builder| builder);
    let unknown = world.keyring.shred("nobody").await;
    assert!(
        matches!(unknown, Err(ShredError::UnknownOwner)),
        "{unknown:?}"
    );
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    world.store.is_down.store(true, SeqCst);
    let down = world.keyring.shred(ADA).await;
    assert!(matches!(down, Err(ShredError::Store(_))), "{down:?}");
    assert_eq!(session.ended(), None, "nobody was shredded");
}

/// What refuses then, a second share that is gone say, does so because of it.
#[tokio::test]
async fn an_owner_who_is_shredded_while_the_kms_refuses_is_shredded() {
    let world = World::new(|builder| builder);
    for (owner, shred) in [(ADA, true), ("ben", false)] {
        world.keyring.provision(owner).await.unwrap();
        let (kms, store) = (Arc::clone(&world.kms), Arc::clone(&world.store));
        *world.kms.meanwhile.lock().unwrap() = Some(Box::new(move || {
            kms.refuses.store(true, SeqCst);
            if shred {
                let owner = owner.canonical();
                let mut shredded = Box::pin(store.memory.shred(&owner));
                let mut context = Context::from_waker(Waker::noop());
                assert!(shredded.as_mut().poll(&mut context).is_ready(), "in memory");
            }
        }));
        let opened = world.keyring.open(owner, PURPOSE).await;
        match opened {
            Err(SessionError::Shredded) if shred => {}
            Err(SessionError::Kms(KmsError::Refused { .. })) if !shred => {}
            opened => panic!("{owner}: {opened:?}"),
        }
        world.kms.refuses.store(false, SeqCst);
    }
}
