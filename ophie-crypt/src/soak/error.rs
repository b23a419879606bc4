//! Why a value in a soak was not read or written, and why a tool did not go on.
//!
//! Invariant: errors name table, column, state and row, never a value. Absent: errors of seals and opens (`crate::error`).

use super::{Gate, SoakState};
use crate::{
    column::ColumnRef,
    error::{Error, NoSession},
    keyring::{ProvisionError, ReserveError},
    store::ModelError,
};

/// A value in a soak was not read or written.
///
/// ```
/// use ophie_crypt::{ColumnRef, soak::SoakError};
///
/// let error = SoakError::NoWatch { column: ColumnRef::new("people", "name_ct") };
/// assert!(error.to_string().contains("soak_watch"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SoakError {
    /// The database says a lower state than the release accepts, or knows of no soak.
    #[error(
        "{column} is in the state `{state}`, and this release accepts none below `{floor}`; was the database put back, or \
         the soak not begun?"
    )]
    BelowFloor {
        /// The encrypted column.
        column: ColumnRef,
        /// What the database says.
        state: SoakState,
        /// What the release says.
        floor: SoakState,
    },
    /// Plaintext alone, in a state that admits none.
    #[error(
        "{column} is empty beside plaintext, in a state that admits no plaintext; the row was left as it is, see `verify`"
    )]
    Contradiction {
        /// The encrypted column.
        column: ColumnRef,
    },
    /// No session, and through it no state.
    #[error("the state of {column} is not known: {reason}")]
    NoSession {
        /// The encrypted column.
        column: ColumnRef,
        /// Why.
        reason: NoSession,
    },
    /// The keyring has no watch.
    #[error(
        "the state of {column} is not known; give the keyring a watch: `Keyring::builder().soak_watch(..)`"
    )]
    NoWatch {
        /// The encrypted column.
        column: ColumnRef,
    },
    /// The last heartbeat is too long ago.
    #[error(
        "the state of {column} was last read too long ago, so nothing is read or written by it; it is read again as soon \
         as the database answers"
    )]
    Stale {
        /// The encrypted column.
        column: ColumnRef,
    },
}

/// A tool did not go on.
///
/// ```
/// assert!(ophie_crypt::soak::SoakJobError::Interrupted.to_string().contains("again"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SoakJobError {
    /// The plaintext column does not take what rows have in their ciphertext; the others have their plaintext again.
    #[error(
        "the plaintext column of {column} does not take the value of {rows} rows, the first of them with the key {row}; \
         widen it, or change these values, then run the job again"
    )]
    DoesNotFit {
        /// The encrypted column.
        column: ColumnRef,
        /// The key of the first.
        row: String,
        /// How many there are.
        rows: u64,
    },
    /// The release knows no plaintext of a column whose plaintext counts yet.
    #[error(
        "this release does not know the plaintext column of a soak that needs it; deploy the one with the `soak` attribute \
         until the column is `retired`"
    )]
    Early(#[source] SoakError),
    /// What must hold before a step, or before old binaries are admitted again, does not.
    #[error("{column} does not step to `{to}` yet: {}", list(unmet))]
    Gates {
        /// The encrypted column.
        column: ColumnRef,
        /// The state that was asked for.
        to: SoakState,
        /// What does not hold.
        unmet: Vec<Gate>,
    },
    /// Another tool moved the column meanwhile.
    #[error("another tool moved the column meanwhile; look at its state, then try again")]
    Interrupted,
    /// The tables could not be read or written.
    #[error("the job did not go on; see the error of the application's tables")]
    Model(#[from] ModelError),
    /// There is no such step, or the job is not for this state.
    #[error(
        "{column} is in the state `{state}`, from which this is no step; see `SoakState::gates`"
    )]
    NotNow {
        /// The encrypted column.
        column: ColumnRef,
        /// Its state.
        state: SoakState,
    },
    /// The confirmation is not `TABLE.COLUMN` of the twin.
    #[error("nothing was dropped; confirm with `{expected}`, which nothing brings back")]
    NotConfirmed {
        /// What to say.
        expected: String,
    },
    /// A row changed in a null-out beside the plaintext: a guard was left in place. The batch was rolled back.
    #[error(
        "a null-out of {column} would have changed ciphertext; nothing was, so look for triggers of the table that are not \
         the library's"
    )]
    NullOutTouches {
        /// The encrypted column.
        column: ColumnRef,
    },
    /// An owner's keys were not opened.
    #[error("an owner's keys were not opened; see why")]
    Keys(#[from] ProvisionError),
    /// Nothing was reserved under an owner's key.
    #[error("nothing was reserved under an owner's key; see why")]
    Reserve(#[from] ReserveError),
    /// It was [stopped](super::SoakStop) before its step.
    #[error("the tool was stopped before the step; what it did stays done, so call it again")]
    Stopped,
    /// A value was not sealed or opened.
    #[error("a value was not sealed or opened")]
    Value(#[source] Error),
    /// No model, or no soak, has this column.
    #[error(
        "no model that was named has the column {table}.{column} with `soak(twin = ..)`, and the database knows no soak of it"
    )]
    Unknown {
        /// The table.
        table: String,
        /// The encrypted column.
        column: String,
    },
}

fn list(gates: &[Gate]) -> String {
    let texts: Vec<String> = gates.iter().map(ToString::to_string).collect();
    texts.join("; ")
}
