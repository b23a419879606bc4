//! Who may seal and open: one owner's unwrapped keys, for one purpose.
//!
//! Invariant: a session that was closed, has expired or was revoked gives no key, in none of its clones.
//! Absent: ambient state (`scope`), the KMS and the key store (`keyring`).

use core::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::{
    budget::{Budget, NoBudget},
    clock::{Clock, Moment},
    column::ColumnRef,
    error::{NoSession, OwnerError, SealError},
    hazmat::data_key::KeyId,
    held::{Held, Term},
    keyring::{ReserveError, SessionError},
    owner::{CanonicalId, OwnerId},
    soak::SoakWatch,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
/// It ends with its last clone, with [`close`](Self::close), and when KMS or key store no longer give the
/// owner's key. Until then the keyring renews it. Run code under it with [`scope`](Self::scope).
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
    read_only: bool,
    life: Life,
    ticket: Mutex<Result<Ticket, NoSession>>,
}

/// How old a key may get.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) clock: Clock,
    pub(crate) ttl: Duration,
    pub(crate) soaks: Option<SoakWatch>,
}

/// An owner's keys and the moment at which the KMS was asked for them.
pub(crate) struct Unwrapped {
    pub(crate) keys: OwnerKeys,
    pub(crate) at: Moment,
    /// The owner's version in the key store.
    pub(crate) version: u64,
    pub(crate) budget: Arc<Budget>,
    /// When the keyring fetches them anew.
    pub(crate) renew_after: Duration,
}

/// One holder of an owner's keys.
pub(crate) struct Ticket {
    slot: Arc<Slot>,
    term: Term,
    keeper: Arc<dyn Keeper>,
}

/// What is known of an owner's keys in this process.
pub(crate) struct Slot {
    pub(crate) owner: CanonicalId,
    pub(crate) held: Held<Unwrapped>,
}

/// What a session asks of the keyring that opened it.
#[async_trait]
pub(crate) trait Keeper: Send + Sync {
    async fn reserve(&self, ticket: &Ticket, count: u32) -> Result<(), ReserveError>;
    async fn refresh(
        &self,
        slot: &Arc<Slot>,
        purpose: Purpose,
        lease: bool,
    ) -> Result<(), SessionError>;
    /// Whether keys stay for a while without a holder.
    fn lingers(&self) -> bool;
}

impl Ticket {
    pub(crate) const fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// For a holder that was counted already.
    pub(crate) const fn counted(slot: Arc<Slot>, term: Term, keeper: Arc<dyn Keeper>) -> Self {
        Self { slot, term, keeper }
    }

    /// The keys, for one call or one poll.
    pub(crate) fn pin(&self) -> Result<Arc<Unwrapped>, NoSession> {
        self.slot.held.pin_for(self.term)
    }
}

impl Clone for Ticket {
    fn clone(&self) -> Self {
        self.slot.held.join_beside(self.term);
        Self {
            slot: Arc::clone(&self.slot),
            term: self.term,
            keeper: Arc::clone(&self.keeper),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.slot.held.leave(self.term, self.keeper.lingers());
    }
}

/// Keys pinned for one call or one poll.
#[derive(Clone)]
pub(crate) struct Pinned {
    unwrapped: Arc<Unwrapped>,
    read_only: bool,
    soaks: Option<SoakWatch>,
}

impl Pinned {
    /// The states of columns in a soak.
    pub(crate) const fn soaks(&self) -> Option<&SoakWatch> {
        self.soaks.as_ref()
    }

    pub(crate) fn keys(&self) -> &OwnerKeys {
        &self.unwrapped.keys
    }

    /// Counts `count` invocations of the DEK, before they happen.
    pub(crate) fn spend(&self, count: u64, column: ColumnRef) -> Result<(), SealError> {
        if self.read_only {
            return Err(SealError::ReadOnly { column });
        }
        self.unwrapped.budget.take(count).map_err(|why| match why {
            NoBudget::Empty => SealError::NoBudget { column },
            NoBudget::Stopped => SealError::HardStop { column },
        })
    }
}

impl Session {
    pub(crate) fn new(ticket: Ticket, purpose: Purpose, read_only: bool, life: Life) -> Self {
        Self(Arc::new(Inner {
            purpose,
            read_only,
            life,
            ticket: Mutex::new(Ok(ticket)),
        }))
    }

    /// The same owner's keys, by the states that another watch knows: in another process, to tests.
    #[cfg(test)]
    pub(crate) fn beside(&self, soaks: SoakWatch) -> Self {
        let Life { clock, ttl, .. } = self.0.life.clone();
        let ticket = self.ticket().expect("it has not ended");
        let soaks = Some(soaks);
        Self::new(ticket, self.0.purpose, false, Life { clock, ttl, soaks })
    }

    /// What it was opened for.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        self.0.purpose
    }

