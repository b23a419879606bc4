//! Puts a keyring together.
//!
//! Invariant: no keyring without a KMS and a key store, and none whose keys live longer than 600 seconds.
//! Absent: what a keyring does.

use core::fmt;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{Inner, Keyring, owners::Owners};
use crate::{
    audit::{AuditSink, TracingAudit},
    kms::Kms,
    metrics::Metrics,
    shred::RestoreGuard,
    soak::SoakWatch,
    store::{KeyStore, MAX_INVOCATIONS},
};

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
    store: Option<Arc<dyn KeyStore>>,
    app: Option<Arc<str>>,
    actor: Option<Arc<str>>,
    audit: Option<Box<dyn AuditSink>>,
    guard: Option<RestoreGuard>,
    soaks: Option<SoakWatch>,
    ttl: Option<Duration>,
    linger: Duration,
    recheck: Option<Duration>,
    limit: Option<u64>,
    max_owners: Option<usize>,
    #[cfg(test)]
    clock: crate::clock::Clock,
}

impl KeyringBuilder {
    /// The KMS that holds the KEK. Required.
    pub fn kms(mut self, kms: impl Kms) -> Self {
        self.kms = Some(Box::new(kms));
        self
    }

    /// Where wrapped keys are kept. Required.
    pub fn key_store(mut self, store: impl KeyStore) -> Self {
        self.store = Some(Arc::new(store));
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

    /// Where audit events go; [`TracingAudit`] if nothing is said.
    pub fn audit(mut self, sink: impl AuditSink) -> Self {
        self.audit = Some(Box::new(sink));
        self
    }

    /// What looks for a restored database before keys are made or unwrapped. Without it, a backup from before a shred
    /// brings the owner's keys back.
    pub fn restore_guard(mut self, guard: RestoreGuard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// What knows how far columns are that move from plaintext to ciphertext. Without it, fields of type `Soak` are neither
    /// read nor written.
    pub fn soak_watch(mut self, watch: SoakWatch) -> Self {
        self.soaks = Some(watch);
        self
    }

    /// How long an unwrapped key may live: at most, and by default, [`Keyring::MAX_TTL`].
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// How long an owner's keys stay in memory after its last session, so that the next one needs no
    /// unwrap: by default not at all. Requests that follow each other closely want some 60 seconds.
    pub fn linger(mut self, time: Duration) -> Self {
        self.linger = time;
        self
    }

    /// How often the key store is asked which owners' keys have changed: every 30 seconds by default and at most.
    pub fn recheck(mut self, period: Duration) -> Self {
        self.recheck = Some(period);
        self
    }

    /// How many owners may have keys in this process at a time: 100,000 by default.
    pub fn max_owners(mut self, count: usize) -> Self {
        self.max_owners = Some(count);
        self
    }

    /// Lowers the number of values that may be sealed under one DEK: for tests of what happens then. It
    /// cannot be raised above [`MAX_INVOCATIONS`], which is the default.
    pub fn max_invocations(mut self, count: u64) -> Self {
        self.limit = Some(count);
        self
    }

    #[cfg(test)]
    pub(crate) fn clock(mut self, clock: crate::clock::Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The keyring.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if a required part is missing or a setting is out of range.
    pub fn build(self) -> Result<Keyring, BuildError> {
        let ttl = self.ttl.unwrap_or(Keyring::MAX_TTL);
        if ttl.is_zero() || ttl > Keyring::MAX_TTL {
            return Err(BuildError::Ttl);
        }
        let recheck = self.recheck.unwrap_or(MAX_RECHECK);
        if recheck.is_zero() || recheck > MAX_RECHECK {
            return Err(BuildError::Recheck);
        }
        let limit = self.limit.unwrap_or(MAX_INVOCATIONS);
        if limit > MAX_INVOCATIONS {
            return Err(BuildError::MaxInvocations);
        }
        let (nudges, nudged) = tokio::sync::mpsc::unbounded_channel();
        Ok(Keyring(Arc::new(Inner {
            kms: self.kms.ok_or(BuildError::NoKms)?,
            store: self.store.ok_or(BuildError::NoKeyStore)?,
            audit: self.audit.unwrap_or_else(|| Box::new(TracingAudit)),
            guard: self.guard,
            app: self.app.unwrap_or_else(|| "ophie-crypt".into()),
            actor: self.actor.unwrap_or_else(|| {
                let process = std::process::id();
                format!("process {process}").into()
            }),
            #[cfg(test)]
            clock: self.clock,
            #[cfg(not(test))]
            clock: crate::clock::Clock::default(),
            metrics: Metrics,
            soaks: self.soaks,
            ttl,
            linger: self.linger,
            recheck,
            limit,
            owners: Owners::with_room_for(self.max_owners.unwrap_or(MAX_OWNERS)),
            asking: Semaphore::new(ASKING),
            nudges,
            nudged: Arc::new(tokio::sync::Mutex::new(nudged)),
            upkeep: Mutex::default(),
        })))
    }
}

const MAX_RECHECK: Duration = Duration::from_secs(30);
const MAX_OWNERS: usize = 100_000;
/// KMS calls at a time.
const ASKING: usize = 20;

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
    /// More invocations than one DEK may ever do.
    #[error("the invocations under one key can be lowered for tests, not raised above 2^32")]
    MaxInvocations,
    /// No key store.
    #[error("a keyring needs a key store; add `.key_store(..)`")]
    NoKeyStore,
    /// No KMS.
    #[error("a keyring needs a KMS; add `.kms(..)`")]
    NoKms,
    /// Zero, or longer than 30 seconds.
    #[error("the key store is re-checked at least every 30 seconds, and not all the time")]
    Recheck,
    /// Zero, or longer than [`Keyring::MAX_TTL`].
    #[error("the time to live of unwrapped keys is more than zero and at most 600 seconds")]
    Ttl,
}
