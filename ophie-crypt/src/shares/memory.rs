//! Shares in memory, for tests and examples.
//!
//! Absent: persistence; every key in two shares is lost once it is dropped.

use core::{fmt, time::Duration};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::UNIX_EPOCH,
};

use async_trait::async_trait;

use super::{Share, ShareId, ShareStore, ShareStoreError};
use crate::{clock::Clock, owner::CanonicalId};

/// Keeps second shares in memory. For tests: what it held is lost with it.
///
/// ```
/// use ophie_crypt::{CanonicalId, MemoryShares, ShareStore};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let shares = MemoryShares::new();
/// assert!(shares.is_empty() && shares.destroyed_at(&CanonicalId::text("ada")).await?.is_none());
/// # Ok(()) }
/// ```
#[derive(Default)]
pub struct MemoryShares(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    shares: HashMap<(CanonicalId, u32, ShareId), Share>,
    destroyed: HashMap<CanonicalId, i64>,
}

impl MemoryShares {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many shares it holds, of all owners.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept().shares.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets a share, as a store that was put back would.
    #[cfg(test)]
    pub(crate) fn remove(&self, owner: &CanonicalId, id: ShareId) {
        let stays = |whose: &CanonicalId, of: ShareId| whose != owner || of != id;
        self.kept()
            .shares
            .retain(|(whose, _, of), _| stays(whose, *of));
    }

    /// A share that was destroyed.
    #[cfg(test)]
    pub(crate) fn come_back(&self, owner: &CanonicalId, share: Share) {
        let (mut kept, id) = (self.kept(), ShareId::from_bytes([9; 16]));
        kept.shares.insert((owner.clone(), 1, id), share);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ShareStore for MemoryShares {
    async fn put(
        &self,
        owner: &CanonicalId,
        generation: u32,
        id: ShareId,
        share: &Share,
    ) -> Result<(), ShareStoreError> {
        let mut kept = self.kept();
        if kept.destroyed.contains_key(owner) {
            return Err(ShareStoreError::Destroyed);
        }
        let share = Share::from_slice(share.expose_secret())?;
        kept.shares.insert((owner.clone(), generation, id), share);
        Ok(())
    }

    async fn get(
        &self,
        owner: &CanonicalId,
        generation: u32,
        id: ShareId,
    ) -> Result<Option<Share>, ShareStoreError> {
        let kept = self.kept();
        let share = kept.shares.get(&(owner.clone(), generation, id));
        let copy = share.map(|share| Share::from_slice(share.expose_secret()));
        Ok(copy.transpose()?)
    }

    async fn destroy_all_but(
        &self,
        owner: &CanonicalId,
        generations: &[u32],
    ) -> Result<(), ShareStoreError> {
        let last = generations.iter().max().copied().unwrap_or_default();
        let stays = |whose: &CanonicalId, of: u32| {
            whose != owner || of >= last || generations.contains(&of)
        };
        self.kept()
            .shares
            .retain(|(whose, of, _), _| stays(whose, *of));
        Ok(())
    }

    async fn destroy_all(&self, owner: &CanonicalId) -> Result<(), ShareStoreError> {
        let since = Clock::default().now().wall().duration_since(UNIX_EPOCH);
        let now = micros(since.unwrap_or_default());
        let mut kept = self.kept();
        if kept.shares.keys().any(|(whose, ..)| whose == owner) {
            kept.destroyed.insert(owner.clone(), now);
        }
        kept.destroyed.entry(owner.clone()).or_insert(now);
        kept.shares.retain(|(whose, ..), _| whose != owner);
        Ok(())
    }

    async fn destroyed_at(&self, owner: &CanonicalId) -> Result<Option<i64>, ShareStoreError> {
        let kept = self.kept();
        let is_there = kept.shares.keys().any(|(whose, ..)| whose == owner);
        let at = kept.destroyed.get(owner).copied();
        Ok(at.filter(|_| !is_there))
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

impl fmt::Debug for MemoryShares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryShares").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of one owner's generations those that are gone, and of others' none; and it is known when.
    #[tokio::test]
    async fn what_is_destroyed_is_one_owners() {
        let shares = MemoryShares::new();
        let (ada, ben) = (CanonicalId::text("ada"), CanonicalId::text("ben"));
        let id = ShareId::from_bytes([7; 16]);
        for owner in [&ada, &ben] {
            for generation in 1..=3 {
                let share = Share::from_slice(&[7; 32]).unwrap();
                shares.put(owner, generation, id, &share).await.unwrap();
            }
        }
        shares.destroy_all_but(&ada, &[1, 3]).await.unwrap();
        let mut left = Vec::new();
        for owner in [&ada, &ben] {
            for generation in 1..=3 {
                left.push(shares.get(owner, generation, id).await.unwrap().is_some());
            }
        }
        assert_eq!(left, [true, false, true, true, true, true]);

        assert_eq!(shares.destroyed_at(&ada).await.unwrap(), None);
        let since = Clock::default().now().wall().duration_since(UNIX_EPOCH);
        let before = i64::try_from(since.unwrap().as_micros()).unwrap();
        shares.destroy_all(&ada).await.unwrap();
        let at = shares.destroyed_at(&ada).await.unwrap().unwrap();
        assert!(at >= before, "in microseconds since 1970: {at}");
        shares.destroy_all(&ada).await.unwrap();
        assert_eq!(
            shares.destroyed_at(&ada).await.unwrap(),
            Some(at),
            "it was so before"
        );
        assert_eq!(shares.destroyed_at(&ben).await.unwrap(), None);
    }
}
