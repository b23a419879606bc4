//! What `ophie_crypt::memory` asks of the system, the system does.
//!
//! Invariant: each is read back from the system, not from the library. Absent: the allocator (`memory.rs`).

#![cfg(target_os = "linux")]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test: what goes wrong here is seen"
)]

use std::fs;

use ophie_crypt::memory::{self, MemoryError};
use rustix::process::{DumpableBehavior, dumpable_behavior};

/// Who may not lock everything locks nothing.
#[test]
fn memory_is_locked_whole_or_not_at_all() {
    let locked = memory::lock();
    let used = vec![1_u8; 8 << 20];
    let kib = locked_kib();
    match locked {
        Ok(()) => assert!(kib > 8 << 10, "{kib} KiB are locked"),
        Err(error) => {
            println!("this process may not: {error}");
            assert_eq!((error, kib), (MemoryError::Limit, 0));
        }
    }
    drop(used);
}

#[test]
fn dumps_are_forbidden() {
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::Dumpable);
    memory::forbid_dumps().unwrap();
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
}

/// `VmLck` of this process.
fn locked_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmLck:"));
    line.and_then(|line| line.split_whitespace().nth(1))
        .and_then(|kib| kib.parse().ok())
        .unwrap()
}
