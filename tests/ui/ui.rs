//! What must not compile, with the message that it causes.

use std::{fs, path::Path};

/// Fewer than these, and they were lost or moved away.
const LEAST: usize = 67;

#[test]
fn models() {
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fail"));
    let files = files.expect("a folder of programs").flatten();
    let programs = files.filter(|file| file.path().extension().is_some_and(|end| end == "rs"));
    let count = programs.count();
    assert!(count >= LEAST, "{count} programs, at least {LEAST}");
    // None that passes: trybuild would build the dependencies where checking them is enough.
    trybuild::TestCases::new().compile_fail("fail/*.rs");
}
