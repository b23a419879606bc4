//! What works on every database, by theme. Each file is compiled once for each.

mod insert;
#[allow(dead_code, reason = "rows have more columns than each test looks at")]
pub(crate) mod models;
mod query;
mod update;
mod world;
