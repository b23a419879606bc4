//! The master key's side: what a KMS must do, and what it is told.
//!
//! Invariant: a DEK is wrapped for one application, owner and generation, and unwraps for no other.
//! Absent: where wrapped keys are stored (`store`), how long unwrapped ones live (`keyring`).

#[cfg(feature = "aws-kms")]
mod aws;
mod local;
mod moving;
#[cfg(test)]
mod tests;
mod two_share;

use core::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

#[cfg(feature = "aws-kms")]
pub use self::aws::{AwsKms, AwsKmsBuilder, AwsKmsError};
pub use self::{
    local::{LocalKms, LocalKmsError},
    moving::MovingKms,
    two_share::TwoShareKms,
};
use crate::{
    audit::WriterId, hazmat::data_key::Dek, hex::from_hex, owner::CanonicalId,
    shares::ShareStoreError,
};

/// A key management service that holds the KEK and never gives it away.
///
/// Implemented by [`LocalKms`] and, with the feature `aws-kms`, by `AwsKms`. Each call is **one attempt**: an implementation does not retry by itself,
/// because the keyring does, and audits each attempt. It must refuse to unwrap under another context
/// than the key was wrapped under, and must keep neither key nor context.
///
/// ```
/// use ophie_crypt::{Dek, GeneratedDek, Kms, KmsCall, KmsError, WrappedDek};
///
/// /// Counts unwraps, and passes everything on.
/// struct Counting<K>(K, std::sync::atomic::AtomicU64);
///
/// #[async_trait::async_trait]
/// impl<K: Kms> Kms for Counting<K> {
///     async fn make_dek(&self, call: &KmsCall) -> Result<GeneratedDek, KmsError> {
///         self.0.make_dek(call).await
///     }
///     async fn unwrap_dek(&self, wrapped: &WrappedDek, call: &KmsCall) -> Result<Dek, KmsError> {
///         self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
///         self.0.unwrap_dek(wrapped, call).await
///     }
///     async fn rewrap_dek(&self, wrapped: &WrappedDek, call: &KmsCall) -> Result<WrappedDek, KmsError> {
///         self.0.rewrap_dek(wrapped, call).await
///     }
///     fn holds(&self, kek: &str) -> bool {
///         self.0.holds(kek)
///     }
/// }
/// ```
#[async_trait]
pub trait Kms: Send + Sync + 'static {
    /// Makes a random DEK and wraps it under the KEK, bound to the call's context.
    ///
    /// # Errors
    ///
    /// [`KmsError`], split into what a retry may mend and what it cannot.
    async fn make_dek(&self, call: &KmsCall) -> Result<GeneratedDek, KmsError>;

    /// Unwraps a DEK under the context that it was wrapped under.
    ///
    /// # Errors
    ///
    /// [`KmsError`], split into what a retry may mend and what it cannot.
    async fn unwrap_dek(&self, wrapped: &WrappedDek, call: &KmsCall) -> Result<Dek, KmsError>;

    /// Wraps the same DEK under the present KEK and the same context, without showing it to anyone.
    ///
    /// # Errors
    ///
    /// [`KmsError`], split into what a retry may mend and what it cannot.
    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        call: &KmsCall,
    ) -> Result<WrappedDek, KmsError>;

    /// Wraps a DEK that another KMS made under the present KEK: for [`MovingKms`].
    ///
    /// # Errors
    ///
    /// [`KmsError`]. By default it is refused.
    async fn wrap_dek(&self, dek: &Dek, call: &KmsCall) -> Result<WrappedDek, KmsError> {
        let _ = (dek, call); // named for whoever implements it
        Err(KmsError::refused(
            "this KMS wraps no key that it did not make",
        ))
    }

    /// Destroys what it keeps beside the wrapped keys of the owner's generations before the call's, but for these: the
    /// keys of all others were destroyed. A [`TwoShareKms`] does; by default there is nothing.
    ///
    /// # Errors
    ///
    /// [`KmsError`].
    async fn forget_all_but(&self, generations: &[u32], call: &KmsCall) -> Result<(), KmsError> {
        let _ = (generations, call); // named for whoever implements it
        Ok(())
    }

    /// Whether it can unwrap what was wrapped under the KEK of this name, as far as it knows without asking: by this
    /// [`MovingKms`] chooses between two.
    fn holds(&self, kek: &str) -> bool;
}

