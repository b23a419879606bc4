//! The simulation with protections switched off: it must see that.
//!
//! Where two of them hold the same, either is enough, and only without both does something go wrong: then the first test
//! shows that one is missed, and a second that the other is enough. Absent: what is switched off (`protections`).

use super::{
    super::{super::SoakState, guard::Refusal},
    fault::Seen,
    protections::{
        Protection,
        Protection::{
            Acknowledged, AppliesFirst, AtVersion, Compares, ComparesEmptied, Deaths, Decrypted,
            DropLooks, Emptied, Expires, Floor, Guard, GuardGoes, LocksRows, LooksAgain,
            NoOldBinaries, NothingPending, Quiet, RefusingTrigger, TwinUnknown, Verified,
        },
        Without,
    },
    simulate,
};

/// In as many a control must have been seen.
const CONTROLS: u64 = 4_000;
/// In as many what is not needed alone is not missed.
const SPARED: u64 = 300;

/// What fails first, all interleavings beginning in one state or in any.
fn seen(
    without: &'static [Protection],
    state: Option<SoakState>,
    most: u64,
) -> Option<(u64, Seen)> {
    let (failed, _) = simulate(1..most + 1, state, Without(without));
    failed.map(|(seed, fault)| (seed, fault.seen))
}

fn is_missed(without: &'static [Protection], state: Option<SoakState>, as_what: &[Seen]) {
    let seen = seen(without, state, CONTROLS);
    let missed = seen.is_some_and(|(_, seen)| as_what.contains(&seen));
    assert!(missed, "without {without:?}: {seen:?}");
}

fn is_spared(without: &'static [Protection], state: Option<SoakState>) {
    let seen = seen(without, state, SPARED);
    assert!(seen.is_none(), "without {without:?}: {seen:?}");
}

macro_rules! missed {
    ($($name:ident: $($off:expr),+; $state:ident; $($seen:ident),+;)*) => {$(
        #[test]
        fn $name() {
            is_missed(&[$($off),+], from!($state), &[$(Seen::$seen),+]);
        }
    )*};
}

macro_rules! from {
    (Any) => {
        None
    };
    ($state:ident) => {
        Some(SoakState::$state)
    };
}

missed! {
    a_state_is_applied_before_it_is_acknowledged: AppliesFirst; Any; States, Read;
    a_step_is_from_the_version_that_was_looked_at: AtVersion; Any; States, Refused, Read;
    a_state_that_is_too_old_counts_no_more: Expires; Any; States, Read;
    nobody_is_dead_by_one_clock: Deaths; Any; States, Read;
    a_step_waits_for_who_lives: Acknowledged; Any; States;
    a_step_back_waits_for_floors: Floor; Any; Read;
    binaries_of_before_are_gone_before_plaintext_is: NoOldBinaries; Sealed; Refused, Read;
    the_guard_empties_what_stands_beside_other_plaintext: Guard; DualWrite; Read, OldRead;
    plaintext_of_the_shredded_is_refused: Protection::Refusal(Refusal::Shredded); Any; CameBack;
    plaintext_alone_is_refused: Protection::Refusal(Refusal::Alone); Sealed; Read;
    ciphertext_alone_is_refused: Protection::Refusal(Refusal::NoPlaintext); Soak; Read, OldRead;
    plaintext_is_refused_once_it_goes: RefusingTrigger; Retired; Read, CameBack;
    the_guard_goes_before_plaintext_does: GuardGoes, ComparesEmptied; Retired; Read, CameBack;
    a_null_out_sees_a_guard_that_stayed: GuardGoes; Retired; Job;
    a_backfill_locks_what_it_reads: LocksRows; Backfill; Read, Job;
    what_comes_back_is_what_was_opened: Compares; Sealed; Read;
    nothing_is_pending_where_plaintext_goes: NothingPending, LooksAgain; Sealed; Read;
    what_was_sealed_is_what_was_written: Verified, Quiet; Verify; Read, OldRead;
    rows_are_looked_for_once_more_by_the_step_itself: LooksAgain; Sealed; Read, OldRead;
    every_row_has_its_plaintext_before_it_counts: Verified, Decrypted, LooksAgain; Sealed; Read, OldRead;
    nobody_knows_the_plaintext_when_it_is_dropped: TwinUnknown, DropLooks; Retired; Read;
}

/// Each of these is held by another, too: a step looks for what its gates look for, nothing is left for a drop to lose, and
/// who reads both says that they differ.
#[test]
fn what_is_held_twice_is_not_missed() {
    is_spared(&[NothingPending], Some(SoakState::Sealed));
    is_spared(&[Decrypted], Some(SoakState::Sealed));
    is_spared(&[Verified], Some(SoakState::Verify));
    is_spared(&[Quiet], Some(SoakState::Verify));
    is_spared(&[ComparesEmptied], Some(SoakState::Retired));
    is_spared(&[Emptied], Some(SoakState::Retired));
}
