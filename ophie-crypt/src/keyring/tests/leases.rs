//! What may be sealed: leases, the hard stop, sessions that only read.

use std::sync::atomic::Ordering::SeqCst;

use super::{
    super::*,
    world::{ADA, PURPOSE, World},
};
use crate::{
    adapter,
    column::ColumnRef,
    error::{Error, NoSession, SealError},
    store::{DekState, LEASES_OVER_FOR, MAX_INVOCATIONS, RotationStore},
};

const MINUTE: Duration = Duration::from_secs(60);
const COLUMN: ColumnRef = ColumnRef::new("notes", "text");

fn seal(session: &Session) -> Result<Vec<u8>, Error> {
    adapter::seal_in(session, COLUMN, None, &String::from("text"))
}

#[tokio::test]
async fn the_hard_stop_stops_sealing_and_not_reading() {
    let world = World::new(|builder| builder.max_invocations(10_000));
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    let first = seal(&session).unwrap();
    let mut sealed = 1;
    let error = loop {
        match seal(&session) {
            Ok(_) => sealed += 1,
            Err(Error::Seal(SealError::NoBudget { .. })) => {
                if session.reserve(1).await.is_err() {
                    break seal(&session).unwrap_err();
                }
            }
            Err(error) => break error,
        }
        assert!(sealed <= 10_000);
    };
    assert!(
        matches!(error, Error::Seal(SealError::HardStop { .. })),
        "{error:?}"
    );
    let read = |session: &Session| adapter::open_in::<String>(session, COLUMN, None, &first);
    assert_eq!(read(&session).as_deref(), Ok("text"));
    drop(session);
    let later = world.keyring.open(ADA, PURPOSE).await.unwrap();
    assert!(matches!(
        seal(&later),
        Err(Error::Seal(SealError::HardStop { .. }))
    ));
    assert_eq!(read(&later).as_deref(), Ok("text"));
    assert!(matches!(
        later.reserve(1).await,
        Err(ReserveError::Lease(LeaseError::Exhausted))
    ));
    // Another process is told the same, though it never sealed.
    let another = world.another(|builder| builder.max_invocations(10_000));
    let there = another.open(ADA, PURPOSE).await.unwrap();
    let error = seal(&there).unwrap_err();
    assert!(
        matches!(error, Error::Seal(SealError::HardStop { .. })),
        "{error:?}"
    );
    assert_eq!(read(&there).as_deref(), Ok("text"));
}

#[tokio::test]
async fn a_lease_outlives_its_session() {
    let world = World::new(|builder| builder);
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    let before = session.budget().unwrap();
    seal(&session).unwrap();
    drop(session);
    for _ in 0..100 {
        let session = world.keyring.open(ADA, PURPOSE).await.unwrap();
        let now = session.budget().unwrap();
        assert_eq!(
            (now.granted(), now.left()),
            (before.granted(), before.left() - 1)
        );
    }
}

#[tokio::test]
async fn a_lease_that_runs_low_is_refilled_in_the_background() {
    let world = World::new(|builder| builder);
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    for _ in 0..2100 {
        seal(&session).unwrap();
    }
    world
        .until(|| session.budget().unwrap().left() > 10_000)
        .await;
}

#[tokio::test]
async fn read_only_and_break_glass_sessions_seal_nothing() {
    let world = World::new(|builder| builder);
    world.keyring.provision(ADA).await.unwrap();
    let reader = world.keyring.open_read_only(ADA, PURPOSE).await.unwrap();
    let glass = world
        .keyring
        .break_glass(ADA, PURPOSE, "ticket 7")
        .await
        .unwrap();
    for session in [&reader, &glass] {
        assert!(matches!(
            seal(session),
            Err(Error::Seal(SealError::ReadOnly { .. }))
        ));
    }
    let writer = world.keyring.open(ADA, PURPOSE).await.unwrap();
    seal(&writer).unwrap();
    let seen = world.audit.seen.lock().unwrap().clone();
    let with_reason = seen
        .iter()
        .filter(|event| event.reason.as_deref() == Some("ticket 7"));
    assert_eq!(with_reason.count(), 2, "an intent and an outcome");
    world.clock.pass(Keyring::BREAK_GLASS_TTL);
    assert_eq!(glass.ended(), Some(NoSession::Expired));
    assert_eq!(writer.ended(), None);
}

#[tokio::test]
async fn a_readers_fetch_extends_the_lease_of_those_who_seal() {
    let world = World::new(|builder| builder);
    let writer = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    world.kms.is_down.store(true, SeqCst); // no renewal comes between
    world.clock.pass(Keyring::MAX_TTL);
    let leases = world.store.leases.load(SeqCst);
    world.kms.is_down.store(false, SeqCst);
    let _reader = world.keyring.open_read_only(ADA, PURPOSE).await.unwrap();
    assert_eq!(world.store.leases.load(SeqCst), leases + 1);
    seal(&writer).unwrap();
}

