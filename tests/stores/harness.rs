//! The library's tables through Diesel's harness, and through the files alone: up, down, and beside a store's own
//! `migrate`.

use diesel::{Connection, MysqlConnection, PgConnection, SqliteConnection};
use diesel_migrations::MigrationHarness;
use ophie_crypt::{CanonicalId, StoreError};
use ophie_crypt_diesel::{KeyBackend, Migrations};

use crate::world::{Database, Kind, provision};

/// Runs steps on the database of a URL, and says how many.
type Steps = fn(&str) -> usize;

fn up<C: Connection<Backend: KeyBackend> + MigrationHarness<C::Backend>>(url: &str) -> usize {
    let mut connection = C::establish(url).unwrap();
    connection.run_pending_migrations(Migrations).unwrap().len()
}

fn down<C: Connection<Backend: KeyBackend> + MigrationHarness<C::Backend>>(url: &str) -> usize {
    let mut connection = C::establish(url).unwrap();
    connection.revert_all_migrations(Migrations).unwrap().len()
}

async fn goes_up_and_down(
    kind: Kind,
    url: impl Fn(&Database) -> String,
    (up, down): (Steps, Steps),
) {
    let database = Database::create(kind).await;
    let (url, store) = (url(&database), database.store(kind).await);
    let owner = CanonicalId::text("ada");
    let migrations = ophie_crypt_sql::Migration::all(ophie_crypt_sql::Dialect::Postgres).len();
    for _ in 0..2 {
        let missing = store.load(&owner).await;
        assert!(
            matches!(missing, Err(StoreError::NotMigrated)),
            "{missing:?}"
        );
        assert_eq!(up(&url), migrations);
        assert_eq!(up(&url), 0, "it is remembered");
        store.migrate().await.unwrap(); // finds nothing to do
        provision(&*store, &owner).await.unwrap();
        store.load(&owner).await.unwrap().unwrap();
        assert_eq!(down(&url), migrations);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mariadb() {
    let url = |database: &Database| match database {
        Database::MariaDb(database) => database.url().to_owned(),
        _ => unreachable!("its kind says so"),
    };
    let harness: (Steps, Steps) = (up::<MysqlConnection>, down::<MysqlConnection>);
    goes_up_and_down(Kind::DieselMariaDb, url, harness).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres() {
    let url = |database: &Database| match database {
        Database::Postgres(database) => database.url().to_owned(),
        _ => unreachable!("its kind says so"),
    };
    let harness: (Steps, Steps) = (up::<PgConnection>, down::<PgConnection>);
    goes_up_and_down(Kind::DieselPostgres, url, harness).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite() {
    let url = |database: &Database| match database {
        Database::Sqlite(database) => database.path().display().to_string(),
        _ => unreachable!("its kind says so"),
    };
    let harness: (Steps, Steps) = (up::<SqliteConnection>, down::<SqliteConnection>);
    goes_up_and_down(Kind::DieselSqlite, url, harness).await;
}

/// Where a store made the tables, the harness makes none over them, and says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_harness_after_a_store_changes_nothing() {
    let database = Database::create(Kind::SqlxPostgres).await;
    let store = database.store(Kind::SqlxPostgres).await;
    store.migrate().await.unwrap();
    let owner = CanonicalId::text("ada");
    provision(&*store, &owner).await.unwrap();
    let Database::Postgres(postgres) = &database else {
        unreachable!("its kind says so")
    };
    let mut connection = PgConnection::establish(postgres.url()).unwrap();
    let refused = connection
        .run_pending_migrations(Migrations)
        .map(|done| done.len());
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("already exists"), "{refused}");
    store.load(&owner).await.unwrap().unwrap();
}

/// MariaDB commits after each statement: what stopped half-way is finished by the next run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_migration_is_finished_on_mariadb() {
    let all = ophie_crypt_sql::Migration::all(ophie_crypt_sql::Dialect::MySql);
    let whole: String = all.iter().map(ophie_crypt_sql::Migration::up).collect();
    let mut stops = 0;
    for (at, _) in whole.match_indices(";\n").step_by(3) {
        let database = Database::create(Kind::SqlxMariaDb).await;
        database.run_plain(&whole[..=at]).await.unwrap();
        let store = database.store(Kind::SqlxMariaDb).await;
        store.migrate().await.unwrap();
        let owner = CanonicalId::text("ada");
        provision(&*store, &owner).await.unwrap();
        store.load(&owner).await.unwrap().unwrap();
        stops += 1;
    }
    assert!(stops > 5, "{stops}");
}

/// Where DDL ends transactions, a lock of its own keeps two from changing the tables at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_at_a_time_migrates_mariadb() {
    let database = Database::create(Kind::SqlxMariaDb).await;
    let Database::MariaDb(mariadb) = &database else {
        unreachable!("its kind says so")
    };
    let mut other = mariadb.pool().acquire().await.unwrap();
    let name = "concat('ophie_crypt.', md5(database()))";
    let get = sqlx::AssertSqlSafe(format!("DO get_lock({name}, 60)"));
    sqlx::raw_sql(get).execute(&mut *other).await.unwrap();
    let store = database.store(Kind::SqlxMariaDb).await;
    let migrating = tokio::spawn(async move { store.migrate().await });
    let waits = "SELECT COUNT(*) FROM information_schema.processlist \
                 WHERE db = database() AND state = 'User lock'";
    while database.number(waits).await == 0 {
        assert!(!migrating.is_finished(), "it did not wait");
    }
    let tables = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = database()";
    assert_eq!(database.number(tables).await, 0);
    let release = sqlx::AssertSqlSafe(format!("DO release_lock({name})"));
    sqlx::raw_sql(release).execute(&mut *other).await.unwrap();
    migrating.await.unwrap().unwrap();
    assert!(database.number(tables).await > 6);
}
