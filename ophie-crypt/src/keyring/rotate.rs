//! Makes an owner's next generation, and wraps the newest one anew.
//!
//! Invariant: what is written is sealed under a key that the KMS gave back, and a blob is replaced only by one that it
//! unwrapped. Absent: how they are written (`store`), when (`rotation`).

use core::time::Duration;
use std::sync::Arc;

use tokio::time::timeout;

use super::{
    Inner, Keyring,
    ask::{Errand, MakeDek, NoAnswer, RewrapDek, UnwrapDek},
    fill::{open_index, open_older, seal_index, seal_index_key, seal_older},
};
use crate::{
    audit::KmsOperation,
    hazmat::data_key::DataKey,
    kms::{EncryptionContext, GeneratedDek, KmsCall, KmsError, WrappedDek},
    owner::CanonicalId,
    rotation::RotationError,
    session::Purpose,
    store::{
        Announcement, DekBlob, DekRecord, DekState, IndexAnnouncement, IndexKeyRecord,
        IndexKeyState, OwnerRecord, StoreError,
    },
};

const FORGET_WITHIN: Duration = Duration::from_secs(5);

impl Keyring {
    /// The generation after the newest of `record`, and all other keys sealed under it: one unwrap, one new DEK.
    pub(crate) async fn next_generation(
        &self,
        owner: &CanonicalId,
        record: OwnerRecord,
    ) -> Result<Announcement, RotationError> {
        let (inner, owner) = (Arc::clone(&self.0), owner.clone());
        // A task of its own, as a fetch is: a caller that goes away leaves no intent without its outcome.
        let made = tokio::spawn(async move { inner.next_generation(&owner, &record).await }).await;
        made.unwrap_or(Err(RotationError::Interrupted))
    }

    /// The index key after the newest of `record`, sealed under its newest DEK: one unwrap.
    pub(crate) async fn next_index_key(
        &self,
        owner: &CanonicalId,
        record: OwnerRecord,
    ) -> Result<IndexAnnouncement, RotationError> {
        let (inner, owner) = (Arc::clone(&self.0), owner.clone());
        let made = tokio::spawn(async move { inner.next_index_key(&owner, &record).await }).await;
        made.unwrap_or(Err(RotationError::Interrupted))
    }

    /// What the KMS keeps elsewhere of generations that `record` no longer has goes with their keys.
    pub(crate) async fn forget_destroyed(
        &self,
        owner: &CanonicalId,
        record: &OwnerRecord,
    ) -> Result<(), RotationError> {
        let newest = record.newest().ok_or(super::SessionError::WrongKey)?;
        let kept: Vec<_> = record.deks().iter().map(DekRecord::generation).collect();
        let app = Arc::clone(&self.0.app);
        let context = EncryptionContext::new(app, owner, newest.generation());
        let call = KmsCall::new(context);
        let forgotten = timeout(FORGET_WITHIN, self.0.kms.forget_all_but(&kept, &call)).await;
        let slow = |_| Err(KmsError::unavailable("no answer within five seconds"));
        forgotten.unwrap_or_else(slow).map_err(RotationError::Kms)
    }

    /// The newest DEK under the present KEK, and what the KMS made of it was unwrapped.
    pub(crate) async fn rewrap(
        &self,
        owner: &CanonicalId,
        newest: DekRecord,
        wrapped: WrappedDek,
    ) -> Result<WrappedDek, RotationError> {
        let (inner, owner) = (Arc::clone(&self.0), owner.clone());
        let made = tokio::spawn(async move { inner.rewrap(&owner, &newest, &wrapped).await }).await;
        made.unwrap_or(Err(RotationError::Interrupted))
    }
}

impl Inner {
    /// A restored database has keys of owners who were shredded since: none may be wrapped anew.
    async fn admit(&self) -> Result<(), RotationError> {
        match &self.guard {
            Some(guard) => Ok(guard.admit().await.map_err(super::SessionError::from)?),
            None => Ok(()),
        }
    }

