//! The ledger in a table of a second database.
//!
//! Absent: what it does there (`ophie_crypt_sql`), the library's other tables (`store`).

use ophie_crypt::LedgerError;
use ophie_crypt_sql::LedgerTable;

/// A `Ledger` over a pool.
macro_rules! ledger {
    ($name:ident, $pool:ident, $driver:path, $feature:literal, $database:literal, $url:literal) => {
        #[doc = concat!("A [`Ledger`](ophie_crypt::Ledger) in a table in ", $database, ": in another database than the keys,")]
        /// on another server, and out of the backup of theirs.
        ///
        /// ```no_run
        #[doc = concat!("use ophie_crypt_sqlx::", stringify!($name), ";")]
        ///
        /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
        #[doc = concat!("let pool = sqlx::", stringify!($pool), "::connect(\"", $url, "\").await?;")]
        #[doc = concat!("let ledger = ", stringify!($name), "::new(pool);")]
        /// ledger.create().await?; // once, as the role that is to own it
        /// # Ok(()) }
        /// ```
        ///
        /// # Security
        ///
        /// Give the application's role SELECT and INSERT on `ophie_crypt_ledger`, no more. Whoever owns the table can
        /// change it; what was changed does not fit heads that were kept elsewhere. An entry is as durable as a commit.
        #[cfg(feature = $feature)]
        #[derive(Clone)]
        pub struct $name {
            table: LedgerTable<$driver>,
        }

        #[cfg(feature = $feature)]
        impl $name {
            /// In the database of this pool.
            #[must_use]
            pub fn new(pool: sqlx::$pool) -> Self {
                Self {
                    table: LedgerTable::new($driver(pool)),
                }
            }

            /// Makes the table, if it is not there. For the first start: a ledger that is lost must not become an empty
            /// one.
            ///
            /// # Errors
            ///
            /// [`LedgerError`].
            pub async fn create(&self) -> Result<(), LedgerError> {
                self.table.create().await
            }
        }

        #[cfg(feature = $feature)]
        ophie_crypt_sql::ledger!($name);
    };
}

ledger!(
    MySqlLedger,
    MySqlPool,
    crate::store::mysql::MySqlDriver,
    "mysql",
    "MariaDB",
    "mysql://elsewhere/ledger"
);
ledger!(
    PostgresLedger,
    PgPool,
    crate::store::postgres::PostgresDriver,
    "postgres",
    "PostgreSQL",
    "postgres://elsewhere/ledger"
);
ledger!(
    SqliteLedger,
    SqlitePool,
    crate::store::sqlite::SqliteDriver,
    "sqlite",
    "SQLite",
    "sqlite:/elsewhere/ledger.db"
);
