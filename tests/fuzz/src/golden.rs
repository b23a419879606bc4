//! What the tests of the golden files know of vectors, types and places: the same files, compiled here too.
//!
//! Absent: the golden files' own tests (`tests/golden.rs`).

#![allow(dead_code, reason = "the tests of the golden files use the rest")]

#[path = "../../golden/codecs.rs"]
pub(crate) mod codecs;
#[path = "../../golden/file.rs"]
pub(crate) mod file;
#[path = "../../golden/given.rs"]
pub(crate) mod given;
#[path = "../../golden/kept.rs"]
pub(crate) mod kept;
#[path = "../../golden/places.rs"]
pub(crate) mod places;
#[path = "../../golden/reader.rs"]
pub(crate) mod reader;

use std::path::Path;

/// The golden files.
pub(crate) fn vectors() -> Vec<file::Vector> {
    file::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors"))
}
