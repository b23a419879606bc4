//! Makes an owner's first keys, and unwraps what the key store holds.
//!
//! Invariant: keys that were unwrapped are used only if the owner's version is still the one that was read
//! before the KMS was asked. Absent: who waits for them (`slots`), how the KMS is asked (`ask`).

use core::time::Duration;
use std::sync::Arc;

use tokio::time::timeout;

use super::{
    Inner,
    ask::{Errand, MakeDek, NoAnswer, UnwrapDek, share},
    error::{ProvisionError, SessionError},
};
use crate::{
    audit::KmsOperation,
    binding,
    blind_index::IndexKeys,
    budget::Budget,
    envelope::{self, Envelope, Form},
    hazmat::{
        aead::Nonce,
        data_key::{DataKey, Dek, IndexKey},
        fill_random,
    },
    kms::{GeneratedDek, KmsError},
    owner::CanonicalId,
    session::{Purpose, Unwrapped},
    shares::ShareStoreError,
    store::{
        DekBlob, DekRecord, DekState, IndexKeyRecord, IndexKeyState, LeaseError, LeaseRequest,
        OwnerRecord, StoreError,
    },
    value::OwnerKeys,
};

/// The generation that provisioning makes.
const FIRST_GENERATION: u32 = 1;
const FIRST_INDEX_GENERATION: u8 = 1;
/// Granted at open: most sessions seal few values, and a crash wastes at most one lease.
pub(super) const LEASE: u32 = 4096;
const STORE_WITHIN: Duration = Duration::from_secs(5);
/// How often keys that changed while the KMS was asked are read again.
const READS: u32 = 4;

impl Inner {
    pub(super) async fn provision(&self, owner: &CanonicalId) -> Result<(), ProvisionError> {
        if owner.is_empty() {
            return Err(ProvisionError::EmptyOwner);
        }
        if owner.is_too_long() {
            return Err(ProvisionError::LongOwner);
        }
        if let Some(guard) = &self.guard {
            guard.admit().await?;
        }
        match in_time(self.store.load(owner)).await? {
            Some(record) if record.is_shredded() => return Err(ProvisionError::Shredded),
            Some(_) => return Ok(()),
            None => {}
        }
        let errand = Errand {
            owner: owner.clone(),
            purpose: Purpose::new("provision"),
            reason: None,
            operation: KmsOperation::Make,
        };
        let made = self.ask(&errand, FIRST_GENERATION, MakeDek).await;
        let GeneratedDek { dek, wrapped } = made.map_err(|why| match why {
            NoAnswer::Audit(error) => ProvisionError::Audit(error),
            NoAnswer::Kms(KmsError::Shares(ShareStoreError::Destroyed)) => ProvisionError::Shredded,
            NoAnswer::Kms(error) => ProvisionError::Kms(error),
        })?;
        let key = DataKey::derive(&dek);
        let sealed = seal_index_key(&key, owner, FIRST_INDEX_GENERATION);
        let sealed = sealed.ok_or(ProvisionError::Randomness)?;
        let index_key = IndexKeyRecord::new(FIRST_INDEX_GENERATION, *key.id(), sealed);
        let blob = DekBlob::Wrapped(wrapped);
        let dek = DekRecord::new(FIRST_GENERATION, DekState::Sealing, *key.id(), blob);
        Ok(in_time(self.store.insert_if_absent(owner, &dek, &index_key)).await?)
    }

    /// The owner's keys from key store and KMS; with `lease`, with a budget to seal.
    pub(super) async fn unwrap(
        &self,
        errand: &Errand,
        budget: impl Fn(u32) -> Arc<Budget> + Send,
        lease: bool,
    ) -> Result<Unwrapped, SessionError> {
        if let Some(guard) = &self.guard {
            guard.admit().await?;
        }
        for _ in 0..READS {
            let record = in_time(self.store.load(&errand.owner)).await?;
            let record = record.ok_or(SessionError::UnknownOwner)?;
            if record.is_shredded() {
                return Err(SessionError::Shredded);
            }
            let at = self.clock.now(); // before the KMS answers: an answer on its way is getting old
            let opened = self.open_record(errand, &record).await;
            if let Err(SessionError::Kms(error)) = &opened
                && error.is_final()
            {
                self.still_lives(&errand.owner).await?;
            }
            let (keys, generation) = opened?;
            let budget = budget(generation);
            let version = match lease {
                true => self.lease(&errand.owner, &budget, LEASE).await?,
                false => in_time(self.store.version(&errand.owner)).await?,
            };
            if version == Some(record.version()) {
                return Ok(Unwrapped {
                    keys,
                    at,
                    version: record.version(),
                    budget,
                    renew_after: self.renew_after(),
                });
            }
        }
        Err(SessionError::Interrupted)
    }

