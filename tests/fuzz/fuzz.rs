//! Each target over its seeds, its crashes and some thousand changed seeds: the short run.
//!
//! Absent: the targets and what they assert (`src/targets`); the long run (`long`).

use std::path::Path;

use ophie_crypt_fuzz_tests::{smoke, target};

macro_rules! smoke {
    ($($name:ident)+) => {$(
        #[test]
        fn $name() {
            smoke(target(stringify!($name)), Path::new(env!("CARGO_TARGET_TMPDIR")));
        }
    )+};
}

smoke!(codecs configuration envelope kms ledger local_key normalisers pae pinecone sidecar);

#[cfg(feature = "python")]
smoke!(differential);
