//! What may be switched off, one protection at a time.
//!
//! Absent: which of them must be seen (`controls`).

use super::super::guard::Refusal;

/// A protection. Unless it is said otherwise, it is the library's statement that goes without it, as the table in memory runs
/// it; what is decided in the core is switched off by a store that lies to the tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protection {
    /// A process hears that the present version is acknowledged although it has not applied it.
    AppliesFirst,
    /// The version of `step`, `close` and the like.
    AtVersion,
    /// What was told to the guard is what the tool told it.
    ByItself,
    /// Decrypt-back writes only beside the envelope that it opened.
    Compares,
    /// Null-out compares ciphertext before and after.
    ComparesEmptied,
    /// A process whose clock says so is not fresh any more: the clock stands still instead.
    Expires,
    /// The tool takes nobody for dead by the database's clock alone.
    Deaths,
    /// A drop looks once more for processes that know the plaintext.
    DropLooks,
    Guard,
    /// The guard goes where plaintext does.
    GuardGoes,
    /// Writers are waited for before a table is locked.
    KeepsOut,
    /// What is in a step's way is looked for once more.
    LooksAgain,
    /// Rows are locked that are read to be sealed.
    LocksRows,
    Refusal(Refusal),
    RefusingTrigger,
    /// On PostgreSQL, the guard is told before rows are looked for.
    TellsFirst,
    // Gates, by lies.
    Acknowledged,
    Decrypted,
    Emptied,
    Floor,
    NoOldBinaries,
    NothingPending,
    Quiet,
    TwinUnknown,
    Verified,
}

/// What is switched off.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Without(pub(super) &'static [Protection]);

impl Without {
    pub(super) fn has(self, protection: Protection) -> bool {
        !self.0.contains(&protection)
    }
}
