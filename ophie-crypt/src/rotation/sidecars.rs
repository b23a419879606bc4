//! Sidecars, as far as the end of a key must know of them.
//!
//! Invariant: a DEK is destroyed only once somebody has said where sidecars are, and none is left there under it. Absent: what a
//! sidecar is (`sidecar`), how it is sealed anew: by the application, which knows where it belongs.

use core::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Progress, Rotation, RotationError, WaitsFor};
use crate::{envelope::Form, hazmat::data_key::KeyId, owner::CanonicalId};

/// Names the form of the text of a sidecar; what follows is the envelope, in base64url without padding.
pub(crate) const PREFIX: &str = "ophie1.";

/// How the text of every `Sidecar` begins that is sealed under the DEK of this id: one of these four, 29 characters each, which
/// are letters, digits, `.`, `-` and `_`. For stores that can search for them, and count what is left under a key. What
/// begins so is of this key, or of one whose id differs in its last four bits.
///
/// ```
/// use ophie_crypt::{KeyId, sidecar_beginnings};
///
/// let beginnings = sidecar_beginnings(KeyId::from_bytes([0; 16]));
/// assert_eq!(beginnings[0], "ophie1.-gAAAAAAAAAAAAAAAAAAAA");
/// ```
#[must_use]
pub fn sidecar_beginnings(key_id: KeyId) -> [String; 4] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    Form::ALL.map(|form| {
        let bits = |byte: u8| (0..8).rev().map(move |bit| (byte >> bit) & 1);
        let bits: Vec<u8> = form.header(&key_id).into_iter().flat_map(bits).collect();
        // The rest is in one character with the first bits of the nonce.
        let whole = bits.chunks_exact(6).filter_map(|six| {
            let six = six.iter().fold(0, |six, bit| (six << 1) | bit);
            ALPHABET.get(usize::from(six)).copied().map(char::from)
        });
        PREFIX.chars().chain(whole).collect()
    })
}

/// A place where `Sidecar`s stand: the metadata of a vector store, a column of a table. `PgSidecars` of `ophie-crypt-sqlx`
/// is one for a column of PostgreSQL's.
///
/// # For implementers
///
/// Count what begins with one of [`sidecar_beginnings`], among what the store shows of this
/// owner; or of everybody, as no two owners share a key. What you cannot see you must not count as none: return an error.
///
/// ```
/// use std::sync::Mutex;
/// use ophie_crypt::{CanonicalId, KeyId, SidecarStore, SidecarStoreError, sidecar_beginnings};
///
/// /// Metadata in memory, by owner.
/// #[derive(Debug, Default)]
/// struct InMemory(Mutex<Vec<(CanonicalId, String)>>);
///
/// #[async_trait::async_trait]
/// impl SidecarStore for InMemory {
///     async fn count_under(&self, owner: &CanonicalId, key_id: KeyId) -> Result<u64, SidecarStoreError> {
///         let begins = sidecar_beginnings(key_id);
///         let stored = self.0.lock().map_err(|_| SidecarStoreError::new("poisoned"))?;
///         let of = stored.iter().filter(|(of, _)| of == owner);
///         Ok(of.filter(|(_, text)| begins.iter().any(|begin| text.starts_with(begin))).count() as u64)
///     }
/// }
/// ```
#[async_trait]
pub trait SidecarStore: fmt::Debug + Send + Sync + 'static {
    /// How many sidecars of this owner are under the key of this id.
    ///
    /// # Errors
    ///
    /// [`SidecarStoreError`]; the key stays then.
    async fn count_under(
        &self,
        owner: &CanonicalId,
        key_id: KeyId,
    ) -> Result<u64, SidecarStoreError>;
}

#[async_trait]
impl<S: SidecarStore + ?Sized> SidecarStore for Arc<S> {
    async fn count_under(
        &self,
        owner: &CanonicalId,
        key_id: KeyId,
    ) -> Result<u64, SidecarStoreError> {
        (**self).count_under(owner, key_id).await
    }
}

/// Sidecars were not counted.
///
/// ```
/// let error = ophie_crypt::SidecarStoreError::new("connection refused");
/// assert!(error.to_string().contains("the key stays"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[error("the sidecars under a key were not counted, so the key stays; mend what its error names")]
#[non_exhaustive]
pub struct SidecarStoreError {
    #[source]
    source: Arc<dyn core::error::Error + Send + Sync>,
}

impl SidecarStoreError {
    /// From what happened.
    #[must_use]
    pub fn new(source: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Self {
        Self {
            source: source.into().into(),
        }
    }
}

/// Where sidecars are, as far as anyone has said.
pub(super) type Sidecars = Option<Vec<Arc<dyn SidecarStore>>>;

impl Rotation {
    /// Sidecars stand here too, of which none may be left under a DEK when that is destroyed. May be called again, for
    /// another place. The application seals them anew, by `Sidecar::reseal`.
    #[must_use]
    pub fn sidecars(mut self, sidecars: impl SidecarStore) -> Self {
        self.sidecars
            .get_or_insert_default()
            .push(Arc::new(sidecars));
        self
    }

    /// There are no sidecars, or each is under the newest key already, and the caller has seen to that.
    ///
    /// # Security
    ///
    /// A sidecar that is there all the same is lost with the key that it is under.
    #[must_use]
    pub fn without_sidecars(mut self) -> Self {
        self.sidecars.get_or_insert_default();
        self
    }

    /// Nothing is destroyed unless it was said where they are.
    pub(super) fn knows_sidecars(&self) -> Result<(), RotationError> {
        match &self.sidecars {
            Some(_) => Ok(()),
            None => Err(RotationError::Sidecars),
        }
    }

    /// Whether none is left under a key.
    pub(super) async fn has_no_sidecars(
        &self,
        owner: &CanonicalId,
        key_id: KeyId,
        progress: &mut Progress,
    ) -> Result<bool, RotationError> {
        let mut left: u64 = 0;
        for sidecars in self.sidecars.iter().flatten() {
            left = left.saturating_add(sidecars.count_under(owner, key_id).await?);
        }
        progress.left = progress.left.saturating_add(left);
        if left > 0 {
            progress.wait_for(WaitsFor::Sidecars);
        }
        Ok(left == 0)
    }
}
