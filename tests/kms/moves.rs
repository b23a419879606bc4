//! All owners' keys, from a local master key to AWS KMS, and from one KMS key to another.

use std::sync::Arc;

use ophie_crypt::{
    AwsKms, Keyring, Kms, LocalKms, MemoryKeyStore, Models, MovingKms, Purpose, Rotation,
    SessionError,
};
use ophie_crypt_sqlx::{Encrypted, Owner, Sealed, SqliteModels};
use sqlx::SqlitePool;

use super::{APP, Fixture, HERE};

const PURPOSE: Purpose = Purpose::new("tests");
const OWNERS: [&str; 3] = ["ada", "ben", "cy"];

#[derive(ophie_crypt::EncryptedModel)]
#[crypt(table = "notes")]
#[expect(dead_code, reason = "its constructor is what the test uses")]
struct Note {
    user_id: Owner<String>,
    text: Encrypted<String, note::text>,
}

fn keyring(kms: impl Kms, store: &Arc<MemoryKeyStore>) -> Keyring {
    let builder = Keyring::builder().kms(kms).key_store(Arc::clone(store));
    builder.build().expect("a whole keyring")
}

fn rotation(keyring: Keyring, store: &Arc<MemoryKeyStore>) -> Rotation {
    let pool = SqlitePool::connect_lazy("sqlite::memory:").expect("a URL");
    let models = SqliteModels::new(pool, Models::new());
    Rotation::new(keyring, Arc::clone(store), models)
}

type Value = Sealed<String, note::text>;

async fn all_open(keyring: &Keyring, values: &[Value]) {
    for (owner, value) in OWNERS.iter().zip(values) {
        let session = keyring.open(*owner, PURPOSE).await.expect("a session");
        assert_eq!(
            value.open(&session).expect("a value").expose_secret(),
            owner
        );
    }
}

#[tokio::test]
async fn from_a_local_key_to_aws_and_on_to_another_key() {
    let Fixture { server, arn, kms } = Fixture::new().await;
    let local = Arc::new(LocalKms::ephemeral().expect("random bytes"));
    let store = Arc::new(MemoryKeyStore::new());
    let before = keyring(Arc::clone(&local), &store);
    let mut values = Vec::new();
    for owner in OWNERS {
        let session = before
            .open_or_provision(owner, PURPOSE)
            .await
            .expect("a session");
        values.push(note::text(owner).seal(&session).expect("a value"));
    }

    // Both open, before, in the middle and at the end; who moved already is left out.
    let both = keyring(MovingKms::new(Arc::clone(&local), kms.clone()), &store);
    all_open(&both, &values).await;
    let moving = rotation(both.clone(), &store);
    moving.rewrap("ben").await.expect("it moves");
    all_open(&both, &values).await;
    let moved = moving.rewrap_all(&arn).await.expect("owners are listed");
    assert_eq!((moved.owners, moved.done), (2, 2));
    all_open(&both, &values).await;
    let again = moving.rewrap_all(&arn).await.expect("owners are listed");
    assert_eq!(again.owners, 0);
    all_open(&keyring(kms, &store), &values).await;
    let left = keyring(local, &store).open("ada", PURPOSE).await;
    assert!(matches!(left, Err(SessionError::Kms(_))), "{left:?}");

    // Within AWS no key leaves it but for the look at what was made.
    let other = server.make_key(HERE).await;
    let client = || server.client(HERE, APP);
    let builder = AwsKms::builder()
        .key(client(), &other)
        .former(client(), &arn);
    let kms = builder.build().expect("two keys");
    let moving = rotation(keyring(kms, &store), &store);
    let seen = server.log().len();
    let moved = moving.rewrap_all(&other).await.expect("owners are listed");
    assert_eq!((moved.owners, moved.done), (3, 3));
    let log = server.log();
    let operations: Vec<_> = log[seen..]
        .iter()
        .map(|entry| entry.operation.as_str())
        .collect();
    assert_eq!(operations, ["ReEncrypt", "Decrypt"].repeat(3));
    let kms = AwsKms::builder().key(client(), &other).build();
    all_open(&keyring(kms.expect("one key"), &store), &values).await;
}

/// Whoever may not wrap there loses nothing.
#[tokio::test]
async fn what_is_refused_stays_where_it_is() {
    let Fixture { server, arn, kms } = Fixture::new().await;
    let local = Arc::new(LocalKms::ephemeral().expect("random bytes"));
    let store = Arc::new(MemoryKeyStore::new());
    keyring(Arc::clone(&local), &store)
        .provision("ada")
        .await
        .expect("keys");
    let both = keyring(MovingKms::new(Arc::clone(&local), kms), &store);
    let admin = server.client(HERE, "admin");
    admin
        .disable_key()
        .key_id(&arn)
        .send()
        .await
        .expect("it is disabled");
    let moving = rotation(both.clone(), &store);
    let refused = moving.rewrap_all(&arn).await.expect("owners are listed");
    assert_eq!((refused.owners, refused.failed), (1, 1));
    both.open("ada", PURPOSE).await.expect("it stays");
    admin
        .enable_key()
        .key_id(&arn)
        .send()
        .await
        .expect("it is enabled");
    assert_eq!(
        moving
            .rewrap_all(&arn)
            .await
            .expect("owners are listed")
            .done,
        1
    );
}
