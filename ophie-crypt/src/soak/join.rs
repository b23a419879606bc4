//! What a reader serves of a value that stands in two columns.
//!
//! Invariant: a value that was written is served, or the read fails; NULL is served where NULL was written. What is odd is
//! counted, also where it is served. Absent: columns, sessions (`adapter`).

use super::SoakState;

/// What a reader found odd, and counts.
///
/// ```
/// assert_ne!(ophie_crypt::soak::Finding::Pending, ophie_crypt::soak::Finding::Mismatch);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Finding {
    /// Ciphertext that does not open.
    Failed,
    /// Plaintext and ciphertext say different things.
    Mismatch,
    /// Plaintext without ciphertext: the backfill has not been there.
    Pending,
}

/// What a reader is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Joined<V, E> {
    pub(crate) value: Result<Option<V>, Unserved<E>>,
    pub(crate) finding: Option<Finding>,
}

/// Why nothing is served.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unserved<E> {
    /// The ciphertext does not open.
    Failed(E),
    /// Plaintext alone, where the state admits none.
    Contradiction,
}

/// One value out of a plaintext and a ciphertext column. `None` is NULL; an empty text and JSON's null are values.
pub(crate) fn join<V, S, E>(
    state: SoakState,
    twin: Option<V>,
    sealed: Option<S>,
    open: impl FnOnce(S) -> Result<V, E>,
    same: impl FnOnce(&V, &V) -> bool,
) -> Joined<V, E> {
    let served = |value, finding| Joined {
        value: Ok(value),
        finding,
    };
    match state {
        // The ciphertext is not opened: in these states nobody vouches for it yet.
        SoakState::Plain
        | SoakState::Expand
        | SoakState::DualWrite
        | SoakState::Backfill
        | SoakState::Verify => {
            let finding = match (&twin, &sealed) {
                (Some(_), None) => Some(Finding::Pending),
                (None, Some(_)) => Some(Finding::Mismatch),
                _ => None,
            };
            served(twin, finding)
        }
        SoakState::Soak => match (twin, sealed) {
            (None, None) => served(None, None),
            (Some(twin), None) => served(Some(twin), Some(Finding::Pending)),
            (None, Some(_)) => served(None, Some(Finding::Mismatch)),
            (Some(twin), Some(sealed)) => {
                let finding = match open(sealed) {
                    Ok(opened) if same(&twin, &opened) => None,
                    Ok(_) => Some(Finding::Mismatch),
                    Err(_) => Some(Finding::Failed),
                };
                served(Some(twin), finding)
            }
        },
        SoakState::Sealed | SoakState::Retired | SoakState::Dropped => match (twin, sealed) {
            (_, Some(sealed)) => match open(sealed) {
                Ok(opened) => served(Some(opened), None),
                Err(error) => Joined {
                    value: Err(Unserved::Failed(error)),
                    finding: Some(Finding::Failed),
                },
            },
            (None, None) => served(None, None),
            (Some(twin), None) if state == SoakState::Sealed => {
                served(Some(twin), Some(Finding::Pending))
            }
            // To serve NULL would lose it, to serve it would let plaintext in.
            (Some(_), None) => Joined {
                value: Err(Unserved::Contradiction),
                finding: Some(Finding::Mismatch),
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An opened value, or why not.
    type Sealed = Result<&'static str, ()>;

    fn joined(
        state: SoakState,
        twin: Option<&'static str>,
        sealed: Option<Sealed>,
    ) -> Joined<&'static str, ()> {
        join(state, twin, sealed, |sealed| sealed, |a, b| a == b)
    }

    fn ok(value: Option<&'static str>, finding: Option<Finding>) -> Joined<&'static str, ()> {
        Joined {
            value: Ok(value),
            finding,
        }
    }

    const BEFORE_SOAK: [SoakState; 5] = [
        SoakState::Plain,
        SoakState::Expand,
        SoakState::DualWrite,
        SoakState::Backfill,
        SoakState::Verify,
    ];

    /// Every state with every pair of NULL, a value, another value, an empty one, and one that does not open.
    #[test]
    fn every_pair_in_every_state() {
        use Finding::{Failed, Mismatch, Pending};
        let twins = [None, Some("a"), Some("")];
        let sealeds = [
            None,
            Some(Ok("a")),
            Some(Ok("")),
            Some(Ok("b")),
            Some(Err(())),
        ];
        let mut cases = 0;
        for state in SoakState::ALL {
            for twin in twins {
                for sealed in sealeds {
                    let expected = match (state, twin, sealed) {
                        (_, None, None) => ok(None, None),
                        (state, Some(_), None) if state >= SoakState::Retired => Joined {
                            value: Err(Unserved::Contradiction),
                            finding: Some(Mismatch),
                        },
                        (_, Some(_), None) => ok(twin, Some(Pending)),
                        (state, None, Some(_)) if state <= SoakState::Soak => {
                            ok(None, Some(Mismatch))
                        }
                        (state, Some(_), Some(_)) if BEFORE_SOAK.contains(&state) => ok(twin, None),
                        (SoakState::Soak, Some(a), Some(Ok(b))) => {
                            ok(twin, (a != b).then_some(Mismatch))
                        }
                        (SoakState::Soak, Some(_), Some(Err(()))) => ok(twin, Some(Failed)),
                        (_, _, Some(Ok(b))) => ok(Some(b), None),
                        (_, _, Some(Err(()))) => Joined {
                            value: Err(Unserved::Failed(())),
                            finding: Some(Failed),
                        },
                    };
                    let got = joined(state, twin, sealed);
                    assert_eq!(got, expected, "{state} {twin:?} {sealed:?}");
                    cases += 1;
                }
            }
        }
        assert_eq!(cases, 9 * 3 * 5);
    }

    /// What a release writes in one state, one in the same and in an adjacent state serves.
    #[test]
    fn what_is_written_is_served_in_adjacent_states() {
        for writes in SoakState::ALL {
            for value in [None, Some("a"), Some("")] {
                let twin = value.filter(|_| writes.writes_twin());
                let sealed = value.filter(|_| writes.writes_sealed()).map(Ok);
                for reads in [Some(writes), writes.next(), writes.back()] {
                    let Some(reads) = reads else { continue };
                    let got = joined(reads, twin, sealed);
                    assert_eq!(got.value, Ok(value), "written in {writes}, read in {reads}");
                    assert_ne!(got.finding, Some(Finding::Mismatch));
                }
            }
        }
    }

    /// An old binary writes plaintext alone, and the guard empties the rest: it is served in every state before retired.
    #[test]
    fn a_pending_row_is_served_in_every_state_before_retired() {
        for state in SoakState::ALL {
            let got = joined(state, Some("old"), None);
            assert_eq!(got.value.is_ok(), state < SoakState::Retired);
            if state < SoakState::Retired {
                assert_eq!(got, ok(Some("old"), Some(Finding::Pending)));
            }
        }
    }

    #[test]
    fn a_failure_to_open_is_never_hidden() {
        for state in [
            SoakState::Soak,
            SoakState::Sealed,
            SoakState::Retired,
            SoakState::Dropped,
        ] {
            let got = joined(state, Some("a"), Some(Err(())));
            assert_eq!(got.finding, Some(Finding::Failed), "{state}");
            assert_eq!(got.value.is_err(), state > SoakState::Soak);
        }
    }
}
