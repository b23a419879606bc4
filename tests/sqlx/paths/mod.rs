//! What works on every database, by theme. Each file is compiled once for each.

#[allow(dead_code, reason = "no database's own tests use all of it")]
pub(crate) mod audit;
mod bad_input;
mod bind;
mod blocking;
mod builder;
mod codecs;
mod concurrency;
mod damaged_keys;
mod indexes;
mod keys;
mod macros;
mod migrations;
mod mistakes;
#[allow(dead_code, reason = "rows have more columns than each test looks at")]
pub(crate) mod models;
mod nulls;
mod owners;
mod sealed;
mod sessions;
mod sizes;
#[allow(dead_code, reason = "no database's own tests use all of it")]
pub(crate) mod store;
mod streams;
#[allow(
    clippy::arithmetic_side_effects,
    reason = "small places, far from any limit"
)]
mod tampering;
mod transactions;
mod upsert;
pub(crate) mod world;
