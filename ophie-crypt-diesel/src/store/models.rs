//! The application's tables, for the jobs that seal anew and delete.
//!
//! Absent: what they do there (`ophie_crypt_sql`), the library's own tables (`keys`).

use ophie_crypt::Models;
use ophie_crypt_sql::ModelTables;

use super::keys::KeyPool;

/// The application's tables, as jobs reach them: on the application's own database, which need not be that of
/// the keys.
///
/// ```no_run
/// use diesel::{SqliteConnection, r2d2::{ConnectionManager, Pool}};
/// use ophie_crypt::{EncryptedModel, Models};
/// use ophie_crypt_diesel::{DieselModels, Encrypted, Owner};
///
/// #[derive(EncryptedModel)]
/// #[crypt(table = "notes")]
/// struct Note {
///     user_id: Owner<i64>,
///     text: Encrypted<String, note::text>,
/// }
///
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::new(ConnectionManager::<SqliteConnection>::new("app.db"))?;
/// let models = DieselModels::new(pool, Models::new().with::<Note>());
/// # Ok(()) }
/// ```
///
/// Every model's owner column needs an index: rotation, shred and sweep read by owner, and on MariaDB a page
/// otherwise locks the whole table. There, a value beyond half of `max_allowed_packet` cannot be sealed anew by a
/// [`Rotation`](ophie_crypt::Rotation): its statement has the old and the new envelope.
///
/// # Security
///
/// Its role needs SELECT on the models' tables, and UPDATE on their encrypted columns and indexes. It sees no plaintext, and
/// neither does the database. To delete rows of shredded owners it also needs DELETE on the tables, UPDATE on tombstone
/// columns and plaintext twins, and SELECT and INSERT on `ophie_crypt_tombstones`.
#[derive(Clone)]
pub struct DieselModels<P: KeyPool> {
    tables: ModelTables<P::Driver>,
}

impl<P: KeyPool> DieselModels<P> {
    /// These models in the database of this pool.
    #[must_use]
    pub fn new(pool: P, models: Models) -> Self {
        Self {
            tables: ModelTables::new(pool.driver(), models),
        }
    }

    /// Makes `ophie_crypt_tombstones` and the tables of soaks, where the keys have a database of their own. In theirs they
    /// are there.
    ///
    /// # Errors
    ///
    /// [`ModelError`](ophie_crypt::ModelError).
    pub async fn migrate(&self) -> Result<(), ophie_crypt::ModelError> {
        self.tables.migrate().await
    }
}

ophie_crypt_sql::model_store!(DieselModels<P: KeyPool>);
ophie_crypt_sql::row_store!(DieselModels<P: KeyPool>);
ophie_crypt_sql::soak_store!(DieselModels<P: KeyPool>);
