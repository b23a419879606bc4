//! What must not compile, with the message that it causes, and what must.

use std::{fs, path::Path};

/// Fewer than these, and a folder was lost or moved away.
const LEAST: [(&str, usize); 2] = [("pass", 11), ("fail", 36)];

#[test]
fn models() {
    for (folder, least) in LEAST {
        let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
        let files = files.expect("a folder of programs").flatten();
        let programs = files.filter(|file| file.path().extension().is_some_and(|end| end == "rs"));
        let count = programs.count();
        assert!(
            count >= least,
            "{count} programs in {folder}, at least {least}"
        );
    }
    let cases = trybuild::TestCases::new();
    cases.pass("pass/*.rs");
    cases.compile_fail("fail/*.rs");
}
