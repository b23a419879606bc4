//! The application's own tables, as jobs reach them: envelopes of one owner, whatever the rows mean.
//!
//! Invariant: an envelope is replaced only where the one that was read still stands, so that no write of the
//! application is lost. Absent: keys (`KeyStore`), SQL (the adapters).

use core::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    column::ColumnRef,
    hazmat::data_key::KeyId,
    model::{IndexedColumn, Models},
    owner::CanonicalId,
};

/// The tables of the models that an application names. The adapters bring one for each database.
///
/// Give the owner column of every model an index: rotation, shred and sweep read by owner, and on MariaDB a page
/// otherwise locks the whole table. There, a value beyond half of `max_allowed_packet` cannot be sealed anew by a
/// [`Rotation`](crate::Rotation): its statement has the old and the new envelope.
///
/// ```
/// use ophie_crypt::{ColumnRef, EncryptedModel, Envelope, Keyring, ModelStore, Models, OwnerId, Purpose};
/// # use ophie_crypt::{LocalKms, MemoryKeyStore};
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
/// # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(MemoryKeyStore::new()).build()?;
/// let session = keyring.open_or_provision(&7_i64, Purpose::new("docs")).await?;
/// let sealed = note::text("slept badly").seal(&session)?;
/// # sqlx::query("INSERT INTO notes VALUES (7, $1)").bind(sealed.as_bytes()).execute(&db).await?;
/// let models = SqliteModels::new(db, Models::new().with::<Note>());
///
/// let (owner, column) = (7_i64.canonical(), ColumnRef::new("notes", "text"));
/// let key_id = Envelope::parse(sealed.as_bytes())?.key_id();
/// let found = models.sealed_under(&owner, &column, key_id, None, 100).await?;
/// assert_eq!(found, [sealed.as_bytes()]);
/// # Ok(()) }
/// ```
#[async_trait]
pub trait ModelStore: fmt::Debug + Send + Sync + 'static {
    /// The models.
    fn models(&self) -> &Models;

    /// Envelopes in this column of the owner's rows that are sealed under the key of this id: at most `limit`, in the
    /// order of their bytes, behind `after`. Equal ones may come once or several times.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn sealed_under(
        &self,
        owner: &CanonicalId,
        column: &ColumnRef,
        key_id: KeyId,
        after: Option<&[u8]>,
        limit: u32,
    ) -> Result<Vec<Vec<u8>>, ModelError>;

    /// Puts a new envelope in place of each old one in this column of the owner's rows, where the old one
    /// still stands; all in one transaction. Says how many rows changed.
    ///
    /// # Errors
    ///
    /// [`ModelError`], `Refused` if it is for a row's sake; nothing is changed then, or the connection was lost at the commit.
    async fn replace(
        &self,
        owner: &CanonicalId,
        column: &ColumnRef,
        reseals: &[Reseal],
    ) -> Result<u64, ModelError>;

    /// A moment in the history of these tables, for [`count_under`](Self::count_under).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn moment(&self) -> Result<u64, ModelError>;

    /// How many of the owner's rows, or of all rows, hold an envelope under the key of this id in this column, those among
    /// them that were written and not committed at `since`; `None` while one of these may still be committed.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn count_under(
        &self,
        owner: Option<&CanonicalId>,
        column: &ColumnRef,
        key_id: KeyId,
        since: u64,
    ) -> Result<Option<u64>, ModelError>;

    /// The owner's rows whose fingerprint in this index is of this generation and whose envelope is not NULL: at most
    /// `limit`, in the order of both, behind `after`. Equal ones may come once or several times.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn indexed_under(
        &self,
        owner: &CanonicalId,
        index: &IndexedColumn,
        generation: u8,
        after: Option<&IndexedRow>,
        limit: u32,
    ) -> Result<Vec<IndexedRow>, ModelError>;

    /// Puts new fingerprints into the owner's rows in which the envelope and the fingerprint that were read still stand;
    /// all in one transaction. Says how many rows changed.
    ///
    /// # Errors
    ///
    /// [`ModelError::Duplicate`] if a unique index refuses one of them, [`ModelError::Refused`] if the database does for
    /// another reason; [`ModelError`]. Nothing is changed then, or the connection was lost at the commit.
    async fn reindex(
        &self,
        owner: &CanonicalId,
        index: &IndexedColumn,
        anew: &[Reindex],
    ) -> Result<u64, ModelError>;

    /// How many of the owner's rows hold a fingerprint of this generation in this index, those among them that were
    /// written and not committed at `since`; `None` while one of these may still be committed.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn count_indexed(
        &self,
        owner: &CanonicalId,
        index: &ColumnRef,
        generation: u8,
        since: u64,
    ) -> Result<Option<u64>, ModelError>;
}

