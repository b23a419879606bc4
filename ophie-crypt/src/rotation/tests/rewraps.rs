//! Blobs that are wrapped anew.

use async_trait::async_trait;

use super::*;
use crate::{Kms, KmsCall, KmsError, WrappedDek, passed_on::pass_on};

/// Gives, for a blob that is to be wrapped anew, that of another key: it unwraps, under the same context.
struct Swaps(LocalKms);

#[async_trait]
impl Kms for Swaps {
    pass_on!(0: make_dek, unwrap_dek, holds);

    async fn rewrap_dek(&self, _: &WrappedDek, call: &KmsCall) -> Result<WrappedDek, KmsError> {
        Ok(self.0.make_dek(call).await?.wrapped)
    }
}

#[tokio::test]
async fn a_rewrap_changes_the_blob_and_nothing_else() {
    let world = World::new().await;
    world.write(1).await;
    let before = world.keys.load(&ADA.canonical()).await.unwrap().unwrap();
    world.rotation.rewrap(ADA).await.unwrap();
    let after = world.keys.load(&ADA.canonical()).await.unwrap().unwrap();
    assert_ne!(before.deks()[0].blob(), after.deks()[0].blob());
    assert_eq!(before.deks()[0].key_id(), after.deks()[0].key_id());
    assert_eq!(world.read().await.1, 0);
}

/// The old blob is the only one that opens the owner's values.
#[tokio::test]
async fn a_blob_that_unwraps_to_another_key_replaces_none() {
    let world = World::with(Swaps(LocalKms::ephemeral().unwrap())).await;
    world.write(1).await;
    let before = world.keys.load(&ADA.canonical()).await.unwrap();
    let refused = world.rotation.rewrap(ADA).await;
    assert!(
        matches!(refused, Err(RotationError::Session(SessionError::WrongKey))),
        "{refused:?}"
    );
    assert_eq!(world.keys.load(&ADA.canonical()).await.unwrap(), before);
    assert_eq!(world.read().await.1, 0);
}

/// Of all owners those whose key is under another master key, and of nobody else.
#[tokio::test]
async fn all_that_are_under_another_master_key_are_rewrapped() {
    let world = World::new().await;
    world.write(1).await;
    let before = world.keys.load(&ADA.canonical()).await.unwrap().unwrap();
    let DekBlob::Wrapped(wrapped) = before.deks()[0].blob() else {
        panic!("it is wrapped")
    };
    let tally = world.rotation.rewrap_all(wrapped.kek()).await.unwrap();
    assert_eq!((tally.owners, tally.done), (0, 0));
    let tally = world.rotation.rewrap_all("local:another").await.unwrap();
    assert_eq!((tally.owners, tally.done, tally.failed), (1, 1, 0));
    let after = world.keys.load(&ADA.canonical()).await.unwrap().unwrap();
    assert_ne!(before.deks()[0].blob(), after.deks()[0].blob());
    assert_eq!(world.read().await.1, 0);
}
