//! The model with a protection switched off: it must see that.
//!
//! Absent: the model.

use ophie_crypt::soak::SoakState;

use super::{
    CONTROLS,
    model::{Run, STEPS},
};

/// What is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Nothing,
    /// Nothing, while only old writers and a worker without locks go on.
    Alone,
    /// Beside those, that a worker without a lock writes only where the plaintext is what it read.
    Condition,
    /// That a process goes by no state any more once its heartbeat has expired.
    Expiry,
    /// That a step waits for its gates.
    Gates,
    /// The guard.
    Guard,
    /// That the guard goes before plaintext does.
    GuardAtNullOut,
}

impl Broken {
    /// Where it counts soonest.
    const fn begins(self) -> SoakState {
        match self {
            Self::Nothing | Self::Expiry | Self::Gates => SoakState::DualWrite,
            Self::Alone | Self::Condition | Self::Guard => SoakState::Sealed,
            Self::GuardAtNullOut => SoakState::Retired,
        }
    }
}

/// What the model says of values and states; that it fails otherwise proves nothing.
const SEEN: [&str; 5] = [
    "what process",
    "what the release of before reads",
    "three states live",
    "VerifyReport",
    "plaintext came back",
];

/// Interleavings until one is seen to fail; whether one was.
async fn is_seen(broken: Broken) -> bool {
    let mut others = Vec::new();
    let end = if broken == Broken::Alone { 2 } else { CONTROLS };
    for seed in 1..=end {
        let interleaving = tokio::spawn(async move {
            let mut run = Run::new(seed, broken).await;
            run.begin_at(broken.begins()).await;
            for _ in 0..STEPS {
                run.turn().await;
                run.check().await;
            }
        });
        let Err(failed) = interleaving.await else { continue };
        let failed = failed.into_panic();
        let said = failed.downcast_ref::<String>().map_or("", String::as_str);
        if SEEN.iter().any(|seen| said.contains(seen)) {
            return true;
        }
        others.push(said.to_owned());
    }
    assert!(others.is_empty(), "{others:?}");
    false
}

macro_rules! controls {
    ($($name:ident, $broken:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            assert!(is_seen(Broken::$broken).await, "nothing was stale or lost");
        }
    )*};
}

controls! {
    without_its_condition_a_worker_without_locks_leaves_stale_rows, Condition;
    without_expiry_three_states_live, Expiry;
    without_gates_three_states_live, Gates;
    without_the_guard_rows_are_stale, Guard;
    with_the_guard_in_place_plaintext_takes_ciphertext_with_it, GuardAtNullOut;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_its_condition_a_worker_without_locks_leaves_none() {
    assert!(!is_seen(Broken::Alone).await);
}
