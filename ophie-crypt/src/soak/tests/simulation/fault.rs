//! What must not be seen.

use core::fmt;

/// Which promise does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Seen {
    /// A process reads, or finds, something else than was written last.
    Read,
    /// The release of before does.
    OldRead,
    /// Three states live, or two that are not adjacent.
    States,
    /// Plaintext came back where it had gone, or of an owner who was shredded.
    CameBack,
    /// A statement of a live process was refused that its state admits.
    Refused,
    /// A job failed as it must not.
    Job,
}

/// A promise that does not hold, and of what.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) seen: Seen,
    what: String,
}

impl Fault {
    pub(super) fn new(seen: Seen, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { seen, what }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.seen, self.what)
    }
}
