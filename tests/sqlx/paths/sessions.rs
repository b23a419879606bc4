//! Sessions end: by their time to live, by `close()`, each for itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ophie_crypt::{
    BuildError, Dek, Error, Keyring, Kms, KmsCall, KmsError, LocalKms, NoSession, OwnerError,
    SealError, Session, WrappedDek,
};
use ophie_crypt_sqlx::Owner;

use super::{
    models::{NAME, person_link},
    world::{ALICE, BOB, PURPOSE, World, bound},
};
use crate::{
    Store,
    db::{Db, sql},
    passed_on::pass_on,
};

fn seal_error(reason: NoSession) -> Error {
    Error::Seal(SealError::NoSession {
        column: NAME,
        reason,
    })
}

/// What a hook says under this session.
fn hook(session: &Session) -> Result<(), Error> {
    session.scope_sync(|| {
        let mut query = sqlx::query::<Db>(sql("SELECT $1"));
        match query.try_bind(person_link::name("Mom")) {
            Ok(()) => Ok(()),
            refused => Err(bound(refused)),
        }
    })
}

/// Answers once and is down then: nothing can be renewed.
struct Once(Arc<LocalKms>, AtomicBool);

#[async_trait::async_trait]
impl Kms for Once {
    pass_on!(0: make_dek, rewrap_dek, holds);

    async fn unwrap_dek(&self, wrapped: &WrappedDek, call: &KmsCall) -> Result<Dek, KmsError> {
        if self.1.swap(true, Ordering::SeqCst) {
            return Err(KmsError::unavailable("it answers once"));
        }
        self.0.unwrap_dek(wrapped, call).await
    }
}

async fn short_lived(world: &World) -> Keyring {
    Keyring::builder()
        .kms(Once(Arc::clone(&world.kms), AtomicBool::new(false)))
        .key_store(Store::new(crate::key_pool(&world.database).await))
        .ttl(Duration::from_millis(900))
        .build()
        .unwrap()
}

const PAST_THE_TTL: Duration = Duration::from_millis(1000);

#[tokio::test]
async fn a_session_ends_at_its_time_to_live() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    let keyring = short_lived(&world).await;
    let session = keyring.open(&ALICE, PURPOSE).await.unwrap();
    tokio::time::sleep(PAST_THE_TTL).await;
    assert_eq!(session.ended(), Some(NoSession::Expired));
    assert_eq!(hook(&session), Err(seal_error(NoSession::Expired)));
    let read = session.scope(world.names(ALICE)).await.unwrap_err(); // `.bind()` keeps the text only
    let expired = Error::Owner(OwnerError::NoSession(NoSession::Expired)).to_string();
    assert!(read.to_string().contains(&expired), "{read}");
    // A clone is no way around, another keyring's session is not concerned, and a new one is to be had.
    assert_eq!(session.clone().ended(), Some(NoSession::Expired));
    assert_eq!(hook(&world.alice), Ok(()));
    let another = world.keyring.open(&ALICE, PURPOSE).await.unwrap();
    assert_eq!(another.ended(), None);
}

#[tokio::test]
async fn expiry_in_the_middle_of_a_scope_stops_the_next_query() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    let session = short_lived(&world)
        .await
        .open(&ALICE, PURPOSE)
        .await
        .unwrap();
    let run = async {
        tokio::time::sleep(PAST_THE_TTL).await;
        let mut query = sqlx::query::<Db>(sql("SELECT $1"));
        bound(query.try_bind(Owner(ALICE)))
    };
    assert_eq!(
        session.scope(run).await,
        Error::Owner(OwnerError::NoSession(NoSession::Expired))
    );
}

#[tokio::test]
async fn expiry_is_judged_at_the_start_of_a_poll() {
    let world = World::new().await;
    let session = short_lived(&world)
        .await
        .open(&ALICE, PURPOSE)
        .await
        .unwrap();
    let one_poll = async {
        std::thread::sleep(PAST_THE_TTL);
        // What began with a key ends with it.
        let mut query = sqlx::query::<Db>(sql("SELECT $1"));
        assert!(query.try_bind(Owner(ALICE)).is_ok());
    };
    session.scope(one_poll).await;
    assert_eq!(session.ended(), Some(NoSession::Expired));
}

#[tokio::test]
async fn close_revokes_every_clone() {
    let world = World::new().await;
    let clone = world.alice.clone();
    world.alice.close();
    for session in [&clone, &world.alice] {
        assert_eq!(session.ended(), Some(NoSession::Closed));
        assert_eq!(hook(session), Err(seal_error(NoSession::Closed)));
    }
    assert_eq!(
        clone.check_owner(&ALICE),
        Err(OwnerError::NoSession(NoSession::Closed))
    );
}

#[tokio::test]
async fn a_second_session_of_the_owner_lives_on() {
    let world = World::new().await;
    let second = world.keyring.open(&ALICE, PURPOSE).await.unwrap();
    world.link(&world.alice, "Mom").await;
    world.alice.close();
    assert_eq!(hook(&second), Ok(()));
    assert_eq!(second.scope(world.names(ALICE)).await.unwrap(), ["Mom"]);
    second.close();
    assert_eq!(hook(&second), Err(seal_error(NoSession::Closed)));
    // The owner is none the worse for it.
    let third = world.keyring.open(&ALICE, PURPOSE).await.unwrap();
    assert_eq!(third.scope(world.names(ALICE)).await.unwrap(), ["Mom"]);
    assert_eq!(hook(&world.bob), Ok(()));
}

#[tokio::test]
async fn close_inside_a_scope_counts_from_the_next_poll() {
    let world = World::new().await;
    let run = async {
        world.alice.close();
        tokio::task::yield_now().await;
        person_link::name_fp("Mom").unwrap_err().to_string()
    };
    let text = world.alice.scope(run).await;
    assert!(text.contains("the session was closed"), "{text}");
}

#[tokio::test]
async fn a_carried_session_can_be_closed_from_outside() {
    let world = World::new().await;
    let (closed, wait) = tokio::sync::oneshot::channel::<()>();
    let task = {
        let work = async move {
            wait.await.unwrap();
            person_link::name_fp("Mom").is_ok()
        };
        tokio::spawn(ophie_crypt::InSession::in_session(work, &world.alice))
    };
    world.alice.close();
    closed.send(()).unwrap();
    assert!(!task.await.unwrap());
}

#[tokio::test]
async fn a_session_knows_its_owner_and_shows_no_key() {
    let world = World::new().await;
    world.alice.check_owner(&ALICE).unwrap();
    assert_eq!(world.alice.check_owner(&BOB), Err(OwnerError::OtherOwner));
    assert_eq!(
        world.alice.check_owner(&ALICE.to_string()),
        Err(OwnerError::OtherOwner)
    );
    assert_eq!(
        format!("{:?}", world.alice),
        r#"Session { purpose: "tests", .. }"#
    );
}

#[tokio::test]
async fn the_time_to_live_has_bounds() {
    let world = World::new().await;
    for (ttl, fits) in [(0, false), (1, true), (600_000, true), (600_001, false)] {
        let built = Keyring::builder()
            .kms(Arc::clone(&world.kms))
            .key_store(Store::new(world.pool().clone()))
            .ttl(Duration::from_millis(ttl))
            .build();
        assert_eq!(built.err(), (!fits).then_some(BuildError::Ttl), "{ttl} ms");
    }
}