/// One attempt of a call: what it is for, which attempt it is, and the KMS's own id of it.
///
/// ```
/// use ophie_crypt::{CanonicalId, EncryptionContext, KmsCall};
///
/// let call = KmsCall::new(EncryptionContext::new("ophie", &CanonicalId::text("ada"), 1));
/// assert_eq!(call.attempt(), 1);
/// call.note_request_id("0b5e9b1e-...");
/// assert_eq!(call.request_id().as_deref(), Some("0b5e9b1e-..."));
/// ```
#[derive(Debug)]
pub struct KmsCall {
    context: EncryptionContext,
    attempt: u32,
    request_id: Mutex<Option<String>>,
}

impl KmsCall {
    /// The first attempt under a context.
    #[must_use]
    pub const fn new(context: EncryptionContext) -> Self {
        Self::attempt_of(context, 1)
    }

    /// A later attempt, from 2, of what failed before: for whoever retries.
    #[must_use]
    pub const fn attempt_of(context: EncryptionContext, attempt: u32) -> Self {
        Self {
            context,
            attempt,
            request_id: Mutex::new(None),
        }
    }

    /// What the key is wrapped for.
    #[must_use]
    pub const fn context(&self) -> &EncryptionContext {
        &self.context
    }

    /// Which attempt this is, from 1. A KMS in several regions takes the first for the first, and so on.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Keeps the id that the KMS gave this attempt, for the audit; also of an attempt that fails.
    pub fn note_request_id(&self, id: impl Into<String>) {
        *self.slot() = Some(id.into());
    }

    /// The id that was noted.
    #[must_use]
    pub fn request_id(&self) -> Option<String> {
        self.slot().clone()
    }

    fn slot(&self) -> MutexGuard<'_, Option<String>> {
        self.request_id
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new DEK, in clear and wrapped.
#[derive(Debug)]
#[allow(
    clippy::exhaustive_structs,
    reason = "a pair that KMS implementations build"
)]
pub struct GeneratedDek {
    /// The key.
    pub dek: Dek,
    /// The same key, wrapped.
    pub wrapped: WrappedDek,
}

/// A wrapped DEK: bytes that only the KMS can unwrap, and the name of the KEK.
///
/// ```
/// let wrapped = ophie_crypt::WrappedDek::new("alias/ophie", vec![1, 2, 3]);
/// assert_eq!((wrapped.kek(), wrapped.as_bytes()), ("alias/ophie", &[1, 2, 3][..]));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedDek {
    kek: String,
    bytes: Vec<u8>,
}

impl WrappedDek {
    /// From the KEK's name (an ARN, say) and the KMS's bytes.
    #[must_use]
    pub fn new(kek: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            kek: kek.into(),
            bytes: bytes.into(),
        }
    }

    /// The name of the KEK.
    #[must_use]
    pub fn kek(&self) -> &str {
        &self.kek
    }

    /// The wrapped key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for WrappedDek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WrappedDek")
            .field("kek", &self.kek)
            .finish_non_exhaustive()
    }
}

/// What a key is wrapped for. KMS logs show it in clear.
///
/// ```
/// use ophie_crypt::{CanonicalId, EncryptionContext};
///
/// let context = EncryptionContext::new("ophie", &CanonicalId::text("ada"), 1);
/// assert_eq!(
///     context.pairs(),
///     [("app", "ophie"), ("generation", "1"), ("owner", "74616461")],
/// );
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptionContext {
    app: Arc<str>,
    key: KeyFor,
}

#[derive(Clone, PartialEq, Eq)]
enum KeyFor {
    Owner { generation: String, owner: String },
    AuditWriter(String),
}

impl EncryptionContext {
    /// Of an owner's DEK generation: application, generation and owner.
    #[must_use]
    pub fn new(app: impl Into<Arc<str>>, owner: &CanonicalId, generation: u32) -> Self {
        Self {
            app: app.into(),
            key: KeyFor::Owner {
                generation: generation.to_string(),
                owner: owner.to_hex(),
            },
        }
    }

    /// Of the key of one writer of the audit trail. Its keys differ from those of an owner's, so that no
    /// owner has the same context, and a policy can tell the two apart.
    ///
    /// ```
    /// use ophie_crypt::{EncryptionContext, WriterId};
    ///
    /// let context = EncryptionContext::audit("ophie", WriterId::from_bytes([0xab; 16]));
    /// let writer = "ab".repeat(16);
    /// assert_eq!(
    ///     context.pairs(),
    ///     [("app", "ophie"), ("purpose", "audit"), ("writer", writer.as_str())],
    /// );
    /// ```
    #[must_use]
    pub fn audit(app: impl Into<Arc<str>>, writer: WriterId) -> Self {
        Self {
            app: app.into(),
            key: KeyFor::AuditWriter(writer.to_string()),
        }
    }

