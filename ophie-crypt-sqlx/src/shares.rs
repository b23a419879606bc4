//! Second shares in tables of a second database.
//!
//! Absent: what they do there (`ophie_crypt_sql`), the library's other tables (`store`).

use ophie_crypt::ShareStoreError;
use ophie_crypt_sql::ShareTables;

/// A `ShareStore` over a pool.
macro_rules! shares {
    ($name:ident, $pool:ident, $driver:path, $feature:literal, $database:literal, $url:literal) => {
        #[doc = concat!("A [`ShareStore`](ophie_crypt::ShareStore) in tables in ", $database, ": in another database than the keys,")]
        /// on another server, and not in the backup of theirs. See
        /// [`manual::two_shares`](ophie_crypt::manual::two_shares).
        ///
        /// ```no_run
        /// use ophie_crypt::{LocalKms, TwoShareKms};
        #[doc = concat!("use ophie_crypt_sqlx::", stringify!($name), ";")]
        ///
        /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
        #[doc = concat!("let pool = sqlx::", stringify!($pool), "::connect(\"", $url, "\").await?;")]
        #[doc = concat!("let shares = ", stringify!($name), "::new(pool, \"shop-production\");")]
        /// shares.create().await?; // once, as the role that is to own the tables
        /// let kms = TwoShareKms::new(LocalKms::open("master.key")?, shares);
        /// # Ok(()) }
        /// ```
        ///
        /// # Security
        ///
        /// Give the application's role SELECT and INSERT on `ophie_crypt_shares`, and SELECT on
        /// `ophie_crypt_shares_destroyed`; a role that shreds or rotates also DELETE on the first, and INSERT and
        /// UPDATE on the second. A share passes through the driver's buffers, which are not wiped: alone it is of no use.
        /// It is as durable as a commit.
        #[cfg(feature = $feature)]
        #[derive(Clone)]
        pub struct $name {
            tables: ShareTables<$driver>,
        }

        #[cfg(feature = $feature)]
        impl $name {
            /// In the database of this pool; the shares of the key store that is called so, in 1 to 255 bytes. The name is for
            /// good: under another one no key opens. Key stores that share these tables need different names, and so does a
            /// copy, or the one destroys the shares of the other.
            #[must_use]
            pub fn new(pool: sqlx::$pool, key_store: &str) -> Self {
                Self {
                    tables: ShareTables::new($driver(pool), key_store),
                }
            }

            /// Makes the tables, if they are not there. For the first start: shares that are lost must not become none.
            ///
            /// # Errors
            ///
            /// [`ShareStoreError`].
            pub async fn create(&self) -> Result<(), ShareStoreError> {
                self.tables.create().await
            }
        }

        #[cfg(feature = $feature)]
        ophie_crypt_sql::share_store!($name);
    };
}

shares!(
    MySqlShares,
    MySqlPool,
    crate::store::mysql::MySqlDriver,
    "mysql",
    "MariaDB",
    "mysql://elsewhere/shares"
);
shares!(
    PostgresShares,
    PgPool,
    crate::store::postgres::PostgresDriver,
    "postgres",
    "PostgreSQL",
    "postgres://elsewhere/shares"
);
shares!(
    SqliteShares,
    SqlitePool,
    crate::store::sqlite::SqliteDriver,
    "sqlite",
    "SQLite",
    "sqlite:/elsewhere/shares.db"
);
