//! Owners with notes on a cluster, a ledger beside it, and who reads what.

use std::{
    collections::BTreeSet, ops::RangeInclusive, path::PathBuf, sync::Arc, thread, time::Duration,
};

use ophie_crypt::{
    EncryptedModel, FileLedger, Keyring, LocalKms, Models, Purpose, RestoreGuard, Session,
    SessionError, ShredStore, Shredder, TwoShareKms, restore_replay,
};
use ophie_crypt_sqlx::{Encrypted, Owner, PostgresKeyStore, PostgresModels, PostgresShares};
use sqlx::PgPool;
use tokio::runtime::Handle;

use crate::cluster::{Cluster, Place};

pub(crate) const PURPOSE: Purpose = Purpose::new("tests");
pub(crate) const SHREDDED: i64 = 200;
pub(crate) const LIVING: i64 = 20;
/// Of the shreds during which backups are made, those before.
const BEFORE: i64 = SHREDDED / 4;
/// Up to this one beside a dump, those behind it beside the next backup: how long each takes is the machine's.
const HALF: i64 = SHREDDED / 2;

#[derive(EncryptedModel, sqlx::FromRow)]
#[crypt(table = "notes")]
pub(crate) struct Note {
    #[expect(dead_code, reason = "its hook refuses another owner's row")]
    user_id: Owner<i64>,
    pub(crate) text: Encrypted<String, note::text>,
}

pub(crate) fn everybody() -> BTreeSet<i64> {
    (1..=SHREDDED + LIVING).collect()
}

pub(crate) fn living() -> BTreeSet<i64> {
    (SHREDDED + 1..=SHREDDED + LIVING).collect()
}

/// What lies outside the database.
pub(crate) struct World {
    pub(crate) kms: Arc<LocalKms>,
    pub(crate) ledger: PathBuf,
    /// Where keys are in two shares.
    pub(crate) shares: Option<PostgresShares>,
    pub(crate) place: Place,
}

impl World {
    pub(crate) fn new() -> Self {
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

    pub(crate) fn ledger(&self) -> FileLedger {
        FileLedger::open(&self.ledger).unwrap()
    }

    pub(crate) fn guard(&self, pool: &PgPool) -> RestoreGuard {
        RestoreGuard::new(PostgresKeyStore::new(pool.clone()), self.ledger())
    }

    pub(crate) fn keyring(&self, pool: &PgPool, guarded: bool) -> Keyring {
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

    pub(crate) fn shredder(&self, pool: &PgPool) -> Shredder {
        let rows = PostgresModels::new(pool.clone(), Models::new().with::<Note>());
        let builder =
            Shredder::builder(PostgresKeyStore::new(pool.clone()), self.ledger()).rows(rows);
        match self.shares.clone() {
            Some(shares) => builder.shares(shares, Duration::ZERO).build(),
            None => builder.build(),
        }
    }

    /// A primary with a note of each owner.
    pub(crate) async fn primary(&self) -> Cluster<'_> {
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
    pub(crate) async fn shred(&self, pool: &PgPool) {
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
    pub(crate) async fn put_back_to_before_the_shreds(&self) -> Cluster<'_> {
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

    /// A replica that has what the primary has now, and follows it no further.
    pub(crate) async fn replica_left_behind(&self, primary: &Cluster<'_>) -> Cluster<'_> {
        primary.back_up("replica");
        self.place
            .configure("replica", "archive_mode = off\nhot_standby = on\n");
        self.place.signal("replica", "standby.signal");
        self.place.start("replica").await
    }

    /// A dump and a base backup that are made while owners are shredded one after the other, both put back when all of them
    /// are.
    pub(crate) async fn backups_while_shreds_run<'w>(
        &'w self,
        primary: &Cluster<'_>,
    ) -> (PgPool, Cluster<'w>) {
        let keyring = self.keyring(&primary.pool, true);
        let shredder = self.shredder(&primary.pool);
        let shred = async |owners: RangeInclusive<i64>| {
            for owner in owners {
                keyring.shred(&owner).await.unwrap();
                if owner % 8 == 0 {
                    shredder.work().await.unwrap();
                }
            }
        };
        // On a thread of its own: it would hold up what runs in the same task.
        let beside = |backup: &(dyn Fn() + Sync), owners| {
            tokio::task::block_in_place(|| {
                thread::scope(|threads| {
                    threads.spawn(backup);
                    Handle::current().block_on(shred(owners));
                });
            });
        };
        shred(1..=BEFORE).await;
        beside(&|| primary.dump("during"), BEFORE + 1..=HALF);
        shred(HALF + 1..=HALF + 1).await;
        beside(&|| primary.back_up("during"), HALF + 2..=SHREDDED - 1);
        shred(SHREDDED..=SHREDDED).await;
        let dumped = primary.put_back("during").await;
        self.place.configure("during", "archive_mode = off\n");
        (dumped, self.place.start("during").await)
    }

    /// Without the guard every owner opens; with it only those who live.
    pub(crate) async fn comes_back_and_is_destroyed_again(&self, pool: &PgPool) {
        assert_eq!(
            readable(&self.keyring(pool, false), pool).await,
            everybody(),
            "the negative control"
        );

        let keyring = self.keyring(pool, true);
        assert_eq!(readable(&keyring, pool).await, living());
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
        assert_eq!(readable(&self.keyring(pool, true), pool).await, living());
    }
}

pub(crate) async fn write(session: &Session, owner: i64, pool: &PgPool) -> Result<(), sqlx::Error> {
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
pub(crate) async fn readable(keyring: &Keyring, pool: &PgPool) -> BTreeSet<i64> {
    let mut readable = BTreeSet::new();
    for owner in 1..=SHREDDED + LIVING {
        let session = match keyring.open_read_only(&owner, PURPOSE).await {
            Ok(session) => session,
            Err(SessionError::Shredded) => continue,
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

pub(crate) async fn promote(replica: &Cluster<'_>) {
    replica.run("SELECT pg_promote()").await;
    is_promoted(replica).await;
}

/// How many shreds a backup caught that was made while they ran: the first ones, and not all.
pub(crate) async fn caught(pool: &PgPool) -> i64 {
    let caught = sqlx::query_scalar("SELECT count(*) FROM ophie_crypt_shreds");
    let caught = caught.fetch_one(pool).await.unwrap();
    assert!(
        (BEFORE..SHREDDED).contains(&caught),
        "{caught}: the backup was not in the middle"
    );
    caught
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
