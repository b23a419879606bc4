//! Provisions owners, opens their sessions, keeps unwrapped keys for as long as a session lives.
//!
//! Invariant: a DEK leaves the KMS only for a session, each attempt audited; only `provision` makes one.
//! With an owner's last session (and its linger) the key is wiped. Absent: SQL, ciphers.

mod ask;
mod builder;
mod error;
mod fill;
mod flight;
mod owners;
mod rotate;
mod shreds;
mod slots;
#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    reason = "counts of calls, far from any limit"
)]
mod tests;
mod upkeep;

use core::{fmt, time::Duration};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::{
    Semaphore,
    mpsc::{UnboundedReceiver, UnboundedSender},
};

use self::{
    ask::Errand,
    fill::in_time,
    owners::Owners,
    slots::{Entry, Whose, filled},
    upkeep::{Nudge, Tasks},
};
pub use self::{
    builder::{BuildError, KeyringBuilder},
    error::{ProvisionError, ReserveError, SessionError},
    shreds::ShredError,
};
use crate::{
    audit::{AuditSink, AuditStep, KmsOperation},
    clock::Clock,
    kms::Kms,
    metrics::Metrics,
    owner::{CanonicalId, OwnerId},
    session::{Keeper, Life, Purpose, Session, Slot, Ticket},
    shred::RestoreGuard,
    soak::SoakWatch,
    store::{KeyStore, LeaseError, LeaseRequest},
};

/// That one call may reserve.
const MOST_RESERVED: u32 = 1 << 26;
/// In bytes: it goes into every event of the session.
const LONGEST_REASON: usize = 1024;

/// Opens sessions. Cheap to clone; one per process is enough. It runs tasks on the tokio runtime on which it
/// first opens one, which needs timers (`enable_time`).
///
/// # Metrics
///
/// With feature `metrics`, through the facade of that name; no owner stands in a label.
///
/// | name | labels | |
/// |---|---|---|
/// | `ophie_crypt_kms_attempts_total` | `operation`, `result` | attempts at the KMS; [`KmsOperation`], [`KmsResult`](crate::KmsResult) |
/// | `ophie_crypt_kms_seconds` | `operation` | how long they took |
/// | `ophie_crypt_sessions_total` | `keys` = `cached`, `fetched` | sessions opened |
/// | `ophie_crypt_refusals_total` | `reason` | sessions and leases refused |
/// | `ophie_crypt_invocations_granted_total` | | invocations of AES-GCM granted to this process |
/// | `ophie_crypt_invocations_left` | | of an owner's 2^32, at each lease (at most 2^32 - 1): watch the lowest |
/// | `ophie_crypt_rotations_due_total` | | leases beyond 2^31 |
///
/// Owners are provisioned once, at sign-up; then sessions are opened for them. Sessions of one owner
/// that overlap share one unwrap. Needs a tokio runtime.
///
/// ```
/// # use ophie_crypt::{Keyring, LocalKms, MemoryKeyStore, Purpose, SessionError};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keyring = Keyring::builder()
///     .kms(LocalKms::ephemeral()?) // testing only
///     .key_store(MemoryKeyStore::new()) // testing only
///     .build()?;
///
/// let unknown = keyring.open("ada", Purpose::new("docs")).await;
/// assert!(matches!(unknown, Err(SessionError::UnknownOwner)));
///
/// keyring.provision("ada").await?;
/// let session = keyring.open("ada", Purpose::new("docs")).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

struct Inner {
    kms: Box<dyn Kms>,
    store: Arc<dyn KeyStore>,
    audit: Box<dyn AuditSink>,
    guard: Option<RestoreGuard>,
    app: Arc<str>,
    actor: Arc<str>,
    clock: Clock,
    metrics: Metrics,
    soaks: Option<SoakWatch>,
    ttl: Duration,
    linger: Duration,
    recheck: Duration,
    /// Invocations that may be granted under one DEK.
    limit: u64,
    owners: Owners<Entry>,
    /// Permits to ask the KMS.
    asking: Semaphore,
    nudges: UnboundedSender<Nudge>,
    nudged: Arc<tokio::sync::Mutex<UnboundedReceiver<Nudge>>>,
    upkeep: Mutex<Tasks>,
}

impl Keyring {
    /// The longest time to live of unwrapped keys: 600 seconds.
    pub const MAX_TTL: Duration = Duration::from_secs(600);
    /// How long a break-glass session lasts at most: 60 seconds.
    pub const BREAK_GLASS_TTL: Duration = Duration::from_secs(60);

    /// Starts a keyring.
    pub fn builder() -> KeyringBuilder {
        KeyringBuilder::default()
    }

