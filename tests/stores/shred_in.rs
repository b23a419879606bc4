//! A shred inside the application's own transaction: what it rolls back was never destroyed.

use std::time::Duration;

use diesel::{Connection, MysqlConnection, PgConnection, SqliteConnection};
use diesel_async::{AsyncConnection, AsyncMysqlConnection, AsyncPgConnection};
use ophie_crypt::{
    CanonicalId, FileLedger, Keyring, Ledger, LocalKms, Purpose, RestoreGuard, Session, ShredError,
    Shredder,
};
use ophie_crypt_diesel::{shred_in, shred_in_async};
use ophie_crypt_sqlx::{MySqlKeyStore, PostgresKeyStore, SqliteKeyStore};
use tempfile::TempDir;

use crate::world::{Database, Keys, Kind, provision};

async fn is_shredded(keys: &Keys) -> bool {
    keys.load().await.unwrap().unwrap().is_shredded()
}

fn nobody() -> CanonicalId {
    CanonicalId::text("nobody")
}

/// Others at work on the same database: a process with a session, a guard, a shredder.
struct Beside {
    keyring: Keyring,
    session: Session,
    guard: RestoreGuard,
    shredder: Shredder,
    ledger: FileLedger,
    _folder: TempDir,
}

/// Whose keys open.
const CY: &str = "cy";
const PURPOSE: Purpose = Purpose::new("tests");

impl Beside {
    async fn new(keys: &Keys) -> Self {
        let store = async || keys.database.store(keys.kind).await;
        let folder = tempfile::tempdir().unwrap();
        let ledger = FileLedger::open_or_create(folder.path().join("ledger")).unwrap();
        let guard =
            || async { RestoreGuard::new(store().await, ledger.clone()).every(Duration::ZERO) };
        let keyring = Keyring::builder()
            .kms(LocalKms::ephemeral().unwrap())
            .key_store(store().await)
            .restore_guard(guard().await)
            .build()
            .unwrap();
        keyring.provision(CY).await.unwrap();
        let session = keyring.open_read_only(CY, PURPOSE).await.unwrap();
        let shredder = Shredder::builder(store().await, ledger.clone())
            .horizon(Duration::ZERO)
            .build();
        Self {
            guard: guard().await,
            session,
            keyring,
            shredder,
            ledger,
            _folder: folder,
        }
    }

    /// Nobody takes the owner for shredded, and nothing is noted that cannot be taken back.
    async fn goes_on(&self) {
        self.guard.admit().await.unwrap();
        let (worked, swept) = (self.shredder.work().await, self.shredder.sweep().await);
        assert_eq!((worked.unwrap(), swept.unwrap()), Default::default());
        let entries = self.ledger.read(0, 10).await.unwrap();
        assert_eq!(entries.len(), 1, "the installation's");
        self.session.refresh().await.unwrap();
        let other = self.keyring.open_read_only(CY, PURPOSE).await;
        assert_eq!(other.unwrap().ended(), None);
    }
}

macro_rules! of_sqlx {
    ($test:ident, $kind:expr, $database:ident, $store:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            let keys = Keys::new($kind).await;
            let Database::$database(database) = &keys.database else {
                unreachable!("its kind says so")
            };
            let beside = Beside::new(&keys).await;
            let mut tx = database.pool().begin().await.unwrap();
            $store::shred_in(&mut tx, CY).await.unwrap();
            beside.goes_on().await;
            let id = $store::shred_in(&mut tx, &keys.owner).await.unwrap();
            assert_eq!($store::shred_in(&mut tx, &keys.owner).await.unwrap(), id);
            let unknown = $store::shred_in(&mut tx, &nobody()).await;
            assert!(
                matches!(unknown, Err(ShredError::UnknownOwner)),
                "{unknown:?}"
            );
            tx.rollback().await.unwrap();
            assert!(!is_shredded(&keys).await, "it was rolled back");
            assert_eq!(keys.version().await, 1);
            beside.goes_on().await;
            let session = beside.keyring.open(CY, PURPOSE).await.unwrap();
            session.reserve(1).await.unwrap();

            let mut tx = database.pool().begin().await.unwrap();
            $store::shred_in(&mut tx, &keys.owner).await.unwrap();
            tx.commit().await.unwrap();
            assert!(is_shredded(&keys).await);
        }
    };
}

