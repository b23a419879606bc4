//! Owners' keys through the key store: provision, open, races, wrong and missing ones.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use futures_util::future::{join_all, try_join_all};
use ophie_crypt::{
    CanonicalId, Dek, GeneratedDek, Keyring, Kms, KmsCall, KmsError, LocalKms, ProvisionError,
    SessionError, StoreError, WrappedDek,
};
use uuid::Uuid;

use super::{
    models::person_link,
    world::{ALICE, PURPOSE, World, keyring, kms},
};
use crate::{
    Store,
    db::{Database, Pool},
    passed_on::pass_on,
};

/// A new database with the library's tables.
async fn migrated() -> (Database, Store) {
    let database = Database::create().await;
    let store = Store::new(crate::key_pool(&database).await);
    store.migrate().await.unwrap();
    (database, store)
}

async fn rows(pool: &Pool) -> [i64; 4] {
    let mut counts = [0; 4];
    let tables = [
        "SELECT COUNT(*) FROM ophie_crypt_owners",
        "SELECT COUNT(*) FROM ophie_crypt_deks",
        "SELECT COUNT(*) FROM ophie_crypt_budgets",
        "SELECT COUNT(*) FROM ophie_crypt_index_keys",
    ];
    for (count, sql) in counts.iter_mut().zip(tables) {
        *count = sqlx::query_scalar(sql).fetch_one(pool).await.unwrap();
    }
    counts
}

/// Counts what the KMS is asked for.
#[derive(Default)]
struct Asked {
    made: AtomicU32,
    unwrapped: AtomicU32,
}

struct Counting(Arc<LocalKms>, Arc<Asked>);

/// Makes the first key only once a second is asked for: there is a race each time.
struct Racing(Counting);

#[async_trait::async_trait]
impl Kms for Racing {
    pass_on!(0: unwrap_dek, rewrap_dek, holds);

    async fn make_dek(&self, call: &KmsCall) -> Result<GeneratedDek, KmsError> {
        let made = self.0.make_dek(call).await;
        while self.0.1.made.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        made
    }
}

#[async_trait::async_trait]
impl Kms for Counting {
    pass_on!(0: rewrap_dek, holds);

    async fn make_dek(&self, call: &KmsCall) -> Result<GeneratedDek, KmsError> {
        self.1.made.fetch_add(1, Ordering::SeqCst);
        self.0.make_dek(call).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, call: &KmsCall) -> Result<Dek, KmsError> {
        self.1.unwrapped.fetch_add(1, Ordering::SeqCst);
        self.0.unwrap_dek(wrapped, call).await
    }
}

#[tokio::test]
async fn provisioned_keys_outlive_the_process() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    world.alice.close();
    let later = world.another_keyring().await;
    let session = later.open(&ALICE, PURPOSE).await.unwrap();
    assert_eq!(session.scope(world.names(ALICE)).await.unwrap(), ["Mom"]);
    let found = session.scope_sync(|| person_link::name_fp("Mom").unwrap());
    let stored = world.stored("SELECT name_fp FROM people_links").await;
    assert_eq!(stored[0].as_deref(), Some(found.as_bytes()));
}

#[tokio::test]
async fn open_makes_no_key() {
    let (database, store) = migrated().await;
    let keyring = keyring(&kms(), store);
    let unknown = keyring.open(&ALICE, PURPOSE).await;
    assert!(
        matches!(unknown, Err(SessionError::UnknownOwner)),
        "{unknown:?}"
    );
    let pool = crate::key_pool(&database).await;
    assert_eq!(rows(&pool).await, [0, 0, 0, 0]);

    keyring.provision(&ALICE).await.unwrap();
    assert_eq!(rows(&pool).await, [1, 1, 1, 1]);
    keyring.open(&ALICE, PURPOSE).await.unwrap();
    let other = keyring.open(&ALICE.to_string(), PURPOSE).await;
    assert!(
        matches!(other, Err(SessionError::UnknownOwner)),
        "text is not a UUID: {other:?}"
    );
}