    /// Makes the owner's keys, if it has none: call it at sign-up.
    ///
    /// Any number of processes may do this for one owner at once; they end with one key.
    ///
    /// # Errors
    ///
    /// [`ProvisionError`]. Where the connection to the key store broke while it committed, the keys are
    /// perhaps stored; call it again, it changes nothing for an owner who has keys.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does.
    pub async fn provision(&self, owner: &(impl OwnerId + ?Sized)) -> Result<(), ProvisionError> {
        let (inner, owner) = (Arc::clone(&self.0), owner.canonical());
        // A task of its own, as a fetch is: a caller that goes away leaves no intent without its outcome.
        let provisioned = tokio::spawn(async move { inner.provision(&owner).await }).await;
        provisioned.unwrap_or(Err(ProvisionError::Interrupted))
    }

    /// Opens a session of a provisioned owner: one read of the key store and one unwrap by the KMS,
    /// unless a session of that owner is open in this process already.
    ///
    /// A caller that goes away in the middle cancels nothing for others.
    ///
    /// # Errors
    ///
    /// [`SessionError`]. It makes no key: a missing one may mean the wrong database, and a second key
    /// would split the owner's data.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does.
    pub async fn open(
        &self,
        owner: &(impl OwnerId + ?Sized),
        purpose: Purpose,
    ) -> Result<Session, SessionError> {
        self.0.open(owner.canonical(), purpose, false).await
    }

    /// Opens a session that seals nothing. It takes no lease, and works on a replica, where it ends with
    /// its time to live.
    ///
    /// # Errors
    ///
    /// [`SessionError`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does.
    ///
    /// # Security
    ///
    /// A replica that lags still shows keys that were destroyed on the primary.
    pub async fn open_read_only(
        &self,
        owner: &(impl OwnerId + ?Sized),
        purpose: Purpose,
    ) -> Result<Session, SessionError> {
        self.0.open(owner.canonical(), purpose, true).await
    }

    /// Opens a session for a person who looks into an owner's data by way of exception. Its reason stands in
    /// the audit; it has an unwrap of its own, seals nothing, is not renewed, and ends after
    /// [`BREAK_GLASS_TTL`](Self::BREAK_GLASS_TTL).
    ///
    /// ```
    /// # use ophie_crypt::{Keyring, LocalKms, MemoryKeyStore, Purpose, SessionError};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(MemoryKeyStore::new()).build()?;
    /// # keyring.provision("ada").await?;
    /// let none = keyring.break_glass("ada", Purpose::new("support"), " ").await;
    /// assert!(matches!(none, Err(SessionError::NoReason)));
    /// let session = keyring.break_glass("ada", Purpose::new("support"), "ticket 4711, asked for by the user").await?;
    /// assert!(session.is_read_only());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError`], also for a reason that is empty or longer than 1,024 bytes.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does.
    pub async fn break_glass(
        &self,
        owner: &(impl OwnerId + ?Sized),
        purpose: Purpose,
        reason: &str,
    ) -> Result<Session, SessionError> {
        if reason.trim().is_empty() {
            return Err(SessionError::NoReason);
        }
        if reason.len() > LONGEST_REASON {
            return Err(SessionError::LongReason);
        }
        let owner = owner.canonical();
        check(&owner)?;
        let errand = Errand {
            owner: owner.clone(),
            purpose,
            reason: Some(reason.into()),
            operation: KmsOperation::Unwrap,
        };
        let ttl = self.0.ttl.min(Self::BREAK_GLASS_TTL);
        let ticket = filled(self.0.fetch(&Entry::new(owner), errand, false)).await?;
        // Nobody renews it, and nobody else takes its key out of memory while it is held on to.
        let slot = Arc::downgrade(ticket.slot());
        tokio::spawn(async move {
            tokio::time::sleep(ttl).await;
            if let Some(slot) = slot.upgrade() {
                slot.held.expire(|_| false);
            }
        });
        Ok(Session::new(ticket, purpose, true, self.0.life(ttl)))
    }

    /// [`provision`](Self::provision) and [`open`](Self::open): for applications without a sign-up.
    ///
    /// # Errors
    ///
    /// [`ProvisionError`], also for what `open` could not do.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does.
    ///
    /// # Security
    ///
    /// On a wrong or half-restored database it makes a second key for an owner who has one elsewhere.
    pub async fn open_or_provision(
        &self,
        owner: &(impl OwnerId + ?Sized),
        purpose: Purpose,
    ) -> Result<Session, ProvisionError> {
        match self.open(owner, purpose).await {
            Err(SessionError::UnknownOwner) => {
                self.provision(owner).await?;
                Ok(self.open(owner, purpose).await?)
            }
            opened => Ok(opened?),
        }
    }
}