#[async_trait]
impl<S: ModelStore + ?Sized> ModelStore for Arc<S> {
    fn models(&self) -> &Models {
        (**self).models()
    }

    async fn sealed_under(
        &self,
        owner: &CanonicalId,
        column: &ColumnRef,
        key_id: KeyId,
        after: Option<&[u8]>,
        limit: u32,
    ) -> Result<Vec<Vec<u8>>, ModelError> {
        let rows = (**self).sealed_under(owner, column, key_id, after, limit);
        rows.await
    }

    async fn replace(
        &self,
        owner: &CanonicalId,
        column: &ColumnRef,
        reseals: &[Reseal],
    ) -> Result<u64, ModelError> {
        (**self).replace(owner, column, reseals).await
    }

    async fn moment(&self) -> Result<u64, ModelError> {
        (**self).moment().await
    }

    async fn count_under(
        &self,
        owner: Option<&CanonicalId>,
        column: &ColumnRef,
        key_id: KeyId,
        since: u64,
    ) -> Result<Option<u64>, ModelError> {
        (**self).count_under(owner, column, key_id, since).await
    }

    async fn indexed_under(
        &self,
        owner: &CanonicalId,
        index: &IndexedColumn,
        generation: u8,
        after: Option<&IndexedRow>,
        limit: u32,
    ) -> Result<Vec<IndexedRow>, ModelError> {
        let rows = (**self).indexed_under(owner, index, generation, after, limit);
        rows.await
    }

    async fn reindex(
        &self,
        owner: &CanonicalId,
        index: &IndexedColumn,
        anew: &[Reindex],
    ) -> Result<u64, ModelError> {
        (**self).reindex(owner, index, anew).await
    }

    async fn count_indexed(
        &self,
        owner: &CanonicalId,
        index: &ColumnRef,
        generation: u8,
        since: u64,
    ) -> Result<Option<u64>, ModelError> {
        let counting = (**self).count_indexed(owner, index, generation, since);
        counting.await
    }
}

/// An envelope and the one that takes its place.
///
/// ```
/// let reseal = ophie_crypt::Reseal::new([1, 2], [3, 4, 5]);
/// assert_eq!(format!("{reseal:?}"), "Reseal(2 bytes, 3 bytes)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Reseal {
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Reseal {
    /// Old and new.
    #[must_use]
    pub fn new(old: impl Into<Vec<u8>>, new: impl Into<Vec<u8>>) -> Self {
        Self {
            old: old.into(),
            new: new.into(),
        }
    }

    /// As it was read.
    #[must_use]
    pub fn old(&self) -> &[u8] {
        &self.old
    }

    /// What takes its place.
    #[must_use]
    pub fn new_bytes(&self) -> &[u8] {
        &self.new
    }
}

impl fmt::Debug for Reseal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Reseal({} bytes, {} bytes)",
            self.old.len(),
            self.new.len()
        )
    }
}

/// A fingerprint as it stands in a row, and the envelope of the value that it was made of.
///
/// ```
/// let row = ophie_crypt::IndexedRow::new([1; 17], [0xfa; 45]);
/// assert_eq!(format!("{row:?}"), "IndexedRow(17 bytes, 45 bytes)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct IndexedRow {
    fingerprint: Vec<u8>,
    sealed: Vec<u8>,
}

impl IndexedRow {
    /// Both, as they stand there.
    #[must_use]
    pub fn new(fingerprint: impl Into<Vec<u8>>, sealed: impl Into<Vec<u8>>) -> Self {
        Self {
            fingerprint: fingerprint.into(),
            sealed: sealed.into(),
        }
    }

