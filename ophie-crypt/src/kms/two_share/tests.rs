//! What the two shares are worth, each alone and together.

use std::sync::atomic::Ordering::SeqCst;

use super::*;
use crate::{
    audit::WriterId,
    kms::{LocalKms, MovingKms},
    owner::CanonicalId,
    shares::{ShareStoreError, tests::Fallible},
};

struct World {
    local: Arc<LocalKms>,
    shares: Arc<Fallible>,
    kms: TwoShareKms,
}

impl World {
    fn new() -> Self {
        let (local, shares) = (Arc::new(LocalKms::ephemeral().unwrap()), Arc::default());
        let kms = TwoShareKms::new(Arc::clone(&local), Arc::clone(&shares));
        Self { local, shares, kms }
    }
}

fn ada() -> CanonicalId {
    CanonicalId::text("ada")
}

fn call(owner: &CanonicalId, generation: u32) -> KmsCall {
    KmsCall::new(EncryptionContext::new("tests", owner, generation))
}

fn refused<T: fmt::Debug>(answer: Result<T, KmsError>) {
    assert!(
        matches!(answer, Err(KmsError::Refused { .. })),
        "{answer:?}"
    );
}

#[tokio::test]
async fn it_takes_both_shares_and_the_context() {
    let world = World::new();
    let made = world.kms.make_dek(&call(&ada(), 1)).await.unwrap();
    let again = world.kms.unwrap_dek(&made.wrapped, &call(&ada(), 1)).await;
    assert_eq!(
        again.unwrap().expose_secret(),
        made.dek.expose_secret(),
        "the same key"
    );
    for other in [call(&CanonicalId::text("ben"), 1), call(&ada(), 2)] {
        refused(world.kms.unwrap_dek(&made.wrapped, &other).await);
    }

    // Neither share is the key, nor is the key made of one alone.
    let (header, id, first) = parts(&made.wrapped).unwrap();
    let first = world.local.unwrap_dek(&first, &call(&ada(), 1)).await;
    let (first, second) = (first.unwrap(), world.shares.get(&ada(), 1, id).await);
    let second = second.unwrap().unwrap();
    let dek = made.dek.expose_secret();
    assert!(dek != first.expose_secret() && dek != second.expose_secret());
    let other = Share::make().unwrap();
    let context = EncryptionContext::new("tests", &ada(), 1);
    let wrong = joined(&first, &other, &header, &context).unwrap();
    assert_ne!(dek, wrong.expose_secret());
    let wrong = joined(&Dek::make().unwrap(), &second, &header, &context).unwrap();
    assert_ne!(dek, wrong.expose_secret());
    // The second says nothing of whose it is: the context does.
    let elsewhere = EncryptionContext::new("another", &ada(), 1);
    let wrong = joined(&first, &second, &header, &elsewhere).unwrap();
    assert_ne!(dek, wrong.expose_secret());
}

#[tokio::test]
async fn a_share_that_is_gone_is_told_from_a_store_that_is() {
    let world = World::new();
    let made = world.kms.make_dek(&call(&ada(), 1)).await.unwrap();
    world.shares.is_down.store(true, SeqCst);
    let unwrapped = world.kms.unwrap_dek(&made.wrapped, &call(&ada(), 1)).await;
    let error = unwrapped.unwrap_err();
    assert!(
        matches!(error, KmsError::Shares(ShareStoreError::Unavailable { .. })) && !error.is_final(),
        "{error:?}"
    );
    world.shares.is_down.store(false, SeqCst);
    world.shares.destroy_all(&ada()).await.unwrap();
    let unwrapped = world.kms.unwrap_dek(&made.wrapped, &call(&ada(), 1)).await;
    let error = unwrapped.unwrap_err();
    assert!(
        matches!(error, KmsError::Shares(ShareStoreError::Destroyed)) && error.is_final(),
        "{error:?}"
    );
    // The KMS's own refusal comes first.
    refused(
        world
            .kms
            .unwrap_dek(&made.wrapped, &call(&CanonicalId::text("ben"), 1))
            .await,
    );
    let late = world.kms.make_dek(&call(&ada(), 2)).await.unwrap_err();
    assert!(
        matches!(late, KmsError::Shares(ShareStoreError::Destroyed)) && late.is_final(),
        "{late:?}"
    );
}

