//! What can go wrong with a value, by operation.
//!
//! Invariant: an error names table and column, never a value, a key or an owner; a rejected value does
//! not say which byte was wrong. What `source()` gives is not in the text too; here the text has all of it,
//! because ORMs keep only the text. Absent: errors of keys (`keyring`, `kms`, `store`).

use core::fmt;

use crate::{column::ColumnRef, envelope::NotAnEnvelope, plaintext::CodecError, soak::SoakError};

/// Any error of a hook. The adapters wrap it, so that it travels inside the ORM's own error.
///
/// ```
/// use ophie_crypt::{Error, NoSession, Session};
///
/// assert!(Session::current().is_none());
/// let error = Error::from(ophie_crypt::OwnerError::NoSession(NoSession::Absent));
/// assert!(error.to_string().contains("session.scope"));
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
#[non_exhaustive]
pub enum Error {
    /// Making or writing a fingerprint.
    Fingerprint(#[from] FingerprintError),
    /// Opening a value.
    Open(#[from] OpenError),
    /// The row's owner.
    Owner(#[from] OwnerError),
    /// Sealing a value.
    Seal(#[from] SealError),
    /// The state of a column in a soak.
    Soak(#[from] SoakError),
}

/// With the text, which says what to do: `unwrap`, SQLx's panics and `main` print no more than this.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Fingerprint(_) => "Fingerprint",
            Self::Open(_) => "Open",
            Self::Owner(_) => "Owner",
            Self::Seal(_) => "Seal",
            Self::Soak(_) => "Soak",
        };
        write!(f, "{kind}({self})")
    }
}

/// Why no session can be used here.
///
/// ```
/// assert!(ophie_crypt::NoSession::Expired.to_string().contains("keyring.open"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoSession {
    /// None is current in this task.
    #[error(
        "no session is current in this task; run the query inside `session.scope(..)`, give spawned \
         tasks, streams and WebSocket tasks `.in_session(&session)`, and threads `session.scope_sync(..)`"
    )]
    Absent,
    /// It was closed.
    #[error("the session was closed; open a new one with `keyring.open(..)`")]
    Closed,
    /// It reached its time to live.
    #[error("the session has reached its time to live; open a new one with `keyring.open(..)`")]
    Expired,
    /// The KMS or the key store no longer gives the owner's key.
    #[error(
        "the owner's key is no longer given out by KMS or key store, so the session was ended; `keyring.open(..)` says why"
    )]
    Revoked,
    /// The owner's keys were destroyed.
    #[error(
        "the owner's keys were destroyed, and with them everything that was sealed under them; nothing brings it back"
    )]
    Shredded,
}

/// A value was not sealed; nothing was written.
///
/// ```
/// use ophie_crypt::{ColumnRef, NoSession, SealError};
///
/// let error = SealError::NoSession { column: ColumnRef::new("memories", "text"), reason: NoSession::Absent };
/// assert!(error.to_string().starts_with("cannot seal memories.text: no session"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The value has no encoding.
    #[error("cannot seal {column}: {reason}")]
    Codec {
        /// Where it was to go.
        column: ColumnRef,
        /// Why.
        reason: CodecError,
    },
    /// The hard stop: the owner's DEK has sealed as many values as it ever may, or is of an epoch before a restore, and
    /// nobody knows how many.
    #[error(
        "cannot seal {column}: the owner's key has sealed as many values as it ever may (2^32, NIST SP 800-38D), or \
         is older than a restore that forgot how many; rotate it: reading goes on"
    )]
    HardStop {
        /// Where it was to go.
        column: ColumnRef,
    },
    /// This process has used up what the key store granted it for the owner's DEK.
    #[error(
        "cannot seal {column}: this process has used up its lease under the owner's key; \
         call `session.reserve(n).await` before bulk work, and keep the keyring's runtime running, which refills it"
    )]
    NoBudget {
        /// Where it was to go.
        column: ColumnRef,
    },
    /// No session to seal with.
    #[error("cannot seal {column}: {reason}")]
    NoSession {
        /// Where it was to go.
        column: ColumnRef,
        /// Why.
        reason: NoSession,
    },
    /// The operating system gave no nonce.
    #[error("cannot seal {column}: the operating system gave no random bytes; try again")]
    Randomness {
        /// Where it was to go.
        column: ColumnRef,
    },
    /// The session may only read.
    #[error("cannot seal {column}: the session may only read; open one with `keyring.open(..)`")]
    ReadOnly {
        /// Where it was to go.
        column: ColumnRef,
    },
    /// More than [`MAX_PLAINTEXT_LEN`](crate::MAX_PLAINTEXT_LEN) bytes.
    #[error(
        "cannot seal {column}: the value is longer than 512 MiB; split it, or store a file and its key"
    )]
    TooLong {
        /// Where it was to go.
        column: ColumnRef,
    },
}

