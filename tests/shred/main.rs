//! Databases that are put back to before shreds, for real: what comes back without the restore guard, and what does
//! not with it.
//!
//! Needs PostgreSQL's programs. Absent: the steps of a shred (`stores/shredder.rs`), processes that are killed
//! (`processes/shredding.rs`).

#![cfg(test)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "a test: what goes wrong here is seen"
)]

mod cluster;
mod two_shares;

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use cluster::{Cluster, Place};
use ophie_crypt::{
    EncryptedModel, Error, FileLedger, KeyStore, Keyring, KmsError, LocalKms, Models, OwnerId,
    Purpose, RestoreError, RestoreGuard, Session, SessionError, ShredStore, Shredder, TwoShareKms,
    restore_adopt, restore_replay,
};
use ophie_crypt_sqlx::{
    Encrypted, Owner, PostgresKeyStore, PostgresModels, PostgresShares, find_error,
};
use sqlx::PgPool;

const PURPOSE: Purpose = Purpose::new("tests");
const SHREDDED: i64 = 200;
const LIVING: i64 = 20;

#[derive(EncryptedModel, sqlx::FromRow)]
#[crypt(table = "notes")]
struct Note {
    #[expect(dead_code, reason = "its hook refuses another owner's row")]
    user_id: Owner<i64>,
    text: Encrypted<String, note::text>,
}

/// What lies outside the database.
struct World {
    kms: Arc<LocalKms>,
    ledger: PathBuf,
    /// Where keys are in two shares.
    shares: Option<PostgresShares>,
    place: Place,
}

impl World {
    fn new() -> Self {
        let place = Place::new();
        let ledger = place.path("ledger");
        FileLedger::open_or_create(&ledger).unwrap();
        Self {
            kms: Arc::new(LocalKms::ephemeral().unwrap()),
            ledger,
            shares: None,
            place,
        }
    }

    fn ledger(&self) -> FileLedger {
        FileLedger::open(&self.ledger).unwrap()
    }

    fn guard(&self, pool: &PgPool) -> RestoreGuard {
        RestoreGuard::new(PostgresKeyStore::new(pool.clone()), self.ledger())
    }

    fn keyring(&self, pool: &PgPool, guarded: bool) -> Keyring {
        let builder = Keyring::builder().key_store(PostgresKeyStore::new(pool.clone()));
        let kms = Arc::clone(&self.kms);
        let builder = match self.shares.clone() {
            Some(shares) => builder.kms(TwoShareKms::new(kms, shares)),
            None => builder.kms(kms),
        };
        let builder = match guarded {
            true => builder.restore_guard(self.guard(pool)),
            false => builder,
        };
        builder.build().unwrap()
    }

    fn shredder(&self, pool: &PgPool) -> Shredder {
        let rows = PostgresModels::new(pool.clone(), Models::new().with::<Note>());
        let builder =
            Shredder::builder(PostgresKeyStore::new(pool.clone()), self.ledger()).rows(rows);
        match self.shares.clone() {
            Some(shares) => builder.shares(shares, Duration::ZERO).build(),
            None => builder.build(),
        }
    }