    /// Whether it seals nothing.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.0.read_only
    }

    /// Whether this is the session of that owner.
    ///
    /// # Errors
    ///
    /// [`OwnerError`] if it is another's, or if the session has ended.
    pub fn check_owner(&self, owner: &(impl OwnerId + ?Sized)) -> Result<(), OwnerError> {
        let pinned = self.pin().map_err(OwnerError::NoSession)?;
        if pinned.keys().owner == owner.canonical() {
            Ok(())
        } else {
            Err(OwnerError::OtherOwner)
        }
    }

    /// Whether this is the key that it seals with. What is sealed under another one of the owner's, a
    /// `Sidecar` say, is under an old one, or under one so new that this session does not seal with it yet.
    ///
    /// # Errors
    ///
    /// [`NoSession`] if the session has ended.
    pub fn seals_under(&self, key_id: KeyId) -> Result<bool, NoSession> {
        Ok(self.pin()?.keys().seals_under(key_id))
    }

    /// Makes sure that this process may seal at least `count` more values for the owner, before bulk work.
    /// Ordinary work needs no call: leases are refilled in the background.
    ///
    /// ```
    /// # use ophie_crypt::{Keyring, LocalKms, MemoryKeyStore, Purpose};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(MemoryKeyStore::new()).build()?;
    /// let session = keyring.open_or_provision("ada", Purpose::new("import")).await?;
    /// session.reserve(100_000).await?;
    /// assert!(session.budget()?.left() >= 100_000);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReserveError`], also for more than 2^26 at once; nothing was reserved then.
    pub async fn reserve(&self, count: u32) -> Result<(), ReserveError> {
        if self.0.read_only {
            return Err(ReserveError::ReadOnly);
        }
        let ticket = self.ticket().map_err(ReserveError::NoSession)?;
        ticket.keeper.reserve(&ticket, count).await
    }

    /// What is left of the budget of the owner's DEK, as far as this process knows.
    ///
    /// # Errors
    ///
    /// [`NoSession`] if the session has ended.
    pub fn budget(&self) -> Result<BudgetStatus, NoSession> {
        let pinned = self.pin()?;
        let budget = &pinned.unwrapped.budget;
        Ok(BudgetStatus {
            left: budget.left(),
            granted: budget.granted(),
        })
    }

    /// Fetches the owner's keys anew, for it and for all other sessions of the owner in this process: when
    /// a value was sealed under a key that is newer than the session.
    ///
    /// # Errors
    ///
    /// [`SessionError`]. The keys that are there stay, unless KMS or key store refuse them. A break-glass
    /// session is not fetched anew: it has [`SessionError::Ended`].
    pub async fn refresh(&self) -> Result<(), SessionError> {
        let ticket = self.ticket().map_err(|_| SessionError::Ended)?;
        let lease = !self.0.read_only;
        ticket
            .keeper
            .refresh(&ticket.slot, self.0.purpose, lease)
            .await
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
    pub(crate) fn pin(&self) -> Result<Pinned, NoSession> {
        let Life { clock, ttl, soaks } = &self.0.life;
        let unwrapped = match &*self.state() {
            Ok(ticket) => {
                let young = |keys: &Unwrapped| clock.now().since(&keys.at) < *ttl;
                let unwrapped = ticket.pin()?;
                if !young(&unwrapped) {
                    drop(unwrapped);
                    // Also where the keyring's tasks ended with their runtime, and nobody else will.
                    ticket.slot.held.expire(young);
                    return Err(NoSession::Expired);
                }
                unwrapped
            }
            Err(ended) => return Err(*ended),
        };
        Ok(Pinned {
            unwrapped,
            read_only: self.0.read_only,
            soaks: soaks.clone(),
        })
    }

    fn ticket(&self) -> Result<Ticket, NoSession> {
        self.state()
            .as_ref()
            .map(Ticket::clone)
            .map_err(|ended| *ended)
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

    fn state(&self) -> MutexGuard<'_, Result<Ticket, NoSession>> {
        self.0.ticket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is left under the DEK that an owner's values are sealed with.
///
/// ```
/// # use ophie_crypt::{Keyring, LocalKms, MemoryKeyStore, Purpose};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(MemoryKeyStore::new()).build()?;
/// let session = keyring.open_or_provision("ada", Purpose::new("docs")).await?;
/// let budget = session.budget()?;
/// assert!(budget.left() <= budget.granted() && !budget.is_rotation_due());
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetStatus {
    left: u64,
    granted: u64,
}

impl BudgetStatus {
    /// From so many granted invocations, rotation is asked for: 2^31.
    pub const ROTATE_AT: u64 = 1 << 31;

    /// Values that this process may seal without asking the key store again.
    #[must_use]
    pub const fn left(self) -> u64 {
        self.left
    }

    /// Invocations granted to all processes under this DEK, of at most 2^32.
    #[must_use]
    pub const fn granted(self) -> u64 {
        self.granted
    }

    /// Whether the owner's DEK should be rotated soon.
    #[must_use]
    pub const fn is_rotation_due(self) -> bool {
        self.granted >= Self::ROTATE_AT
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("purpose", &self.0.purpose.0)
            .finish_non_exhaustive()
    }
}
