//! The states of a soak, what each lets a release write, and what must hold before the next.
//!
//! Invariant: from a state one goes to the one behind it or the one before it, and before `Dropped` there is always a way
//! back. Absent: what a reader serves (`join`), who goes (`worker`).

use core::fmt;

/// How far the move of one column from plaintext to ciphertext is. The database holds it, for every process.
///
/// | state | served | plaintext written | ciphertext written |
/// |---|---|---|---|
/// | `Plain`: nothing has begun | plaintext | yes | no |
/// | `Expand`: columns and guard stand | plaintext | yes | no |
/// | `DualWrite`: a release writes both | plaintext | yes | yes |
/// | `Backfill`: the rows of before are sealed | plaintext | yes | yes |
/// | `Verify`: each row is compared once | plaintext | yes | yes |
/// | `Soak`: readers compare | plaintext, compared | yes | yes |
/// | `Sealed`: ciphertext counts | ciphertext | yes | yes |
/// | `Retired`: plaintext goes | ciphertext | no | yes |
/// | `Dropped`: the plaintext column is gone | ciphertext | no | yes |
///
/// ```
/// use ophie_crypt::soak::SoakState;
///
/// let state = SoakState::of("dual-write").expect("a state");
/// assert_eq!(state.next(), Some(SoakState::Backfill));
/// assert_eq!(state.back(), Some(SoakState::Expand));
/// assert_eq!(SoakState::Dropped.back(), None); // nothing brings plaintext back
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "readers and writers decide by each of them"
)]
pub enum SoakState {
    /// Nothing has begun.
    Plain,
    /// The encrypted column is there, and the guard.
    Expand,
    /// A release writes both columns.
    DualWrite,
    /// Rows of before are sealed.
    Backfill,
    /// Every row is compared.
    Verify,
    /// Readers compare; the plaintext counts.
    Soak,
    /// The ciphertext counts; both are written.
    Sealed,
    /// No plaintext is written, and what is left of it goes.
    Retired,
    /// The plaintext column is gone.
    Dropped,
}

impl SoakState {
    /// All of them, in their order.
    pub const ALL: [Self; 9] = [
        Self::Plain,
        Self::Expand,
        Self::DualWrite,
        Self::Backfill,
        Self::Verify,
        Self::Soak,
        Self::Sealed,
        Self::Retired,
        Self::Dropped,
    ];

    /// Its name, in the database, in `#[crypt(soak(floor = ".."))]` and for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Expand => "expand",
            Self::DualWrite => "dual-write",
            Self::Backfill => "backfill",
            Self::Verify => "verify",
            Self::Soak => "soak",
            Self::Sealed => "sealed",
            Self::Retired => "retired",
            Self::Dropped => "dropped",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// The state behind it.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        Some(match self {
            Self::Plain => Self::Expand,
            Self::Expand => Self::DualWrite,
            Self::DualWrite => Self::Backfill,
            Self::Backfill => Self::Verify,
            Self::Verify => Self::Soak,
            Self::Soak => Self::Sealed,
            Self::Sealed => Self::Retired,
            Self::Retired => Self::Dropped,
            Self::Dropped => return None,
        })
    }

    /// The state before it: the way back, which there is from every state but the last.
    #[must_use]
    pub const fn back(self) -> Option<Self> {
        Some(match self {
            Self::Plain | Self::Dropped => return None,
            Self::Expand => Self::Plain,
            Self::DualWrite => Self::Expand,
            Self::Backfill => Self::DualWrite,
            Self::Verify => Self::Backfill,
            Self::Soak => Self::Verify,
            Self::Sealed => Self::Soak,
            Self::Retired => Self::Sealed,
        })
    }

    /// What must hold before the step from here to `to`; `None` if there is no such step.
    ///
    /// ```
    /// use ophie_crypt::soak::{Gate, SoakState};
    ///
    /// let gates = SoakState::Sealed.gates(SoakState::Retired).expect("a step");
    /// assert!(gates.contains(&Gate::Verified) && gates.contains(&Gate::NoOldBinaries));
    /// assert_eq!(SoakState::Expand.gates(SoakState::Sealed), None);
    /// ```
    #[must_use]
    pub const fn gates(self, to: Self) -> Option<&'static [Gate]> {
        use Gate::{
            Acknowledged, Decrypted, Emptied, Floor, NoOldBinaries, NothingPending, Quiet,
            TwinUnknown, Verified,
        };
        Some(match (self, to) {
            (Self::Plain, Self::Expand) => &[],
            (Self::Expand, Self::DualWrite) | (Self::DualWrite, Self::Backfill) => &[Acknowledged],
            (Self::Backfill, Self::Verify) => &[Acknowledged, NothingPending],
            (Self::Verify, Self::Soak) => &[Acknowledged, Verified],
            (Self::Soak, Self::Sealed) => &[Acknowledged, NothingPending, Quiet],
            (Self::Sealed, Self::Retired) => {
                &[Acknowledged, NoOldBinaries, Verified, NothingPending]
            }
            (Self::Retired, Self::Dropped) => &[Acknowledged, Emptied, TwinUnknown],
            // A release that knows no plaintext may have written beside it, and may be gone by now.
            (Self::Sealed, Self::Soak) => &[Acknowledged, Floor, Decrypted, Verified],
            (Self::Expand, Self::Plain)
            | (Self::DualWrite, Self::Expand)
            | (Self::Backfill, Self::DualWrite)
            | (Self::Verify, Self::Backfill)
            | (Self::Soak, Self::Verify)
            | (Self::Retired, Self::Sealed) => &[Acknowledged, Floor],
            _ => return None,
        })
    }

    /// Whether a release writes the plaintext column.
    #[must_use]
    pub const fn writes_twin(self) -> bool {
        !matches!(self, Self::Retired | Self::Dropped)
    }

    /// Whether a release writes the ciphertext column.
    #[must_use]
    pub const fn writes_sealed(self) -> bool {
        !matches!(self, Self::Plain | Self::Expand)
    }

    /// Whether the backfill seals rows.
    #[must_use]
    pub const fn is_filled(self) -> bool {
        matches!(
            self,
            Self::Backfill | Self::Verify | Self::Soak | Self::Sealed
        )
    }
}