    /// A primary with a note of each owner.
    async fn primary(&self) -> Cluster<'_> {
        let primary = self.place.cluster().await;
        PostgresKeyStore::new(primary.pool.clone())
            .migrate()
            .await
            .unwrap();
        primary
            .run("CREATE TABLE notes (user_id bigint, text bytea)")
            .await;
        let keyring = self.keyring(&primary.pool, true);
        for owner in 1..=SHREDDED + LIVING {
            let session = keyring.open_or_provision(&owner, PURPOSE).await.unwrap();
            write(&session, owner, &primary.pool).await.unwrap();
        }
        primary
    }

    /// Shreds the first owners on this database, and finishes what must outlive a restore.
    async fn shred(&self, pool: &PgPool) {
        let keyring = self.keyring(pool, true);
        for owner in 1..=SHREDDED {
            keyring.shred(&owner).await.unwrap();
        }
        let worked = self.shredder(pool).work().await.unwrap();
        assert_eq!(i64::from(worked.done), SHREDDED);
        for owner in 1..=SHREDDED {
            self.shredder(pool).receipt(&owner).await.unwrap();
        }
    }

    /// A base backup, shreds, and the write-ahead log up to the moment before them.
    async fn put_back_to_before_the_shreds(&self) -> Cluster<'_> {
        let primary = self.primary().await;
        primary.back_up("restored");
        primary
            .run("SELECT pg_create_restore_point('before')")
            .await;
        self.shred(&primary.pool).await;
        primary.archive().await;
        drop(primary);

        let archive = self.place.path("archive");
        let recovery = format!(
            "archive_mode = off\nrestore_command = 'cp {}/%f %p'\nrecovery_target_name = 'before'\n\
             recovery_target_action = 'promote'\n",
            archive.display()
        );
        self.place.configure("restored", &recovery);
        self.place.signal("restored", "recovery.signal");
        let restored = self.place.start("restored").await;
        is_promoted(&restored).await;
        restored
    }

    /// Without the guard every owner opens; with it only those who live.
    async fn comes_back_and_is_destroyed_again(&self, pool: &PgPool) {
        let all: BTreeSet<i64> = (1..=SHREDDED + LIVING).collect();
        assert_eq!(
            readable(&self.keyring(pool, false), pool).await,
            all,
            "the negative control"
        );

        let living: BTreeSet<i64> = (SHREDDED + 1..=SHREDDED + LIVING).collect();
        let keyring = self.keyring(pool, true);
        assert_eq!(readable(&keyring, pool).await, living);
        let keys =
            "SELECT count(*) FROM ophie_crypt_deks WHERE wrapped IS NOT NULL OR sealed IS NOT NULL";
        let keys: i64 = sqlx::query_scalar(keys).fetch_one(pool).await.unwrap();
        assert_eq!(keys, LIVING);
        let told = keyring.open(&1_i64, PURPOSE).await;
        assert!(matches!(told, Err(SessionError::Shredded)), "{told:?}");
        let again = keyring.provision(&1_i64).await.unwrap_err();
        assert!(again.to_string().contains("destroyed"), "{again}");

        // What was granted is forgotten too: no key of before seals.
        let session = keyring.open(&(SHREDDED + 1), PURPOSE).await.unwrap();
        let refused = write(&session, SHREDDED + 1, pool).await.unwrap_err();
        assert!(refused.to_string().contains("rotate"), "{refused}");
        let installation = PostgresKeyStore::new(pool.clone())
            .installation()
            .await
            .unwrap();
        assert_eq!(installation.epoch, 2);

        // Its rows came back as well.
        let worked = self.shredder(pool).work().await.unwrap();
        assert_eq!(i64::from(worked.done), SHREDDED);
        // A second look finds nobody, and whoever asks for it says that there was a restore.
        let replayed = restore_replay(&PostgresKeyStore::new(pool.clone()), &self.ledger()).await;
        assert_eq!(replayed.unwrap(), 0);
        let again = PostgresKeyStore::new(pool.clone()).installation().await;
        assert_eq!(again.unwrap().epoch, 3);
        assert_eq!(readable(&self.keyring(pool, true), pool).await, living);
    }
}

async fn write(session: &Session, owner: i64, pool: &PgPool) -> Result<(), sqlx::Error> {
    let insert = session.scope(async {
        sqlx::query("INSERT INTO notes (user_id, text) VALUES ($1, $2)")
            .bind(Owner(owner))
            .bind(note::text(format!("of {owner}")))
            .execute(pool)
            .await
    });
    insert.await.map(drop)
}

