//! Why a key store did not do its work.
//!
//! Invariant: no owner and no stored byte is named. Absent: what a caller makes of it (`keyring`).

use std::sync::Arc;

/// A key store could not do its work.
///
/// ```
/// let error = ophie_crypt::StoreError::corrupt("a key id of 3 bytes");
/// assert!(error.to_string().contains("a key id of 3 bytes"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A record that no release wrote.
    #[error("the key store holds a damaged record ({reason}); restore it from a backup")]
    Corrupt {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Its disk is full.
    #[error("the key store's disk is full; make room there, then try again")]
    Full,
    /// The tables are missing.
    #[error(
        "the key store has no tables; run its migrations first, for example `store.migrate().await?`"
    )]
    NotMigrated,
    /// A replica, or a server or file that takes no writes: what a replica shows may be out of date.
    #[error(
        "the key store takes no writes; connect it to the primary, not a replica (`open_read_only` works on one), or make its file and folder writable"
    )]
    ReadOnly,
    /// It could not be reached, or refused.
    #[error("the key store is unavailable; mend what its error names, or try again")]
    Unavailable {
        /// What happened.
        #[source]
        source: Arc<dyn core::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// A damaged record. The reason is a constant, so that no data slips into it.
    #[must_use]
    pub const fn corrupt(reason: &'static str) -> Self {
        Self::Corrupt { reason }
    }

    /// A store that cannot be reached.
    #[must_use]
    pub fn unavailable(source: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable {
            source: source.into().into(),
        }
    }
}

/// No invocations were granted under a DEK.
///
/// ```
/// assert!(ophie_crypt::LeaseError::Exhausted.to_string().contains("rotate"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// The hard stop: as many values were sealed under the DEK as may ever be.
    #[error(
        "the owner's key has sealed as many values as it ever may (2^32, NIST SP 800-38D); rotate it: reading goes on, sealing does not"
    )]
    Exhausted,
    /// The generation does not seal (any more, or yet).
    #[error(
        "this generation of the owner's key seals nothing; open a new session, which takes the present one"
    )]
    NotSealing,
    /// The database was restored or declared a clone since the generation was made, and forgot what was granted.
    #[error(
        "the key store was restored or adopted since the owner's key was made, and forgot what it granted; rotate the key: reading goes on, sealing does not"
    )]
    OldEpoch,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