    /// Its keys and values, in the order of the keys: the canonical form.
    ///
    /// A KMS binds all of them; later releases may add some.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, &str)> {
        self.all().into()
    }

    /// Whose DEK it is of, and which generation; `None` of an audit key.
    fn dek(&self) -> Option<(CanonicalId, u32)> {
        let KeyFor::Owner { generation, owner } = &self.key else {
            return None;
        };
        let owner = CanonicalId::from_bytes(&from_hex(owner)?);
        Some((owner, generation.parse().ok()?))
    }

    fn all(&self) -> [(&'static str, &str); 3] {
        match &self.key {
            KeyFor::Owner { generation, owner } => [
                ("app", &self.app),
                ("generation", generation),
                ("owner", owner),
            ],
            KeyFor::AuditWriter(writer) => {
                [("app", &self.app), ("purpose", "audit"), ("writer", writer)]
            }
        }
    }
}

impl fmt::Debug for EncryptionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("EncryptionContext");
        shown.field("app", &self.app);
        match &self.key {
            KeyFor::Owner { generation, .. } => shown.field("generation", generation),
            KeyFor::AuditWriter(writer) => shown.field("writer", writer),
        };
        shown.finish_non_exhaustive()
    }
}

/// What a KMS answered instead of a key.
///
/// ```
/// let error = ophie_crypt::KmsError::unavailable("connection refused");
/// assert!(matches!(error, ophie_crypt::KmsError::Unavailable { .. }));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KmsError {
    /// The second share of the key is not in the share store, which does not know the owner as destroyed: its generation
    /// was destroyed, or that is another store, or one that was put back ([`TwoShareKms`]). A retry changes nothing.
    #[error(
        "the second share of the key is gone; if nobody destroyed it, check that this is the share store that goes with the key store"
    )]
    NoShare,
    /// It refused: wrong key, context or permission, or a changed blob. A retry changes nothing.
    #[error(
        "the KMS refused the key; check the KEK's name, state and permissions, and that app, owner and generation are unchanged"
    )]
    Refused {
        /// What it said.
        #[source]
        source: Arc<dyn core::error::Error + Send + Sync>,
    },
    /// The share store destroyed the owner's shares, or failed, which says nothing of the share ([`TwoShareKms`]). A
    /// retry helps if it could not be reached.
    #[error("the second share of the key was not had; see the share store's error")]
    Shares(#[from] ShareStoreError),
    /// It could not be reached or is overloaded. A retry may help.
    #[error("the KMS is unavailable; mend what its error names, or try again")]
    Unavailable {
        /// What happened.
        #[source]
        source: Arc<dyn core::error::Error + Send + Sync>,
    },
}

impl KmsError {
    /// Whether a retry changes nothing.
    pub(crate) const fn is_final(&self) -> bool {
        match self {
            Self::NoShare
            | Self::Refused { .. }
            | Self::Shares(ShareStoreError::Corrupt(_) | ShareStoreError::Destroyed) => true,
            Self::Shares(ShareStoreError::Unavailable { .. }) | Self::Unavailable { .. } => false,
        }
    }

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

#[async_trait]
impl<K: Kms + ?Sized> Kms for Arc<K> {
    async fn make_dek(&self, call: &KmsCall) -> Result<GeneratedDek, KmsError> {
        (**self).make_dek(call).await
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, call: &KmsCall) -> Result<Dek, KmsError> {
        (**self).unwrap_dek(wrapped, call).await
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        call: &KmsCall,
    ) -> Result<WrappedDek, KmsError> {
        (**self).rewrap_dek(wrapped, call).await
    }

    async fn wrap_dek(&self, dek: &Dek, call: &KmsCall) -> Result<WrappedDek, KmsError> {
        (**self).wrap_dek(dek, call).await
    }

    async fn forget_all_but(&self, generations: &[u32], call: &KmsCall) -> Result<(), KmsError> {
        (**self).forget_all_but(generations, call).await
    }

    fn holds(&self, kek: &str) -> bool {
        (**self).holds(kek)
    }
}
