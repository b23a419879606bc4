//! How often a value's way into and out of its envelope asks for memory.
//!
//! Invariant: one allocation for a sealed value and one for an opened one, each of its exact length. The
//! counting allocator serves this binary only. Absent: time.

use std::hint::black_box;

use allocation_counter::{AllocationInfo, measure};
use ophie_crypt::{
    BoundColumn, ColumnRef, IndexColumn, Keyring, LocalKms, MemoryKeyStore, Normalizer, Purpose,
    Session, adapter,
};

const COLUMN: ColumnRef = ColumnRef::new("transcripts", "text");
const LENGTHS: [usize; 4] = [16, 256, 4 << 10, 64 << 10];
const OVERHEAD: usize = 45;

#[test]
fn a_hook_seals_with_one_allocation() {
    for (len, text) in texts() {
        let counted = in_scope(|| drop(black_box(adapter::seal(COLUMN, &text).unwrap())));
        assert_eq!(counted, one(len + OVERHEAD), "{len} bytes");
    }
}

#[test]
fn padding_is_allowed_for() {
    let column = COLUMN.with_padding(64);
    for (len, text) in texts() {
        let counted = in_scope(|| drop(black_box(adapter::seal(column, &text).unwrap())));
        assert_eq!(counted.count_total, 1, "{len} bytes");
    }
}

/// Beside one for each value there are three: two lists, of what is encoded and what is sealed, and the nonces.
#[test]
fn bulk_seals_with_one_allocation_for_each_value() {
    let session = session();
    for (len, text) in texts() {
        let values = vec![text; 100];
        let counted = measure(|| {
            drop(black_box(
                adapter::seal_many(&session, COLUMN, values.iter()).unwrap(),
            ));
        });
        assert_eq!(counted.count_total, 100 + 3, "{len} bytes");
        assert_eq!(counted.count_current, 0);
    }
}

#[test]
fn a_hook_opens_with_one_allocation() {
    for (len, text) in texts() {
        let session = session();
        let counted = session.scope_sync(|| {
            let sealed = adapter::seal(COLUMN, &text).unwrap();
            measure(|| drop(black_box(adapter::open::<String>(COLUMN, &sealed).unwrap())))
        });
        assert_eq!(counted, one(len), "{len} bytes");
    }
}

#[test]
fn a_rejected_value_leaves_nothing_allocated() {
    let session = session();
    let counted = session.scope_sync(|| {
        let mut sealed = adapter::seal(COLUMN, &"x".repeat(16)).unwrap();
        *sealed.last_mut().unwrap() ^= 1;
        measure(|| {
            black_box(adapter::open::<String>(COLUMN, &sealed).unwrap_err());
        })
    });
    assert_eq!(counted, one(16));
}

/// The codec's bytes are the one; the message is made on the stack.
#[test]
fn a_fingerprint_takes_one_allocation() {
    let text = "x".repeat(16);
    let counted = in_scope(|| {
        drop(black_box(
            adapter::fingerprint::<String, Index>(text).unwrap(),
        ));
    });
    assert_eq!(counted.count_total, 1);
}

fn texts() -> impl Iterator<Item = (usize, String)> {
    LENGTHS.into_iter().map(|len| (len, "x".repeat(len)))
}

fn in_scope(run: impl FnOnce()) -> AllocationInfo {
    session().scope_sync(|| measure(run))
}

/// One allocation of `len` bytes, freed again.
fn one(len: usize) -> AllocationInfo {
    let len = u64::try_from(len).expect("a length");
    AllocationInfo {
        count_total: 1,
        count_max: 1,
        bytes_total: len,
        bytes_max: len,
        ..AllocationInfo::default()
    }
}

fn session() -> Session {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().expect("random bytes"))
        .key_store(MemoryKeyStore::new())
        .build()
        .expect("complete");
    runtime
        .block_on(keyring.open_or_provision("ada", Purpose::new("test")))
        .expect("a session")
}

enum Index {}

impl BoundColumn for Index {
    const COLUMN: ColumnRef = ColumnRef::new("transcripts", "text_fp");
}

impl IndexColumn for Index {
    const OF: ColumnRef = COLUMN;
    const NORMALIZER: Normalizer = Normalizer::Exact;
}
