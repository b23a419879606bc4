//! Provisions owners, opens their sessions, keeps unwrapped keys for as long as a session lives.
//!
//! Invariant: a DEK leaves the KMS only through `open`; only `provision` makes one. The cache holds no
//! key by itself: with an owner's last session its key is wiped. Absent: SQL, ciphers, clocks.

mod builder;
mod error;
#[cfg(test)]
mod tests;

use core::fmt;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::watch;

pub use self::{
    builder::{BuildError, KeyringBuilder},
    error::{ProvisionError, SessionError},
};
use crate::{
    binding,
    clock::Moment,
    envelope::{self, Envelope, Form},
    hazmat::{
        aead::Nonce,
        data_key::{DataKey, Dek, IndexKey},
    },
    kms::{EncryptionContext, GeneratedDek, Kms},
    owner::{CanonicalId, OwnerId},
    session::{Purpose, Session, Unwrapped},
    store::{KeyStore, OwnerRecord},
    value::OwnerKeys,
};

/// Opens sessions. Cheap to clone; one per process is enough.
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
    store: Box<dyn KeyStore>,
    app: Arc<str>,
    ttl: Duration,
    cache: Mutex<Cache>,
}

/// Owners that have a session, and some that no longer do.
#[derive(Default)]
struct Cache {
    slots: HashMap<CanonicalId, Slot>,
    sweep_at: usize,
}

/// What is known of an owner's key in this process.
enum Slot {
    /// A task is fetching it.
    Filling(watch::Receiver<Filled>),
    /// Some session may hold it.
    Held(Weak<Unwrapped>),
}

type Filled = Option<Result<Arc<Unwrapped>, SessionError>>;

/// A key that has spent this share of its life is fetched anew for the next session.
const FRESH_SHARE: f32 = 0.7;

/// The generation that provisioning makes.
const FIRST_GENERATION: u32 = 1;
const FIRST_INDEX_GENERATION: u8 = 1;

impl Keyring {
    /// The longest time to live of unwrapped keys: 600 seconds.
    pub const MAX_TTL: Duration = Duration::from_secs(600);

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
    /// [`ProvisionError`]; nothing was stored then, and a retry is safe.
    pub async fn provision(&self, owner: &(impl OwnerId + ?Sized)) -> Result<(), ProvisionError> {
        self.0.provision(&owner.canonical()).await
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
        let owner = owner.canonical();
        if owner.is_empty() {
            return Err(SessionError::EmptyOwner);
        }
        let unwrapped = match self.look_up(owner) {
            Ok(held) => held,
            Err(mut filling) => match filling.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(filled)) => filled.clone()?,
                _ => return Err(SessionError::Interrupted),
            },
        };
        Ok(Session::new(unwrapped, purpose, self.0.ttl))
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

    /// The owner's key if a session holds it and it is fresh; else the fetch under way, begun if need be.
    fn look_up(&self, owner: CanonicalId) -> Result<Arc<Unwrapped>, watch::Receiver<Filled>> {
        let mut cache = self.0.cache();
        match cache.slots.get(&owner) {
            Some(Slot::Filling(filling)) if filling.has_changed().is_ok() => {
                return Err(filling.clone());
            }
            Some(Slot::Held(held)) => {
                if let Some(unwrapped) = held.upgrade().filter(|held| self.0.is_fresh(held)) {
                    return Ok(unwrapped);
                }
            }
            _ => {}
        }
        let (fill, filling) = watch::channel(None);
        cache.insert(owner.clone(), Slot::Filling(filling.clone()));
        drop(cache);

        let keyring = Arc::clone(&self.0);
        tokio::spawn(async move {
            let filled = keyring.unwrap(&owner).await.map(Arc::new);
            let held = filled.as_ref().map(Arc::downgrade);
            let mut cache = keyring.cache();
            match held {
                Ok(held) => cache.slots.insert(owner, Slot::Held(held)),
                Err(_) => cache.slots.remove(&owner), // errors go to those who wait now, and to nobody later
            };
            drop(cache);
            fill.send_replace(Some(filled));
        });
        Err(filling)
    }
}

