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
#[cfg_attr(
    not(any(feature = "mysql", feature = "postgres", feature = "sqlite")),
    allow(
        dead_code,
        unused_imports,
        unused_macros,
        reason = "a pool without a database"
    )
)]
mod backend;
#[cfg(feature = "r2d2")]
#[allow(
    missing_debug_implementations,
    unnameable_types,
    reason = "sealed: what a `KeyPool` is made of"
)]
mod blocking;
mod keys;
mod ledger;
#[cfg(feature = "async-postgres")]
mod listen;
mod models;
mod shares;
mod shreds;

mod sealed {
    /// Keeps a trait to the types of this crate's choice.
    #[allow(unnameable_types, reason = "that is its use")]
    pub trait Sealed {}
}

#[cfg(feature = "r2d2")]
pub use self::shreds::shred_in;
#[cfg(feature = "_async")]
pub use self::shreds::shred_in_async;
pub use self::{
    backend::KeyBackend,
    keys::{DieselAudit, DieselKeyStore, KeyPool},
    ledger::DieselLedger,
    models::DieselModels,
    shares::DieselShares,
};
