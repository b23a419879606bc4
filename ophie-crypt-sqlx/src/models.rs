//! The application's tables, for the jobs that seal anew and delete.
//!
//! Absent: what they do there (`ophie_crypt_sql`), the library's own tables (`store`).

use ophie_crypt::Models;
use ophie_crypt_sql::ModelTables;

/// A `ModelStore` over a pool.
macro_rules! models {
    ($name:ident, $pool:ident, $driver:path, $feature:literal, $database:literal, $url:literal) => {
        #[doc = concat!("The application's tables in ", $database, ", as jobs reach them: on the application's own database,")]
        /// which need not be that of the keys.
        ///
        /// ```no_run
        /// use ophie_crypt::{EncryptedModel, Models};
        #[doc = concat!("use ophie_crypt_sqlx::{Encrypted, Owner, ", stringify!($name), "};")]
        ///
        /// #[derive(EncryptedModel)]
        /// #[crypt(table = "notes")]
        /// struct Note {
        ///     user_id: Owner<i64>,
        ///     text: Encrypted<String, note::text>,
        /// }
        ///
        /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
        #[doc = concat!("let pool = sqlx::", stringify!($pool), "::connect(\"", $url, "\").await?;")]
        #[doc = concat!("let models = ", stringify!($name), "::new(pool, Models::new().with::<Note>());")]
        /// # Ok(()) }
        /// ```
        ///
        /// Every model's owner column needs an index: rotation, shred and sweep read by owner, and on MariaDB a page
        /// otherwise locks the whole table. There, a value beyond half of `max_allowed_packet` cannot be sealed anew by a
        /// [`Rotation`](ophie_crypt::Rotation): its statement has the old and the new envelope.
        ///
        /// # Security
        ///
        /// Its role needs SELECT on the models' tables, and UPDATE on their encrypted columns and indexes. It sees no
        /// plaintext, and neither does the database. To delete rows of shredded owners it also needs DELETE on the tables,
        /// UPDATE on tombstone columns and plaintext twins, and SELECT and INSERT on `ophie_crypt_tombstones`.
        #[cfg(feature = $feature)]
        #[derive(Clone)]
        pub struct $name {
            tables: ModelTables<$driver>,
        }

        #[cfg(feature = $feature)]
        impl $name {
            /// These models in the database of this pool.
            #[must_use]
            pub const fn new(pool: sqlx::$pool, models: Models) -> Self {
                Self {
                    tables: ModelTables::new($driver(pool), models),
                }
            }

            /// Makes `ophie_crypt_tombstones` and the tables of soaks, where the keys have a database of their own. In theirs
            /// they are there.
            ///
            /// # Errors
            ///
            /// [`ModelError`](ophie_crypt::ModelError).
            pub async fn migrate(&self) -> Result<(), ophie_crypt::ModelError> {
                self.tables.migrate().await
            }
        }

        #[cfg(feature = $feature)]
        impl $name {
            /// What the application's tables lack for these models, as SQL for a migration of its own, up and down: encrypted
            /// columns, indexes, CHECKs, the beginning of soaks, and the write fence, if it is asked for. It changes nothing.
            ///
            /// # Errors
            ///
            /// [`ModelError`](ophie_crypt::ModelError); also if a table or its owner column is not there.
            pub async fn changes(
                &self,
                fenced: bool,
            ) -> Result<ophie_crypt_sql::TableChanges, ophie_crypt::ModelError> {
                self.tables.changes(fenced).await
            }
        }

        #[cfg(feature = $feature)]
        ophie_crypt_sql::model_store!($name);
        #[cfg(feature = $feature)]
        ophie_crypt_sql::row_store!($name);
        #[cfg(feature = $feature)]
        ophie_crypt_sql::soak_store!($name);
    };
}

models!(
    MySqlModels,
    MySqlPool,
    crate::store::mysql::MySqlDriver,
    "mysql",
    "MariaDB",
    "mysql://localhost/app"
);
models!(
    PostgresModels,
    PgPool,
    crate::store::postgres::PostgresDriver,
    "postgres",
    "PostgreSQL",
    "postgres://localhost/app"
);
models!(
    SqliteModels,
    SqlitePool,
    crate::store::sqlite::SqliteDriver,
    "sqlite",
    "SQLite",
    "sqlite:app.db"
);
