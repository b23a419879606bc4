//! What verifying the audit trail found.
//!
//! Invariant: nothing is said of records that were not looked at. Absent: how it is found (`verify`).

use core::{fmt, ops::RangeInclusive};
use std::time::{Duration, SystemTime};

use super::{CallId, chain::WriterId};
use crate::ledger::LedgerHead;

/// What an [`AuditVerifier`](crate::AuditVerifier) found. `Display` is for people.
///
/// ```
/// let nothing = ophie_crypt::AuditReport::default();
/// assert!(nothing.has_no_findings());
/// assert!(nothing.writers.is_empty()); // so nothing is vouched for either
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a report says what is wrong; look at its findings"]
#[non_exhaustive]
pub struct AuditReport {
    /// Every writer that is stored, in the order of their ids.
    pub writers: Vec<WriterReport>,
    /// What is wrong. Empty means: nothing up to where each writer in `writers` is vouched for.
    pub findings: Vec<AuditFinding>,
    /// Attempts at the KMS that were begun and have no outcome: the process or its database failed, or
    /// they were under way.
    pub open_intents: Vec<OpenIntent>,
    /// The ledger's head. Write it down outside, and give it to the next verification as `known`: then a
    /// ledger that was cut off or made anew is found.
    pub ledger: Option<LedgerHead>,
}

impl AuditReport {
    /// Nothing is wrong with what was looked at.
    ///
    /// # Security
    ///
    /// It does not say that all is there. Of tables that were emptied, with no ledger or one that was
    /// made anew, it is true as well: give a ledger, give
    /// [`known`](crate::AuditVerifier::known) the head of the report before, and look at
    /// [`WriterReport::vouched`]; nobody vouches for the [`tail`](WriterReport::tail) yet.
    #[must_use]
    pub fn has_no_findings(&self) -> bool {
        self.findings.is_empty()
    }
}

/// One writer: one run of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriterReport {
    /// Which.
    pub writer: WriterId,
    /// The application, as its row says; see [`AuditFinding::OtherApp`].
    pub app: String,
    /// When it began.
    pub started_at: SystemTime,
    /// How many records it has.
    pub records: u64,
    /// Up to which record the ledger vouches and nothing is wrong: these are as they were written, and
    /// all that were written.
    pub vouched: u64,
}

impl WriterReport {
    /// Records behind the last checkpoint. They are as they were written unless the process was taken
    /// over, but some at the end may have been removed.
    #[must_use]
    pub const fn tail(&self) -> u64 {
        self.records.saturating_sub(self.vouched)
    }
}

/// An attempt without an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenIntent {
    /// Who wrote it.
    pub writer: WriterId,
    /// Its record.
    pub seq: u64,
    /// When.
    pub at: SystemTime,
    /// The call.
    pub call: CallId,
    /// Which attempt of it.
    pub attempt: u32,
}

/// Something wrong with the audit trail.
///
/// ```
/// use ophie_crypt::{AuditFinding, WriterId};
///
/// let writer = WriterId::from_bytes([1; 16]);
/// let found = AuditFinding::Missing { writer, records: 3..=5 };
/// assert!(found.to_string().contains("records 3 to 5 are missing"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditFinding {
    /// Records that were changed, or moved there from another place or writer.
    Altered {
        /// Whose.
        writer: WriterId,
        /// Which.
        records: RangeInclusive<u64>,
    },
    /// More than one record in a place, or one in a place that no writer writes to.
    Duplicate {
        /// Whose.
        writer: WriterId,
        /// The place.
        seq: i64,
    },
    /// Records between others that are gone.
    Missing {
        /// Whose.
        writer: WriterId,
        /// Which.
        records: RangeInclusive<u64>,
    },
    /// Records at the end that are gone.
    Truncated {
        /// Whose.
        writer: WriterId,
        /// The last one there is.
        last: u64,
        /// Up to where the ledger knows of records.
        vouched: u64,
    },
    /// Another record, itself well-made, stands where the ledger knows one: who held the writer's key at
    /// that time wrote its history anew.
    Rewritten {
        /// Whose.
        writer: WriterId,
        /// Which record; 0 is the writer itself.
        seq: u64,
    },
    /// The ledger knows a writer that the table lacks.
    WriterMissing {
        /// Which.
        writer: WriterId,
        /// Up to where the ledger knows of records.
        vouched: u64,
    },
    /// A writer of another application than the one asked for. Nothing is known of its records.
    OtherApp {
        /// Which.
        writer: WriterId,
        /// Whose.
        app: String,
    },
    /// Records under an id that is no writer's, or a writer whose id is not one of 16 bytes.
    UnknownWriter {
        /// The id.
        id: Vec<u8>,
    },
    /// The writer's row or its key was exchanged: they do not belong together.
    WriterAltered {
        /// Which.
        writer: WriterId,
    },
    /// The KMS refuses to unwrap the writer's key: it was changed or exchanged, or this role may not.
    KeyRefused {
        /// Whose.
        writer: WriterId,
    },
    /// The KMS, which answered for others, gives no answer for the writer's key: verify again. If that
    /// changes nothing, the key was changed or exchanged.
    KeyUnavailable {
        /// Whose.
        writer: WriterId,
    },
    /// The store gave this writer, or its records, a second time or out of order. Only what came first was
    /// looked at.
    OutOfOrder {
        /// Which.
        writer: WriterId,
    },
    /// An entry of the ledger does not follow from those before it. Nothing from there on vouches.
    LedgerDamaged {
        /// The entry.
        position: u64,
    },
    /// The ledger does not hold an entry that it is known to have had.
    LedgerForked {
        /// The entry.
        position: u64,
    },
}

