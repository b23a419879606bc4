//! A KMS whose keys take a second share, from a store that the KMS and the key store know nothing of.
//!
//! Invariant: the second share is stored for good before anyone can store the first; a key is made only of both, for the
//! context that it was made for. Absent: where shares are kept (`shares`), when they are destroyed (`shred`, `rotation`).

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "bytes that were just made")]
mod tests;

use core::{fmt, time::Duration};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::timeout;

use super::{EncryptionContext, GeneratedDek, Kms, KmsCall, KmsError, WrappedDek};
use crate::{
    binding::{Pae, pae},
    hazmat::{
        data_key::Dek,
        prf::label,
        share::{Share, join},
    },
    owner::CanonicalId,
    shares::{ShareId, ShareStore, ShareStoreError},
};

/// Puts each owner's DEK into two shares. The first is wrapped by a KMS and stands in the key store, as a DEK does
/// otherwise; the second stands in a [`ShareStore`]. Destroying either destroys the key: a key store that was put back
/// to before a shred does not bring the owner back, whoever restores it.
///
/// ```
/// use std::sync::Arc;
/// use ophie_crypt::{Keyring, LocalKms, MemoryKeyStore, MemoryShares, OwnerId, Purpose, SessionError, ShareStore, TwoShareKms};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let shares = Arc::new(MemoryShares::new()); // testing only: a table in a second database
/// let kms = TwoShareKms::new(LocalKms::ephemeral()?, Arc::clone(&shares)); // testing only
/// let keyring = Keyring::builder().kms(kms).key_store(MemoryKeyStore::new()).build()?;
/// keyring.provision("ada").await?;
/// keyring.open("ada", Purpose::new("docs")).await?;
///
/// shares.destroy_all(&"ada".canonical()).await?; // a `Shredder` does this
/// let opened = keyring.open("ada", Purpose::new("docs")).await;
/// assert!(matches!(opened, Err(SessionError::Shredded)));
/// # Ok(()) }
/// ```
///
/// To unwrap a key costs one read of the share store, while the KMS is asked. Give the same store to
/// [`ShredderBuilder::shares`](crate::ShredderBuilder::shares), or a shred leaves the second shares where they are. Keys of
/// the audit have no second share.
///
/// It opens no key that is in one piece. To move a key set into two shares, see
/// [`Rotation::begin_wrapped_elsewhere`](crate::Rotation::begin_wrapped_elsewhere).
///
/// # Security
///
/// Both shares are random, so that neither alone says anything of the key; who keeps the second needs no KMS and gets no
/// use of what it keeps. What must be true of its backups is in [`manual::two_shares`](crate::manual::two_shares).
pub struct TwoShareKms {
    kms: Box<dyn Kms>,
    shares: Arc<dyn ShareStore>,
}

impl TwoShareKms {
    /// Over the KMS that wraps the first shares. To move them to another master key, give a
    /// [`MovingKms`](crate::MovingKms).
    pub fn new(kms: impl Kms, shares: impl ShareStore) -> Self {
        Self {
            kms: Box::new(kms),
            shares: Arc::new(shares),
        }
    }

    /// What the key store calls the KEK of keys in two shares, where the KMS calls it `kek`.
    ///
    /// ```
    /// assert_eq!(ophie_crypt::TwoShareKms::kek("local:.."), "two-share:local:..");
    /// ```
    #[must_use]
    pub fn kek(kek: &str) -> String {
        format!("{KEK}{kek}")
    }

    /// Why a share is not there: a shred is told apart from a store that lost it.
    async fn gone(&self, owner: &CanonicalId) -> Result<KmsError, ShareStoreError> {
        Ok(match in_time(self.shares.destroyed_at(owner)).await? {
            Some(_) => ShareStoreError::Destroyed.into(),
            None => KmsError::NoShare,
        })
    }
}

#[async_trait]
impl Kms for TwoShareKms {
    async fn make_dek(&self, call: &KmsCall) -> Result<GeneratedDek, KmsError> {
        let Some((owner, generation)) = call.context().dek() else {
            return self.kms.make_dek(call).await;
        };
        let (id, second) = (ShareId::make(), Share::make());
        let (id, second) = (
            id.map_err(KmsError::unavailable)?,
            second.map_err(KmsError::unavailable)?,
        );
        let made = self.kms.make_dek(call).await?;
        let header = header(id);
        let dek = joined(&made.dek, &second, &header, call.context())?;
        // Before it is told to anyone who could store the first. What nobody stores is an orphan, and of no use.
        in_time(self.shares.put(&owner, generation, id, &second)).await?;
        Ok(GeneratedDek {
            dek,
            wrapped: with_header(&header, &made.wrapped),
        })
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, call: &KmsCall) -> Result<Dek, KmsError> {
        let Some((owner, generation)) = call.context().dek() else {
            return self.kms.unwrap_dek(wrapped, call).await;
        };
        let (header, id, first) = parts(wrapped)?;
        // What the KMS says against it is said at once, and before anything that the share store says.
        let (first, second) = tokio::try_join!(self.kms.unwrap_dek(&first, call), async {
            Ok(in_time(self.shares.get(&owner, generation, id)).await)
        })?;
        let second = match second? {
            Some(second) => second,
            None => return Err(self.gone(&owner).await?),
        };
        joined(&first, &second, &header, call.context())
    }

