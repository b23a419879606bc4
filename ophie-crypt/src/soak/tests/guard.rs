//! What the triggers of a column in a soak make of a write: a reference, as a function of what was there and what is asked for.
//!
//! Invariant: each real database stores what this says, of every shape (`tests/soak/shapes.rs`, which takes this file).
//! Absent: when which trigger stands.

use super::SoakState;

/// A row, as its triggers see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) owner: i64,
    pub(crate) plain: Option<Vec<u8>>,
    pub(crate) sealed: Option<Vec<u8>>,
    pub(crate) fingerprint: Option<Vec<u8>>,
}

/// Why a write is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Plaintext of an owner whose keys were destroyed.
    Shredded,
    /// Plaintext without ciphertext.
    Alone,
    /// Ciphertext without plaintext.
    NoPlaintext,
    /// Plaintext, where the refusing trigger stands.
    Retired,
}

impl Refusal {
    /// What the database's error says.
    #[allow(dead_code, reason = "only who asks a real database needs it")]
    pub(crate) const fn says(self) -> &'static str {
        match self {
            Self::Shredded => "plaintext of an owner whose keys were destroyed",
            Self::Alone => "plaintext without ciphertext",
            Self::NoPlaintext => "ciphertext without plaintext",
            Self::Retired => "no plaintext is written here any more",
        }
    }
}

/// What the guard goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) state: SoakState,
    pub(crate) admits_old: bool,
}

/// Of an INSERT (without `old`) or an UPDATE, whether plaintext or owner is another, and whether ciphertext is.
fn changes(old: Option<&Row>, new: &Row) -> (bool, bool) {
    let Some(old) = old else { return (true, true) };
    // Without plaintext, the ciphertext is all there is: it is left for its owner.
    let owner = new.owner == old.owner || new.plain.is_none();
    (!(owner && new.plain == old.plain), new.sealed != old.sealed)
}

/// The row that the guard lets through.
pub(crate) fn mended(told: Told, old: Option<&Row>, mut new: Row) -> Row {
    let (changed, resealed) = changes(old, &new);
    if let Some(old) = old {
        if changed && !resealed {
            new.sealed = None;
        }
        let forgotten = new.fingerprint == old.fingerprint
            && old.plain.is_some()
            && new.plain.is_some()
            && told.state != SoakState::Retired;
        if changed && resealed && forgotten {
            new.fingerprint = None;
        }
    }
    if new.sealed.is_none() {
        new.fingerprint = None;
    }
    new
}

/// Why the guard lets it through not, in the order in which it looks; `buried` is whether the row's owner was shredded.
pub(crate) fn refusals(
    told: Told,
    buried: bool,
    old: Option<&Row>,
    new: &Row,
) -> impl Iterator<Item = Refusal> + use<> {
    use SoakState::{Backfill, Retired, Sealed, Soak, Verify};
    let (changed, resealed) = changes(old, new);
    let Told { state, admits_old } = told;
    let mended = mended(told, old, new.clone());
    let (plain, sealed) = (mended.plain.is_some(), mended.sealed.is_some());
    let alone = match state {
        Backfill | Verify | Soak => changed,
        // A release that knows no plaintext writes NULL beside it.
        Sealed | Retired => changed || resealed,
        _ => false,
    };
    let twinless = !matches!(state, Sealed | Retired) || admits_old;
    [
        (Refusal::Shredded, changed && plain && buried),
        (Refusal::Alone, plain && !sealed && !admits_old && alone),
        (
            Refusal::NoPlaintext,
            !plain && sealed && (changed || resealed) && twinless,
        ),
    ]
    .into_iter()
    .filter_map(|(refusal, holds)| holds.then_some(refusal))
}

/// Whether the refusing trigger lets a write through. It changes nothing.
pub(crate) fn is_closed_to(old: Option<&Row>, new: &Row) -> bool {
    // What is left of the plaintext stands beside its own ciphertext until it goes.
    let stays = old.is_some_and(|old| {
        new.plain == old.plain
            && new.owner == old.owner
            && (new.sealed.is_some() || old.sealed.is_none())
    });
    new.plain.is_some() && !stays
}
