//! What the keyring does while nobody waits, and how it puts its questions.

use std::{collections::HashSet, sync::atomic::Ordering::SeqCst};

use tokio::time::sleep;

use super::{
    super::*,
    world::{ADA, PURPOSE, World},
};
use crate::{error::NoSession, store::DekState};

/// A tick of the keyring is a second; between two the clock of its keys stands almost still.
const TICKS: Duration = Duration::from_secs(3);
const MINUTE: Duration = Duration::from_secs(60);

/// Not from when they were fetched: who was in use for an hour would be gone with its last session.
#[tokio::test(start_paused = true)]
async fn keys_linger_from_their_last_use_on() {
    let world = World::new(|builder| builder.linger(MINUTE));
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    world.clock.pass(2 * MINUTE);
    sleep(TICKS).await;
    drop(session);
    sleep(TICKS).await;
    world.calls();
    drop(world.keyring.open(ADA, PURPOSE).await.unwrap());
    assert_eq!(world.calls().0, 0, "they went with their last session");

    world.clock.pass(MINUTE);
    sleep(TICKS).await;
    drop(world.keyring.open(ADA, PURPOSE).await.unwrap());
    assert_eq!(world.calls().0, 1, "they stayed");
}

#[tokio::test(start_paused = true)]
async fn keys_that_nobody_holds_are_not_renewed() {
    let world = World::new(|builder| builder.linger(Keyring::MAX_TTL));
    drop(world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap());
    world.calls();
    world.clock.pass(Keyring::MAX_TTL * 95 / 100);
    sleep(TICKS).await;
    assert_eq!(world.calls().0, 0);
}

/// What another process did to the keys counts for those that nobody holds, too.
#[tokio::test(start_paused = true)]
async fn keys_that_linger_go_when_others_take_their_place() {
    let world = World::new(|builder| builder.linger(Keyring::MAX_TTL));
    drop(world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap());
    let owner = ADA.canonical();
    let now = world
        .second_generation(&owner, DekState::Draining, DekState::Sealing)
        .await;
    world.store.memory.replace(&owner, now);
    sleep(MINUTE).await; // it asks what changed every 30 seconds
    world.calls();
    let session = world.keyring.open(ADA, PURPOSE).await.unwrap();
    assert_eq!(world.calls().0, 1, "the old ones were there still");

    // Of an owner whose keys are those of before, nothing is fetched.
    drop(session);
    sleep(MINUTE).await;
    drop(world.keyring.open(ADA, PURPOSE).await.unwrap());
    assert_eq!(world.calls().0, 0);
}

/// A KMS that is down is not asked at each tick, for each owner.
#[tokio::test(start_paused = true)]
async fn a_renewal_that_failed_waits_before_the_next() {
    let world = World::new(|builder| builder);
    let _session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    world.kms.is_down.store(true, SeqCst);
    world.clock.pass(Keyring::MAX_TTL * 95 / 100);
    world.calls();
    for _ in 0..2 {
        sleep(20 * TICKS).await;
        assert_eq!(world.calls().0, 3, "attempts of one renewal");
        world.clock.pass(Keyring::MAX_TTL / 50);
    }
}

/// Or all of a fleet that started together would come together, again and again.
#[tokio::test]
async fn owners_are_renewed_at_seven_to_nine_tenths_of_their_time() {
    let world = World::new(|builder| builder);
    let mut after = HashSet::new();
    for owner in 0..16_i64 {
        let session = world.keyring.open_or_provision(&owner, PURPOSE);
        let session = session.await.unwrap();
        let entry = world.keyring.0.owners.find(&owner.canonical()).unwrap();
        after.insert(entry.slot.held.pin().unwrap().renew_after);
        drop(session);
    }
    let tenth = Keyring::MAX_TTL.as_secs_f32() / 10.0;
    let within = |time: &Duration| (6.99 * tenth..=9.01 * tenth).contains(&time.as_secs_f32());
    assert!(after.iter().all(within), "{after:?}");
    assert!(after.len() > 1, "all at once");
}