/// A value was not opened; the row stays as it is.
///
/// ```
/// use ophie_crypt::{ColumnRef, OpenError};
///
/// let error = OpenError::Rejected { column: ColumnRef::new("memories", "text") };
/// assert!(error.to_string().starts_with("cannot open memories.text: "));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It opened, but is no value of the field's type.
    #[error(
        "cannot open {column}: {reason}; is the field's type the one that it was written with?"
    )]
    Codec {
        /// Where it was read.
        column: ColumnRef,
        /// Why.
        reason: CodecError,
    },
    /// No session to open with.
    #[error("cannot open {column}: {reason}")]
    NoSession {
        /// Where it was read.
        column: ColumnRef,
        /// Why.
        reason: NoSession,
    },
    /// Not a ciphertext of ours: plaintext, or cut short.
    #[error(
        "cannot open {column}: {reason}; was it written past ophie-crypt, cut short, or by a newer release?"
    )]
    NotAnEnvelope {
        /// Where it was read.
        column: ColumnRef,
        /// How long it was.
        reason: NotAnEnvelope,
    },
    /// SQL NULL where the field is not an `Option`.
    #[error("cannot open {column}: it is NULL; make the field an `Option`")]
    Null {
        /// Where it was read.
        column: ColumnRef,
    },
    /// The tag does not fit: changed bytes, or a value copied from another owner's row, table or column.
    #[error(
        "cannot open {column}: the value was changed, or was sealed for another owner, table, column \
         or type (are the query's binds in the order of its columns?); the row was left as it is"
    )]
    Rejected {
        /// Where it was read.
        column: ColumnRef,
    },
    /// The value is bound to its row and was opened without it, or the other way round.
    #[error(
        "cannot open {column}: use `open_row` for values sealed with `seal_row`, and `open` for all others"
    )]
    RowBinding {
        /// Where it was read.
        column: ColumnRef,
    },
    /// The key id is none of the session's.
    #[error(
        "cannot open {column}: it was sealed under a key that this session does not hold; is it \
         another owner's row, or newer than the session?"
    )]
    UnknownKey {
        /// Where it was read.
        column: ColumnRef,
    },
}

/// A fingerprint was not made, read or written.
///
/// ```
/// use ophie_crypt::{ColumnRef, FingerprintError};
///
/// let error = FingerprintError::OtherOwner { index: ColumnRef::new("people", "name_fp") };
/// assert!(error.to_string().contains("people.name_fp"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FingerprintError {
    /// The value has no encoding.
    #[error("no fingerprint for {index}: {reason}")]
    Codec {
        /// The index.
        index: ColumnRef,
        /// Why.
        reason: CodecError,
    },
    /// No session to make it with.
    #[error("no fingerprint for {index}: {reason}")]
    NoSession {
        /// The index.
        index: ColumnRef,
        /// Why.
        reason: NoSession,
    },
    /// The stored bytes are not 17.
    #[error("{index} holds {len} bytes that are no fingerprint; was it written past ophie-crypt?")]
    NotAFingerprint {
        /// The index.
        index: ColumnRef,
        /// How many bytes there are.
        len: usize,
    },
    /// SQL NULL where the field is not an `Option`.
    #[error("no fingerprint in {index}: it is NULL; make the field an `Option`")]
    Null {
        /// The index.
        index: ColumnRef,
    },
    /// It is under an index key that is not in use, or not known to this session.
    #[error(
        "the fingerprint for {index} is under an index key that is not in use; make it anew from the value, where it is used"
    )]
    OldKey {
        /// The index.
        index: ColumnRef,
    },
    /// It was made in another owner's session.
    #[error(
        "the fingerprint for {index} was made in another owner's session; make it in the session that uses it"
    )]
    OtherOwner {
        /// The index.
        index: ColumnRef,
    },
    /// The owner's index key is being rotated, and rows stand under two: one fingerprint would not find all.
    #[error(
        "the index key is being rotated, and rows stand in {index} under two keys: look up by both of `.candidates()`, and \
         write by `.for_write()`"
    )]
    TwoKeys {
        /// The index.
        index: ColumnRef,
    },
}

/// The row's owner could not be checked, or is not the session's.
///
/// ```
/// assert!(ophie_crypt::OwnerError::OtherOwner.to_string().contains("another owner"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OwnerError {
    /// No session to check against.
    #[error("cannot check the row's owner: {0}")]
    NoSession(NoSession),
    /// Another's row.
    #[error(
        "the row belongs to another owner than the session; restrict the query to the session's owner, \
         under a collation that tells upper from lower case, or read rows of several owners as `Sealed`"
    )]
    OtherOwner,
}

#[cfg(test)]
mod tests;
