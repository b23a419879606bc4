//! The write fence: what the database itself holds of an encrypted column.
//!
//! Absent: its triggers (the adapters); who may read, which the column types hold.

use std::sync::Arc;

use async_trait::async_trait;

use super::{ModelError, ModelStore};

/// Tables around which the write fence can be raised. The adapters' are.
///
/// ```
/// use ophie_crypt::{EncryptedModel, Models, WriteFence};
/// use ophie_crypt_sqlx::{Encrypted, Owner, SqliteModels};
///
/// #[derive(EncryptedModel)]
/// #[crypt(table = "notes")]
/// struct Note {
///     user_id: Owner<i64>,
///     text: Encrypted<String, note::text>,
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let db = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await?;
/// # sqlx::query("CREATE TABLE notes (user_id INTEGER, text BLOB)").execute(&db).await?;
/// let models = SqliteModels::new(db.clone(), Models::new().with::<Note>());
/// models.raise_fence().await?;
/// let plain = sqlx::query("INSERT INTO notes VALUES (7, x'736c657074206261646c79')");
/// assert!(plain.execute(&db).await.is_err()); // no envelope
/// # Ok(()) }
/// ```
#[async_trait]
pub trait WriteFence: ModelStore {
    /// The write fence as SQL, for a migration of the application's own: what [`raise_fence`](Self::raise_fence)
    /// runs. It is made for the types that the columns have in this database.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn fence(&self) -> Result<String, ModelError>;

    /// Raises the write fence: triggers on every model's table, which admit a new or changed envelope only under a key
    /// that the owner of its row may seal under now, and a fingerprint only under a generation of that owner's index key
    /// that is in use. They refuse an UPDATE by primary key from another owner's session, what a process writes late for an
    /// owner who was shredded, generations that are retired, and bytes that are no envelope or fingerprint. Raised again,
    /// it is made anew. What it says of an owner whose keys were destroyed is another message than of a value that is another
    /// owner's, or none.
    ///
    /// The tables must be in the database of the keys, and whoever writes them must be able to read
    /// `ophie_crypt_owners`, `ophie_crypt_deks` and `ophie_crypt_index_keys`. On SQLite, where keys have a file of their
    /// own, the fence only knows whether bytes have the form of one. Run it like a migration, as the role that owns the tables, and leave a
    /// table out by not naming its model.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    ///
    /// # Security
    ///
    /// What stood in the tables before is not looked at. Whoever may drop triggers may drop these.
    async fn raise_fence(&self) -> Result<(), ModelError>;

    /// Takes the write fence down.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn lower_fence(&self) -> Result<(), ModelError>;
}

#[async_trait]
impl<S: WriteFence + ?Sized> WriteFence for Arc<S> {
    async fn fence(&self) -> Result<String, ModelError> {
        (**self).fence().await
    }

    async fn raise_fence(&self) -> Result<(), ModelError> {
        (**self).raise_fence().await
    }

    async fn lower_fence(&self) -> Result<(), ModelError> {
        (**self).lower_fence().await
    }
}
