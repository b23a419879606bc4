//! The modules of `mod.rs` that need no key store on the database.

mod bad_input;
mod bind;
mod blocking;
mod builder;
mod codecs;
mod concurrency;
mod indexes;
mod macros;
mod mistakes;
#[allow(dead_code, reason = "rows have more columns than each test looks at")]
pub(crate) mod models;
mod nulls;
mod owners;
mod sealed;
mod sessions;
mod sizes;
mod streams;
mod transactions;
mod upsert;
#[allow(dead_code, reason = "for tests of the key store")]
pub(crate) mod world;
