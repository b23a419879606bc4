//! What a key store remembers of a shred, and of itself.
//!
//! Invariant: a shred names its owner and no key. Absent: where it is kept (`store`), what is done (`shredder`).

use core::fmt;

use crate::{ledger::LedgerHead, owner::CanonicalId};

/// Names one shred: 16 random bytes.
///
/// ```
/// let id = ophie_crypt::ShredId::from_bytes([0xab; 16]);
/// assert_eq!(id.to_string(), "ab".repeat(16));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShredId([u8; 16]);

impl ShredId {
    /// From stored bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// As stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ShredId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::hex::write_hex(f, &self.0)
    }
}

impl fmt::Debug for ShredId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShredId({self})")
    }
}

/// A shred, and how far it is. Times are microseconds since 1970, by the database's clock.
///
/// ```
/// use ophie_crypt::{CanonicalId, Shred, ShredId};
///
/// let shred = Shred::requested(CanonicalId::text("ada"), ShredId::from_bytes([1; 16]), 1_764_000_000_000_000);
/// assert!(shred.entry.is_none() && !format!("{shred:?}").contains("ada"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a row, which stores build")]
pub struct Shred {
    /// Whose keys were destroyed.
    pub owner: CanonicalId,
    /// Its name.
    pub id: ShredId,
    /// When the keys were destroyed.
    pub requested_at: i64,
    /// The position of its entry in the ledger.
    pub entry: Option<u64>,
    /// When it was known to stand in the ledger.
    pub appended_at: Option<i64>,
    /// When the last row of the models was tombstoned.
    pub tombstoned_at: Option<i64>,
    /// When the vector stores were seen without the owner's vectors.
    pub emptied_at: Option<i64>,
    /// When no old version of the keys' rows was left in their tables; `None` also where that is not known.
    pub vacuumed_at: Option<i64>,
    /// When all of this was done.
    pub done_at: Option<i64>,
    /// When the rows were swept for the last time.
    pub swept_at: Option<i64>,
    /// Attempts since it last went forward.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub failure: Option<String>,
}

impl Shred {
    /// One whose keys are destroyed, and nothing else is done yet.
    #[must_use]
    pub const fn requested(owner: CanonicalId, id: ShredId, requested_at: i64) -> Self {
        Self {
            owner,
            id,
            requested_at,
            entry: None,
            appended_at: None,
            tombstoned_at: None,
            emptied_at: None,
            vacuumed_at: None,
            done_at: None,
            swept_at: None,
            attempts: 0,
            failure: None,
        }
    }
}

/// A step of a shred that is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "each store must know them all")]
pub enum ShredStep {
    /// It stands in the ledger: the head that its entry made, or that stood there when it was found.
    Appended {
        /// The position of its entry.
        entry: u64,
        /// A head of the ledger at or behind it.
        head: LedgerHead,
    },
    /// Every step but the sweep, which may begin at once.
    Done,
    /// The vector stores hold nothing of the owner.
    Emptied,
    /// The rows of the models are deleted; those that come late are deleted the next time. A shred that is done is not
    /// looked at for so long.
    Swept {
        /// Until then.
        rest: core::time::Duration,
    },
    /// The rows of the models are tombstoned.
    Tombstoned,
    /// The keys' tables were vacuumed: no old version of a row is left in their files. Bytes of one may lie in a page's free
    /// space until they are overwritten.
    Vacuumed,
}

/// Whether old versions of rows, with keys in them, are left in a database's files.
///
/// Of the bytes themselves it says less: those of a version that is gone lie in its page's free space until something is
/// written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "each store must know them all")]
pub enum Residue {
    /// None is left of what was deleted before.
    Gone,
    /// Some may be left, since a snapshot from before was open: in a transaction, a replication slot, a replica. It is worth
    /// while to try again.
    Held,
    /// The database does not say, or the role may not have it done.
    Unknown,
}

impl Residue {
    /// Of two places together.
    pub(super) const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Gone, Self::Gone) => Self::Gone,
            (Self::Held, _) | (_, Self::Held) => Self::Held,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
        }
    }
}

/// Which shreds are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "each store must know them all")]
pub enum Shreds {
    /// All of them.
    All,
    /// Those that are not done, and that nobody works at now.
    Due,
    /// Those that were tried at least so often without going forward, finished or swept: the dead letters, which are
    /// still tried.
    Stuck(u32),
    /// Those in the ledger, requested at least `after` microseconds ago, and not swept for `again`. Of those that are
    /// done, the ones that do not rest, and that nobody works at now.
    Sweepable {
        /// The horizon.
        after: i64,
        /// Between two sweeps, at least.
        again: i64,
    },
    /// Those due that were not yet noted to stand in the ledger.
    Unappended,
}

/// A key store's own name, and how much it knows of its ledger.
///
/// ```
/// use ophie_crypt::{Installation, LedgerHead};
///
/// let installation = Installation { id: [1; 16], epoch: 1, ledger: LedgerHead::EMPTY };
/// assert_eq!(installation.ledger.position(), 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a row, which stores build")]
pub struct Installation {
    /// 16 random bytes, made with its tables. A restore and a clone keep them, until a clone
    /// [adopts](crate::restore_adopt) a ledger of its own.
    pub id: [u8; 16],
    /// One unbroken history; raised by a restore.
    pub epoch: u64,
    /// The ledger's head when this store last added to it.
    pub ledger: LedgerHead,
}
