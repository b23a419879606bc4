//! A process that has missed the announcement of a generation.

use async_trait::async_trait;

use super::*;
use crate::{
    error::{Error, OpenError},
    passed_on::pass_on,
    session::Purpose,
    store::{MemoryKeyStore, StoreError},
};

/// The keys, and no word of what changes in them.
struct Deaf(Arc<MemoryKeyStore>);

#[async_trait]
impl KeyStore for Deaf {
    pass_on!(0: load, insert_if_absent, version, lease, shred);

    async fn changes(&self, _: Duration) -> Result<Vec<(CanonicalId, u64)>, StoreError> {
        Ok(Vec::new())
    }
}

/// It cannot read what another process sealed under it, says so, and reads it after a refresh.
#[tokio::test]
async fn a_row_of_a_generation_that_a_session_lacks_is_read_after_a_refresh() {
    let kms = Arc::new(LocalKms::ephemeral().unwrap());
    let world = World::with(Arc::clone(&kms)).await;
    let late = Keyring::builder()
        .kms(kms)
        .key_store(Deaf(Arc::clone(&world.keys)))
        .build()
        .unwrap();
    // Opened before.
    let session = late.open(ADA, Purpose::new("late")).await.unwrap();
    let old = adapter::seal_in(&session, TEXT, None, &"old".to_owned()).unwrap();
    world.rotation.begin(ADA).await.unwrap();
    world.clock.pass(ANNOUNCED_FOR);
    assert_eq!(world.advance().await.waits_for, Some(WaitsFor::Leases));
    let there = world.session().await;
    let new = adapter::seal_in(&there, TEXT, None, &"new".to_owned()).unwrap();

    let read = |bytes: &[u8]| adapter::open_in::<String>(&session, TEXT, None, bytes);
    let unknown = read(&new).unwrap_err();
    let expected = OpenError::UnknownKey { column: TEXT };
    assert!(matches!(unknown, Error::Open(error) if error == expected));
    assert_eq!(read(&old).unwrap(), "old");
    session.refresh().await.unwrap();
    assert_eq!(read(&new).unwrap(), "new");
    assert_eq!(read(&old).unwrap(), "old");
}

/// A restore brought it back: nobody knows what it sealed since.
#[tokio::test]
async fn what_was_announced_before_a_restore_never_seals() {
    let (world, ada) = (World::new().await, ADA.canonical());
    world.write(1).await;
    assert_eq!(world.rotation.begin(ADA).await.unwrap(), 2);
    let record = world.keys.load(&ada).await.unwrap().unwrap();
    world.keys.forget(&ada);
    let (first, index_key) = (&record.deks()[1], &record.index_keys()[0]);
    let inserted = world.keys.insert_if_absent(&ada, first, index_key).await;
    inserted.unwrap();
    world.keys.replace(&ada, record);

    assert_eq!(world.rotation.begin(ADA).await.unwrap(), 3);
    let states = [
        (3, DekState::Announced),
        (2, DekState::Draining),
        (1, DekState::Sealing),
    ];
    assert_eq!(world.states().await, states);
    assert_eq!(world.read().await.1, 0);
}
