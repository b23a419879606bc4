//! An owner whose keys were destroyed, met in every way that there is: never as damage, never as a KMS that fails.

use std::sync::Arc;

use ophie_crypt::{
    EncryptedModel, Keyring, LocalKms, NoSession, OpenError, ProvisionError, Purpose, ReserveError,
    SealError, Session, SessionError,
};
use ophie_crypt_sqlx::{Encrypted, Owner, Sealed};

use crate::world::{Database, Kind};

every_store!(a_shredded_owner_is_told_apart_however_it_is_met);

#[derive(EncryptedModel)]
#[crypt(table = "notes")]
#[allow(dead_code, reason = "its markers are used")]
struct Note {
    user_id: Owner<i64>,
    text: Encrypted<String, note::text>,
}

const ADA: i64 = 7;
const BEN: i64 = 8;
const PURPOSE: Purpose = Purpose::new("tests");

type Text = Sealed<String, note::text>;

/// What a session of the owner's says to one who seals, opens or reserves.
async fn says_shredded(session: &Session, sealed: &Text) {
    let sealing = note::text("x").seal(session).map(drop).unwrap_err();
    let reason = NoSession::Shredded;
    assert!(
        matches!(sealing.get(), ophie_crypt::Error::Seal(SealError::NoSession { reason: said, .. }) if *said == reason),
        "{sealing:?}"
    );
    let opening = sealed.open(session).map(drop).unwrap_err();
    assert!(
        matches!(opening.get(), ophie_crypt::Error::Open(OpenError::NoSession { reason: said, .. }) if *said == reason),
        "{opening:?}"
    );
    let reserved = session.reserve(10).await;
    assert!(
        matches!(reserved, Err(ReserveError::NoSession(NoSession::Shredded))),
        "{reserved:?}"
    );
    assert_eq!(session.ended(), Some(NoSession::Shredded));
}

async fn a_shredded_owner_is_told_apart_however_it_is_met(kind: Kind) {
    let database = Database::create(kind).await;
    let kms = Arc::new(LocalKms::ephemeral().unwrap());
    let keyring = async || {
        let store = database.store(kind).await;
        store.migrate().await.unwrap();
        let builder = Keyring::builder().kms(Arc::clone(&kms)).key_store(store);
        builder.build().unwrap()
    };
    let (here, there) = (keyring().await, keyring().await);
    for owner in [ADA, BEN] {
        here.provision(&owner).await.unwrap();
    }
    let session = here.open(&ADA, PURPOSE).await.unwrap();
    let elsewhere = there.open(&ADA, PURPOSE).await.unwrap();
    let bens = here.open(&BEN, PURPOSE).await.unwrap();
    let sealed = note::text("slept badly").seal(&session).unwrap();
    here.shred(&ADA).await.unwrap();

    says_shredded(&session, &sealed).await;
    let refreshed = elsewhere.refresh().await;
    assert!(
        matches!(refreshed, Err(SessionError::Shredded)),
        "{refreshed:?}"
    );
    says_shredded(&elsewhere, &sealed).await;
    for keyring in [&here, &there, &keyring().await] {
        for opened in [
            keyring.open(&ADA, PURPOSE).await,
            keyring.open_read_only(&ADA, PURPOSE).await,
            keyring.break_glass(&ADA, PURPOSE, "a test").await,
        ] {
            assert!(matches!(opened, Err(SessionError::Shredded)), "{opened:?}");
        }
        let made = keyring.provision(&ADA).await;
        assert!(matches!(made, Err(ProvisionError::Shredded)), "{made:?}");
        let made = keyring.open_or_provision(&ADA, PURPOSE).await;
        assert!(
            matches!(
                made,
                Err(ProvisionError::Shredded | ProvisionError::Session(SessionError::Shredded))
            ),
            "{made:?}"
        );
        keyring.open(&BEN, PURPOSE).await.unwrap();
    }

    // What is damaged, and what is another's, says something else.
    let text = note::text("x").seal(&bens).unwrap();
    text.open(&bens).unwrap();
    let mut bytes = text.into_bytes();
    *bytes.last_mut().unwrap() ^= 1;
    for other in [Text::from_bytes(bytes), sealed] {
        let said = other.open(&bens).map(drop).unwrap_err();
        assert!(
            matches!(
                said.get(),
                ophie_crypt::Error::Open(OpenError::Rejected { .. } | OpenError::UnknownKey { .. })
            ),
            "{said:?}"
        );
    }
    let unknown = here.open(&99_i64, PURPOSE).await;
    assert!(
        matches!(unknown, Err(SessionError::UnknownOwner)),
        "{unknown:?}"
    );
}
