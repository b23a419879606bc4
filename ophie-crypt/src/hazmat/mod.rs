//! The only rooms that name a cipher or expose key bytes.
//!
//! Invariant: key bytes are boxed, wiped on drop and never printed; an AEAD key never leaves its type.
//! Absent: owners, columns, SQL, time.

pub(crate) mod aead;
pub(crate) mod chain;
pub(crate) mod data_key;
pub(crate) mod prf;
pub(crate) mod share;
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

/// Runs what leaves keys or plaintext on the stack, and wipes `N` bytes of the stack that it ran on.
pub(crate) fn with_stack_wiped<const N: usize, R>(run: impl FnOnce() -> R) -> R {
    #[inline(never)] // or its frame would not lie where the wiping reaches
    fn beneath<R>(run: impl FnOnce() -> R) -> R {
        run()
    }
    let result = beneath(run);
    zeroize::zeroize_stack::<N>();
    result
}

/// How deep the expansion of a key reaches: a moved key is a copy.
pub(crate) const KEY_STACK: usize = 32 << 10;

/// How deep sealing and opening one value reaches, as `tests/memory` measured it; without optimisation, deeper.
const VALUE_STACK: usize = if cfg!(debug_assertions) {
    16 << 10
} else {
    1 << 10
};
/// The same where vectors have 512 bits: `aes` takes 64 blocks at a time there, and lays copies of the key's schedule
/// beside them, for a short value too.
const WIDE_VALUE_STACK: usize = if cfg!(debug_assertions) {
    64 << 10
} else {
    16 << 10
};

/// Runs what seals or opens one value, and wipes the stack that it ran on.
pub(crate) fn with_value_stack_wiped<R>(run: impl FnOnce() -> R) -> R {
    if has_wide_vectors() {
        with_stack_wiped::<WIDE_VALUE_STACK, _>(run)
    } else {
        with_stack_wiped::<VALUE_STACK, _>(run)
    }
}

fn has_wide_vectors() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}