impl Cache {
    /// Adds a slot; when the map has doubled, drops those that nobody needs.
    fn insert(&mut self, owner: CanonicalId, slot: Slot) {
        if self.slots.len() >= self.sweep_at {
            self.slots.retain(|_, slot| slot.is_alive());
            self.sweep_at = self.slots.len().saturating_mul(2).max(64);
        }
        self.slots.insert(owner, slot);
    }
}

impl Slot {
    fn is_alive(&self) -> bool {
        match self {
            Self::Filling(filling) => filling.has_changed().is_ok(),
            Self::Held(held) => held.strong_count() > 0,
        }
    }
}

impl Inner {
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_fresh(&self, unwrapped: &Unwrapped) -> bool {
        unwrapped.at.age() < self.ttl.mul_f32(FRESH_SHARE)
    }

    fn context(&self, owner: &CanonicalId, generation: u32) -> EncryptionContext {
        EncryptionContext::new(Arc::clone(&self.app), owner, generation)
    }

    async fn provision(&self, owner: &CanonicalId) -> Result<(), ProvisionError> {
        if owner.is_empty() {
            return Err(ProvisionError::EmptyOwner);
        }
        if self.store.load(owner).await?.is_some() {
            return Ok(());
        }
        let context = self.context(owner, FIRST_GENERATION);
        let GeneratedDek { dek, wrapped } = self.kms.make_dek(&context).await?;
        let key = DataKey::derive(&dek);
        let index_key = make_index_key(&key, owner)?;
        let record = OwnerRecord::new(
            FIRST_GENERATION,
            *key.id(),
            wrapped,
            FIRST_INDEX_GENERATION,
            index_key,
        );
        Ok(self.store.insert_if_absent(owner, &record).await?)
    }

    async fn unwrap(&self, owner: &CanonicalId) -> Result<Unwrapped, SessionError> {
        let record = self
            .store
            .load(owner)
            .await?
            .ok_or(SessionError::UnknownOwner)?;
        let context = self.context(owner, record.generation());
        let at = Moment::now(); // before the KMS answers: an answer on its way is getting old
        let dek = self.kms.unwrap_dek(record.wrapped(), &context).await?;
        let data = DataKey::derive(&dek);
        if *data.id() != record.key_id() {
            return Err(SessionError::WrongKey);
        }
        let index = open_index_key(&data, owner, &record).ok_or(SessionError::WrongKey)?;
        Ok(Unwrapped {
            keys: OwnerKeys {
                owner: owner.clone(),
                data,
                index,
            },
            at,
        })
    }
}

/// Makes an index key and seals it under the DEK, as an envelope with associated data of its own.
fn make_index_key(key: &DataKey, owner: &CanonicalId) -> Result<Vec<u8>, ProvisionError> {
    let index_key = Dek::make().map_err(|_| ProvisionError::Randomness)?;
    let nonce = Nonce::make().map_err(|_| ProvisionError::Randomness)?;
    let header = INDEX_KEY_FORM.header(key.id());
    let mut buf = envelope::start(&header, &nonce, IndexKey::LEN);
    buf.extend(index_key.expose_secret());
    let aad = binding::index_key(&header, owner, FIRST_INDEX_GENERATION);
    envelope::finish(buf, key.aead(), nonce, &aad).map_err(|_| ProvisionError::Randomness)
}

fn open_index_key(key: &DataKey, owner: &CanonicalId, record: &OwnerRecord) -> Option<IndexKey> {
    let envelope = Envelope::parse(record.sealed_index_key()).ok()?;
    let generation = record.index_generation();
    let aad = binding::index_key(envelope.header(), owner, generation);
    let bytes = envelope.open(key.aead(), &aad).ok()?;
    let right_form = !(envelope.is_padded() || envelope.is_row_bound());
    (right_form && envelope.key_id() == *key.id() && bytes.len() == IndexKey::LEN)
        .then(|| IndexKey::new(generation, &bytes))
}

const INDEX_KEY_FORM: Form = Form {
    padded: false,
    row_bound: false,
};

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("app", &self.0.app)
            .finish_non_exhaustive()
    }
}
