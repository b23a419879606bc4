//! Keys of the owners of all interleavings of a thread, and of the one whom an interleaving shreds.
//!
//! Absent: whose they are in which process (`process`).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use super::model::{NAME, NameFp};
use crate::{
    adapter,
    keyring::Keyring,
    kms::LocalKms,
    session::{Purpose, Session},
    store::MemoryKeyStore,
};

const PURPOSE: Purpose = Purpose::new("simulation");
/// They stay.
const OWNERS: [i64; 2] = [7, 8];
/// The first of those who do not.
const SHREDDED: i64 = 1_000;

pub(super) struct Keys {
    pub(super) keyring: Keyring,
    sessions: BTreeMap<i64, Session>,
    /// Fingerprints are made anew for each look at a row.
    made: Mutex<BTreeMap<(i64, String), Vec<u8>>>,
}

impl Keys {
    pub(super) async fn new() -> Self {
        let keyring = Keyring::builder()
            .kms(LocalKms::ephemeral().unwrap())
            .key_store(Arc::new(MemoryKeyStore::new()))
            .build()
            .unwrap();
        let mut keys = Self {
            keyring,
            sessions: BTreeMap::new(),
            made: Mutex::default(),
        };
        for owner in OWNERS {
            keys.add(owner).await;
        }
        keys
    }

    async fn add(&mut self, owner: i64) {
        let opened = self.keyring.open_or_provision(&owner, PURPOSE).await;
        let session = opened.unwrap();
        session.reserve(1 << 20).await.unwrap();
        self.sessions.insert(owner, session);
    }

    /// For one interleaving: with an owner of its own if one is shredded in it.
    pub(super) async fn of(&self, seed: u64, shreds: bool) -> Arc<Self> {
        let mut keys = Self {
            keyring: self.keyring.clone(),
            sessions: self.sessions.clone(),
            made: Mutex::default(),
        };
        if shreds {
            keys.add(SHREDDED + i64::try_from(seed).unwrap()).await;
        }
        Arc::new(keys)
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = (i64, &Session)> {
        self.sessions
            .iter()
            .map(|(owner, session)| (*owner, session))
    }

    pub(super) fn owners(&self) -> Vec<i64> {
        self.sessions.keys().copied().collect()
    }

    /// Who is shredded, if anybody is.
    pub(super) fn mortal(&self) -> Option<i64> {
        let last = self.sessions.keys().next_back().copied();
        last.filter(|owner| !OWNERS.contains(owner))
    }

    /// Of a value: `None` once its owner was shredded.
    pub(super) fn fingerprint(&self, owner: i64, text: &str) -> Option<Vec<u8>> {
        let mut all = self.made.lock().unwrap();
        if let Some(made) = all.get(&(owner, text.to_owned())) {
            return Some(made.clone());
        }
        let session = self.sessions.get(&owner)?;
        let made = adapter::fingerprint_in::<String, NameFp>(session, text.to_owned()).ok()?;
        let made = made.as_bytes().to_vec();
        all.insert((owner, text.to_owned()), made.clone());
        Some(made)
    }

    /// An envelope, as a backfill makes one.
    pub(super) fn seal(&self, owner: i64, text: &str) -> Vec<u8> {
        let session = &self.sessions[&owner];
        adapter::seal_in(session, NAME, None, &text.to_owned()).unwrap()
    }
}