#[tokio::test(start_paused = true)]
async fn attempts_are_apart_and_each_call_has_an_id() {
    let world = World::new(|builder| builder.actor("api@host"));
    world.keyring.provision(ADA).await.unwrap();
    world.kms.is_down.store(true, SeqCst);
    let mut waited = HashSet::new();
    for _ in 0..3 {
        let now = || sleep(Duration::ZERO).deadline();
        let begun = now();
        world.keyring.open(ADA, PURPOSE).await.unwrap_err();
        let took = now() - begun;
        assert!(took <= Duration::from_millis(603), "{took:?}");
        waited.insert(took);
    }
    assert!(waited.len() > 1, "all wait as long: {waited:?}");

    let seen = world.audit.seen.lock().unwrap();
    assert!(seen.iter().all(|event| &*event.actor == "api@host"));
    let intents = seen.iter().filter_map(|event| match event.step {
        AuditStep::Intent { call, attempt, .. } => Some((call, attempt)),
        _ => None,
    });
    let intents: Vec<_> = intents.collect();
    let calls: HashSet<_> = intents.iter().map(|(call, _)| call).collect();
    // One to provision, then three of three attempts each.
    assert_eq!((calls.len(), intents.len()), (4, 10));
}

/// Its keys are gone from memory, and it may be renewed any moment.
#[tokio::test(start_paused = true)]
async fn an_owner_whose_session_expired_is_not_forgotten() {
    let world = World::new(|builder| builder.max_owners(1));
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    world.keyring.provision("ben").await.unwrap();
    world.kms.is_down.store(true, SeqCst);
    world.clock.pass(Keyring::MAX_TTL);
    sleep(TICKS).await;
    assert_eq!(session.ended(), Some(NoSession::Expired));
    let other = world.keyring.open("ben", PURPOSE).await;
    assert!(
        matches!(other, Err(SessionError::TooManyOwners)),
        "{other:?}"
    );

    world.kms.is_down.store(false, SeqCst);
    world.clock.pass(MINUTE);
    sleep(TICKS).await;
    assert_eq!(session.ended(), None);
    // The house is full, and whoever is in it comes in.
    world.keyring.open(ADA, PURPOSE).await.unwrap();
}

#[test]
fn whom_somebody_has_is_not_forgotten() {
    let owners = Owners::with_room_for(1);
    assert!(owners.is_empty());
    let entry = |name: &str| owners.entry(name.canonical(), |()| true, |_| Arc::new(()));
    let ada = entry("ada").unwrap();
    assert!(entry("ben").is_none() && !owners.is_empty());
    drop(ada);
    entry("ben").unwrap();
    assert!(owners.find(&"ada".canonical()).is_none());
}

/// A retry mends neither: what its session holds is nobody's key any more.
#[tokio::test]
async fn an_owner_who_is_gone_ends_its_sessions() {
    let world = World::new(|builder| builder);
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    world.store.memory.forget(&ADA.canonical());
    let refreshed = session.refresh().await;
    assert!(matches!(refreshed, Err(SessionError::UnknownOwner)));
    assert_eq!(session.ended(), Some(NoSession::Revoked));
}

#[tokio::test]
async fn keys_of_one_application_open_in_no_other() {
    let world = World::new(|builder| builder.app("one"));
    world.keyring.provision(ADA).await.unwrap();
    for (app, is_opened) in [("one", true), ("two", false)] {
        let keyring = world.another(|builder| builder.app(app));
        assert_eq!(keyring.open(ADA, PURPOSE).await.is_ok(), is_opened, "{app}");
    }
}

#[test]
fn a_re_check_is_neither_seldom_nor_all_the_time() {
    for period in [Duration::ZERO, Duration::from_secs(31)] {
        let built = Keyring::builder()
            .kms(crate::LocalKms::ephemeral().unwrap())
            .key_store(crate::MemoryKeyStore::new())
            .recheck(period)
            .build();
        assert_eq!(built.unwrap_err(), BuildError::Recheck);
    }
}
