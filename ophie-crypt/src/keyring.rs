//! Provisions owners, opens their sessions, keeps unwrapped keys for as long as a session lives.
//!
//! Invariant: a DEK leaves the KMS only through `open`; only `provision` makes one. The cache holds no
//! key by itself: with an owner's last session its key is wiped. Absent: SQL, ciphers, clocks.

use core::fmt;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    binding,
    clock::Moment,
    envelope::{self, Envelope, Form},
    hazmat::{
        aead::Nonce,
        data_key::{DataKey, Dek, IndexKey},
    },
    kms::{EncryptionContext, GeneratedDek, Kms, KmsError},
    owner::{CanonicalId, OwnerId},
    session::{Purpose, Session, Unwrapped},
    store::{KeyStore, OwnerRecord, StoreError},
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
    cache: Mutex<HashMap<CanonicalId, Slot>>,
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
        match cache.get(&owner) {
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
        if cache.len() == cache.capacity() {
            cache.retain(|_, slot| slot.is_alive());
        }
        cache.insert(owner.clone(), Slot::Filling(filling.clone()));
        drop(cache);

        let keyring = Arc::clone(&self.0);
        tokio::spawn(async move {
            let filled = keyring.unwrap(&owner).await.map(Arc::new);
            let held = filled.as_ref().map(Arc::downgrade);
            let mut cache = keyring.cache();
            match held {
                Ok(held) => cache.insert(owner, Slot::Held(held)),
                Err(_) => cache.remove(&owner), // errors go to those who wait now, and to nobody later
            };
            drop(cache);
            fill.send_replace(Some(filled));
        });
        Err(filling)
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
    fn cache(&self) -> MutexGuard<'_, HashMap<CanonicalId, Slot>> {
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
    (envelope.key_id() == *key.id() && bytes.len() == IndexKey::LEN)
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

/// An owner was not provisioned; nothing was stored.
///
/// ```
/// assert!(ophie_crypt::ProvisionError::EmptyOwner.to_string().contains("empty"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvisionError {
    /// The owner is an empty text.
    #[error("the owner's id is empty; is the user signed in?")]
    EmptyOwner,
    /// The KMS made no key.
    #[error("no key was made for the owner")]
    Kms(#[from] KmsError),
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes; try again")]
    Randomness,
    /// The key was made but could not be opened again ([`Keyring::open_or_provision`]).
    #[error("the owner's session was not opened")]
    Session(#[from] SessionError),
    /// The key store failed.
    #[error("the owner's key was not stored")]
    Store(#[from] StoreError),
}

/// A session was not opened.
///
/// ```
/// assert!(ophie_crypt::SessionError::UnknownOwner.to_string().contains("provision"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The owner is an empty text.
    #[error("the owner's id is empty; is the user signed in?")]
    EmptyOwner,
    /// The task that fetched the key ended without an answer: the runtime is shutting down, or the KMS
    /// or key store panicked.
    #[error("the fetch of the owner's key was interrupted; try again")]
    Interrupted,
    /// The KMS gave no key.
    #[error("the owner's key was not unwrapped")]
    Kms(#[from] KmsError),
    /// The key store failed.
    #[error("the owner's key was not read")]
    Store(#[from] StoreError),
    /// No keys were ever made for this owner, in this key store.
    #[error(
        "the owner has no key in this key store; call `provision` at sign-up, and check that this is the right database"
    )]
    UnknownOwner,
    /// The KMS gave a key, but not the one that the key store names, or the index key does not open under it.
    #[error(
        "the unwrapped key is not the one that the key store names; was a record copied, changed, or restored in part?"
    )]
    WrongKey,
}
