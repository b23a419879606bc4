//! Locks, counts and atomics of the files whose interleavings are tried out one by one.
//!
//! Invariant: `held`, `session`, `budget`, the keyring's `flight` and `owners` and the soak's `known` take them from here and
//! from nowhere else, so that `tests/loom` compiles these files, as they are, over loom's.

pub(crate) use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, atomic};