impl fmt::Display for SoakState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What must hold before a step.
///
/// ```
/// assert!(ophie_crypt::soak::Gate::Acknowledged.to_string().contains("acknowledged"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Gate {
    /// Every live process has acknowledged the present state, so that at most two states live.
    Acknowledged,
    /// Every row with ciphertext has its plaintext again.
    Decrypted,
    /// No row has plaintext.
    Emptied,
    /// No live process has a floor above the state, or does not know the plaintext column.
    Floor,
    /// Old binaries are not admitted any more.
    NoOldBinaries,
    /// No row has plaintext without ciphertext or without one of its fingerprints.
    NothingPending,
    /// No process has counted a mismatch or a failure since the present state began.
    Quiet,
    /// At least one live process says that it knows no plaintext column, and none that it does.
    TwinUnknown,
    /// A full verify that began after the present state did, and after the last old binary, found nothing.
    Verified,
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Acknowledged => {
                "a live process has not acknowledged the present state; wait for its heartbeat, or stop it"
            }
            Self::Decrypted => {
                "rows have ciphertext without plaintext; run the decrypt-back job to its end, and a sweep where owners were shredded"
            }
            Self::Emptied => "rows have plaintext; run the null-out to its end",
            Self::Floor => {
                "a live process has a floor above that state, or does not know the plaintext column; deploy a release \
                 that has the `soak` attribute, with a floor that low, first"
            }
            Self::NoOldBinaries => {
                "old binaries are still admitted; stop them, then admit them no longer"
            }
            Self::NothingPending => "rows are pending; run the backfill to its end",
            Self::Quiet => {
                "processes have counted mismatches or failures in this state; see what verify names"
            }
            Self::TwinUnknown => {
                "no live process says that it knows the column without its plaintext, or one still knows it; deploy \
                 the release without the `soak` attribute everywhere"
            }
            Self::Verified => {
                "no full verify has begun in the present state and found nothing; run verify to its end"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_follow_one_another_and_back() {
        for pair in SoakState::ALL.windows(2) {
            let [state, next] = pair else { unreachable!() };
            assert_eq!(state.next(), Some(*next));
            assert!(state < next && state.gates(*next).is_some());
            if *next == SoakState::Dropped {
                assert_eq!((next.back(), next.gates(*state)), (None, None));
            } else {
                assert_eq!(next.back(), Some(*state));
                assert!(next.gates(*state).is_some());
            }
        }
        assert_eq!(SoakState::Dropped.next(), None);
        assert_eq!(SoakState::Plain.back(), None);
    }

    #[test]
    fn there_is_no_other_step() {
        for from in SoakState::ALL {
            for to in SoakState::ALL {
                let adjacent = from.next() == Some(to) || from.back() == Some(to);
                assert_eq!(from.gates(to).is_some(), adjacent, "{from} to {to}");
            }
        }
    }

    #[test]
    fn names_are_those_of_the_states() {
        for state in SoakState::ALL {
            assert_eq!(SoakState::of(state.as_str()), Some(state));
        }
        assert_eq!(SoakState::of("Soak"), None);
    }

    /// Every step of a column that processes may know waits for them, and every step back for their floors.
    #[test]
    fn every_step_has_its_gates() {
        use Gate::{Acknowledged, Floor};
        for from in SoakState::ALL.into_iter().skip(1) {
            for to in [from.next(), from.back()].into_iter().flatten() {
                let gates = from.gates(to).unwrap();
                assert!(gates.contains(&Acknowledged), "{from} to {to}");
                assert_eq!(gates.contains(&Floor), to < from, "{from} to {to}");
            }
        }
    }

    /// Of two adjacent states, what one writes the other serves.
    #[test]
    fn adjacent_states_write_a_column_that_both_read() {
        for pair in SoakState::ALL.windows(2) {
            let [a, b] = pair else { unreachable!() };
            let twin = a.writes_twin() && b.writes_twin();
            let sealed = a.writes_sealed() && b.writes_sealed();
            assert!(twin || sealed, "{a} and {b}");
        }
    }
}
