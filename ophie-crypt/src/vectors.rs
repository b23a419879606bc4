//! Vector stores, as far as a shred needs them: every vector of an owner goes, and a listing proves it.
//!
//! Invariant: "none is left" is said only after the store was looked at, never because it was told to delete.
//! Absent: HTTP and SQL (other crates), what travels beside a vector (`sidecar`), embeddings.

use core::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::owner::CanonicalId;

/// A store of vectors (embeddings) that stands outside the tables of the models.
///
/// An embedding says much of the text that it was made of, and cannot be encrypted where it is to be searched, so a
/// shred does not make it unreadable: it has to be deleted. `ophie-crypt-pinecone` has one for Pinecone,
/// `ophie-crypt-sqlx` one for a table in PostgreSQL with pgvector.
///
/// # For implementers
///
/// One call does a bounded amount of work and says how far it got; whoever shreds calls again until it is
/// [`verified_empty`](VectorsDeleted::verified_empty). It may be cancelled or killed anywhere and called again, also
/// long after and by another process: keep nothing between calls, take from the store what is there, and let an owner
/// without vectors be no error. Retry within the call what may pass. Where the store deletes late, or shows late what
/// was written, look more than once. Delete nothing that is not the owner's, whatever the store lists: check each id
/// that it names. An owner's prefix or partition must never be that of another: mind `user1` and `user12`.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::Mutex;
/// use ophie_crypt::{CanonicalId, VectorStore, VectorStoreError, VectorsDeleted};
///
/// /// Vectors in memory, by owner and id.
/// #[derive(Debug, Default)]
/// struct InMemory(Mutex<BTreeMap<(Vec<u8>, String), Vec<f32>>>);
///
/// #[async_trait::async_trait]
/// impl VectorStore for InMemory {
///     async fn delete_owner(&self, owner: &CanonicalId) -> Result<VectorsDeleted, VectorStoreError> {
///         let mut vectors = self.0.lock().map_err(|_| VectorStoreError::unavailable("poisoned"))?;
///         let before = vectors.len();
///         vectors.retain(|(of, _), _| of != owner.as_bytes());
///         let left = vectors.keys().any(|(of, _)| of == owner.as_bytes());
///         Ok(VectorsDeleted::new(Some((before - vectors.len()) as u64), !left))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = InMemory::default();
/// store.0.lock().unwrap().insert((CanonicalId::text("ada").as_bytes().to_vec(), "m1".into()), vec![0.5]);
/// let deleted = store.delete_owner(&CanonicalId::text("ada")).await?;
/// assert_eq!((deleted.count(), deleted.verified_empty()), (Some(1), true));
/// # Ok(()) }
/// ```
///
/// # Security
///
/// What was written and is not yet shown by the store is not seen by any listing: end the owner's sessions first, and
/// call again at the sweep. Backups and snapshots of the store are its operator's; no call here reaches them.
#[async_trait]
pub trait VectorStore: Debug + Send + Sync + 'static {
    /// Deletes the vectors of an owner, and looks whether any is left.
    ///
    /// # Errors
    ///
    /// [`VectorStoreError`], split into what calling again may mend and what it cannot. Some vectors may be deleted.
    async fn delete_owner(&self, owner: &CanonicalId) -> Result<VectorsDeleted, VectorStoreError>;
}

#[async_trait]
impl<V: VectorStore + ?Sized> VectorStore for Arc<V> {
    async fn delete_owner(&self, owner: &CanonicalId) -> Result<VectorsDeleted, VectorStoreError> {
        (**self).delete_owner(owner).await
    }
}

/// How far one call of [`VectorStore::delete_owner`] got.
///
/// ```
/// let deleted = ophie_crypt::VectorsDeleted::new(Some(2_000), false);
/// assert!(!deleted.verified_empty()); // call again
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "unless it is `verified_empty`, vectors may be left: call again"]
pub struct VectorsDeleted {
    count: Option<u64>,
    verified_empty: bool,
}

impl VectorsDeleted {
    /// From how many vectors the call deleted, if it knows, and whether a listing then showed none.
    pub const fn new(count: Option<u64>, verified_empty: bool) -> Self {
        Self {
            count,
            verified_empty,
        }
    }

    /// How many vectors this call deleted; `None` where the store drops them as a whole and counts nothing.
    #[must_use]
    pub const fn count(&self) -> Option<u64> {
        self.count
    }

    /// Whether a complete listing showed that none is left. If not, call again.
    #[must_use]
    pub const fn verified_empty(&self) -> bool {
        self.verified_empty
    }
}

/// A vector store did not do its work.
///
/// ```
/// let error = ophie_crypt::VectorStoreError::unavailable("connection refused");
/// assert!(matches!(error, ophie_crypt::VectorStoreError::Unavailable { .. }));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VectorStoreError {
    /// It refused, or answered what it was not asked. Calling again changes nothing.
    #[error(
        "the vector store did not delete the owner's vectors; mend what its error names: until then they are there"
    )]
    Refused {
        /// What it said.
        #[source]
        source: Arc<dyn core::error::Error + Send + Sync>,
    },
    /// It could not be reached or is overloaded. Calling again may help.
    #[error("the vector store is unavailable; mend what its error names, or call again")]
    Unavailable {
        /// What happened.
        #[source]
        source: Arc<dyn core::error::Error + Send + Sync>,
    },
}

impl VectorStoreError {
    /// A terminal error.
    #[must_use]
    pub fn refused(source: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Self {
        Self::Refused {
            source: source.into().into(),
        }
    }

    /// A passing error.
    #[must_use]
    pub fn unavailable(source: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable {
            source: source.into().into(),
        }
    }
}