impl Inner {
    async fn open(
        self: &Arc<Self>,
        owner: CanonicalId,
        purpose: Purpose,
        read_only: bool,
    ) -> Result<Session, SessionError> {
        check(&owner)?;
        self.ensure_upkeep();
        let entry = self.entry(owner)?;
        let errand = Errand {
            owner: entry.slot.owner.clone(),
            purpose,
            reason: None,
            operation: KmsOperation::Unwrap,
        };
        let joined = self.join_or_fetch(&entry, &errand, !read_only);
        let cached = joined.is_ok();
        let ticket = match joined {
            Ok(term) => {
                let keeper = Arc::new(Keyring(Arc::clone(self)));
                Ticket::counted(Arc::clone(&entry.slot), term, keeper)
            }
            Err((filling, whose)) => match filled(filling).await {
                // Whoever was provisioned after it had read is not in it, and is there.
                Err(SessionError::UnknownOwner) if whose == Whose::Anothers => {
                    filled(self.fetch(&entry, errand.clone(), !read_only)).await?
                }
                ticket => ticket?,
            },
        };
        // Not the keys themselves: audit and database take their time.
        let pinned = ticket.pin();
        let pinned = pinned.map(|keys| (Arc::clone(&keys.budget), keys.version));
        if pinned.is_err() {
            // They went as they came. Who fetches them again is audited; a renewal for others would not be for this.
            self.refetch(&entry, purpose, !read_only).await?;
        } else if let Ok((budget, version)) = pinned {
            if !entry.knows(purpose) {
                self.record(&errand, budget.generation(), AuditStep::Joined)
                    .await?;
                entry.know(purpose);
            }
            if !read_only && budget.needs_lease() {
                let now = self.lease(&errand.owner, &budget, fill::LEASE).await?;
                if now != Some(version) {
                    self.refetch(&entry, purpose, true).await?;
                }
            }
        }
        self.metrics.opened(cached);
        Ok(Session::new(
            ticket,
            purpose,
            read_only,
            self.life(self.ttl),
        ))
    }

    fn life(&self, ttl: Duration) -> Life {
        Life {
            clock: self.clock.clone(),
            ttl,
            soaks: self.soaks.clone(),
        }
    }

    fn upkeep(&self) -> MutexGuard<'_, Tasks> {
        self.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an id can name an owner.
fn check(owner: &CanonicalId) -> Result<(), SessionError> {
    if owner.is_empty() {
        return Err(SessionError::EmptyOwner);
    }
    if owner.is_too_long() {
        return Err(SessionError::LongOwner);
    }
    Ok(())
}

/// As the sessions see it: an `Arc` of the keyring, so that it lives as long as they do.
#[async_trait]
impl Keeper for Keyring {
    async fn reserve(&self, ticket: &Ticket, count: u32) -> Result<(), ReserveError> {
        if count > MOST_RESERVED {
            return Err(ReserveError::TooMany);
        }
        let keys = ticket.pin().map_err(ReserveError::NoSession)?;
        let (owner, budget) = (keys.keys.owner.clone(), Arc::clone(&keys.budget));
        drop(keys); // the database takes its time
        let left = u32::try_from(budget.left()).unwrap_or(u32::MAX);
        let missing = count.saturating_sub(left);
        if missing == 0 {
            return Ok(());
        }
        let generation = budget.generation();
        let request =
            LeaseRequest::new(owner.clone(), generation, missing, self.0.limit, self.0.ttl);
        match in_time(self.0.store.lease(&request)).await {
            Ok(lease) => {
                self.0.count(&owner, &budget, &lease);
                Ok(())
            }
            Err(error) => {
                if matches!(error, LeaseError::Exhausted) && left == 0 {
                    budget.stop();
                }
                Err(error.into())
            }
        }
    }

    async fn refresh(
        &self,
        slot: &Arc<Slot>,
        purpose: Purpose,
        lease: bool,
    ) -> Result<(), SessionError> {
        let entry = self.0.entry(slot.owner.clone())?;
        if !Arc::ptr_eq(&entry.slot, slot) {
            return Err(SessionError::Ended); // of a break-glass session
        }
        self.0.refetch(&entry, purpose, lease).await
    }

    fn lingers(&self) -> bool {
        !self.0.linger.is_zero()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("app", &self.0.app)
            .field("actor", &self.0.actor)
            .finish_non_exhaustive()
    }
}
