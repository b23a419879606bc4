//! One owner, a key store, an audit or a runtime that stands still or goes on without end, and all others.

use std::sync::atomic::Ordering::SeqCst;

use super::{
    super::*,
    world::{ADA, PURPOSE, World},
};
use crate::{error::NoSession, store::StoreError};

/// One owner who seals without end asks for leases without end.
#[tokio::test]
async fn nudges_without_end_keep_no_idle_key_in_memory() {
    let world = World::new(|builder| builder.linger(Duration::from_secs(60)));
    drop(world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap());
    let nudges = world.keyring.0.nudges.clone();
    let nudging = tokio::spawn(async move {
        while nudges.send(Nudge::Refill("nobody".canonical())).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    world.clock.pass(Duration::from_secs(61));
    let entry = world.keyring.0.entry(ADA.canonical()).unwrap();
    world.until(|| entry.slot.held.pin().is_err()).await;
    nudging.abort();
}

#[tokio::test(start_paused = true)]
async fn a_key_store_that_hangs_fails_an_open_and_the_next_one_asks_again() {
    let world = World::new(|builder| builder);
    world.keyring.provision(ADA).await.unwrap();
    world.store.leases_hang.store(true, SeqCst);
    let opened = world.keyring.open(ADA, PURPOSE);
    let opened = tokio::time::timeout(Duration::from_millis(5001), opened).await;
    assert!(
        matches!(
            opened,
            Ok(Err(SessionError::Store(StoreError::Unavailable { .. })))
        ),
        "{opened:?}"
    );
    world.store.leases_hang.store(false, SeqCst);
    world.keyring.open(ADA, PURPOSE).await.unwrap();
}

/// What a slow audit costs is not counted as the KMS's, nor in turns at it.
#[tokio::test(start_paused = true)]
async fn a_slow_audit_fails_no_open_of_a_thousand() {
    let world = World::new(|builder| builder);
    for owner in 0..1000_i64 {
        world.keyring.provision(&owner).await.unwrap();
    }
    world.audit.takes_ms.store(250, SeqCst);
    let opens = (0..1000_i64).map(|owner| {
        let keyring = world.keyring.clone();
        tokio::spawn(async move { keyring.open(&owner, PURPOSE).await })
    });
    for open in opens.collect::<Vec<_>>() {
        open.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_change_is_looked_into_though_a_fetch_has_just_failed() {
    let world = World::new(|builder| builder.recheck(Duration::from_millis(20)));
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    world.kms.is_down.store(true, SeqCst);
    session.refresh().await.unwrap_err();
    world.kms.is_down.store(false, SeqCst);
    world.store.memory.shred_known(&ADA.canonical()).unwrap();
    world.until(|| session.ended().is_some()).await; // the pause after a failure is 12 seconds
    assert_eq!(session.ended(), Some(NoSession::Shredded));
}

/// Two purposes wait for one fetch; what it brought is gone before the second looks.
#[tokio::test]
async fn a_session_whose_keys_went_as_they_came_is_audited_for_its_purpose() {
    let world = World::new(|builder| builder);
    world.keyring.provision(ADA).await.unwrap();
    let mut first = Box::pin(world.keyring.open(ADA, PURPOSE));
    let mut second = Box::pin(world.keyring.open(ADA, Purpose::new("second")));
    let mut cx = core::task::Context::from_waker(core::task::Waker::noop());
    assert!(first.as_mut().poll(&mut cx).is_pending());
    assert!(second.as_mut().poll(&mut cx).is_pending());
    let entry = world.keyring.0.owners.find(&ADA.canonical()).unwrap();
    world.until(|| entry.slot.held.pin().is_ok()).await;
    entry.slot.held.expire(|_| false);
    let session = second.await.unwrap();
    assert_eq!(session.ended(), None);
    let seen = world.audit.seen.lock().unwrap();
    assert!(seen.iter().any(|event| event.purpose.as_str() == "second"));
}

/// Its tasks are gone then; whoever holds the session wipes its key by using it.
#[test]
fn a_key_that_is_too_old_leaves_memory_also_without_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = World::new(|builder| builder);
    let open = world.keyring.open_or_provision(ADA, PURPOSE);
    let session = runtime.block_on(open).unwrap();
    drop(runtime);
    world.clock.pass(Keyring::MAX_TTL);
    let entry = world.keyring.0.owners.find(&ADA.canonical()).unwrap();
    assert!(entry.slot.held.pin().is_ok());
    assert_eq!(session.ended(), Some(NoSession::Expired));
    assert!(entry.slot.held.pin().is_err());
}
