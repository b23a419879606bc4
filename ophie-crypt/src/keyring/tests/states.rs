//! Every pair of what this process knows and what the key store holds: what opening, sealing and reading
//! do, and how often KMS and key store are asked.

use super::{
    super::*,
    world::{ADA, PURPOSE, World},
};
use crate::{
    adapter,
    column::ColumnRef,
    error::{Error, NoSession, OpenError, SealError},
    store::DekState,
};

const COLUMN: ColumnRef = ColumnRef::new("notes", "text");

/// What this process holds of the owner.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cached {
    Absent,
    Valid,
    Expired,
    Announced,
    Draining,
    Shredded,
}

/// What the key store holds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stored {
    Absent,
    Valid,
    Announced,
    Draining,
    Shredded,
}

const CACHED: [Cached; 6] = [
    Cached::Absent,
    Cached::Valid,
    Cached::Expired,
    Cached::Announced,
    Cached::Draining,
    Cached::Shredded,
];
const STORED: [Stored; 5] = [
    Stored::Absent,
    Stored::Valid,
    Stored::Announced,
    Stored::Draining,
    Stored::Shredded,
];

async fn store(world: &World, stored: Stored) {
    let owner = ADA.canonical();
    let (first, second) = match stored {
        Stored::Absent => return world.store.memory.forget(&owner),
        Stored::Shredded => return drop(world.store.memory.shred_known(&owner)),
        Stored::Valid => return,
        Stored::Announced => (DekState::Sealing, DekState::Announced),
        Stored::Draining => (DekState::Draining, DekState::Sealing),
    };
    let record = world.second_generation(&owner, first, second).await;
    world.store.memory.replace(&owner, record);
}

/// The world, a session if this process has one, and a value that was sealed at the beginning.
async fn begin(cached: Cached) -> (World, Option<Session>, Vec<u8>) {
    // No re-check comes between: it has a test of its own.
    let world = World::new(|builder| builder);
    world.keyring.provision(ADA).await.unwrap();
    let first = world.keyring.open(ADA, PURPOSE).await.unwrap();
    let sealed = seal(&first).unwrap();
    let session = match cached {
        Cached::Absent => None,
        Cached::Valid => Some(first),
        Cached::Expired => {
            // The KMS is down, so that nothing renews it.
            world.clock.pass(Keyring::MAX_TTL);
            Some(first)
        }
        Cached::Announced | Cached::Draining => {
            drop(first);
            let to = match cached {
                Cached::Announced => Stored::Announced,
                _ => Stored::Draining,
            };
            store(&world, to).await;
            Some(world.keyring.open(ADA, PURPOSE).await.unwrap())
        }
        Cached::Shredded => {
            let entry = world.keyring.0.entry(ADA.canonical()).unwrap();
            entry.slot.held.revoke(NoSession::Shredded);
            Some(first)
        }
    };
    world.calls();
    (world, session, sealed)
}

fn seal(session: &Session) -> Result<Vec<u8>, Error> {
    adapter::seal_in(session, COLUMN, None, &String::from("text"))
}

fn read(session: &Session, sealed: &[u8]) -> Result<String, Error> {
    adapter::open_in(session, COLUMN, None, sealed)
}

#[tokio::test(start_paused = true)]
async fn every_pair_of_states() {
    let mut pairs = 0;
    for cached in CACHED {
        for stored in STORED {
            let twice = matches!(cached, Cached::Announced | Cached::Draining)
                && matches!(stored, Stored::Announced | Stored::Draining);
            let (world, session, sealed) = begin(cached).await;
            if !twice {
                store(&world, stored).await;
            }
            world.calls();
            check(&world, session, &sealed, cached, stored).await;
            pairs += 1;
        }
    }
    assert_eq!(pairs, 30);
}

async fn check(
    world: &World,
    session: Option<Session>,
    sealed: &[u8],
    cached: Cached,
    stored: Stored,
) {
    let at = format!("cached {cached:?}, stored {stored:?}");
    let ended = match cached {
        Cached::Expired => Some(NoSession::Expired),
        Cached::Shredded => Some(NoSession::Shredded),
        _ => None,
    };
    if let Some(session) = &session {
        let column = COLUMN;
        match ended {
            None => {
                assert!(seal(session).is_ok(), "{at}");
                assert_eq!(read(session, sealed).as_deref(), Ok("text"), "{at}");
            }
            Some(reason) => {
                let error = seal(session).unwrap_err();
                assert_eq!(
                    error,
                    SealError::NoSession { column, reason }.into(),
                    "{at}"
                );
                let error = read(session, sealed).unwrap_err();
                assert_eq!(
                    error,
                    OpenError::NoSession { column, reason }.into(),
                    "{at}"
                );
            }
        }
        assert_eq!(world.calls(), (0, 0), "a hook asks nobody: {at}");
    }
    let opened = world.keyring.open(ADA, PURPOSE).await;
    let calls = world.calls();
    let fresh = session.is_some() && ended.is_none();
    match (&opened, stored) {
        (Ok(_), _) if fresh => assert_eq!(calls, (0, 0), "{at}"),
        (Err(SessionError::UnknownOwner), Stored::Absent)
        | (Err(SessionError::Shredded), Stored::Shredded) => assert_eq!(calls, (0, 1), "{at}"),
        // The keys, and the lease that also shows the version.
        (Ok(_), Stored::Valid | Stored::Announced | Stored::Draining) => {
            assert_eq!(calls, (1, 2), "{at}");
        }
        _ => panic!("{at}: {opened:?}"),
    }
    if let Ok(opened) = opened {
        assert_eq!(read(&opened, sealed).as_deref(), Ok("text"), "{at}");
        let again = seal(&opened).unwrap();
        assert_eq!(read(&opened, &again).as_deref(), Ok("text"), "{at}");
    }
}

/// After a re-check, a session sees what the key store holds.
#[tokio::test]
async fn a_notice_of_a_shred_ends_open_sessions() {
    let world = World::new(|builder| builder.recheck(Duration::from_millis(20)));
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    let sealed = seal(&session).unwrap();
    world.store.memory.shred_known(&ADA.canonical()).unwrap();
    world.until(|| session.ended().is_some()).await;
    assert_eq!(session.ended(), Some(NoSession::Shredded));
    assert!(matches!(
        read(&session, &sealed),
        Err(Error::Open(OpenError::NoSession {
            reason: NoSession::Shredded,
            ..
        }))
    ));
    let opened = world.keyring.open(ADA, PURPOSE).await;
    assert!(matches!(opened, Err(SessionError::Shredded)), "{opened:?}");
    let again = world.keyring.provision(ADA).await;
    assert!(matches!(again, Err(ProvisionError::Shredded)), "{again:?}");
}

#[tokio::test]
async fn a_notice_of_a_new_generation_reaches_open_sessions() {
    let world = World::new(|builder| builder.recheck(Duration::from_millis(20)));
    let session = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    let before = seal(&session).unwrap();
    store(&world, Stored::Draining).await;
    world
        .until(|| seal(&session).unwrap()[1..17] != before[1..17])
        .await;
    assert_eq!(read(&session, &before).as_deref(), Ok("text"));
}
