//! Why a rotation did not go on.
//!
//! Invariant: nothing that was readable before is unreadable then, and calling again goes on from there; no owner is
//! named. Absent: what stands in its way without being an error (`WaitsFor`).

use super::SidecarStoreError;
use crate::{
    audit::AuditError,
    column::ColumnRef,
    error::{NoSession, SealError},
    keyring::{ReserveError, SessionError},
    kms::KmsError,
    store::{ModelError, StoreError},
};

/// A rotation did not go on. What was done stays done; call again once the cause is mended.
///
/// ```
/// assert!(ophie_crypt::RotationError::Interrupted.to_string().contains("again"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotationError {
    /// The audit sink failed.
    #[error("no key was made or wrapped anew; mend the audit sink, then try again")]
    Audit(#[source] AuditError),
    /// The model says no codec of a column.
    #[error("the codec of the column `{column}` is not known; derive its model, and name that")]
    Codec {
        /// The column.
        column: ColumnRef,
    },
    /// The session of the rotation ended in the middle.
    #[error("the rotation's session ended: {0}")]
    Ended(NoSession),
    /// The keys were changed again and again meanwhile, or the runtime is shutting down.
    #[error("the owner's keys were changed by others again and again; try again")]
    Interrupted,
    /// The KMS made no key, or wrapped none anew.
    #[error("no key was made or wrapped anew; see the KMS's answer, then try again")]
    Kms(#[source] KmsError),
    /// The application's tables were not read or written.
    #[error("the application's tables were not read or written; see why, then try again")]
    Models(#[from] ModelError),
    /// The owner has had 255 index keys, as many as a fingerprint can name.
    #[error(
        "the owner has had 255 index keys, as many as a fingerprint can name; there is no next one"
    )]
    NoMoreIndexKeys,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes; try again")]
    Randomness,
    /// Nothing was reserved under the new key.
    #[error("the rotation may seal nothing; see why, then try again")]
    Reserve(#[from] ReserveError),
    /// A page was not sealed.
    #[error("a page of values was not sealed anew; see why, then try again")]
    Seal(#[from] SealError),
    /// Nobody has said where sidecars are, and one under the key would be lost with it.
    #[error(
        "no key is destroyed before it was said where sidecars are; name their stores by `Rotation::sidecars`, or say `Rotation::without_sidecars`"
    )]
    Sidecars,
    /// Sidecars were not counted.
    #[error("no key was destroyed; see why, then try again")]
    SidecarStore(#[from] SidecarStoreError),
    /// The owner's newest DEK may seal nothing more, not even an index key.
    #[error(
        "the owner's newest DEK may seal nothing more; give the owner a new one first, by `Rotation::begin`"
    )]
    Spent,
    /// The owner's keys were not read, or no session was opened.
    #[error("the owner's keys were not read; see why, then try again")]
    Session(#[from] SessionError),
    /// The key store failed.
    #[error("the key store did not take the step; see why, then try again")]
    Store(#[from] StoreError),
}
