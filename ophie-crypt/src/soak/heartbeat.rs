//! What processes say of columns, as the database has it.
//!
//! Absent: who says it (`watch`), how long it counts (`deaths`).

use core::fmt;

use super::SoakState;
use crate::column::ColumnRef;

/// A process, among those that send heartbeats: 16 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SoakProcess(pub(crate) [u8; 16]);

impl SoakProcess {
    /// Of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for SoakProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SoakProcess({})", crate::hex::to_hex(&self.0))
    }
}

/// What a process says of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a row that the watch writes and a store stores"
)]
pub struct Beat {
    /// The encrypted column.
    pub column: ColumnRef,
    /// The version whose state it goes by.
    pub version: i64,
    /// Whether its release knows the plaintext column.
    pub knows_twin: bool,
    /// The lowest state that its release accepts.
    pub floor: SoakState,
    /// Pending rows that it served in this state.
    pub pending: u64,
    /// Mismatches that it served, and failures to open: in this state.
    pub odd: u64,
}

/// A process's heartbeat, as the database has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a row that a store reads and jobs look at"
)]
pub struct Heartbeat {
    /// Who.
    pub process: SoakProcess,
    /// When it was written last, in microseconds by the database's clock; zero once its process has ended.
    pub beat_at: i64,
    /// Whether it is at most 30 seconds old.
    pub lives: bool,
    /// See [`Beat::version`].
    pub version: i64,
    /// See [`Beat::knows_twin`].
    pub knows_twin: bool,
    /// See [`Beat::floor`].
    pub floor: SoakState,
    /// See [`Beat::pending`].
    pub pending: u64,
    /// See [`Beat::odd`].
    pub odd: u64,
}
