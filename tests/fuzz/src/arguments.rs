//! The command's arguments, as far as its configuration asks for them: none but the name of a file.
//!
//! Absent: the command, and how it reads its arguments.

use std::path::PathBuf;

pub(crate) struct Shared {
    pub(crate) config: Option<PathBuf>,
}

impl Shared {
    pub(crate) const fn flag(&self, _: &str) -> Option<String> {
        None
    }
}