    /// What refused may have done so because the owner was shredded meanwhile. If nobody can say, the refusal stands.
    async fn still_lives(&self, owner: &CanonicalId) -> Result<(), SessionError> {
        match in_time(self.store.load(owner)).await {
            Ok(Some(record)) if record.is_shredded() => Err(SessionError::Shredded),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// A lease if the budget is low, else only a longer life for what is left. The owner's version, or
    /// `None` if the generation no longer seals. At the hard stop reading goes on.
    pub(super) async fn lease(
        &self,
        owner: &CanonicalId,
        budget: &Budget,
        count: u32,
    ) -> Result<Option<u64>, SessionError> {
        let mut count = if budget.is_low() { count } else { 0 };
        loop {
            let request = LeaseRequest::new(
                owner.clone(),
                budget.generation(),
                count,
                self.limit,
                self.ttl,
            );
            match in_time(self.store.lease(&request)).await {
                Ok(lease) => {
                    self.count(owner, budget, &lease);
                    return Ok(Some(lease.version()));
                }
                Err(LeaseError::Exhausted) => {
                    budget.stop();
                    self.metrics.refused("hard-stop");
                    if count == 0 {
                        return Ok(in_time(self.store.version(owner)).await?);
                    }
                    count = 0;
                }
                Err(LeaseError::OldEpoch) => {
                    budget.forfeit();
                    self.metrics.refused("old-epoch");
                    return Ok(in_time(self.store.version(owner)).await?);
                }
                Err(LeaseError::NotSealing) => return Ok(None),
                Err(LeaseError::Store(error)) => return Err(error.into()),
            }
        }
    }

    async fn open_record(
        &self,
        errand: &Errand,
        record: &OwnerRecord,
    ) -> Result<(OwnerKeys, u32), SessionError> {
        let (newest, _, first) = self.unwrap_newest(errand, record).await?;
        let index = open_index_keys(&first, &errand.owner, record).ok_or(SessionError::WrongKey)?;
        let mut others = Vec::new();
        for older in record.deks().iter().skip(1) {
            let opened = open_older(&first, &errand.owner, older);
            let (_, key) = opened.ok_or(SessionError::WrongKey)?;
            others.push((older, key));
        }
        let mut keys: Vec<_> = core::iter::once((newest, first)).chain(others).collect();
        let sealing = keys
            .iter()
            .position(|(dek, _)| dek.state() == DekState::Sealing)
            .ok_or(SessionError::WrongKey)?;
        let (sealing, key) = keys.swap_remove(sealing);
        let keys = OwnerKeys {
            owner: errand.owner.clone(),
            sealing: key,
            others: keys.into_iter().map(|(_, key)| key).collect(),
            index,
        };
        Ok((keys, sealing.generation()))
    }

    /// The newest DEK: the one that its record names.
    pub(super) async fn unwrap_newest<'r>(
        &self,
        errand: &Errand,
        record: &'r OwnerRecord,
    ) -> Result<(&'r DekRecord, Dek, DataKey), SessionError> {
        let newest = record.newest().ok_or(SessionError::WrongKey)?;
        let DekBlob::Wrapped(wrapped) = newest.blob() else {
            return Err(SessionError::WrongKey);
        };
        let dek = self
            .ask(errand, newest.generation(), UnwrapDek(wrapped))
            .await?;
        let key = DataKey::derive(&dek);
        if *key.id() != newest.key_id() {
            return Err(SessionError::WrongKey);
        }
        Ok((newest, dek, key))
    }

    /// 70 to 90% of the time to live, so that owners are not renewed all at once.
    fn renew_after(&self) -> Duration {
        let mut random = [0; 2];
        // Without random bytes there is no jitter, and nothing else to lose.
        let _ = fill_random(&mut random);
        self.ttl.mul_f32(0.7 + 0.2 * share(random))
    }
}

/// Gives up on a key store that does not answer: all who wait for this owner would wait with it.
pub(super) async fn in_time<T, E: From<StoreError>>(
    asked: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let silent = |_| {
        Err(StoreError::unavailable("no answer within five seconds; look for a lock, or for a pool with no connection to spare").into())
    };
    timeout(STORE_WITHIN, asked).await.unwrap_or_else(silent)
}

const FORM: Form = Form {
    padded: false,
    row_bound: false,
};

/// A random index key, sealed under the DEK as an envelope with associated data of its own.
pub(super) fn seal_index_key(
    key: &DataKey,
    owner: &CanonicalId,
    generation: u8,
) -> Option<Vec<u8>> {
    let index_key = Dek::make().ok()?;
    seal_index(key, owner, generation, &index_key)
}

/// An index key, sealed under a DEK.
pub(super) fn seal_index(
    under: &DataKey,
    owner: &CanonicalId,
    generation: u8,
    index_key: &Dek,
) -> Option<Vec<u8>> {
    seal_key(under, index_key, |header| {
        binding::index_key(header, owner, generation)
    })
}

/// An older DEK, sealed under the newest.
pub(super) fn seal_older(
    newest: &DataKey,
    owner: &CanonicalId,
    generation: u32,
    dek: &Dek,
) -> Option<Vec<u8>> {
    seal_key(newest, dek, |header| {
        binding::older_dek(header, owner, generation)
    })
}

/// A key, sealed under a DEK.
fn seal_key(
    under: &DataKey,
    key: &Dek,
    aad: impl FnOnce(&[u8; envelope::HEADER_LEN]) -> binding::Pae,
) -> Option<Vec<u8>> {
    let nonce = Nonce::make().ok()?;
    let header = FORM.header(under.id());
    let mut buf = envelope::start(&header, IndexKey::LEN);
    buf.extend(key.expose_secret());
    envelope::finish(buf, under.aead(), nonce, &aad(&header)).ok()
}

/// Those that are in use: the one that is written, and one beside it at most.
fn open_index_keys(key: &DataKey, owner: &CanonicalId, record: &OwnerRecord) -> Option<IndexKeys> {
    let (mut writing, mut other, mut retired) = (None, None, None);
    for index in record.index_keys() {
        let place = match index.state() {
            IndexKeyState::Writing => &mut writing,
            state if state.is_in_use() => &mut other,
            _ if retired.is_none() => &mut retired, // the newest
            _ => continue,
        };
        if place.replace(open_index_key(key, owner, index)?).is_some() {
            return None;
        }
    }
    let writing = writing?;
    let several = other.is_some();
    Some(IndexKeys {
        writing,
        other: other.or(retired),
        several,
    })
}

fn open_index_key(key: &DataKey, owner: &CanonicalId, record: &IndexKeyRecord) -> Option<IndexKey> {
    let bytes = open_index(key, owner, record)?;
    Some(IndexKey::new(record.generation(), bytes.expose_secret()))
}

/// An index key's bytes.
pub(super) fn open_index(
    under: &DataKey,
    owner: &CanonicalId,
    record: &IndexKeyRecord,
) -> Option<Dek> {
    open_key(under, record.sealed(), |header| {
        binding::index_key(header, owner, record.generation())
    })
}

/// An older DEK, sealed under the newest; the one that its record names.
pub(super) fn open_older(
    newest: &DataKey,
    owner: &CanonicalId,
    record: &DekRecord,
) -> Option<(Dek, DataKey)> {
    let DekBlob::Sealed(sealed) = record.blob() else {
        return None;
    };
    let dek = open_key(newest, sealed, |header| {
        binding::older_dek(header, owner, record.generation())
    })?;
    let key = DataKey::derive(&dek);
    (*key.id() == record.key_id()).then_some((dek, key))
}

fn open_key(
    under: &DataKey,
    sealed: &[u8],
    aad: impl FnOnce(&[u8; envelope::HEADER_LEN]) -> binding::Pae,
) -> Option<Dek> {
    let envelope = Envelope::parse(sealed).ok()?;
    if envelope.header() != &FORM.header(under.id()) {
        return None;
    }
    let bytes = envelope.open(under.aead(), &aad(envelope.header())).ok()?;
    Dek::from_slice(&bytes).ok()
}

#[cfg(test)]
pub(super) fn make_index_key(key: &DataKey, owner: &CanonicalId) -> Vec<u8> {
    seal_index_key(key, owner, FIRST_INDEX_GENERATION).unwrap()
}