#[tokio::test]
async fn an_empty_owner_is_no_owner() {
    let (database, store) = migrated().await;
    let keyring = keyring(&kms(), store);
    let provisioned = keyring.provision("").await;
    assert!(
        matches!(provisioned, Err(ProvisionError::EmptyOwner)),
        "{provisioned:?}"
    );
    let opened = keyring.open("", PURPOSE).await;
    assert!(
        matches!(opened, Err(SessionError::EmptyOwner)),
        "{opened:?}"
    );
    assert_eq!(rows(&crate::key_pool(&database).await).await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn the_longest_owner_fits_every_index() {
    let (_database, store) = migrated().await;
    let keyring = keyring(&kms(), store);
    // Of four different bytes, pseudo-random: what a database compresses fits anyway.
    let longest: String = (0..CanonicalId::MAX_LEN - 1)
        .map(|n| char::from(b'a' + u8::try_from((n * n + n / 7) % 26).unwrap()))
        .collect();
    keyring.open_or_provision(&longest, PURPOSE).await.unwrap();
    let longer = keyring.provision(&(longest + "x")).await;
    assert!(
        matches!(longer, Err(ProvisionError::LongOwner)),
        "{longer:?}"
    );
}

#[tokio::test]
async fn provisioning_twice_changes_nothing() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    let pool = crate::key_pool(&world.database).await;
    let wrapped = || async {
        sqlx::query_scalar::<_, Vec<u8>>("SELECT wrapped FROM ophie_crypt_deks ORDER BY owner")
            .fetch_all(&pool)
            .await
            .unwrap()
    };
    let before = wrapped().await;
    world.keyring.provision(&ALICE).await.unwrap();
    let again = world.another_keyring().await;
    again.provision(&ALICE).await.unwrap();
    again.open_or_provision(&ALICE, PURPOSE).await.unwrap();
    assert_eq!(wrapped().await, before);
    assert_eq!(rows(&pool).await, [2, 2, 2, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_processes_provision_one_owner_and_end_with_one_key() {
    let (database, _) = migrated().await;
    let (local, asked) = (kms(), Arc::new(Asked::default()));
    let start = Arc::new(tokio::sync::Barrier::new(32));
    let keyrings = join_all((0..32).map(|_| async {
        Keyring::builder()
            .kms(Racing(Counting(Arc::clone(&local), Arc::clone(&asked))))
            .key_store(Store::new(crate::key_pool(&database).await))
            .build()
            .unwrap()
    }))
    .await;
    let tasks = keyrings.into_iter().map(|keyring| {
        let start = Arc::clone(&start);
        tokio::spawn(async move {
            start.wait().await;
            keyring.open_or_provision(&ALICE, PURPOSE).await.unwrap()
        })
    });
    let sessions = try_join_all(tasks).await.unwrap();
    assert!(asked.made.load(Ordering::SeqCst) > 1, "there was no race");
    assert_eq!(rows(&crate::key_pool(&database).await).await, [1, 1, 1, 1]);

    let sealed = person_link::name("Mom").seal(&sessions[0]).unwrap();
    let fingerprint = sessions[0].scope_sync(|| person_link::name_fp("Mom").unwrap());
    for session in &sessions {
        assert_eq!(sealed.open(session).unwrap().expose_secret(), "Mom");
        assert_eq!(
            session.scope_sync(|| person_link::name_fp("Mom").unwrap()),
            fingerprint
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_overlap_share_one_unwrap() {
    let (_database, store) = migrated().await;
    let asked = Arc::new(Asked::default());
    let keyring = Keyring::builder()
        .kms(Counting(kms(), Arc::clone(&asked)))
        .key_store(store)
        .build()
        .unwrap();
    keyring.provision(&ALICE).await.unwrap();
    let sessions = try_join_all((0..50).map(|_| keyring.open(&ALICE, PURPOSE)))
        .await
        .unwrap();
    assert_eq!(asked.unwrapped.load(Ordering::SeqCst), 1);
    drop(sessions);
    // The task that fetched the key is the last to let it go; it may still be ending.
    while asked.unwrapped.load(Ordering::SeqCst) < 2 {
        drop(keyring.open(&ALICE, PURPOSE).await.unwrap());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn another_master_key_opens_nothing() {
    let world = World::new().await;
    let wrong = keyring(&kms(), Store::new(crate::key_pool(&world.database).await));
    let opened = wrong.open(&ALICE, PURPOSE).await;
    assert!(
        matches!(opened, Err(SessionError::Kms(KmsError::Refused { .. }))),
        "{opened:?}"
    );
    // It makes no second key either.
    wrong.provision(&ALICE).await.unwrap();
    let opened = wrong.open_or_provision(&ALICE, PURPOSE).await;
    assert!(
        matches!(
            opened,
            Err(ProvisionError::Session(SessionError::Kms(
                KmsError::Refused { .. }
            )))
        ),
        "{opened:?}"
    );
    assert_eq!(
        rows(&crate::key_pool(&world.database).await).await,
        [2, 2, 2, 2]
    );
}

#[tokio::test]
async fn another_application_opens_nothing() {
    let world = World::new().await;
    let other = Keyring::builder()
        .kms(Arc::clone(&world.kms))
        .key_store(Store::new(crate::key_pool(&world.database).await))
        .app("another")
        .build()
        .unwrap();
    let opened = other.open(&ALICE, PURPOSE).await;
    assert!(
        matches!(opened, Err(SessionError::Kms(KmsError::Refused { .. }))),
        "{opened:?}"
    );
}

#[tokio::test]
async fn an_empty_database_says_that_it_was_not_migrated() {
    let database = Database::create().await;
    let keyring = keyring(&kms(), Store::new(crate::key_pool(&database).await));
    let opened = keyring.open(&ALICE, PURPOSE).await;
    assert!(
        matches!(opened, Err(SessionError::Store(StoreError::NotMigrated))),
        "{opened:?}"
    );
    let provisioned = keyring.provision(&ALICE).await;
    assert!(
        matches!(
            provisioned,
            Err(ProvisionError::Store(StoreError::NotMigrated))
        ),
        "{provisioned:?}"
    );
}

#[tokio::test]
async fn a_database_that_is_not_there_is_unavailable() {
    let keyring = keyring(
        &kms(),
        Store::new(Pool::connect_lazy(crate::NOWHERE).unwrap()),
    );
    let opened = keyring.open(&ALICE, PURPOSE).await;
    assert!(
        matches!(
            opened,
            Err(SessionError::Store(StoreError::Unavailable { .. }))
        ),
        "{opened:?}"
    );
    let provisioned = keyring.provision(&ALICE).await;
    assert!(
        matches!(
            provisioned,
            Err(ProvisionError::Store(StoreError::Unavailable { .. }))
        ),
        "{provisioned:?}"
    );
}

#[tokio::test]
async fn open_sessions_outlive_the_key_stores_database() {
    let world = World::new().await;
    let pool = crate::key_pool(&world.database).await;
    let keyring = keyring(&world.kms, Store::new(pool.clone()));
    let session = keyring.open(&ALICE, PURPOSE).await.unwrap();
    pool.close().await;
    let unknown = keyring.open(&Uuid::nil(), PURPOSE).await;
    assert!(
        matches!(
            unknown,
            Err(SessionError::Store(StoreError::Unavailable { .. }))
        ),
        "{unknown:?}"
    );
    world.link(&session, "Mom").await;
    assert_eq!(session.scope(world.names(ALICE)).await.unwrap(), ["Mom"]);
}

#[tokio::test]
async fn a_failed_open_is_not_remembered() {
    let (_database, store) = migrated().await;
    let keyring = keyring(&kms(), store);
    keyring.open(&ALICE, PURPOSE).await.unwrap_err();
    keyring.provision(&ALICE).await.unwrap();
    keyring.open(&ALICE, PURPOSE).await.unwrap();
}
