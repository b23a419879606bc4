//! What the library's files import from elsewhere in it, as little as they need.
//!
//! Invariant: nothing here decides anything that a model asserts.

/// Loom's, by the names that `ophie-crypt/src/sync.rs` gives the standard library's.
pub(crate) mod sync {
    pub(crate) use std::sync::PoisonError;

    pub(crate) use loom::sync::{Arc, Mutex, MutexGuard, RwLock, atomic};
}

/// Keys that show whether they are whole.
pub(crate) mod value {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use loom::sync::atomic::AtomicU8;

    use crate::owner::CanonicalId;

    /// Lies where the key lay after it is gone, so that its use is seen then too.
    struct Memory([AtomicU8; 2]);

    pub(crate) struct OwnerKeys {
        pub(crate) owner: CanonicalId,
        memory: Arc<Memory>,
        wiped: Arc<AtomicUsize>,
    }

    impl OwnerKeys {
        /// `wiped` counts the keys that were wiped.
        pub(crate) fn new(owner: CanonicalId, wiped: &Arc<AtomicUsize>) -> Self {
            Self {
                owner,
                memory: Arc::new(Memory([1, 1].map(AtomicU8::new))),
                wiped: Arc::clone(wiped),
            }
        }

        pub(crate) fn seals_under(&self, _: crate::hazmat::data_key::KeyId) -> bool {
            true
        }

        /// Uses one half, then the other. Between them other threads run.
        pub(crate) fn seal(&self) {
            for half in &self.memory.0 {
                assert_ne!(half.load(Relaxed), 0, "sealed under zeros");
            }
        }

        /// For who wants to break the library: zeroes in place.
        pub(crate) fn zeroize(&self) {
            for half in &self.memory.0 {
                half.store(0, Relaxed);
            }
        }
    }

    impl Drop for OwnerKeys {
        fn drop(&mut self) {
            self.zeroize();
            self.wiped.fetch_add(1, Relaxed);
        }
    }
}

pub(crate) mod hazmat {
    pub(crate) mod data_key {
        #[allow(unreachable_pub, reason = "public in the library")]
        pub struct KeyId;
    }
}

/// Time stands still: what is too old, the models say.
pub(crate) mod clock {
    use std::time::Duration;

    #[derive(Clone, Debug)]
    pub(crate) struct Clock;

    #[derive(Clone, Copy)]
    pub(crate) struct Moment;

    impl Clock {
        pub(crate) const fn now(&self) -> Moment {
            Moment
        }
    }

    impl Moment {
        pub(crate) const fn since(&self, _: &Self) -> Duration {
            Duration::ZERO
        }
    }
}

pub(crate) mod owner {
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    pub(crate) struct CanonicalId(pub(crate) u8);

    pub(crate) trait OwnerId {
        fn canonical(&self) -> CanonicalId;
    }
}

pub(crate) mod column {
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct ColumnRef;
}

pub(crate) mod error {
    use crate::column::ColumnRef;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum NoSession {
        Closed,
        Expired,
        Revoked,
        Shredded,
    }

    #[derive(Debug)]
    pub(crate) enum OwnerError {
        NoSession(NoSession),
        OtherOwner,
    }

    #[derive(Debug)]
    pub(crate) enum SealError {
        ReadOnly { column: ColumnRef },
        NoBudget { column: ColumnRef },
        HardStop { column: ColumnRef },
    }
}

pub(crate) mod keyring {
    use crate::error::NoSession;

    pub(crate) enum ReserveError {
        NoSession(NoSession),
        ReadOnly,
    }

    pub(crate) enum SessionError {
        Ended,
    }
}

pub(crate) mod store {
    pub(crate) struct Lease {
        count: u32,
        granted: u64,
    }

    impl Lease {
        pub(crate) const fn new(count: u32, granted: u64) -> Self {
            Self { count, granted }
        }

        pub(crate) const fn count(&self) -> u32 {
            self.count
        }

        pub(crate) const fn granted(&self) -> u64 {
            self.granted
        }
    }
}

/// No session of the models has a column that soaks.
pub(crate) mod soak {
    #[derive(Clone, Debug)]
    pub(crate) struct SoakWatch;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum SoakState {
        Soak,
        Sealed,
    }

    #[derive(Clone, Copy)]
    pub(crate) enum Finding {
        Failed,
        Mismatch,
        Pending,
    }
}
