//! Who opened whose keys, when and why: what is recorded, and where it goes.
//!
//! Invariant: the intent is recorded before the KMS is asked, and a sink that fails stops the call.
//! Absent: the table and its chain (`chain`), metrics, plaintext, keys.

mod tracing;

use core::fmt;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;

pub use self::tracing::TracingAudit;
use crate::{owner::CanonicalId, session::Purpose};

/// Where audit events go. [`TracingAudit`] is the default.
///
/// The keyring waits for each event before it goes on: an event that cannot be recorded fails the call.
///
/// ```
/// use ophie_crypt::{AuditError, AuditEvent, AuditSink};
/// use std::sync::Mutex;
///
/// /// Keeps what happened, for tests.
/// #[derive(Default)]
/// struct Kept(Mutex<Vec<AuditEvent>>);
///
/// #[async_trait::async_trait]
/// impl AuditSink for Kept {
///     async fn record(&self, event: &AuditEvent) -> Result<(), AuditError> {
///         self.0.lock().map_err(|_| AuditError::unavailable("a lock is poisoned"))?.push(event.clone());
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait AuditSink: Send + Sync + 'static {
    /// Records an event for good.
    ///
    /// # Errors
    ///
    /// [`AuditError`]; what was about to happen does not happen then.
    async fn record(&self, event: &AuditEvent) -> Result<(), AuditError>;
}

#[async_trait]
impl<S: AuditSink + ?Sized> AuditSink for Arc<S> {
    async fn record(&self, event: &AuditEvent) -> Result<(), AuditError> {
        (**self).record(event).await
    }
}

/// Something that happened to an owner's keys.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditEvent {
    /// When, by this process's wall clock.
    pub at: SystemTime,
    /// Which process, as [`KeyringBuilder::actor`](crate::KeyringBuilder::actor) names it.
    pub actor: Arc<str>,
    /// Whose keys. Opaque ids only: see [`CanonicalId`].
    pub owner: CanonicalId,
    /// Generation of the DEK concerned.
    pub generation: u32,
    /// What the session is for.
    pub purpose: Purpose,
    /// Why a break-glass session was opened; `None` for all others.
    pub reason: Option<Arc<str>>,
    /// What happened.
    pub step: AuditStep,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditStep {
    /// The KMS is about to be asked.
    Intent {
        /// The call; its attempts share it.
        call: CallId,
        /// Which attempt, from 1.
        attempt: u32,
        /// What for.
        operation: KmsOperation,
    },
    /// A session for a purpose that was not recorded yet shares keys that were unwrapped before.
    Joined,
    /// The attempt ended.
    Outcome {
        /// The call; its attempts share it.
        call: CallId,
        /// Which attempt, from 1.
        attempt: u32,
        /// What for.
        operation: KmsOperation,
        /// How it ended.
        result: KmsResult,
        /// The KMS's id of the attempt, if it gave one.
        request_id: Option<String>,
        /// How long it took.
        took: Duration,
    },
}

/// What a KMS is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KmsOperation {
    /// A new DEK.
    Make,
    /// A DEK for sessions that are open already, before it reaches its time to live.
    Renew,
    /// The same DEK under another KEK.
    Rewrap,
    /// A DEK for a session that is being opened.
    Unwrap,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KmsResult {
    /// The KMS did what it was asked.
    Done,
    /// It refused; a retry changes nothing.
    Refused,
    /// It did not answer in time.
    TimedOut,
    /// It could not be reached, or is overloaded.
    Unavailable,
}

macro_rules! names {
    ($($name:ident { $($variant:ident => $text:literal),+ $(,)? })+) => {$(
        impl $name {
            /// As it stands in audit tables, logs and metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    )+};
}

names! {
    KmsOperation { Make => "make", Renew => "renew", Rewrap => "rewrap", Unwrap => "unwrap" }
    KmsResult { Done => "done", Refused => "refused", TimedOut => "timed-out", Unavailable => "unavailable" }
}

/// Names one call to a KMS: 16 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallId([u8; 16]);

impl CallId {
    pub(crate) const fn new(id: [u8; 16]) -> Self {
        Self(id)
    }

    /// As stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallId({self})")
    }
}

/// Prints no owner.
impl fmt::Debug for AuditEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditEvent")
            .field("actor", &self.actor)
            .field("generation", &self.generation)
            .field("purpose", &self.purpose)
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}

/// An event was not recorded, so what it was about did not happen.
///
/// ```
/// let error = ophie_crypt::AuditError::unavailable("connection refused");
/// assert!(error.to_string().contains("audit"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[error("the audit sink did not take the event, so no key was used; mend the sink and try again")]
pub struct AuditError {
    #[source]
    source: Arc<dyn core::error::Error + Send + Sync>,
}

impl AuditError {
    /// From what the sink met.
    #[must_use]
    pub fn unavailable(source: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Self {
        Self {
            source: source.into().into(),
        }
    }
}