#[tokio::test]
async fn a_reader_alone_takes_no_lease() {
    let world = World::new(|builder| builder);
    world.keyring.provision(ADA).await.unwrap();
    let reader = world.keyring.open_read_only(ADA, PURPOSE).await.unwrap();
    reader.refresh().await.unwrap();
    assert_eq!(world.store.leases.load(SeqCst), 0);
    let writer = world.keyring.open(ADA, PURPOSE).await.unwrap();
    assert_eq!(world.store.leases.load(SeqCst), 1);
    seal(&writer).unwrap();
}

/// Leases are asked for in three ways; none takes the keys along to a database that does not answer.
#[tokio::test]
async fn a_key_store_that_hangs_keeps_no_key_in_memory() {
    let world = World::new(|builder| builder);
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    let entry = world.keyring.0.owners.find(&ADA.canonical()).unwrap();
    let keys = Arc::downgrade(&entry.slot.held.pin().unwrap());
    world.store.leases_hang.store(true, SeqCst);
    let before = world.store.leases.load(SeqCst);

    let reserving = session.clone();
    tokio::spawn(async move { reserving.reserve(1 << 20).await });
    while seal(&session).is_ok() {} // a refill is asked for in the background
    let keyring = world.keyring.clone();
    tokio::spawn(async move { keyring.open(ADA, PURPOSE).await });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.store.leases.load(SeqCst) - before, 3, "who waits?");
    entry.slot.held.revoke(NoSession::Shredded);
    assert!(keys.upgrade().is_none(), "somebody waits with the keys");
}

#[tokio::test]
async fn nobody_reserves_an_owners_whole_budget_or_gives_a_reason_without_end() {
    let world = World::new(|builder| builder);
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    for too_many in [u32::MAX, (1 << 26) + 1] {
        let all = session.reserve(too_many).await;
        assert!(matches!(all, Err(ReserveError::TooMany)), "{all:?}");
    }
    session.reserve(1 << 26).await.unwrap();
    assert!(session.budget().unwrap().left() >= 1 << 26);
    let reason = "r".repeat(1024);
    let opened = world.keyring.break_glass(ADA, PURPOSE, &reason).await;
    assert!(opened.is_ok(), "{opened:?}");
    let reason = "r".repeat(1025);
    let opened = world.keyring.break_glass(ADA, PURPOSE, &reason).await;
    assert!(
        matches!(opened, Err(SessionError::LongReason)),
        "{opened:?}"
    );
}

/// More than is left was asked for at once: what this process was granted before is its own.
#[tokio::test]
async fn a_reservation_that_is_refused_takes_nothing_away() {
    let world = World::new(|builder| builder.max_invocations(10_000));
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    let left = session.budget().unwrap().left();
    assert!(left > 0);
    let reserved = session.reserve(20_000).await;
    assert!(matches!(
        reserved,
        Err(ReserveError::Lease(LeaseError::Exhausted))
    ));
    seal(&session).unwrap();
    assert_eq!(session.budget().unwrap().left(), left - 1);
}

/// It is used for as long as the keys are, and a rotation waits for it.
#[tokio::test]
async fn at_the_hard_stop_what_is_left_of_a_lease_lives_with_the_keys() {
    let world = World::new(|builder| builder.max_invocations(5_000));
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    while session.budget().unwrap().left() > 100 {
        seal(&session).unwrap();
    }
    world.clock.pass(Keyring::MAX_TTL * 9 / 10);
    session.refresh().await.unwrap();
    let ada = ADA.canonical();
    let rotated = world
        .second_generation(&ada, DekState::Draining, DekState::Sealing)
        .await;
    world.store.memory.replace(&ada, rotated);

    // The first lease is over by now.
    world
        .clock
        .pass(Keyring::MAX_TTL / 10 + 2 * LEASES_OVER_FOR);
    assert!(!world.store.memory.is_idle(&ada, 1).await.unwrap());
    world.clock.pass(Keyring::MAX_TTL);
    assert!(world.store.memory.is_idle(&ada, 1).await.unwrap());
}

/// It may have some left: the owner's key is to be rotated when it has not.
#[tokio::test]
async fn a_key_store_that_is_down_is_no_hard_stop() {
    let world = World::new(|builder| builder);
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    world.store.is_down.store(true, SeqCst);
    while seal(&session).is_ok() {}
    let reserved = session.reserve(1).await;
    assert!(matches!(
        reserved,
        Err(ReserveError::Lease(LeaseError::Store(_)))
    ));
    let error = seal(&session).unwrap_err();
    assert!(
        matches!(error, Error::Seal(SealError::NoBudget { .. })),
        "{error:?}"
    );
}

/// Whoever was granted the other half: there is time left to do it.
#[tokio::test]
async fn a_rotation_is_due_at_half_of_the_budget() {
    let world = World::new(|builder| builder);
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    assert!(!session.budget().unwrap().is_rotation_due());
    let others = LeaseRequest::new(ADA.canonical(), 1, 1 << 31, MAX_INVOCATIONS, MINUTE);
    world.store.memory.lease(&others).await.unwrap();
    session.reserve(10_000).await.unwrap();
    let budget = session.budget().unwrap();
    assert!(budget.is_rotation_due(), "{budget:?}");
    assert!(budget.granted() > 1 << 31 && budget.left() < 1 << 20);
}
