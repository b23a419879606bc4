//! Why no keys were made, or no session opened.
//!
//! Invariant: a cause that a retry may mend is told apart from one that it cannot; no owner is named; what
//! `source()` gives is not in the text too.
//! Absent: errors of values (`crate::error`).

use crate::{
    audit::AuditError,
    error::NoSession,
    kms::KmsError,
    shares::ShareStoreError,
    shred::RestoreError,
    store::{LeaseError, StoreError},
};

use super::ask::NoAnswer;

/// An owner was not provisioned. Call it again once the cause is mended: an owner who has keys keeps them.
///
/// ```
/// assert!(ophie_crypt::ProvisionError::EmptyOwner.to_string().contains("empty"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvisionError {
    /// The audit sink failed.
    #[error("no key was made for the owner; mend the audit sink, then provision again")]
    Audit(#[from] AuditError),
    /// The owner is an empty text.
    #[error("the owner's id is empty; is the user signed in?")]
    EmptyOwner,
    /// The owner is a text of more than [`CanonicalId::MAX_LEN`](crate::CanonicalId::MAX_LEN) bytes.
    #[error("the owner's id is longer than 1,024 bytes; use a shorter id, such as a UUID")]
    LongOwner,
    /// The task that made the key ended without an answer: the runtime is shutting down, or the KMS or key store
    /// panicked.
    #[error(
        "the making of the owner's key was interrupted; provision again: it does nothing if the owner has keys"
    )]
    Interrupted,
    /// The restore guard refused.
    #[error("no key was made for the owner; see what the restore guard found")]
    Restore(#[from] RestoreError),
    /// The KMS made no key.
    #[error("no key was made for the owner; see the KMS's answer, then provision again")]
    Kms(#[from] KmsError),
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes; try again")]
    Randomness,
    /// The key was made but could not be opened again ([`Keyring::open_or_provision`](crate::Keyring::open_or_provision)).
    #[error("the owner has keys now, but no session was opened; see why, then open one")]
    Session(#[from] SessionError),
    /// The owner's keys were destroyed; it gets no new ones.
    #[error(
        "the owner's keys were destroyed, and an owner gets keys only once; use a new id for a new account"
    )]
    Shredded,
    /// The key store failed. Where the connection broke while it committed, the keys are perhaps stored.
    #[error(
        "the owner's key was perhaps not stored; see the key store's error, then provision again: it does nothing if the owner has keys"
    )]
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
    /// The audit sink failed.
    #[error("the owner's key was not unwrapped; mend the audit sink, then open again")]
    Audit(#[from] AuditError),
    /// The owner is an empty text.
    #[error("the owner's id is empty; is the user signed in?")]
    EmptyOwner,
    /// The owner is a text of more than [`CanonicalId::MAX_LEN`](crate::CanonicalId::MAX_LEN) bytes.
    #[error("the owner's id is longer than 1,024 bytes; use a shorter id, such as a UUID")]
    LongOwner,
    /// The session that was to be refreshed has ended.
    #[error("the session has ended; open a new one with `keyring.open(..)`")]
    Ended,
    /// The task that fetched the key ended without an answer: the runtime is shutting down, the KMS or key
    /// store panicked, or the keys changed again and again meanwhile.
    #[error("the fetch of the owner's key was interrupted; try again")]
    Interrupted,
    /// The KMS gave no key.
    #[error("the owner's key was not unwrapped; see the KMS's answer, then open again")]
    Kms(#[from] KmsError),
    /// A break-glass session with a reason of more than 1,024 bytes.
    #[error(
        "the reason of the break-glass session is longer than 1,024 bytes; say it in a line, and the rest in a ticket"
    )]
    LongReason,
    /// A break-glass session without a reason.
    #[error("a break-glass session has no reason; say one that an auditor understands")]
    NoReason,
    /// The owner's keys were destroyed; or, where they are in two shares, the second ones were, and a database that was put
    /// back does not know of it.
    #[error(
        "the owner's keys were destroyed, and with them everything that was sealed under them; nothing brings it back"
    )]
    Shredded,
    /// The key store failed.
    #[error("the owner's key was not read; see the key store's error, then open again")]
    Store(#[from] StoreError),
    /// The restore guard refused.
    #[error("the owner's key was not unwrapped; see what the restore guard found")]
    Restore(#[from] RestoreError),
    /// As many owners have open sessions as the keyring admits.
    #[error(
        "as many owners have open sessions in this process as `max_owners` of the keyring admits; close sessions, or raise it"
    )]
    TooManyOwners,
    /// No keys were ever made for this owner, in this key store.
    #[error(
        "the owner has no key in this key store; call `provision` at sign-up, and check that this is the right database"
    )]
    UnknownOwner,
    /// The KMS gave a key, but not the one that the key store names, or the index key does not open under it.
    #[error(
        "the unwrapped key is not the one that the key store names; restore the owner's records whole, from one backup"
    )]
    WrongKey,
}

impl From<NoAnswer> for SessionError {
    fn from(why: NoAnswer) -> Self {
        match why {
            NoAnswer::Audit(error) => Self::Audit(error),
            // The share store knows of a shred that the database has forgotten: the same to who asks, and no fault of the KMS.
            NoAnswer::Kms(KmsError::Shares(ShareStoreError::Destroyed)) => Self::Shredded,
            NoAnswer::Kms(error) => Self::Kms(error),
        }
    }
}

/// Nothing was reserved.
///
/// ```
/// assert!(ophie_crypt::ReserveError::ReadOnly.to_string().contains("keyring.open"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReserveError {
    /// The key store grants no more: see [`LeaseError`].
    #[error("nothing was reserved under the owner's key; see why not")]
    Lease(#[from] LeaseError),
    /// The session has ended.
    #[error("nothing was reserved: {0}")]
    NoSession(NoSession),
    /// The session may only read.
    #[error("the session may only read; open one with `keyring.open(..)`")]
    ReadOnly,
    /// More than 2^26. A crash loses what was reserved and not used, and an owner's 2^32 hold few of these.
    #[error("more than 67,108,864 values at once; reserve in several calls, as the work goes on")]
    TooMany,
}