/// MariaDB's transactions read what stood there at their first read: also an owner who came since, or was shredded since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_the_snapshot_of_the_transaction() {
    let keys = Keys::new(Kind::SqlxMariaDb).await;
    let Database::MariaDb(database) = &keys.database else {
        unreachable!("its kind says so")
    };
    let mut tx = database.pool().begin().await.unwrap();
    let seen = "SELECT COUNT(*) FROM ophie_crypt_owners, ophie_crypt_shreds";
    sqlx::query(seen).execute(&mut *tx).await.unwrap();

    let late = CanonicalId::text("late");
    provision(&*keys.store, &late).await.unwrap();
    let elsewhere = keys.store.shred(&keys.owner).await.unwrap().unwrap();
    let found = MySqlKeyStore::shred_in(&mut tx, &keys.owner).await;
    assert_eq!(found.unwrap(), elsewhere);
    MySqlKeyStore::shred_in(&mut tx, &late).await.unwrap();
    let unknown = MySqlKeyStore::shred_in(&mut tx, &nobody()).await;
    assert!(
        matches!(unknown, Err(ShredError::UnknownOwner)),
        "{unknown:?}"
    );
    tx.commit().await.unwrap();
    let late = keys.store.load(&late).await.unwrap().unwrap();
    assert!(late.is_shredded());
}

of_sqlx!(sqlx_mariadb, Kind::SqlxMariaDb, MariaDb, MySqlKeyStore);
of_sqlx!(
    sqlx_postgres,
    Kind::SqlxPostgres,
    Postgres,
    PostgresKeyStore
);
of_sqlx!(sqlx_sqlite, Kind::SqlxSqlite, Sqlite, SqliteKeyStore);

macro_rules! of_diesel {
    ($test:ident, $kind:expr, $database:ident, $connection:ty) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            let keys = Keys::new($kind).await;
            let Database::$database(database) = &keys.database else {
                unreachable!("its kind says so")
            };
            let url = database.url().trim_start_matches("sqlite://");
            let mut connection = <$connection>::establish(url).unwrap();
            let rolled_back = connection.transaction(|connection| {
                let id = shred_in(connection, &keys.owner).unwrap();
                assert_eq!(shred_in(connection, &keys.owner).unwrap(), id);
                let unknown = shred_in(connection, &nobody());
                assert!(
                    matches!(unknown, Err(ShredError::UnknownOwner)),
                    "{unknown:?}"
                );
                Err::<(), _>(diesel::result::Error::RollbackTransaction)
            });
            rolled_back.unwrap_err();
            assert!(!is_shredded(&keys).await, "it was rolled back");

            let done = connection.transaction(|connection| {
                shred_in(connection, &keys.owner).unwrap();
                Ok::<_, diesel::result::Error>(())
            });
            done.unwrap();
            assert!(is_shredded(&keys).await);
        }
    };
}

of_diesel!(
    diesel_mariadb,
    Kind::DieselMariaDb,
    MariaDb,
    MysqlConnection
);
of_diesel!(
    diesel_postgres,
    Kind::DieselPostgres,
    Postgres,
    PgConnection
);
of_diesel!(diesel_sqlite, Kind::DieselSqlite, Sqlite, SqliteConnection);

macro_rules! of_diesel_async {
    ($test:ident, $kind:expr, $database:ident, $connection:ty) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            let keys = Keys::new($kind).await;
            let Database::$database(database) = &keys.database else {
                unreachable!("its kind says so")
            };
            let mut connection = <$connection>::establish(database.url()).await.unwrap();
            let rolled_back = connection.transaction(async |connection| {
                let id = shred_in_async(connection, &keys.owner).await.unwrap();
                let again = shred_in_async(connection, &keys.owner).await.unwrap();
                assert_eq!(again, id);
                Err::<(), _>(diesel::result::Error::RollbackTransaction)
            });
            rolled_back.await.unwrap_err();
            assert!(!is_shredded(&keys).await, "it was rolled back");

            let done = connection.transaction(async |connection| {
                shred_in_async(connection, &keys.owner).await.unwrap();
                Ok::<_, diesel::result::Error>(())
            });
            done.await.unwrap();
            assert!(is_shredded(&keys).await);
        }
    };
}

of_diesel_async!(
    async_mariadb,
    Kind::AsyncMariaDb,
    MariaDb,
    AsyncMysqlConnection
);
of_diesel_async!(
    async_postgres,
    Kind::AsyncPostgres,
    Postgres,
    AsyncPgConnection
);
