//! How many index keys an owner can have: what a DEK may still seal, and a byte's worth of numbers.

use super::super::*;
use super::{rows::World, world::ADA};
use crate::store::{IndexKeyState, KeyStore, MAX_INVOCATIONS, WRITERS_OVER_FOR};

#[tokio::test]
async fn an_index_key_is_counted_under_the_dek_that_seals_it() {
    let world = World::new().await;
    let granted = async || world.session().await.budget().unwrap().granted();
    let before = granted().await;
    world.rotation.begin_index(ADA).await.unwrap();
    let lease = crate::LeaseRequest::new(ADA.canonical(), 1, 0, MAX_INVOCATIONS, Duration::ZERO);
    let lease = world.keys.lease(&lease).await.unwrap();
    assert_eq!(lease.granted(), before + 1);
    let rest = u32::try_from(MAX_INVOCATIONS - lease.granted()).unwrap();
    let all = crate::LeaseRequest::new(ADA.canonical(), 1, rest, MAX_INVOCATIONS, Duration::ZERO);
    world.keys.lease(&all).await.unwrap();
    world.clock.pass(WRITERS_OVER_FOR);
    world.advance().await;
    world.to_the_end_of_writers();
    assert_eq!(world.advance().await.waits_for, None);
    let spent = world.rotation.begin_index(ADA).await;
    assert!(matches!(spent, Err(RotationError::Spent)), "{spent:?}");
    world.rotation.begin(ADA).await.unwrap();
    assert_eq!(world.rotation.begin_index(ADA).await.unwrap(), 3);
}

#[tokio::test]
async fn a_number_is_not_used_twice_and_there_are_255() {
    let world = World::new().await;
    for generation in 2..=255 {
        assert_eq!(world.rotation.begin_index(ADA).await.unwrap(), generation);
        world.clock.pass(WRITERS_OVER_FOR);
        world.advance().await;
        world.to_the_end_of_writers();
        assert_eq!(world.advance().await.waits_for, None);
        world.rotation.destroy(ADA, Duration::ZERO).await.unwrap();
    }
    let none = world.rotation.begin_index(ADA).await;
    assert!(
        matches!(none, Err(RotationError::NoMoreIndexKeys)),
        "{none:?}"
    );
}

/// Backups may show fingerprints of any of them; a look-up asks for the newest beside the one that is written.
#[tokio::test]
async fn an_owner_may_have_several_retired_index_keys() {
    let world = World::new().await;
    let (first, word) = (world.session().await, "Word");
    world.write(&first, word);
    let mut retired = Vec::new();
    for _ in 0..2 {
        retired.push(super::rows::fingerprint(&world.session().await, word));
        world.to_writing().await;
        world.to_the_end_of_writers();
        assert_eq!(world.advance().await.waits_for, None);
    }
    let states: Vec<_> = world.states().await.into_iter().map(|of| of.1).collect();
    let (retired_now, writing) = (IndexKeyState::Retired, IndexKeyState::Writing);
    assert_eq!(states, [writing, retired_now, retired_now]);
    let session = world.session().await;
    assert_eq!(world.find(&session, word), 1);
    let found = super::rows::fingerprint(&session, word);
    assert!(found.matches(&retired[1]) && !found.matches(&retired[0]));
}
