//! Who may seal and open: one owner's unwrapped keys, for one purpose.
//!
//! Invariant: key material is taken from a session, never zeroed in place; who pinned it before a close
//! finishes with a whole key, who comes after gets none. Absent: ambient state (`scope`), KMS (`keyring`).

use core::fmt;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    clock::Moment,
    error::{NoSession, OwnerError},
    owner::OwnerId,
    value::OwnerKeys,
};

/// Why a session is opened, for the audit: a name such as `"voice-agent"`, never data.
///
/// ```
/// assert_eq!(ophie_crypt::Purpose::new("voice-agent").as_str(), "voice-agent");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Purpose(&'static str);

impl Purpose {
    /// A constant, so that no data can slip into it.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// One owner's keys, unwrapped for one purpose. Clones share it.
///
/// It ends with its last clone, with [`close`](Self::close), or at the keyring's time to live. Run code
/// under it with [`scope`](Self::scope).
///
/// ```
/// # use ophie_crypt::{Keyring, LocalKms, MemoryKeyStore, Purpose, Session};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keyring = Keyring::builder()
///     .kms(LocalKms::ephemeral()?) // testing only
///     .key_store(MemoryKeyStore::new()) // testing only
///     .build()?;
/// keyring.provision("ada").await?;
///
/// let session = keyring.open("ada", Purpose::new("docs")).await?;
/// session.scope(async { assert!(Session::current().is_some()) }).await;
/// assert!(Session::current().is_none());
///
/// session.close();
/// assert!(session.ended().is_some());
/// # Ok(()) }
/// ```
///
/// # Security
///
/// `Debug` shows the purpose only. A clone keeps the key in memory: do not put sessions into caches.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    purpose: Purpose,
    ttl: Duration,
    state: Mutex<Result<Arc<Unwrapped>, NoSession>>,
}

/// An owner's keys and the moment at which the KMS gave them.
pub(crate) struct Unwrapped {
    pub(crate) keys: OwnerKeys,
    pub(crate) at: Moment,
}

impl Session {
    pub(crate) fn new(unwrapped: Arc<Unwrapped>, purpose: Purpose, ttl: Duration) -> Self {
        Self(Arc::new(Inner {
            purpose,
            ttl,
            state: Mutex::new(Ok(unwrapped)),
        }))
    }

    /// What it was opened for.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        self.0.purpose
    }

    /// Whether this is the session of that owner.
    ///
    /// # Errors
    ///
    /// [`OwnerError`] if it is another's, or if the session has ended.
    pub fn check_owner(&self, owner: &(impl OwnerId + ?Sized)) -> Result<(), OwnerError> {
        let pinned = self.pin().map_err(OwnerError::NoSession)?;
        if pinned.keys.owner == owner.canonical() {
            Ok(())
        } else {
            Err(OwnerError::OtherOwner)
        }
    }

    /// Revokes this session and every clone of it; the keys are wiped as soon as no running call and
    /// no other session of the owner uses them.
    pub fn close(&self) {
        self.end(NoSession::Closed);
    }

    /// Why it can no longer be used; `None` while it can.
    #[must_use]
    pub fn ended(&self) -> Option<NoSession> {
        self.pin().err()
    }

    /// Takes part in the keys for one call or one poll.
    pub(crate) fn pin(&self) -> Result<Arc<Unwrapped>, NoSession> {
        let pinned = Arc::clone(self.state().as_ref().map_err(|ended| *ended)?);
        if pinned.at.age() >= self.0.ttl {
            self.end(NoSession::Expired);
            return Err(NoSession::Expired);
        }
        Ok(pinned)
    }

    /// The first reason stays.
    fn end(&self, reason: NoSession) {
        let mut state = self.state();
        if state.is_ok() {
            let taken = core::mem::replace(&mut *state, Err(reason));
            drop(state); // wiping needs no lock
            drop(taken);
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Result<Arc<Unwrapped>, NoSession>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("purpose", &self.0.purpose.0)
            .finish_non_exhaustive()
    }
}
