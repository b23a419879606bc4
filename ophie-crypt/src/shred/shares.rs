//! The second shares of shredded owners, over one round of work.
//!
//! Invariant: a share store that does not answer holds up one owner in a round, not each. Absent: what shares are
//! (`shares`), when they are destroyed (`shredder`).

use core::time::Duration;

use tokio::time::timeout;

use super::record::Residue;
use crate::{
    owner::CanonicalId,
    shares::{ShareStore, ShareStoreError},
};

/// Then a share store counts as unreachable.
const WITHIN: Duration = Duration::from_secs(30);

/// Where second shares are destroyed, if there are any.
pub(super) struct SecondShares<'a> {
    store: Option<&'a dyn ShareStore>,
    /// Since another owner of this round waited for it.
    is_away: bool,
}

impl<'a> SecondShares<'a> {
    pub(super) fn of_round(store: Option<&'a dyn ShareStore>) -> Self {
        Self {
            store,
            is_away: false,
        }
    }

    /// All of the owner's, and looks whether none is left.
    pub(super) async fn destroy(&mut self, owner: &CanonicalId) -> Result<(), ShareStoreError> {
        let Some(store) = self.store else {
            return Ok(());
        };
        if self.is_away {
            return Err(no_answer());
        }
        let destroyed = async {
            store.destroy_all(owner).await?;
            let at = store.destroyed_at(owner).await?;
            at.ok_or_else(|| ShareStoreError::unavailable("a share was put meanwhile"))
        };
        let destroyed = timeout(WITHIN, destroyed).await;
        self.is_away = destroyed.is_err();
        destroyed.map_err(|_| no_answer())?.map(drop)
    }

    /// When they were destroyed; nothing where there is no store of them.
    pub(super) async fn destroyed_at(
        &self,
        owner: &CanonicalId,
    ) -> Result<Option<Option<i64>>, ShareStoreError> {
        let Some(store) = self.store else {
            return Ok(None);
        };
        let asked = timeout(WITHIN, store.destroyed_at(owner)).await;
        asked.map_err(|_| no_answer())?.map(Some)
    }

    /// As far as the role may; what stays in the file is as a backup of the share store is. One that fails is asked again.
    pub(super) async fn vacuum(&self) -> Residue {
        match self.store {
            Some(store) => match timeout(WITHIN, store.vacuum()).await {
                Ok(Ok(residue)) => residue,
                Ok(Err(_)) | Err(_) => Residue::Held,
            },
            None => Residue::Gone,
        }
    }
}

fn no_answer() -> ShareStoreError {
    ShareStoreError::unavailable("no answer within thirty seconds")
}
