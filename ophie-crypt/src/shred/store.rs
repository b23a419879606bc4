//! Where shreds are kept, and the rows that they reach.
//!
//! Invariant: a row is tombstoned or deleted only of an owner whom a tombstone names, and the statement itself looks.
//! Absent: the order of the steps (`shredder`), SQL (the adapters).

use core::time::Duration;
use std::sync::Arc;

use async_trait::async_trait;

use super::record::{Installation, Residue, Shred, ShredStep, Shreds};
use crate::{
    ledger::LedgerHead,
    owner::CanonicalId,
    store::{KeyStore, ModelError, ModelStore, StoreError},
};

/// A key store that remembers shreds. All stores of the adapters do.
#[async_trait]
pub trait ShredStore: KeyStore {
    /// The shreds of these owners, of those that have one.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    async fn shreds_of(&self, owners: &[CanonicalId]) -> Result<Vec<Shred>, StoreError>;

    /// At most `limit` of these shreds, in the order of their owners, behind `after`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    async fn shreds(
        &self,
        which: Shreds,
        after: Option<&CanonicalId>,
        limit: u32,
    ) -> Result<Vec<Shred>, StoreError>;

    /// Takes a shred that does not rest for so long, and counts an attempt: at finishing it or, if it was read as done, at
    /// sweeping it. `false` if another has it, or it was done since.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    async fn claim(&self, shred: &Shred, life: Duration) -> Result<bool, StoreError>;

    /// Notes that a step is done, now unless it was noted before, and that the shred went forward. The sweep of one that is
    /// not done says nothing of how it fares otherwise.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    async fn note(&self, owner: &CanonicalId, step: ShredStep) -> Result<(), StoreError>;

    /// Notes why an attempt failed, and lets the shred rest.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    async fn postpone(
        &self,
        owner: &CanonicalId,
        pause: Duration,
        why: &str,
    ) -> Result<(), StoreError>;

    /// Destroys the keys of owners whom the ledger names and this store does not, also of those without keys here.
    /// All or none; a shred that is there stays as it is.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    async fn remember(&self, shreds: &[Shred]) -> Result<(), StoreError>;

    /// Of this store.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    async fn installation(&self) -> Result<Installation, StoreError>;

    /// How many shreds there are.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    async fn count_shreds(&self) -> Result<u64, StoreError>;

    /// Raises the epoch, and what is known of the ledger's head; lowers neither. Nothing that was leased before counts any
    /// more, and no key of an earlier epoch seals.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    async fn raise_epoch(&self, epoch: u64, head: &LedgerHead) -> Result<(), StoreError>;

    /// Begins with another ledger, in one step: takes the id and the ledger's head as they are, and the epoch if it is
    /// later.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    async fn adopt(&self, installation: &Installation) -> Result<(), StoreError>;

    /// Takes old versions of the keys' rows out of the tables' files, those of all shreds that are committed.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    async fn vacuum(&self) -> Result<Residue, StoreError>;
}

#[async_trait]
impl<S: ShredStore + ?Sized> ShredStore for Arc<S> {
    async fn shreds_of(&self, owners: &[CanonicalId]) -> Result<Vec<Shred>, StoreError> {
        (**self).shreds_of(owners).await
    }

    async fn shreds(
        &self,
        which: Shreds,
        after: Option<&CanonicalId>,
        limit: u32,
    ) -> Result<Vec<Shred>, StoreError> {
        (**self).shreds(which, after, limit).await
    }

    async fn claim(&self, shred: &Shred, life: Duration) -> Result<bool, StoreError> {
        (**self).claim(shred, life).await
    }

    async fn note(&self, owner: &CanonicalId, step: ShredStep) -> Result<(), StoreError> {
        (**self).note(owner, step).await
    }

    async fn postpone(
        &self,
        owner: &CanonicalId,
        pause: Duration,
        why: &str,
    ) -> Result<(), StoreError> {
        (**self).postpone(owner, pause, why).await
    }

    async fn remember(&self, shreds: &[Shred]) -> Result<(), StoreError> {
        (**self).remember(shreds).await
    }

    async fn installation(&self) -> Result<Installation, StoreError> {
        (**self).installation().await
    }

    async fn count_shreds(&self) -> Result<u64, StoreError> {
        (**self).count_shreds().await
    }

    async fn raise_epoch(&self, epoch: u64, head: &LedgerHead) -> Result<(), StoreError> {
        (**self).raise_epoch(epoch, head).await
    }

    async fn adopt(&self, installation: &Installation) -> Result<(), StoreError> {
        (**self).adopt(installation).await
    }

    async fn vacuum(&self) -> Result<Residue, StoreError> {
        (**self).vacuum().await
    }
}

/// The application's tables, as far as a shred deletes in them. A [`Shredder`](crate::Shredder) does, in this order:
///
/// ```
/// use ophie_crypt::{EncryptedModel, Models, OwnerId, RowStore};
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
/// # sqlx::query("INSERT INTO notes VALUES (7, NULL), (8, NULL)").execute(&db).await?;
/// let models = SqliteModels::new(db.clone(), Models::new().with::<Note>());
/// models.migrate().await?; // where the keys have another database
///
/// let owner = 7_i64.canonical();
/// models.bury(&owner).await?;
/// while models.tombstone(&owner, "notes", 1000).await? > 0 {}
/// while models.sweep(&owner, "notes", 1000).await? > 0 {} // a shredder waits for the horizon first
/// let left: Vec<i64> = sqlx::query_scalar("SELECT user_id FROM notes").fetch_all(&db).await?;
/// assert_eq!(left, [8]);
/// # Ok(()) }
/// ```
#[async_trait]
pub trait RowStore: ModelStore {
    /// Notes in the database of the rows that the owner's are to be deleted.
    ///
    /// # Errors
    ///
    /// [`ModelError`]; also where the keys' tables are in the same database, and it knows no shred of the owner.
    async fn bury(&self, owner: &CanonicalId) -> Result<(), ModelError>;

    /// While a plaintext column soaks, the transactions that are open, by names that none has again: also those that have
    /// only read, whose snapshot may hold no tombstone. A database in
    /// which [`bury`](Self::bury) or [`tombstone`](Self::tombstone) waits for them names none.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn writers(&self) -> Result<Vec<String>, ModelError>;

    /// Tombstones at most `limit` rows of a buried owner: sets the model's column for it, and its plaintext twins to
    /// NULL. Says how many rows changed; none at all means that all are done.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn tombstone(
        &self,
        owner: &CanonicalId,
        table: &str,
        limit: u32,
    ) -> Result<u64, ModelError>;

    /// Deletes at most `limit` rows of a buried owner, and of no other. Says how many.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn sweep(&self, owner: &CanonicalId, table: &str, limit: u32) -> Result<u64, ModelError>;
}

#[async_trait]
impl<S: RowStore + ?Sized> RowStore for Arc<S> {
    async fn bury(&self, owner: &CanonicalId) -> Result<(), ModelError> {
        (**self).bury(owner).await
    }

    async fn writers(&self) -> Result<Vec<String>, ModelError> {
        (**self).writers().await
    }

    async fn tombstone(
        &self,
        owner: &CanonicalId,
        table: &str,
        limit: u32,
    ) -> Result<u64, ModelError> {
        (**self).tombstone(owner, table, limit).await
    }

    async fn sweep(&self, owner: &CanonicalId, table: &str, limit: u32) -> Result<u64, ModelError> {
        (**self).sweep(owner, table, limit).await
    }
}