    /// The fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8] {
        &self.fingerprint
    }

    /// The envelope.
    #[must_use]
    pub fn sealed(&self) -> &[u8] {
        &self.sealed
    }
}

impl fmt::Debug for IndexedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (fingerprint, sealed) = (self.fingerprint.len(), self.sealed.len());
        write!(f, "IndexedRow({fingerprint} bytes, {sealed} bytes)")
    }
}

/// A row, and the new fingerprint of its value.
///
/// ```
/// use ophie_crypt::{IndexedRow, Reindex};
/// let anew = Reindex::new(IndexedRow::new([1; 17], [0xfa; 45]), [2; 17]);
/// assert_eq!(anew.fingerprint(), [2; 17]);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Reindex {
    row: IndexedRow,
    fingerprint: Vec<u8>,
}

impl Reindex {
    /// Both.
    #[must_use]
    pub fn new(row: IndexedRow, fingerprint: impl Into<Vec<u8>>) -> Self {
        Self {
            row,
            fingerprint: fingerprint.into(),
        }
    }

    /// As it was read.
    #[must_use]
    pub const fn row(&self) -> &IndexedRow {
        &self.row
    }

    /// What is to stand in it.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8] {
        &self.fingerprint
    }
}

impl fmt::Debug for Reindex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reindex").field(&self.row).finish()
    }
}

/// The application's tables could not be read or written.
///
/// ```
/// let error = ophie_crypt::ModelError::unavailable("connection refused");
/// assert!(error.to_string().contains("try again"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Others hold rows of the owner for longer than a job waits.
    #[error("transactions of others hold rows of the owner; try again later")]
    Busy,
    /// The column cannot soak in this database.
    #[error("the column `{column}` cannot soak here: {reason}")]
    CannotSoak {
        /// The encrypted column.
        column: ColumnRef,
        /// What stands in the way.
        reason: &'static str,
    },
    /// A unique index has a row of this fingerprint already.
    #[error(
        "a unique index has a row with the new fingerprint already; remove one of the two rows"
    )]
    Duplicate,
    /// The database has no such column.
    #[error("the database has no column `{column}`; run the application's migrations first")]
    NoColumn {
        /// The column.
        column: ColumnRef,
    },
    /// An owner's canonical bytes are none.
    #[error("the owner's id is damaged; canonical ids are a type tag and an id")]
    NotAnOwner,
    /// A dollar sign in the name of a table or column, which statements cannot tell from a parameter; in a soak also an
    /// apostrophe or a backslash, which its triggers would have to quote.
    #[error(
        "the column `{column}` has a `$` in its name or its table's, or in a soak `'` or `\\`; rename it"
    )]
    Dollar {
        /// The column.
        column: ColumnRef,
    },
    /// Models of one table name different columns for the owner of its rows.
    #[error("models of the table `{table}` name different owner columns; one row has one owner")]
    TwoOwners {
        /// The table.
        table: &'static str,
    },
    /// The database does not take a row: a CHECK, a trigger or a foreign key refuses it.
    #[error("the database refused a row; mend what its error names")]
    Refused {
        /// What it said.
        #[source]
        source: Arc<dyn core::error::Error + Send + Sync>,
    },
    /// A policy of row security hides rows from the role.
    #[error(
        "row security hides rows of `{table}` from this role; give the role BYPASSRLS, as it must see every row of an owner"
    )]
    RowSecurity {
        /// The table.
        table: &'static str,
    },
    /// No model of this table was named.
    #[error("no model of the table `{table}` is named; name each one in `Models`")]
    Unknown {
        /// The table.
        table: &'static str,
    },
    /// The database could not be reached, or refused.
    #[error(
        "the application's tables are unavailable; mend what the database's error names, or try again"
    )]
    Unavailable {
        /// What happened.
        #[source]
        source: Arc<dyn core::error::Error + Send + Sync>,
    },
}

impl ModelError {
    /// A row that the database does not take.
    #[must_use]
    pub fn refused(source: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Self {
        Self::Refused {
            source: source.into().into(),
        }
    }

    /// Tables that cannot be reached.
    #[must_use]
    pub fn unavailable(source: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable {
            source: source.into().into(),
        }
    }
}
