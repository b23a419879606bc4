//! Keys in two shares: a database that is put back brings nobody back, with nobody on guard; and how keys come into them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use ophie_crypt::{
    KeyStore, Keyring, KmsError, LocalKms, Models, MovingKms, OwnerId, Rotation, Session,
    SessionError, ShareStore, TwoShareKms,
};
use ophie_crypt_sqlx::{Owner, PostgresKeyStore, PostgresModels, PostgresShares};
use ophie_crypt_tests::postgres;
use sqlx::PgPool;

use crate::world::{
    LIVING, Note, PURPOSE, SHREDDED, World, caught, everybody, living, promote, readable, write,
};

impl World {
    /// And the second database, which is in no backup.
    async fn in_two_shares() -> (Self, postgres::Database) {
        let second = postgres::Database::create().await;
        let shares = PostgresShares::new(second.pool().clone(), "tests");
        shares.create().await.unwrap();
        let mut world = Self::new();
        world.shares = Some(shares);
        (world, second)
    }
}

async fn run(pool: &PgPool, sql: &'static str) -> u64 {
    let done = sqlx::raw_sql(sql).execute(pool).await.unwrap();
    done.rows_affected()
}

async fn count(pool: &PgPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

const SHREDS: &str = "SELECT count(*) FROM ophie_crypt_shreds";
const WRAPPED: &str = "SELECT count(*) FROM ophie_crypt_deks WHERE wrapped IS NOT NULL";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_point_in_time_before_the_shreds_and_no_guard() {
    let (world, second) = World::in_two_shares().await;
    // What a backup of the second database would have kept: for the last control.
    let keep = "CREATE TABLE kept (LIKE ophie_crypt_shares); \
                CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS \
                    'BEGIN INSERT INTO kept SELECT OLD.*; RETURN OLD; END'; \
                CREATE TRIGGER keep BEFORE DELETE ON ophie_crypt_shares FOR EACH ROW EXECUTE FUNCTION keep()";
    run(second.pool(), keep).await;
    let restored = world.put_back_to_before_the_shreds().await;
    let pool = &restored.pool;

    // Every first share came back, and nothing here knows of a shred.
    assert_eq!(count(pool, WRAPPED).await, SHREDDED + LIVING);
    assert_eq!(count(pool, SHREDS).await, 0);
    let unguarded = world.keyring(pool, false);
    assert_eq!(readable(&unguarded, pool).await, living());
    for owner in [1, SHREDDED] {
        let opened = unguarded.open(&owner, PURPOSE).await;
        assert!(is_destroyed(&opened), "{owner}: {opened:?}");
    }
    // Whoever has the KMS alone, and knows nothing of shares, has no key either.
    let alone = Keyring::builder()
        .kms(Arc::clone(&world.kms))
        .key_store(PostgresKeyStore::new(pool.clone()))
        .build()
        .unwrap();
    let opened = alone.open(&1_i64, PURPOSE).await;
    assert!(
        matches!(opened, Err(SessionError::Kms(KmsError::Refused { .. }))),
        "{opened:?}"
    );
    let left = "SELECT count(*) FROM ophie_crypt_shares";
    assert_eq!(count(second.pool(), left).await, LIVING);

    // The negative control, and what a backup of the second database does.
    let back = "DROP TRIGGER keep ON ophie_crypt_shares; INSERT INTO ophie_crypt_shares SELECT * FROM kept";
    run(second.pool(), back).await;
    assert_eq!(
        readable(&world.keyring(pool, false), pool).await,
        everybody()
    );
    // The guard destroys the first shares again, and a shredder the second ones.
    let opened = world.keyring(pool, true).open(&1_i64, PURPOSE).await;
    assert!(matches!(opened, Err(SessionError::Shredded)), "{opened:?}");
    let worked = world.shredder(pool).work().await.unwrap();
    assert_eq!(i64::from(worked.done), SHREDDED);
    assert_eq!(count(second.pool(), left).await, LIVING);
}

/// A dump, a replica that is promoted, and backups that are made while shreds run: none of the first shares in them is of
/// use, with nobody on guard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_copies_of_the_first_shares_and_no_guard() {
    let (world, second) = World::in_two_shares().await;
    let primary = world.primary().await;
    primary.dump("before");
    let replica = world.replica_left_behind(&primary).await;
    let before = primary.put_back("before").await;
    // The negative control: as long as the second shares are there, a copy opens for everybody.
    let unguarded = world.keyring(&replica.pool, false);
    assert_eq!(readable(&unguarded, &replica.pool).await, everybody());

    let (dumped, restored) = world.backups_while_shreds_run(&primary).await;
    promote(&replica).await;
    let left = "SELECT count(*) FROM ophie_crypt_shares";
    assert_eq!(count(second.pool(), left).await, LIVING);
    for (pool, gone) in [
        (&before, 0),
        (&replica.pool, 0),
        (&dumped, caught(&dumped).await),
        (&restored.pool, caught(&restored.pool).await),
    ] {
        assert_eq!(count(pool, SHREDS).await, gone);
        assert_eq!(count(pool, WRAPPED).await, SHREDDED + LIVING - gone);
        let unguarded = world.keyring(pool, false);
        assert_eq!(readable(&unguarded, pool).await, living());
        // Whose first share is there, and who is known as shredded.
        let opened = unguarded.open(&SHREDDED, PURPOSE).await;
        assert!(is_destroyed(&opened), "{opened:?}");
        let opened = unguarded.open(&1_i64, PURPOSE).await;
        match gone {
            0 => assert!(is_destroyed(&opened), "{opened:?}"),
            _ => assert!(matches!(opened, Err(SessionError::Shredded)), "{opened:?}"),
        }
    }
}