#[tokio::test]
async fn no_key_is_made_whose_second_share_was_not_stored() {
    let world = World::new();
    world.shares.is_down.store(true, SeqCst);
    let made = world.kms.make_dek(&call(&ada(), 1)).await;
    assert!(matches!(made, Err(KmsError::Shares(_))), "{made:?}");
}

/// Neither form is taken for the other, whatever the key store says the KEK is.
#[tokio::test]
async fn keys_in_one_piece_and_in_two_are_told_apart() {
    let world = World::new();
    let one = world.local.make_dek(&call(&ada(), 1)).await.unwrap();
    let two = world.kms.make_dek(&call(&ada(), 1)).await.unwrap();
    let renamed = |kek: String, bytes: &[u8]| WrappedDek::new(kek, bytes);
    let (local, both) = (world.local.kek(), TwoShareKms::kek(&world.local.kek()));
    assert_eq!(two.wrapped.kek(), both);
    for wrapped in [
        one.wrapped.clone(),
        renamed(both.clone(), one.wrapped.as_bytes()),
        renamed(local.clone(), two.wrapped.as_bytes()),
        renamed(both.clone(), &[]),
        renamed(both.clone(), &two.wrapped.as_bytes()[..16]),
        renamed(both.clone(), &two.wrapped.as_bytes()[..17]),
    ] {
        refused(world.kms.unwrap_dek(&wrapped, &call(&ada(), 1)).await);
        refused(world.kms.rewrap_dek(&wrapped, &call(&ada(), 1)).await);
    }
    let mut version = two.wrapped.as_bytes().to_vec();
    version[0] = 1;
    refused(
        world
            .kms
            .unwrap_dek(&renamed(both.clone(), &version), &call(&ada(), 1))
            .await,
    );
    let mut named = two.wrapped.as_bytes().to_vec();
    named[1] ^= 1;
    let other = world
        .kms
        .unwrap_dek(&renamed(both.clone(), &named), &call(&ada(), 1))
        .await;
    assert!(matches!(other, Err(KmsError::NoShare)), "{other:?}");
    for wrapped in [
        two.wrapped.clone(),
        renamed(local.clone(), two.wrapped.as_bytes()),
    ] {
        refused(world.local.unwrap_dek(&wrapped, &call(&ada(), 1)).await);
    }
    assert!(world.kms.holds(&both));
    assert!(!world.kms.holds(&local) && !world.kms.holds("two-share:local:another"));
    // Nor is one made of the other: its copies would stay.
    refused(world.kms.wrap_dek(&one.dek, &call(&ada(), 1)).await);
}

#[tokio::test]
async fn another_master_key_wraps_the_first_share_and_the_second_stays() {
    let world = World::new();
    let made = world.kms.make_dek(&call(&ada(), 1)).await.unwrap();
    let new = Arc::new(LocalKms::ephemeral().unwrap());
    let moving = MovingKms::new(Arc::clone(&world.local), Arc::clone(&new));
    let moving = TwoShareKms::new(moving, Arc::clone(&world.shares));
    let moved = moving.rewrap_dek(&made.wrapped, &call(&ada(), 1)).await;
    let moved = moved.unwrap();
    assert_eq!(moved.kek(), TwoShareKms::kek(&new.kek()));
    assert_eq!(world.shares.memory.len(), 1);
    let after = TwoShareKms::new(new, Arc::clone(&world.shares));
    for kms in [&moving, &after] {
        let dek = kms.unwrap_dek(&moved, &call(&ada(), 1)).await.unwrap();
        assert_eq!(dek.expose_secret(), made.dek.expose_secret());
    }
    refused(world.kms.unwrap_dek(&moved, &call(&ada(), 1)).await);
}

#[tokio::test]
async fn while_keys_move_both_forms_open_and_new_ones_have_two_shares() {
    let world = World::new();
    let moving = MovingKms::new(
        Arc::clone(&world.local),
        TwoShareKms::new(Arc::clone(&world.local), Arc::clone(&world.shares)),
    );
    let one = world.local.make_dek(&call(&ada(), 1)).await.unwrap();
    let two = moving.make_dek(&call(&ada(), 2)).await.unwrap();
    assert_eq!(two.wrapped.kek(), TwoShareKms::kek(&world.local.kek()));
    for (generation, made) in [(1, &one), (2, &two)] {
        let call = call(&ada(), generation);
        let dek = moving.unwrap_dek(&made.wrapped, &call).await.unwrap();
        assert_eq!(dek.expose_secret(), made.dek.expose_secret());
    }
    let again = moving.rewrap_dek(&two.wrapped, &call(&ada(), 2)).await;
    let again = again.unwrap();
    assert_eq!(again.kek(), two.wrapped.kek());
    let rewrapped = moving.rewrap_dek(&one.wrapped, &call(&ada(), 1)).await;
    let told = rewrapped.unwrap_err();
    let source = core::error::Error::source(&told).unwrap().to_string();
    assert!(source.contains("begin_wrapped_elsewhere"), "{source}");
}

