//! The only rooms that name a cipher or expose key bytes.
//!
//! Invariant: key bytes are boxed, wiped on drop and never printed; an AEAD key never leaves its type.
//! Absent: owners, columns, SQL, time.

pub(crate) mod aead;
pub(crate) mod chain;
pub(crate) mod data_key;
pub(crate) mod prf;
#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    reason = "counts of cases, far from any limit"
)]
mod vectors;

/// The operating system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes; nothing was sealed, so try again")]
pub(crate) struct NoRandomness;

/// Fills `out` from the operating system.
pub(crate) fn fill_random(out: &mut [u8]) -> Result<(), NoRandomness> {
    getrandom::fill(out).map_err(|_| NoRandomness)
}