/// For want of the second share, where the database knows of no shred.
fn is_destroyed(opened: &Result<Session, SessionError>) -> bool {
    matches!(opened, Err(SessionError::Shredded))
}

const OWNERS: i64 = 12;

/// Every process has both forms first; then keys move while owners read and write; then nothing opens in one piece.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_in_one_piece_move_into_two_shares_while_owners_read_and_write() {
    let (main, second) = (
        postgres::Database::create().await,
        postgres::Database::create().await,
    );
    let pool = main.pool().clone();
    let store = PostgresKeyStore::new(pool.clone());
    store.migrate().await.unwrap();
    run(&pool, "CREATE TABLE notes (user_id bigint, text bytea)").await;
    let kms = Arc::new(LocalKms::ephemeral().unwrap());
    let shares = PostgresShares::new(second.pool().clone(), "tests");
    shares.create().await.unwrap();
    let before = Keyring::builder()
        .kms(Arc::clone(&kms))
        .key_store(store.clone())
        .build()
        .unwrap();
    for owner in 1..=OWNERS {
        let session = before.open_or_provision(&owner, PURPOSE).await.unwrap();
        write(&session, owner, &pool).await.unwrap();
    }
    drop(before);

    let keyring = || {
        let two = TwoShareKms::new(Arc::clone(&kms), shares.clone());
        Keyring::builder()
            .kms(MovingKms::new(Arc::clone(&kms), two))
            .key_store(PostgresKeyStore::new(pool.clone()))
            .recheck(Duration::from_millis(50))
            .build()
            .unwrap()
    };
    let (done, written) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let application = {
        let (keyring, pool) = (keyring(), pool.clone());
        let (done, written) = (Arc::clone(&done), Arc::clone(&written));
        tokio::spawn(async move {
            let mut rounds: i64 = 1; // of what was written before
            while !done.load(SeqCst) {
                for owner in 1..=OWNERS {
                    let session = keyring.open(&owner, PURPOSE).await.unwrap();
                    write(&session, owner, &pool).await.unwrap();
                    assert_eq!(read(&keyring, owner, &pool).await, rounds + 1, "of {owner}");
                }
                rounds += 1;
                written.fetch_add(1, SeqCst);
            }
            rounds
        })
    };
    let some_rounds = async || {
        let then = written.load(SeqCst);
        while written.load(SeqCst) < then + 2 {
            assert!(!application.is_finished(), "the application failed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let models = PostgresModels::new(pool.clone(), Models::new().with::<Note>());
    let rotation = Rotation::new(keyring(), store.clone(), models);
    let two_shares = TwoShareKms::kek(&kms.kek());
    some_rounds().await;
    let begun = rotation.begin_wrapped_elsewhere(&two_shares).await.unwrap();
    assert_eq!((begun.owners, begun.done), (12, 12));
    // From here on no key stands in one piece, and a copy that is made now has none.
    let in_one_piece = "SELECT count(*) FROM ophie_crypt_deks WHERE kek NOT LIKE 'two-share:%'";
    assert_eq!(count(&pool, in_one_piece).await, 0);
    some_rounds().await;
    let pass = "UPDATE ophie_crypt_budgets SET announced_at = '2020-01-01'";
    run(&pool, pass).await;
    rotation.advance_all().await.unwrap();
    some_rounds().await;
    for attempt in 0.. {
        assert!(attempt < 400, "it does not end");
        // The leases of generation 1 are over: the application has the new keys by now, or at its next look.
        let pass =
            "UPDATE ophie_crypt_budgets SET leased_until = '2020-01-01' WHERE generation = 1";
        run(&pool, pass).await;
        let tally = rotation.advance_all().await.unwrap();
        assert_eq!(tally.failed, 0);
        if tally.waiting == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    some_rounds().await;
    done.store(true, SeqCst);
    let rounds = application.await.unwrap();
    assert!(rounds >= 9, "{rounds}: owners wrote at every step");
    assert_eq!(
        rotation
            .begin_wrapped_elsewhere(&two_shares)
            .await
            .unwrap()
            .owners,
        0
    );

    // Both forms are needed no more, and all is there, under the new keys.
    let after = Keyring::builder()
        .kms(TwoShareKms::new(Arc::clone(&kms), shares.clone()))
        .key_store(store.clone())
        .build()
        .unwrap();
    for owner in 1..=OWNERS {
        assert_eq!(read(&after, owner, &pool).await, rounds);
        let record = store.load(&owner.canonical()).await.unwrap().unwrap();
        let states: Vec<_> = record
            .deks()
            .iter()
            .map(|dek| dek.state().as_str())
            .collect();
        assert_eq!(states, ["sealing", "retired"]);
    }
    let old = "SELECT count(*) FROM notes WHERE substr(text, 2, 16) IN \
               (SELECT key_id FROM ophie_crypt_deks WHERE generation = 1)";
    assert_eq!(count(&pool, old).await, 0);
    shares.destroy_all(&1_i64.canonical()).await.unwrap();
    let opened = after.open(&1_i64, PURPOSE).await;
    assert!(is_destroyed(&opened), "{opened:?}");
}

/// How many notes the owner has, all of which open.
async fn read(keyring: &Keyring, owner: i64, pool: &PgPool) -> i64 {
    let session = keyring.open(&owner, PURPOSE).await.unwrap();
    let notes = session.scope(async {
        sqlx::query_as::<_, Note>("SELECT user_id, text FROM notes WHERE user_id = $1")
            .bind(Owner(owner))
            .fetch_all(pool)
            .await
    });
    let notes = notes.await.unwrap();
    for note in &notes {
        assert_eq!(note.text.expose_secret(), &format!("of {owner}"));
    }
    notes.len().try_into().unwrap()
}
