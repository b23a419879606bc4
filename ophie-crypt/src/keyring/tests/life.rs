//! Outages, renewal, time, and fetches that meet something.

use std::sync::atomic::Ordering::SeqCst;

use super::{
    super::*,
    world::{ADA, PURPOSE, World},
};
use crate::{
    adapter,
    audit::KmsResult,
    column::ColumnRef,
    error::{Error, NoSession},
    hazmat::data_key::KeyId,
    kms::KmsError,
    store::{DekRecord, OwnerRecord, StoreError},
};

const COLUMN: ColumnRef = ColumnRef::new("notes", "text");

fn seal(session: &Session) -> Result<Vec<u8>, Error> {
    adapter::seal_in(session, COLUMN, None, &String::from("text"))
}

const SHORT: Duration = Duration::from_secs(500);

#[tokio::test]
async fn an_open_session_is_renewed_and_audited() {
    let world = World::new(|builder| builder);
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    world.calls();
    world.clock.pass(Keyring::MAX_TTL * 95 / 100);
    world.until(|| world.kms.calls.load(SeqCst) == 1).await;
    world.clock.pass(Keyring::MAX_TTL * 60 / 100);
    assert_eq!(session.ended(), None, "the renewed key is young");
    let renewals = world
        .audit
        .seen
        .lock()
        .unwrap()
        .iter()
        .filter(|event| {
            matches!(
                event.step,
                AuditStep::Intent {
                    operation: KmsOperation::Renew,
                    ..
                }
            ) && event.purpose == PURPOSE
        })
        .count();
    assert_eq!(renewals, 1);
}