#[tokio::test]
async fn keys_of_the_audit_have_no_second_share() {
    let world = World::new();
    let call = || {
        KmsCall::new(EncryptionContext::audit(
            "tests",
            WriterId::from_bytes([7; 16]),
        ))
    };
    let made = world.kms.make_dek(&call()).await.unwrap();
    assert!(world.shares.memory.is_empty() && made.wrapped.kek() == world.local.kek());
    let again = world.kms.rewrap_dek(&made.wrapped, &call()).await.unwrap();
    let dek = world.kms.unwrap_dek(&again, &call()).await.unwrap();
    assert_eq!(dek.expose_secret(), made.dek.expose_secret());
    let again = world.kms.wrap_dek(&dek, &call()).await.unwrap();
    world.local.unwrap_dek(&again, &call()).await.unwrap();
}

#[tokio::test]
async fn what_is_printed_shows_no_share() {
    let world = World::new();
    let made = world.kms.make_dek(&call(&ada(), 1)).await.unwrap();
    let (_, id, _) = parts(&made.wrapped).unwrap();
    let share = world.shares.get(&ada(), 1, id).await.unwrap().unwrap();
    let printed = format!(
        "{:?} {:?} {share:?} {made:?}",
        world.kms, world.shares.memory
    );
    let bytes = format!("{:?}", share.expose_secret());
    let hex = crate::hex::to_hex(share.expose_secret());
    let inside = bytes.trim_matches(['[', ']']);
    assert!(!printed.contains(inside) && !printed.contains(&hex));
    assert!(printed.contains("Share([REDACTED])"));
}

/// The wrong nesting: the new KMS alone would hold what took two before.
#[tokio::test]
async fn keys_in_two_shares_are_not_taken_to_a_kms_that_has_one() {
    let world = World::new();
    let made = world.kms.make_dek(&call(&ada(), 1)).await.unwrap();
    let shares = Arc::clone(&world.shares);
    let new: [Arc<dyn Kms>; 2] = [
        Arc::new(LocalKms::ephemeral().unwrap()),
        Arc::new(TwoShareKms::new(LocalKms::ephemeral().unwrap(), shares)),
    ];
    for new in new {
        let old = TwoShareKms::new(Arc::clone(&world.local), Arc::clone(&world.shares));
        let moving = MovingKms::new(old, new);
        let moved = moving.rewrap_dek(&made.wrapped, &call(&ada(), 1)).await;
        let told = moved.unwrap_err();
        let source = core::error::Error::source(&told).unwrap().to_string();
        assert!(
            source.contains("TwoShareKms::new(MovingKms::new(old, new), shares)"),
            "{source}"
        );
        let dek = moving.unwrap_dek(&made.wrapped, &call(&ada(), 1)).await;
        assert_eq!(dek.unwrap().expose_secret(), made.dek.expose_secret());
    }
}

/// Not a KMS that is unavailable, and nothing that the KMS's refusal waits for.
#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_said_to_and_hides_no_refusal() {
    let world = World::new();
    let made = world.kms.make_dek(&call(&ada(), 1)).await.unwrap();
    world.shares.hangs.store(true, SeqCst);
    let unavailable =
        |error| matches!(error, KmsError::Shares(ShareStoreError::Unavailable { .. }));
    let unwrapped = world.kms.unwrap_dek(&made.wrapped, &call(&ada(), 1)).await;
    assert!(unavailable(unwrapped.unwrap_err()));
    let unmade = world.kms.make_dek(&call(&ada(), 2)).await;
    assert!(unavailable(unmade.unwrap_err()));

    let ben = call(&CanonicalId::text("ben"), 1);
    tokio::select! {
        biased;
        answer = world.kms.unwrap_dek(&made.wrapped, &ben) => refused(answer),
        () = tokio::time::sleep(Duration::from_millis(1)) => panic!("it waited for the share"),
    }
}