/// The owners whose keys open and whose rows are read with them.
async fn readable(keyring: &Keyring, pool: &PgPool) -> BTreeSet<i64> {
    let mut readable = BTreeSet::new();
    for owner in 1..=SHREDDED + LIVING {
        let session = match keyring.open_read_only(&owner, PURPOSE).await {
            Ok(session) => session,
            Err(SessionError::Shredded | SessionError::Kms(KmsError::NoShare)) => continue,
            Err(error) => panic!("{owner}: {error:?}"),
        };
        let notes = session.scope(async {
            sqlx::query_as::<_, Note>("SELECT user_id, text FROM notes WHERE user_id = $1")
                .bind(Owner(owner))
                .fetch_all(pool)
                .await
        });
        let notes = notes.await.unwrap();
        assert_eq!(notes[0].text.expose_secret(), &format!("of {owner}"));
        let _ = readable.insert(owner);
    }
    readable
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_point_in_time_before_the_shreds() {
    let world = World::new();
    let restored = world.put_back_to_before_the_shreds().await;
    world
        .comes_back_and_is_destroyed_again(&restored.pool)
        .await;
}

async fn is_promoted(cluster: &Cluster<'_>) {
    for _ in 0..600 {
        let recovers: bool = sqlx::query_scalar("SELECT pg_is_in_recovery()")
            .fetch_one(&cluster.pool)
            .await
            .unwrap();
        if !recovers {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it does not end its recovery");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_from_before_the_shreds() {
    let world = World::new();
    let primary = world.primary().await;
    primary.dump("dump.sql");
    world.shred(&primary.pool).await;
    let restored = primary.put_back("dump.sql").await;
    world.comes_back_and_is_destroyed_again(&restored).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_left_behind_and_is_promoted() {
    let world = World::new();
    let primary = world.primary().await;
    primary.back_up("replica");
    world
        .place
        .configure("replica", "archive_mode = off\nhot_standby = on\n");
    world.place.signal("replica", "standby.signal");
    let replica = world.place.start("replica").await;
    world.shred(&primary.pool).await;

    // While it is one, keys that are gone on the primary are there; the guard lets nothing open.
    let reading = world.keyring(&replica.pool, true);
    let refused = reading.open_read_only(&1_i64, PURPOSE).await;
    assert!(
        matches!(refused, Err(SessionError::Restore(_))),
        "{refused:?}"
    );

    drop(primary);
    replica.run("SELECT pg_promote()").await;
    is_promoted(&replica).await;
    world.comes_back_and_is_destroyed_again(&replica.pool).await;
}

/// Whatever the backup caught of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_while_shreds_run() {
    let world = World::new();
    let primary = world.primary().await;
    let shredding = async {
        let keyring = world.keyring(&primary.pool, true);
        let shredder = world.shredder(&primary.pool);
        for owner in 1..=SHREDDED {
            keyring.shred(&owner).await.unwrap();
            shredder.work().await.unwrap();
        }
    };
    let dumping = async {
        let halfway = "SELECT count(*) FROM ophie_crypt_shreds";
        let shredded = || sqlx::query_scalar::<_, i64>(halfway).fetch_one(&primary.pool);
        while shredded().await.unwrap() < SHREDDED / 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::task::block_in_place(|| primary.dump("dump.sql"));
        tokio::task::block_in_place(|| primary.back_up("restored"));
    };
    tokio::join!(shredding, dumping);

    let living: BTreeSet<i64> = (SHREDDED + 1..=SHREDDED + LIVING).collect();
    let dumped = primary.put_back("dump.sql").await;
    world.place.configure("restored", "archive_mode = off\n");
    let restored = world.place.start("restored").await;
    for pool in [&dumped, &restored.pool] {
        let known: i64 = sqlx::query_scalar("SELECT count(*) FROM ophie_crypt_shreds")
            .fetch_one(pool)
            .await
            .unwrap();
        assert!(
            (1..SHREDDED).contains(&known),
            "{known}: the backup was not in the middle"
        );
        let before = readable(&world.keyring(pool, false), pool).await;
        assert!(before.len() > living.len(), "the negative control");
        assert_eq!(readable(&world.keyring(pool, true), pool).await, living);
    }
}

/// A ledger that does not go with the database opens nothing; one that cannot be reached opens what it opened before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledgers_that_are_behind_forked_foreign_or_gone() {
    let world = World::new();
    let primary = world.primary().await;
    let pool = &primary.pool;
    let last = SHREDDED + LIVING;
    let open = async |keyring: &Keyring| keyring.open_read_only(&last, PURPOSE).await.map(drop);

    let early = std::fs::read(&world.ledger).unwrap();
    let running = world.keyring(pool, true);
    open(&running).await.unwrap();
    world.shred(pool).await;
    let whole = std::fs::read(&world.ledger).unwrap();

    std::fs::write(&world.ledger, &early).unwrap();
    let behind = open(&world.keyring(pool, true)).await;
    assert!(
        matches!(
            behind,
            Err(SessionError::Restore(RestoreError::Behind { .. }))
        ),
        "{behind:?}"
    );

    // As long, and another.
    std::fs::write(&world.ledger, &early).unwrap();
    let other = world.ledger();
    for _ in 0..SHREDDED {
        let head = ophie_crypt::Ledger::head(&other).await.unwrap();
        ophie_crypt::Ledger::append(&other, &head, "note", b"")
            .await
            .unwrap();
    }
    let forked = open(&world.keyring(pool, true)).await;
    assert!(
        matches!(forked, Err(SessionError::Restore(RestoreError::Ledger(_)))),
        "{forked:?}"
    );

    // Gone: whoever verified it goes on, whoever did not does not begin.
    std::fs::remove_file(&world.ledger).unwrap();
    let missing = RestoreGuard::new(PostgresKeyStore::new(pool.clone()), {
        std::fs::write(&world.ledger, &whole).unwrap();
        let ledger = world.ledger();
        std::fs::remove_file(&world.ledger).unwrap();
        ledger
    });
    let unverified = missing.admit().await;
    assert!(
        matches!(unverified, Err(RestoreError::Ledger(_))),
        "{unverified:?}"
    );
    std::fs::write(&world.ledger, &whole).unwrap();
    let verified = world.guard(pool).every(Duration::ZERO);
    verified.admit().await.unwrap();
    std::fs::remove_file(&world.ledger).unwrap();
    verified.admit().await.unwrap();
    // Not if the database is another by then.
    primary
        .run("UPDATE ophie_crypt_installation SET epoch = epoch + 1")
        .await;
    let changed = verified.admit().await;
    assert!(
        matches!(changed, Err(RestoreError::Ledger(_))),
        "{changed:?}"
    );

    // Lost for good: a new one is adopted, with all that the database knows.
    let lost = FileLedger::open_or_create(&world.ledger).unwrap();
    let refused = open(&world.keyring(pool, true)).await;
    assert!(
        matches!(
            refused,
            Err(SessionError::Restore(RestoreError::Behind { .. }))
        ),
        "{refused:?}"
    );
    let store = PostgresKeyStore::new(pool.clone());
    let epoch = restore_adopt(&store, &lost).await.unwrap();
    assert_eq!(epoch, 3);
    open(&world.keyring(pool, true)).await.unwrap();
    let receipt = world.shredder(pool).receipt(&1_i64).await.unwrap();
    assert!(receipt.entry > 0);

    // Another installation's.
    let other = ophie_crypt::MemoryKeyStore::new();
    let foreign = restore_adopt(&other, &lost).await;
    assert!(matches!(foreign, Err(RestoreError::Foreign)), "{foreign:?}");
}

/// An owner who is shredded is told apart from damage and from a KMS that fails, however it is met.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shredded_is_an_error_of_its_own() {
    let world = World::new();
    let primary = world.primary().await;
    let pool = &primary.pool;
    let (here, there) = (world.keyring(pool, true), world.keyring(pool, true));
    let session = here.open(&1_i64, PURPOSE).await.unwrap();
    let elsewhere = there.open(&1_i64, PURPOSE).await.unwrap();
    here.shred(&1_i64).await.unwrap();

    // The session of this process has ended with it; the other's at its refresh.
    let is_shredded = |error: &sqlx::Error| {
        // SQLx turns the error of a bind into text.
        let found = find_error(error).map_or_else(|| error.to_string(), Error::to_string);
        assert!(found.contains("keys were destroyed"), "{error}: {found}");
    };
    is_shredded(&write(&session, 1, pool).await.unwrap_err());
    let read = session.scope(async {
        sqlx::query_as::<_, Note>("SELECT user_id, text FROM notes WHERE user_id = 1")
            .fetch_all(pool)
            .await
    });
    is_shredded(&read.await.map(drop).unwrap_err());
    assert!(matches!(
        elsewhere.refresh().await,
        Err(SessionError::Shredded)
    ));
    is_shredded(&write(&elsewhere, 1, pool).await.unwrap_err());
    for keyring in [&here, &there] {
        let opened = keyring.open(&1_i64, PURPOSE).await;
        assert!(matches!(opened, Err(SessionError::Shredded)), "{opened:?}");
        let glass = keyring.break_glass(&1_i64, PURPOSE, "a test").await;
        assert!(matches!(glass, Err(SessionError::Shredded)), "{glass:?}");
    }
    let record = PostgresKeyStore::new(pool.clone())
        .load(&1_i64.canonical())
        .await;
    assert!(record.unwrap().unwrap().is_shredded());
}
