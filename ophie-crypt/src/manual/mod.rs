//! Pages on what takes more than one item to explain.
//!
//! Absent: what the items themselves say.

#[doc = include_str!("restore.md")]
pub mod restore {}
