//! What hooks read and write in a session.

use core::sync::atomic::Ordering::SeqCst;

use super::{
    model::{NAME, NOTE, Name},
    table::World,
};
use crate::{
    adapter,
    error::{Error, SealError},
    soak::{Finding, SoakError, SoakState, hooks},
};

fn join(world: &World, twin: &str, sealed: &[u8]) -> Result<Option<String>, Error> {
    let twin = Some(twin.to_owned());
    let sealed = Some(sealed.to_vec());
    world.session.scope_sync(|| {
        hooks::joined::<String, Name, String>(twin, sealed, |value| value, |value| value)
    })
}

/// One row after another, in one state: only what does not open counts as that.
#[tokio::test]
async fn a_failure_to_open_is_counted_as_one() {
    for state in [SoakState::Soak, SoakState::Sealed] {
        let world = World::new(state).await;
        let (sealed, _) = world.seal("Mom");
        assert_eq!(
            join(&world, "Mom", &sealed).unwrap().as_deref(),
            Some("Mom")
        );
        assert_eq!(world.watch.counts(&NAME).failed, 0);
        let served = join(&world, "Mom", b"no envelope");
        assert_eq!(served.is_ok(), state == SoakState::Soak, "{served:?}");
        let counts = world.watch.counts(&NAME);
        assert_eq!(
            (counts.failed, counts.mismatched, counts.pending),
            (1, 0, 0)
        );
        if state == SoakState::Soak {
            assert_eq!(
                join(&world, "mom", &sealed).unwrap().as_deref(),
                Some("mom")
            );
            assert_eq!(world.watch.counts(&NAME).mismatched, 1);
        }
        world.watch.count(&NAME, Finding::Pending);
        assert_eq!(world.watch.counts(&NAME).pending, 1);
    }
}

/// Reading, writing, and writing ciphertext without plaintext beside it.
#[tokio::test]
async fn a_stopped_watch_reads_and_writes_nothing() {
    let world = World::new(SoakState::Sealed).await;
    world.table.notes_soak.store(true, SeqCst);
    world.watch.beat().await.unwrap();
    let (sealed, _) = world.seal("Mom");
    let name = "Mom".to_owned();
    let write = || hooks::seal::<String, Name>(&name);
    let alone = || adapter::seal(NOTE, &name);
    world.session.scope_sync(|| {
        assert!(write().unwrap().is_some() && alone().is_ok());
    });
    world.watch.stop().await.unwrap();
    let is_stale = |error: &Error| matches!(error, Error::Soak(SoakError::Stale { .. }));
    world.session.scope_sync(|| {
        assert!(is_stale(&write().unwrap_err()));
        assert!(is_stale(&alone().unwrap_err()));
        assert!(is_stale(&hooks::state::<Name>().unwrap_err()));
    });
    assert!(is_stale(&join(&world, "Mom", &sealed).unwrap_err()));
}

/// Whoever writes the database can move the state back; no release goes below its floor.
#[tokio::test]
async fn below_the_floor_nothing_is_read_or_written() {
    let world = World::new(SoakState::Plain).await;
    let (sealed, _) = world.seal("Mom");
    let below = SoakError::BelowFloor {
        column: NAME,
        state: SoakState::Plain,
        floor: SoakState::Expand,
    };
    let is_below = |error: &Error| matches!(error, Error::Soak(found) if *found == below);
    assert!(is_below(&join(&world, "Mom", &sealed).unwrap_err()));
    world.session.scope_sync(|| {
        let written = hooks::seal::<String, Name>(&"Mom".to_owned());
        assert!(is_below(&written.unwrap_err()));
        assert!(is_below(&hooks::state::<Name>().unwrap_err()));
    });
    world.table.soak.lock().unwrap().state = SoakState::Expand;
    world.watch.beat().await.unwrap();
    assert!(join(&world, "Mom", &sealed).is_ok());
}

#[tokio::test]
async fn ciphertext_alone_is_written_from_sealed_on() {
    for (state, admitted) in [
        (SoakState::Expand, false),
        (SoakState::Soak, false),
        (SoakState::Sealed, true),
        (SoakState::Retired, true),
    ] {
        let world = World::new(state).await;
        world.table.notes_soak.store(true, SeqCst);
        world.watch.beat().await.unwrap();
        let alone = world.watch.writes_alone(&NOTE);
        let expected = SoakError::BelowFloor {
            column: NOTE,
            state,
            floor: SoakState::Sealed,
        };
        assert_eq!(alone, if admitted { Ok(()) } else { Err(expected) });
        assert_eq!(world.watch.writes_alone(&NAME), Ok(()), "its hooks look");
    }
    let world = World::new(SoakState::Plain).await;
    assert_eq!(world.watch.writes_alone(&NOTE), Ok(()), "no soak of it");
    let no_session = adapter::seal(NOTE, &String::new());
    assert!(
        matches!(no_session, Err(Error::Seal(SealError::NoSession { .. }))),
        "{no_session:?}"
    );
}
