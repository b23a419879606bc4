//! The life of an index key's generation, as a key store keeps it: announced, writing, draining, retired; then it is gone.
//!
//! Invariant: at most two generations of an owner are in use. One is written only after every process had time to load it
//! for look-ups, and is retired only when nobody can write it any more. Absent: keys in clear (`keyring`), whether rows
//! are left under it (`rotation`).

use core::time::Duration;

use super::{IndexKeyRecord, LEASES_OVER_FOR};
use crate::{keyring::Keyring, owner::CanonicalId};

/// How long an index key is announced before it may be written, and has been draining before it may be retired: as long
/// as keys live in memory, and then some for clocks that run slow. No session is left that does not look up by the one, or
/// that writes with the other. Longer than a DEK is announced: a session that does not know a DEK gets an error, one that
/// does not know an index key would miss rows.
pub const WRITERS_OVER_FOR: Duration = Keyring::MAX_TTL.saturating_add(LEASES_OVER_FOR);

/// The life of an index key's generation.
///
/// ```
/// use ophie_crypt::IndexKeyState;
///
/// assert_eq!(IndexKeyState::of("draining"), Some(IndexKeyState::Draining));
/// assert!(IndexKeyState::Draining.is_in_use() && !IndexKeyState::Retired.is_in_use());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IndexKeyState {
    /// Loaded by every process for its look-ups, and written by none yet.
    Announced,
    /// Rows under it are being given new fingerprints.
    Draining,
    /// No row is left under it.
    Retired,
    /// What is written now, is written under it.
    Writing,
}

impl IndexKeyState {
    const ALL: [Self; 4] = [
        Self::Announced,
        Self::Draining,
        Self::Retired,
        Self::Writing,
    ];

    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Draining => "draining",
            Self::Retired => "retired",
            Self::Writing => "writing",
        }
    }

    /// From what is stored.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether rows may stand under it, so that look-ups need it.
    #[must_use]
    pub const fn is_in_use(self) -> bool {
        !matches!(self, Self::Retired)
    }
}

/// An owner's next index key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IndexAnnouncement {
    /// The owner's version that it was made from.
    pub version: u64,
    /// The new index key, sealed under the owner's newest DEK.
    pub key: IndexKeyRecord,
    /// That DEK's generation, under which this is one invocation more.
    pub sealed_under: u32,
}

impl IndexAnnouncement {
    /// Made from the owner's keys at this version.
    ///
    /// ```
    /// use ophie_crypt::{IndexAnnouncement, IndexKeyRecord, IndexKeyState, KeyId};
    ///
    /// let key = IndexKeyRecord::new(2, KeyId::from_bytes([7; 16]), [1]).in_state(IndexKeyState::Announced);
    /// assert_eq!(IndexAnnouncement::new(1, key, 1).key.generation(), 2);
    /// ```
    #[must_use]
    pub const fn new(version: u64, key: IndexKeyRecord, sealed_under: u32) -> Self {
        Self {
            version,
            key,
            sealed_under,
        }
    }
}

/// A step of an index key's generation.
///
/// ```
/// use ophie_crypt::{CanonicalId, IndexStep, IndexStepTo};
///
/// let step = IndexStep::new(CanonicalId::text("ada"), 2, IndexStepTo::Writing);
/// assert_eq!(step.generation, 2);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IndexStep {
    /// Whose.
    pub owner: CanonicalId,
    /// Which generation.
    pub generation: u8,
    /// Where to.
    pub to: IndexStepTo,
}

impl IndexStep {
    /// A step.
    #[must_use]
    pub const fn new(owner: CanonicalId, generation: u8, to: IndexStepTo) -> Self {
        Self {
            owner,
            generation,
            to,
        }
    }
}

/// Where an index key's generation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexStepTo {
    /// From announced, [`WRITERS_OVER_FOR`] after it was known to be. The one that was written is draining from then on.
    Writing,
    /// From draining, [`WRITERS_OVER_FOR`] after it came there. That no row is left under it, the caller knows.
    Retired,
    /// From retired, so long after that: it is gone then.
    Destroyed {
        /// How long it was retired.
        after: Duration,
    },
}