impl AuditFinding {
    /// The writer and the first record that it is about.
    pub(super) fn place(&self) -> Option<(WriterId, u64)> {
        match self {
            Self::Altered { writer, records } | Self::Missing { writer, records } => {
                Some((*writer, *records.start()))
            }
            Self::Duplicate { writer, seq } => Some((*writer, u64::try_from(*seq).unwrap_or(0))),
            Self::Truncated { writer, last, .. } => Some((*writer, last.saturating_add(1))),
            Self::Rewritten { writer, seq } => Some((*writer, *seq)),
            Self::WriterAltered { writer }
            | Self::OtherApp { writer, .. }
            | Self::KeyRefused { writer }
            | Self::KeyUnavailable { writer }
            | Self::OutOfOrder { writer } => Some((*writer, 0)),
            Self::WriterMissing { .. }
            | Self::UnknownWriter { .. }
            | Self::LedgerDamaged { .. }
            | Self::LedgerForked { .. } => None,
        }
    }
}

impl fmt::Display for AuditFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered { writer, records } => write!(
                f,
                "writer {writer}: records {} to {} are not as they were written",
                records.start(),
                records.end()
            ),
            Self::Duplicate { writer, seq } => {
                write!(f, "writer {writer}: a record too many at {seq}")
            }
            Self::Missing { writer, records } => write!(
                f,
                "writer {writer}: records {} to {} are missing",
                records.start(),
                records.end()
            ),
            Self::Truncated {
                writer,
                last,
                vouched,
            } => write!(
                f,
                "writer {writer}: the records after {last} are missing; the ledger knows {vouched}"
            ),
            Self::Rewritten { writer, seq } => write!(
                f,
                "writer {writer}: record {seq} is not the one that the ledger vouches for"
            ),
            Self::WriterMissing { writer, vouched } => write!(
                f,
                "writer {writer} is missing; the ledger knows {vouched} of its records"
            ),
            Self::UnknownWriter { id } => {
                write!(
                    f,
                    "a writer or records under an id that is no writer's: {}",
                    crate::hex::to_hex(id)
                )
            }
            Self::WriterAltered { writer } => {
                write!(f, "writer {writer}: its row does not belong to its key")
            }
            Self::KeyRefused { writer } => write!(
                f,
                "writer {writer}: the KMS refuses its key; verify as a role that may decrypt under purpose=audit"
            ),
            Self::KeyUnavailable { writer } => write!(
                f,
                "writer {writer}: the KMS gives no answer for its key; verify again, and if that changes nothing, the key was changed"
            ),
            Self::OtherApp { writer, app } => write!(
                f,
                "writer {writer} is of another application, {app:?}; verify those of each with `AuditVerifier::app`"
            ),
            Self::OutOfOrder { writer } => write!(
                f,
                "writer {writer}: the store gave it or its records again or out of order; only what came first was looked at"
            ),
            Self::LedgerDamaged { position } => {
                write!(f, "the ledger is damaged at entry {position}")
            }
            Self::LedgerForked { position } => {
                write!(f, "the ledger lacks entry {position}, which it had")
            }
        }
    }
}

impl fmt::Display for AuditReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for writer in &self.writers {
            let WriterReport {
                writer: id,
                records,
                vouched,
                ..
            } = writer;
            let tail = writer.tail();
            writeln!(
                f,
                "writer {id}: {records} records, vouched for up to {vouched}, {tail} not yet"
            )?;
        }
        for intent in &self.open_intents {
            let OpenIntent {
                writer, seq, call, ..
            } = intent;
            writeln!(
                f,
                "writer {writer}: record {seq}, call {call}, has no outcome"
            )?;
        }
        for finding in &self.findings {
            writeln!(f, "FOUND: {finding}")?;
        }
        match &self.ledger {
            Some(head) => write!(f, "ledger head {head}"),
            None => write!(f, "no ledger: nothing is vouched for"),
        }
    }
}

/// From microseconds since 1970.
pub(super) fn time(micros: i64) -> SystemTime {
    let by = Duration::from_micros(micros.unsigned_abs());
    let time = if micros < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(by)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(by)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}
