//! Key store and audit on the library's own tables, and the application's tables for jobs, over pools of
//! connections.
//!
//! Absent: what they do there (`ophie_crypt_sql`), keys in clear.

#[cfg(all(
    any(feature = "async-mysql", feature = "async-postgres"),
    any(feature = "bb8", feature = "deadpool")
))]
#[allow(
    missing_debug_implementations,
    unnameable_types,
    reason = "sealed: what a `KeyPool` is made of"
)]
mod asynchronous;
mod backend;
#[cfg(feature = "r2d2")]
#[allow(
    missing_debug_implementations,
    unnameable_types,
    reason = "sealed: what a `KeyPool` is made of"
)]
mod blocking;
mod keys;
#[cfg(feature = "async-postgres")]
mod listen;
mod models;

mod sealed {
    /// Keeps a trait to the types of this crate's choice.
    #[allow(unnameable_types, reason = "that is its use")]
    pub trait Sealed {}
}

pub use self::{
    backend::KeyBackend,
    keys::{DieselAudit, DieselKeyStore, KeyPool},
    models::DieselModels,
};
