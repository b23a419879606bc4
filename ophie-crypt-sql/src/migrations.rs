//! The library's tables, and what brings them up to date.
//!
//! Invariant: the tables themselves say how far they are, in `ophie_crypt_installation`, so it does not matter
//! who ran the files: a key store of either adapter, a migrator of the application, or a person.
//! Absent: the tables' text (`migrations/`).

use ophie_crypt::StoreError;

use crate::{
    Begin, Cells, Connection, Dialect, Driver, Failure, FailureKind, Record, Statement,
    Transaction, driver::there, keys, run::run,
};

/// One step of the library's tables, up and down, on one database.
///
/// ```
/// use ophie_crypt_sql::{Dialect, Migration};
///
/// let first = &Migration::all(Dialect::Sqlite)[0];
/// assert_eq!(first.number(), 1);
/// assert!(first.up().contains("CREATE TABLE ophie_crypt_owners"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    number: i64,
    name: &'static str,
    up: &'static str,
    down: &'static str,
}

macro_rules! migrations {
    ($folder:literal: $($number:literal $name:literal),*) => {
        &[$(Migration {
            number: $number,
            name: $name,
            up: include_str!(concat!("../migrations/", $folder, "/", $name, ".up.sql")),
            down: include_str!(concat!("../migrations/", $folder, "/", $name, ".down.sql")),
        }),*]
    };
}

impl Migration {
    /// All of them, in their order.
    #[must_use]
    pub const fn all(dialect: Dialect) -> &'static [Self] {
        match dialect {
            Dialect::MySql => migrations!(
                "mysql": 1 "20261124000001_ophie_crypt_keys",
                2 "20261130000002_ophie_crypt_index_generations", 4 "20261130000004_ophie_crypt_soak"
            ),
            Dialect::Postgres => migrations!(
                "postgres": 1 "20261124000001_ophie_crypt_keys",
                2 "20261130000002_ophie_crypt_index_generations", 4 "20261130000004_ophie_crypt_soak"
            ),
            Dialect::Sqlite => migrations!(
                "sqlite": 1 "20261124000001_ophie_crypt_keys",
                2 "20261130000002_ophie_crypt_index_generations", 4 "20261130000004_ophie_crypt_soak"
            ),
        }
    }

    /// From 1: what the tables say of themselves when it is done.
    #[must_use]
    pub const fn number(&self) -> i64 {
        self.number
    }

    /// A timestamp and a name, as that of its files.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Statements that bring the tables here from the step before.
    #[must_use]
    pub const fn up(&self) -> &'static str {
        self.up
    }

    /// Statements that bring them back.
    #[must_use]
    pub const fn down(&self) -> &'static str {
        self.down
    }
}

/// Whether the table that tells is there, for each database the one that it would find.
pub(crate) const fn is_there(dialect: Dialect) -> &'static str {
    dialect.of(
        "SELECT count(*) AS number FROM information_schema.tables \
         WHERE table_schema = database() AND table_name = 'ophie_crypt_installation'",
        "SELECT CAST(CAST(to_regclass('ophie_crypt_installation') IS NOT NULL AS int) AS bigint) AS number",
        "SELECT count(*) AS number FROM sqlite_schema WHERE name = 'ophie_crypt_installation'",
    )
}

/// How far the tables are. MySQL may have stopped between the tables and the row.
pub(crate) const NUMBER: &str =
    "SELECT coalesce(max(schema_version), 0) AS number FROM ophie_crypt_installation";

/// Waits until no other process is at it; until the transaction ends, but on MySQL, whose DDL ends it.
const fn lock(dialect: Dialect) -> &'static str {
    dialect.of(
        "SELECT get_lock(concat('ophie_crypt.', md5(database())), 60) AS number",
        "SELECT CAST(1 AS bigint) AS number FROM pg_advisory_xact_lock(8031924761528419873)",
        "SELECT 1 AS number", // BEGIN EXCLUSIVE is one
    )
}

const fn unlock(dialect: Dialect) -> &'static str {
    dialect.of(
        "SELECT release_lock(concat('ophie_crypt.', md5(database()))) AS number",
        "SELECT CAST(1 AS bigint) AS number",
        "SELECT 1 AS number",
    )
}

struct Number(Option<i64>);

impl Record for Number {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        Ok(Self(cells.int("number")?))
    }
}

/// Brings the library's tables up to date. Any number of processes may do so at once.
///
/// # Errors
///
/// [`StoreError`].
pub async fn migrate<D: Driver>(driver: &D) -> Result<(), StoreError> {
    let migrated = run(driver, Begin::Migrate, |tx| Box::pin(alone::<D>(tx))).await;
    migrated.map_err(keys::error)
}

/// How far the library's tables are: the number of the last [`Migration`] that was done, 0 where there are none.
///
/// # Errors
///
/// [`StoreError`].
pub async fn schema_version<D: Driver>(driver: &D) -> Result<i64, StoreError> {
    let version = run(driver, Begin::Read, |tx| Box::pin(done::<D>(tx))).await;
    version.map_err(keys::error)
}

async fn done<D: Driver>(tx: &mut D::Transaction) -> Result<i64, Failure> {
    match number::<D>(tx, is_there(D::DIALECT)).await? {
        0 => Ok(0),
        _ => number::<D>(tx, NUMBER).await,
    }
}

async fn alone<D: Driver>(tx: &mut D::Transaction) -> Result<(), Failure> {
    if number::<D>(tx, lock(D::DIALECT)).await? != 1 {
        let busy = "another process is changing the library's tables for a minute; try again when it is done";
        return Err(Failure::new(FailureKind::Unavailable, busy));
    }
    let done = bring_up_to_date::<D>(tx).await;
    let unlocked = number::<D>(tx, unlock(D::DIALECT)).await; // the connection goes back to its pool
    done?;
    unlocked.map(drop)
}

async fn bring_up_to_date<D: Driver>(tx: &mut D::Transaction) -> Result<(), Failure> {
    let done = done::<D>(tx).await?;
    for migration in Migration::all(D::DIALECT) {
        if migration.number > done {
            tx.batch(migration.up.to_owned()).await?;
        }
    }
    Ok(())
}

async fn number<D: Driver>(tx: &mut D::Transaction, sql: &'static str) -> Result<i64, Failure> {
    let rows: Vec<Number> = tx.fetch(Statement::new(D::DIALECT, sql)).await?;
    there(rows.first().and_then(|row| row.0))
}
