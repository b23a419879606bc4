//! What a whole process can do so that others find less in its memory.
//!
//! Invariant: each measure either holds for the process from then on, or returns an error.
//! Absent: wiping of keys and values, which their types do (`hazmat`, `plaintext`).
//!
//! The library wipes what it owns. Copies that it does not own (a `String` that grew, a driver's buffer,
//! a future that was moved) are left in freed memory, where [`ZeroAlloc`] wipes them:
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: ophie_crypt::memory::ZeroAlloc<std::alloc::System> =
//!     ophie_crypt::memory::ZeroAlloc(std::alloc::System);
//! # fn main() {}
//! ```
//!
//! It costs one `memset` for each block freed. Memory that is still in use is out of its reach; [`lock`]
//! keeps that off the disk, and [`forbid_dumps`] out of core dumps and of other processes' hands.

#[cfg(any(target_os = "linux", target_os = "android"))]
use rustix::{
    mm::{MlockAllFlags, mlockall},
    process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit},
    thread::{CapabilitySet, capabilities},
};
pub use zeroizing_alloc::ZeroAlloc;

/// The process could not be protected.
///
/// ```
/// use ophie_crypt::memory::MemoryError;
///
/// assert!(MemoryError::Limit.to_string().contains("LimitMEMLOCK=infinity"));
/// ```
#[cfg(any(target_os = "linux", target_os = "android"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The process may lock only some of its memory: soon it would get none at all.
    #[error(
        "the process may not lock all of its memory; raise the limit (systemd: LimitMEMLOCK=infinity, shell: ulimit -l unlimited, container: --ulimit memlock=-1)"
    )]
    Limit,
    /// The system refused.
    #[error(
        "the system refused to protect the process's memory (error {0}); see the manual of mlockall or prctl"
    )]
    System(i32),
}

/// Keeps all memory of this process, present and future, in RAM: nothing of it reaches swap.
///
/// It covers plaintexts as well as keys, which pages locked key by key would not. Call it at start. Pages
/// are locked as they are touched; stacks and reserves that are never used cost nothing. Hibernation writes
/// all of RAM to disk, locked or not.
///
/// # Errors
///
/// [`MemoryError`]. Where the limit is too low and may not be raised, nothing is locked: allocations that
/// fail later would be worse.
///
/// ```no_run
/// ophie_crypt::memory::lock()?;
/// ophie_crypt::memory::forbid_dumps()?;
/// # Ok::<(), ophie_crypt::memory::MemoryError>(())
/// ```
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn lock() -> Result<(), MemoryError> {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    let limit = getrlimit(Resource::Memlock).current;
    if limit.is_some() && setrlimit(Resource::Memlock, unlimited).is_err() && !may_lock_beyond() {
        return Err(MemoryError::Limit);
    }
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(all).map_err(system)
}

/// Whether this thread has `CAP_IPC_LOCK`, for which the limit is none; threads that it starts have it too.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn may_lock_beyond() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK))
}

/// Forbids core dumps of this process, and other processes of the same user to read its memory or to
/// attach a debugger. `root` still can. A program that is executed in its place starts without this.
///
/// # Errors
///
/// [`MemoryError`].
///
/// ```no_run
/// ophie_crypt::memory::forbid_dumps()?;
/// # Ok::<(), ophie_crypt::memory::MemoryError>(())
/// ```
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn forbid_dumps() -> Result<(), MemoryError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(system)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn system(error: rustix::io::Errno) -> MemoryError {
    MemoryError::System(error.raw_os_error())
}
