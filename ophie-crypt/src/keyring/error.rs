//! Why no keys were made, or no session opened.
//!
//! Invariant: a cause that a retry may mend is told apart from one that it cannot; no owner is named.
//! Absent: errors of values (`crate::error`).

use crate::{
    audit::AuditError,
    error::NoSession,
    kms::KmsError,
    store::{LeaseError, StoreError},
};

use super::ask::NoAnswer;

/// An owner was not provisioned; nothing was stored.
///
/// ```
/// assert!(ophie_crypt::ProvisionError::EmptyOwner.to_string().contains("empty"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvisionError {
    /// The audit sink failed.
    #[error("no key was made for the owner")]
    Audit(#[from] AuditError),
    /// The owner is an empty text.
    #[error("the owner's id is empty; is the user signed in?")]
    EmptyOwner,
    /// The KMS made no key.
    #[error("no key was made for the owner")]
    Kms(#[from] KmsError),
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes; try again")]
    Randomness,
    /// The key was made but could not be opened again ([`Keyring::open_or_provision`](crate::Keyring::open_or_provision)).
    #[error("the owner's session was not opened")]
    Session(#[from] SessionError),
    /// The owner's keys were destroyed; it gets no new ones.
    #[error(
        "the owner's keys were destroyed, and an owner gets keys only once; use a new id for a new account"
    )]
    Shredded,
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
    /// The audit sink failed.
    #[error("the owner's key was not unwrapped")]
    Audit(#[from] AuditError),
    /// The owner is an empty text.
    #[error("the owner's id is empty; is the user signed in?")]
    EmptyOwner,
    /// The session that was to be refreshed has ended.
    #[error("the session has ended; open a new one with `keyring.open(..)`")]
    Ended,
    /// The task that fetched the key ended without an answer: the runtime is shutting down, the KMS or key
    /// store panicked, or the keys changed again and again meanwhile.
    #[error("the fetch of the owner's key was interrupted; try again")]
    Interrupted,
    /// The KMS gave no key.
    #[error("the owner's key was not unwrapped")]
    Kms(#[from] KmsError),
    /// A break-glass session without a reason.
    #[error("a break-glass session needs a reason that an auditor understands")]
    NoReason,
    /// The owner's keys were destroyed.
    #[error("the owner's keys were destroyed, and with them everything that was sealed under them")]
    Shredded,
    /// The key store failed.
    #[error("the owner's key was not read")]
    Store(#[from] StoreError),
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
        "the unwrapped key is not the one that the key store names; was a record copied, changed, or restored in part?"
    )]
    WrongKey,
}

impl From<NoAnswer> for SessionError {
    fn from(why: NoAnswer) -> Self {
        match why {
            NoAnswer::Audit(error) => Self::Audit(error),
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
    #[error("nothing was reserved under the owner's key")]
    Lease(#[from] LeaseError),
    /// The session has ended.
    #[error("nothing was reserved: {0}")]
    NoSession(NoSession),
    /// The session may only read.
    #[error("the session may only read; open one with `keyring.open(..)`")]
    ReadOnly,
}