    async fn next_generation(
        &self,
        owner: &CanonicalId,
        record: &OwnerRecord,
    ) -> Result<Announcement, RotationError> {
        self.admit().await?;
        let mut errand = errand(owner, KmsOperation::Unwrap);
        let (newest, dek, key) = self.unwrap_newest(&errand, record).await?;
        let damaged = || RotationError::Session(super::SessionError::WrongKey);
        let mut olds = Vec::new();
        for older in record.deks().iter().skip(1) {
            let (dek, _) = open_older(&key, owner, older).ok_or_else(damaged)?;
            olds.push((older, dek));
        }
        olds.push((newest, dek));
        let mut index_keys = Vec::new();
        for index_key in record.index_keys() {
            let bytes = open_index(&key, owner, index_key).ok_or_else(damaged)?;
            index_keys.push((index_key, bytes));
        }

        let generation = newest.generation().checked_add(1);
        let generation = generation.ok_or(StoreError::corrupt("a generation out of range"))?;
        errand.operation = KmsOperation::Make;
        let made = self.ask(&errand, generation, MakeDek).await;
        let GeneratedDek { dek, wrapped } = made.map_err(no_new_key)?;
        let new = DataKey::derive(&dek);
        let mut older = Vec::new();
        for (record, dek) in &olds {
            let sealed = seal_older(&new, owner, record.generation(), dek);
            let sealed = sealed.ok_or(RotationError::Randomness)?;
            let record = (*record).clone().with_blob(DekBlob::Sealed(sealed));
            older.push(match record.state() {
                // It was announced before a restore, and is overtaken.
                DekState::Announced => record.in_state(DekState::Draining),
                _ => record,
            });
        }
        let mut sealed_index_keys = Vec::new();
        for (record, bytes) in &index_keys {
            let sealed = seal_index(&new, owner, record.generation(), bytes);
            let sealed = sealed.ok_or(RotationError::Randomness)?;
            let anew = IndexKeyRecord::new(record.generation(), *new.id(), sealed);
            sealed_index_keys.push(anew.in_state(record.state()));
        }
        let blob = DekBlob::Wrapped(wrapped);
        let dek = DekRecord::new(generation, DekState::Announced, *new.id(), blob);
        Ok(Announcement::new(
            record.version(),
            dek,
            older,
            sealed_index_keys,
        ))
    }

    async fn next_index_key(
        &self,
        owner: &CanonicalId,
        record: &OwnerRecord,
    ) -> Result<IndexAnnouncement, RotationError> {
        self.admit().await?;
        let newest_key = record.index_keys().first();
        let newest_key = newest_key.ok_or(super::SessionError::WrongKey)?;
        let generation = newest_key.generation().checked_add(1);
        let generation = generation.ok_or(RotationError::NoMoreIndexKeys)?;
        let errand = errand(owner, KmsOperation::Unwrap);
        let (newest, _, key) = self.unwrap_newest(&errand, record).await?;
        let sealed = seal_index_key(&key, owner, generation).ok_or(RotationError::Randomness)?;
        let index_key = IndexKeyRecord::new(generation, *key.id(), sealed);
        Ok(IndexAnnouncement::new(
            record.version(),
            index_key.in_state(IndexKeyState::Announced),
            newest.generation(),
        ))
    }

    async fn rewrap(
        &self,
        owner: &CanonicalId,
        newest: &DekRecord,
        wrapped: &WrappedDek,
    ) -> Result<WrappedDek, RotationError> {
        self.admit().await?;
        let generation = newest.generation();
        let mut errand = errand(owner, KmsOperation::Rewrap);
        let rewrapped = self.ask(&errand, generation, RewrapDek(wrapped)).await;
        let rewrapped = rewrapped.map_err(no_new_key)?;
        errand.operation = KmsOperation::Unwrap;
        let dek = self.ask(&errand, generation, UnwrapDek(&rewrapped)).await;
        let dek = dek.map_err(no_new_key)?;
        if *DataKey::derive(&dek).id() == newest.key_id() {
            Ok(rewrapped)
        } else {
            Err(super::SessionError::WrongKey.into())
        }
    }
}

fn errand(owner: &CanonicalId, operation: KmsOperation) -> Errand {
    Errand {
        owner: owner.clone(),
        purpose: Purpose::new("rotation"),
        reason: None,
        operation,
    }
}

fn no_new_key(why: NoAnswer) -> RotationError {
    match why {
        NoAnswer::Audit(error) => RotationError::Audit(error),
        NoAnswer::Kms(error) => RotationError::Kms(error),
    }
}
