//! Why no keys were made, or no session opened.
//!
//! Invariant: a cause that a retry may mend is told apart from one that it cannot; no owner is named.
//! Absent: errors of values (`crate::error`).

use crate::{kms::KmsError, store::StoreError};

/// An owner was not provisioned; nothing was stored.
///
/// ```
/// assert!(ophie_crypt::ProvisionError::EmptyOwner.to_string().contains("empty"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvisionError {
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
    /// The owner is an empty text.
    #[error("the owner's id is empty; is the user signed in?")]
    EmptyOwner,
    /// The task that fetched the key ended without an answer: the runtime is shutting down, or the KMS
    /// or key store panicked.
    #[error("the fetch of the owner's key was interrupted; try again")]
    Interrupted,
    /// The KMS gave no key.
    #[error("the owner's key was not unwrapped")]
    Kms(#[from] KmsError),
    /// The key store failed.
    #[error("the owner's key was not read")]
    Store(#[from] StoreError),
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
