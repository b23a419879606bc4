//! Who opened whose keys, when and why: what is recorded, and where it goes.
//!
//! Invariant: the intent is recorded before the KMS is asked, and a sink that fails stops the call.
//! The chain that proves itself: its bytes (`chain`), its rows (`store`), who writes them (`writer`), heads
//! in the ledger (`checkpoint`), and what a reader can tell (`verify`, `vouched`, `report`).
//! Absent: SQL, metrics, plaintext.

mod chain;
mod checkpoint;
mod report;
mod store;
#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    reason = "small counts and times, far from any limit"
)]
mod tests;
mod tracing;
mod verify;
mod vouched;
mod writer;

use core::fmt;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;

pub use self::{
    chain::{AuditRow, AuditWriter, WriterId},
    report::{AuditFinding, AuditReport, OpenIntent, WriterReport},
    store::{AuditStore, AuditStoreError},
    tracing::TracingAudit,
    verify::{AuditVerifier, VerifyError},
    writer::{ChainedAudit, ChainedAuditBuilder, StartAuditError},
};
use crate::{owner::CanonicalId, session::Purpose};

/// The application's name, unless another is given.
const APP: &str = "ophie-crypt";

/// Where audit events go. [`TracingAudit`] is the default; [`ChainedAudit`] proves itself.
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
///
/// ```
/// use ophie_crypt::{AuditEvent, AuditStep};
///
/// /// Whether somebody broke the glass.
/// fn is_urgent(event: &AuditEvent) -> bool {
///     event.reason.is_some() && !matches!(event.step, AuditStep::Outcome { .. })
/// }
/// ```
///
/// # Security
///
/// `Debug` prints neither owner nor reason.
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
    /// Why a break-glass session was opened, or a person used the command `ophie-crypt`; `None` for all others.
    pub reason: Option<Arc<str>>,
    /// What happened.
    pub step: AuditStep,
}

/// What happened.
///
/// ```
/// use ophie_crypt::{AuditStep, KmsResult};
///
/// fn failed(step: &AuditStep) -> bool {
///     matches!(step, AuditStep::Outcome { result, .. } if *result != KmsResult::Done)
/// }
/// assert!(!failed(&AuditStep::Joined));
/// ```
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

impl AuditStep {
    pub(crate) const INTENT: &str = "intent";

    /// As it stands in audit tables.
    ///
    /// ```
    /// assert_eq!(ophie_crypt::AuditStep::Joined.as_str(), "joined");
    /// ```
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Intent { .. } => Self::INTENT,
            Self::Joined => "joined",
            Self::Outcome { .. } => "outcome",
        }
    }
}

/// What a KMS is asked for.
///
/// ```
/// assert_eq!(ophie_crypt::KmsOperation::Unwrap.as_str(), "unwrap");
/// ```
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
///
/// ```
/// assert_eq!(ophie_crypt::KmsResult::TimedOut.as_str(), "timed-out");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KmsResult {
    /// The KMS did what it was asked.
    Done,
    /// It refused, or the second share of the key is gone; a retry changes nothing.
    Refused,
    /// It did not answer in time.
    TimedOut,
    /// It, or the share store, could not be reached, or is overloaded.
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
///
/// ```
/// # use ophie_crypt::{AuditEvent, AuditStep};
/// /// What to look for in the log.
/// fn name(event: &AuditEvent) -> Option<String> {
///     match &event.step {
///         AuditStep::Intent { call, .. } | AuditStep::Outcome { call, .. } => Some(call.to_string()),
///         _ => None,
///     }
/// }
/// ```
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
        crate::hex::write_hex(f, &self.0)
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