    /// The second share stays where it is.
    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        call: &KmsCall,
    ) -> Result<WrappedDek, KmsError> {
        if call.context().dek().is_none() {
            return self.kms.rewrap_dek(wrapped, call).await;
        }
        let (header, _, first) = parts(wrapped)?;
        let first = self.kms.rewrap_dek(&first, call).await?;
        Ok(with_header(&header, &first))
    }

    /// A copy of a key that was in one piece lies in backups: to split it would promise what is not so.
    async fn wrap_dek(&self, dek: &Dek, call: &KmsCall) -> Result<WrappedDek, KmsError> {
        if call.context().dek().is_none() {
            return self.kms.wrap_dek(dek, call).await;
        }
        Err(KmsError::refused(
            "a key that was in one piece is not split, as it lies in backups; give the owner a new one with `Rotation::begin_wrapped_elsewhere`",
        ))
    }

    async fn forget_all_but(&self, generations: &[u32], call: &KmsCall) -> Result<(), KmsError> {
        self.kms.forget_all_but(generations, call).await?;
        if let Some((owner, newest)) = call.context().dek() {
            let kept = [generations, &[newest]].concat();
            self.shares.destroy_all_but(&owner, &kept).await?;
        }
        Ok(())
    }

    fn holds(&self, kek: &str) -> bool {
        kek.strip_prefix(KEK)
            .is_some_and(|first| self.kms.holds(first))
    }
}

impl fmt::Debug for TwoShareKms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TwoShareKms").finish_non_exhaustive()
    }
}

/// Before the KEK's name.
const KEK: &str = "two-share:";
/// Whether a key under it is in two shares.
pub(super) fn is_kek(kek: &str) -> bool {
    kek.starts_with(KEK)
}

/// Layout version.
const VERSION: u8 = 2;
const WITHIN: Duration = Duration::from_secs(1);
const HEADER_LEN: usize = 1 + ShareId::LEN;

type Header = [u8; HEADER_LEN];

fn header(id: ShareId) -> Header {
    let mut header = [VERSION; HEADER_LEN];
    let (_, named) = header.split_at_mut(1);
    named.copy_from_slice(id.as_bytes());
    header
}

fn with_header(header: &Header, first: &WrappedDek) -> WrappedDek {
    let bytes = [&header[..], first.as_bytes()].concat();
    WrappedDek::new(TwoShareKms::kek(first.kek()), bytes)
}

/// The header, the second share's name in it, and the first share.
fn parts(wrapped: &WrappedDek) -> Result<(Header, ShareId, WrappedDek), KmsError> {
    let parts = || {
        let kek = wrapped.kek().strip_prefix(KEK)?;
        let (header, first) = wrapped.as_bytes().split_first_chunk::<HEADER_LEN>()?;
        let id = match header.split_first_chunk::<1>()? {
            (&[VERSION], id) => ShareId::from_bytes(id.try_into().ok()?),
            _ => return None,
        };
        Some((*header, id, WrappedDek::new(kek, first)))
    };
    parts().ok_or_else(|| {
        KmsError::refused(
            "the wrapped key is not in two shares; while keys move into them, give the keyring a `MovingKms`",
        )
    })
}

/// Less than an attempt of the keyring's, which would say of a share store out of reach that the KMS is.
async fn in_time<T>(
    asked: impl Future<Output = Result<T, ShareStoreError>>,
) -> Result<T, ShareStoreError> {
    let silent = |_| Err(ShareStoreError::unavailable("no answer within a second"));
    timeout(WITHIN, asked).await.unwrap_or_else(silent)
}

fn joined(
    first: &Dek,
    second: &Share,
    header: &Header,
    context: &EncryptionContext,
) -> Result<Dek, KmsError> {
    join(first, second, &info(header, context)).map_err(KmsError::refused)
}

fn info(header: &Header, context: &EncryptionContext) -> Pae {
    let [first, second, third] = context.all();
    pae([
        label::TWO_SHARE,
        header,
        first.0.as_bytes(),
        first.1.as_bytes(),
        second.0.as_bytes(),
        second.1.as_bytes(),
        third.0.as_bytes(),
        third.1.as_bytes(),
    ])
}
