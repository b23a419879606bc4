//! Puts a keyring together.
//!
//! Invariant: no keyring without a KMS and a key store, and none whose keys live longer than 600 seconds.
//! Absent: what a keyring does.

use core::fmt;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{Inner, Keyring};
use crate::{audit::AuditSink, kms::Kms, store::KeyStore};

/// Builds a [`Keyring`].
///
/// ```
/// use ophie_crypt::{BuildError, Keyring, LocalKms};
///
/// let incomplete = Keyring::builder().kms(LocalKms::ephemeral()?).build();
/// assert!(matches!(incomplete, Err(BuildError::NoKeyStore)));
/// # Ok::<(), ophie_crypt::LocalKmsError>(())
/// ```
#[derive(Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct KeyringBuilder {
    kms: Option<Box<dyn Kms>>,
    store: Option<Box<dyn KeyStore>>,
    app: Option<Arc<str>>,
    actor: Option<Arc<str>>,
    audit: Option<Box<dyn AuditSink>>,
    ttl: Option<Duration>,
}

impl KeyringBuilder {
    /// The KMS that holds the KEK. Required.
    pub fn kms(mut self, kms: impl Kms) -> Self {
        self.kms = Some(Box::new(kms));
        self
    }

    /// Where wrapped keys are kept. Required.
    pub fn key_store(mut self, store: impl KeyStore) -> Self {
        self.store = Some(Box::new(store));
        self
    }

    /// The application's name in the encryption context; `"ophie-crypt"` if none is given. Keys wrapped
    /// for one application do not unwrap for another. It must never change.
    pub fn app(mut self, name: impl Into<Arc<str>>) -> Self {
        self.app = Some(name.into());
        self
    }

    /// What this process is called in the audit: a service and where it runs, `"api@host-7"` say.
    pub fn actor(mut self, name: impl Into<Arc<str>>) -> Self {
        self.actor = Some(name.into());
        self
    }

    /// Where audit events go; [`TracingAudit`](crate::TracingAudit) if nothing is said.
    pub fn audit(mut self, sink: impl AuditSink) -> Self {
        self.audit = Some(Box::new(sink));
        self
    }

    /// How long an unwrapped key may live: at most, and by default, [`Keyring::MAX_TTL`].
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// The keyring.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if a required part is missing or the time to live is out of range.
    pub fn build(self) -> Result<Keyring, BuildError> {
        let ttl = self.ttl.unwrap_or(Keyring::MAX_TTL);
        if ttl.is_zero() || ttl > Keyring::MAX_TTL {
            return Err(BuildError::Ttl);
        }
        Ok(Keyring(Arc::new(Inner {
            kms: self.kms.ok_or(BuildError::NoKms)?,
            store: self.store.ok_or(BuildError::NoKeyStore)?,
            app: self.app.unwrap_or_else(|| "ophie-crypt".into()),
            ttl,
            cache: Mutex::default(),
        })))
    }
}

impl fmt::Debug for KeyringBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyringBuilder")
            .field("app", &self.app)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// A keyring was not built.
///
/// ```
/// assert!(ophie_crypt::BuildError::NoKms.to_string().contains("`.kms(..)`"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No key store.
    #[error("a keyring needs a key store; add `.key_store(..)`")]
    NoKeyStore,
    /// No KMS.
    #[error("a keyring needs a KMS; add `.kms(..)`")]
    NoKms,
    /// Zero, or longer than [`Keyring::MAX_TTL`].
    #[error("the time to live of unwrapped keys is more than zero and at most 600 seconds")]
    Ttl,
}