#[tokio::test]
async fn a_suspend_and_a_clock_set_forward_age_a_key_and_back_does_not_help() {
    for jump in [
        |clock: &Clock| clock.suspend(Keyring::MAX_TTL),
        |clock: &Clock| clock.set_wall(600_000),
        |clock: &Clock| {
            clock.set_wall(-86_400_000);
            clock.suspend(Keyring::MAX_TTL);
        },
    ] {
        let world = World::new(|builder| builder);
        let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
        world.kms.is_down.store(true, SeqCst);
        assert_eq!(session.ended(), None);
        jump(&world.clock);
        assert_eq!(session.ended(), Some(NoSession::Expired));
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_kms_ends_nothing_before_the_time_to_live_and_mends_itself() {
    let world = World::new(|builder| builder);
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    world.keyring.provision("ben").await.unwrap();
    world.kms.is_down.store(true, SeqCst);
    world.clock.pass(SHORT);
    let opened = world.keyring.open("ben", PURPOSE);
    let opened = tokio::time::timeout(Duration::from_millis(5001), opened).await;
    let opened = opened.expect("an answer within five seconds");
    assert!(
        matches!(opened, Err(SessionError::Kms(KmsError::Unavailable { .. }))),
        "{opened:?}"
    );
    seal(&session).unwrap();
    world.clock.pass(Keyring::MAX_TTL - SHORT);
    assert_eq!(session.ended(), Some(NoSession::Expired));
    world.kms.is_down.store(false, SeqCst);
    world.keyring.open("ben", PURPOSE).await.unwrap();
    world
        .until(|| {
            world.clock.pass(Duration::from_millis(100));
            session.ended().is_none()
        })
        .await;
    seal(&session).unwrap();
}

#[tokio::test]
async fn a_kms_that_refuses_a_renewal_ends_the_session() {
    let world = World::new(|builder| builder);
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    world.kms.refuses.store(true, SeqCst);
    world.clock.pass(Keyring::MAX_TTL * 95 / 100);
    world.until(|| session.ended().is_some()).await;
    assert_eq!(session.ended(), Some(NoSession::Revoked));
}

#[tokio::test]
async fn without_the_database_nothing_is_opened_and_open_sessions_go_on() {
    let world = World::new(|builder| builder);
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    world.store.is_down.store(true, SeqCst);
    let opened = world.keyring.open("ben", PURPOSE).await;
    assert!(
        matches!(
            opened,
            Err(SessionError::Store(StoreError::Unavailable { .. }))
        ),
        "{opened:?}"
    );
    world.clock.pass(SHORT);
    seal(&session).unwrap();
    world.clock.pass(Keyring::MAX_TTL - SHORT);
    assert_eq!(session.ended(), Some(NoSession::Expired));
}

#[tokio::test]
async fn keys_that_linger_need_no_second_unwrap_and_then_go() {
    let world = World::new(|builder| builder.linger(Duration::from_secs(60)));
    drop(world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap());
    world.calls();
    drop(world.keyring.open(ADA, PURPOSE).await.unwrap());
    assert_eq!(world.calls().0, 0);
    world.clock.pass(Duration::from_secs(61));
    let entry = world.keyring.0.entry(ADA.canonical()).unwrap();
    world.until(|| entry.slot.held.pin().is_err()).await;
}

#[tokio::test]
async fn more_owners_than_admitted_are_refused_until_some_leave() {
    let world = World::new(|builder| builder.max_owners(2));
    let first = world
        .keyring
        .open_or_provision(&1_i64, PURPOSE)
        .await
        .unwrap();
    let _second = world
        .keyring
        .open_or_provision(&2_i64, PURPOSE)
        .await
        .unwrap();
    world.keyring.provision(&3_i64).await.unwrap();
    let third = world.keyring.open(&3_i64, PURPOSE).await;
    assert!(
        matches!(third, Err(SessionError::TooManyOwners)),
        "{third:?}"
    );
    drop(first);
    world.keyring.open(&3_i64, PURPOSE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_start_asks_once_for_each_owner() {
    let world = World::new(|builder| builder);
    for owner in 0..100_i64 {
        world.keyring.provision(&owner).await.unwrap();
    }
    world.calls();
    let tasks: Vec<_> = (0..2000_i64)
        .map(|n| {
            let keyring = world.keyring.clone();
            tokio::spawn(async move { keyring.open(&(n % 100), PURPOSE).await })
        })
        .collect();
    let mut sessions = Vec::new();
    for task in tasks {
        sessions.push(task.await.unwrap().unwrap());
    }
    assert_eq!(world.calls().0, 100);
}

#[tokio::test]
async fn a_revoked_session_is_not_revived_by_a_new_one() {
    let world = World::new(|builder| builder);
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    world.kms.refuses.store(true, SeqCst);
    session.refresh().await.unwrap_err();
    assert_eq!(session.ended(), Some(NoSession::Revoked));
    world.kms.refuses.store(false, SeqCst);
    let later = world.keyring.open(ADA, PURPOSE).await.unwrap();
    assert_eq!(later.ended(), None);
    assert_eq!(session.ended(), Some(NoSession::Revoked));
    drop(later);
    let entry = world.keyring.0.entry(ADA.canonical()).unwrap();
    world.until(|| entry.slot.held.pin().is_err()).await; // whoever was revoked keeps no key alive
}

#[tokio::test(start_paused = true)]
async fn a_kms_that_hangs_fails_forty_owners_within_five_seconds() {
    let world = World::new(|builder| builder);
    for owner in 0..40_i64 {
        world.keyring.provision(&owner).await.unwrap();
    }
    world.audit.seen.lock().unwrap().clear();
    world.kms.hangs.store(true, SeqCst);
    let tasks: Vec<_> = (0..40_i64)
        .map(|owner| {
            let keyring = world.keyring.clone();
            tokio::spawn(async move { keyring.open(&owner, PURPOSE).await })
        })
        .collect();
    let all = async {
        for task in tasks {
            let opened = task.await.unwrap();
            assert!(
                matches!(opened, Err(SessionError::Kms(KmsError::Unavailable { .. }))),
                "{opened:?}"
            );
        }
    };
    let within = Duration::from_millis(5001);
    tokio::time::timeout(within, all)
        .await
        .expect("five seconds");
    let seen = world.audit.seen.lock().unwrap();
    let intents = seen
        .iter()
        .filter(|event| matches!(event.step, AuditStep::Intent { .. }));
    let outcomes = seen.iter().filter(|event| {
        matches!(
            event.step,
            AuditStep::Outcome {
                result: KmsResult::TimedOut,
                ..
            }
        )
    });
    let (intents, outcomes) = (intents.count(), outcomes.count());
    assert!(intents >= 40, "{intents}");
    let most = world.kms.most_asking.load(SeqCst);
    assert_eq!(most, 20, "at most so many at a time");
    assert_eq!(
        intents, outcomes,
        "an attempt that was cut short has no outcome"
    );
}

#[tokio::test(start_paused = true)]
async fn a_break_glass_key_leaves_memory_and_is_not_fetched_anew() {
    let world = World::new(|builder| builder);
    world.keyring.provision(ADA).await.unwrap();
    let glass = world.keyring.break_glass(ADA, PURPOSE, "ticket 7").await;
    let glass = glass.unwrap();
    let refreshed = glass.refresh().await;
    assert!(
        matches!(refreshed, Err(SessionError::Ended)),
        "{refreshed:?}"
    );
    assert_eq!(glass.ended(), None);
    // The keyring's clock stands still: it is the key that is gone.
    tokio::time::sleep(Keyring::BREAK_GLASS_TTL + Duration::from_millis(1)).await;
    assert_eq!(glass.ended(), Some(NoSession::Expired));
}

/// Who finds no key just before a fetch ends, and no fetch just after, must not begin another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opens_that_meet_the_end_of_a_fetch_begin_no_second() {
    let world = World::new(|builder| builder);
    world.keyring.provision(ADA).await.unwrap();
    world.calls();
    for round in 0..300 {
        // So many begin, one after the other, that the first fetch ends among them.
        let tasks: Vec<_> = (0..200)
            .map(|_| {
                let keyring = world.keyring.clone();
                tokio::spawn(async move { keyring.open(ADA, PURPOSE).await.unwrap() })
            })
            .collect();
        let mut sessions = Vec::new();
        for task in tasks {
            sessions.push(task.await.unwrap());
        }
        assert_eq!(world.calls().0, 1, "round {round}");
        let entry = world.keyring.0.entry(ADA.canonical()).unwrap();
        drop(sessions);
        world.until(|| entry.slot.held.pin().is_err()).await;
    }
}

#[tokio::test]
async fn what_the_kms_refuses_is_asked_once() {
    let world = World::new(|builder| builder);
    world.keyring.provision(ADA).await.unwrap();
    world.calls();
    world.kms.refuses.store(true, SeqCst);
    let opened = world.keyring.open(ADA, PURPOSE).await;
    assert!(
        matches!(opened, Err(SessionError::Kms(KmsError::Refused { .. }))),
        "{opened:?}"
    );
    assert_eq!(world.calls().0, 1);
}

#[tokio::test]
async fn a_shred_while_the_kms_is_asked_is_seen() {
    let world = World::new(|builder| builder);
    for owner in ["reads", "seals"] {
        world.keyring.provision(owner).await.unwrap();
        let store = Arc::clone(&world.store);
        *world.kms.meanwhile.lock().unwrap() = Some(Box::new(move || {
            drop(store.memory.shred_known(&owner.canonical()))
        }));
        let opened = match owner {
            "reads" => world.keyring.open_read_only(owner, PURPOSE).await,
            _ => world.keyring.open(owner, PURPOSE).await,
        };
        assert!(matches!(opened, Err(SessionError::Shredded)), "{opened:?}");
    }
}

#[tokio::test]
async fn an_expired_key_leaves_memory_while_its_session_is_held() {
    let world = World::new(|builder| builder);
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    let entry = world.keyring.0.entry(ADA.canonical()).unwrap();
    world.kms.is_down.store(true, SeqCst);
    world.clock.pass(Keyring::MAX_TTL);
    world.until(|| entry.slot.held.pin().is_err()).await;
    assert_eq!(session.ended(), Some(NoSession::Expired));
}

#[tokio::test]
async fn a_key_of_another_id_is_refused() {
    let world = World::new(|builder| builder);
    world.keyring.provision(ADA).await.unwrap();
    let owner = ADA.canonical();
    let record = world.store.memory.load(&owner).await.unwrap().unwrap();
    let dek = record.newest().unwrap();
    let other = DekRecord::new(
        1,
        dek.state(),
        KeyId::from_bytes([7; 16]),
        dek.blob().clone(),
    );
    let changed = OwnerRecord::living(2, [other], record.index_keys());
    world.store.memory.replace(&owner, changed);
    let opened = world.keyring.open(ADA, PURPOSE).await;
    assert!(matches!(opened, Err(SessionError::WrongKey)), "{opened:?}");
}
