//! The keys of many owners, for jobs that go through a table row by row.
//!
//! Invariant: an owner's keys are asked for once while a job goes on, not once for each of its rows.
//! Absent: what is done with them (`seal`), and with which rows (`backfill`, `verify`, `jobs`).

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::stream::{StreamExt as _, TryStreamExt as _, iter};

use super::SoakJobError;
use crate::{
    keyring::{Keyring, ProvisionError, ReserveError, SessionError},
    owner::CanonicalId,
    session::{Purpose, Session},
    store::LeaseError,
};

/// Owners whose keys a job holds at a time, unless it asks for more at once.
const OWNERS: usize = 20_000;

/// Owners whose keys are fetched at a time: the KMS, not the processor, takes the time.
const AT_A_TIME: usize = 8;

/// Sessions of a job.
pub(super) struct Sessions {
    keyring: Keyring,
    /// Whether owners who have no keys get some.
    provisions: bool,
    open: Arc<Open>,
    /// Of how many owners.
    most: usize,
}

/// By owner.
pub(super) type Open = HashMap<CanonicalId, Keys>;

/// What is known of an owner's keys.
#[derive(Clone)]
pub(super) enum Keys {
    Open(Session),
    /// It has none.
    None,
    /// Nor will it have any.
    Shredded,
}

impl Keys {
    pub(super) const fn session(&self) -> Option<&Session> {
        match self {
            Self::Open(session) => Some(session),
            Self::None | Self::Shredded => None,
        }
    }
}

impl Sessions {
    pub(super) fn new(keyring: &Keyring, provisions: bool) -> Self {
        Self {
            keyring: keyring.clone(),
            provisions,
            open: Arc::default(),
            most: OWNERS,
        }
    }

    /// Of fewer owners at a time.
    #[cfg(test)]
    pub(super) const fn most(mut self, owners: usize) -> Self {
        self.most = owners;
        self
    }

    /// Opens an owner's session, if it is not open, and makes sure that it may seal so many more values; whether there is one.
    pub(super) async fn open(
        &mut self,
        owner: &CanonicalId,
        count: u32,
    ) -> Result<bool, SoakJobError> {
        let fetched = self.fetched(owner.clone(), count).await?;
        self.keep(fetched.into_iter().collect(), |asked| asked == owner);
        Ok(self.keys(owner).and_then(Keys::session).is_some())
    }

    /// The same of many, several at a time; whether there was one that was not open.
    pub(super) async fn open_all(
        &mut self,
        owners: impl IntoIterator<Item = &CanonicalId>,
        count: u32,
    ) -> Result<bool, SoakJobError> {
        let asked: HashSet<_> = owners.into_iter().cloned().collect();
        let fetched = iter(asked.clone()).map(|owner| self.fetched(owner, count));
        let fetched: Vec<_> = fetched.buffer_unordered(AT_A_TIME).try_collect().await?;
        let fetched: Vec<_> = fetched.into_iter().flatten().collect();
        let met = !fetched.is_empty();
        self.keep(fetched, |owner| asked.contains(owner));
        Ok(met)
    }

    /// Where they are too many, only those that were asked for just now.
    fn keep(&mut self, fetched: Vec<(CanonicalId, Keys)>, asked: impl Fn(&CanonicalId) -> bool) {
        if fetched.is_empty() {
            return;
        }
        // Copied where a worker seals under them just now.
        let open = Arc::make_mut(&mut self.open);
        open.extend(fetched);
        if open.len() > self.most {
            open.retain(|owner, _| asked(owner));
        }
    }

    /// The keys of an owner; `None` if they are there.
    async fn fetched(
        &self,
        owner: CanonicalId,
        count: u32,
    ) -> Result<Option<(CanonicalId, Keys)>, SoakJobError> {
        let known = self.keys(&owner);
        let known = known.filter(|keys| keys.session().is_none_or(|open| open.ended().is_none()));
        let (keys, fetched) = match known {
            Some(keys) => (keys.clone(), false),
            None => (self.fetch(&owner).await?, true),
        };
        if count > 0
            && let Some(session) = keys.session()
        {
            match reserve(session, count).await {
                // Whoever seals under it finds it out, and asks again.
                Err(_) if session.ended().is_some() => {}
                reserved => reserved?,
            }
        }
        Ok(fetched.then_some((owner, keys)))
    }

    async fn fetch(&self, owner: &CanonicalId) -> Result<Keys, SoakJobError> {
        let opened = if self.provisions {
            self.keyring.open_or_provision(owner, PURPOSE).await
        } else {
            let opened = self.keyring.open(owner, PURPOSE).await;
            opened.map_err(ProvisionError::Session)
        };
        match opened {
            Ok(session) => Ok(Keys::Open(session)),
            Err(ProvisionError::Shredded | ProvisionError::Session(SessionError::Shredded)) => {
                Ok(Keys::Shredded)
            }
            Err(
                ProvisionError::EmptyOwner
                | ProvisionError::LongOwner
                | ProvisionError::Session(
                    SessionError::UnknownOwner | SessionError::EmptyOwner | SessionError::LongOwner,
                ),
            ) => Ok(Keys::None),
            Err(error) => Err(error.into()),
        }
    }

    /// Of an owner who was asked for.
    pub(super) fn keys(&self, owner: &CanonicalId) -> Option<&Keys> {
        self.open.get(owner)
    }

    /// What a transaction may use that outlives this borrow.
    pub(super) fn snapshot(&self) -> Arc<Open> {
        Arc::clone(&self.open)
    }
}

/// Also where the owner's DEK was rotated meanwhile.
async fn reserve(session: &Session, count: u32) -> Result<(), SoakJobError> {
    match session.reserve(count).await {
        Err(ReserveError::Lease(LeaseError::NotSealing)) => {
            session.refresh().await.map_err(ProvisionError::Session)?;
            Ok(session.reserve(count).await?)
        }
        reserved => Ok(reserved?),
    }
}

const PURPOSE: Purpose = Purpose::new("soak");
