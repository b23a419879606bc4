//! What the adapters of [`ophie_crypt`] share: the library's own tables, the key store and the audit upon them, and
//! envelopes in the application's tables, over any driver.
//!
//! An adapter implements [`Driver`] for its connections, and [`key_store!`], [`rotation_store!`], [`shred_store!`],
//! [`audit_store!`], [`model_store!`], [`row_store!`], [`share_store!`] and [`ledger!`] make its types the core's stores. Statements,
//! transactions and the reading of rows stand here, once for all adapters and databases. Not for applications, and
//! exempt from semantic versioning.

#![forbid(unsafe_code)]

mod audit;
mod dialect;
mod driver;
mod evidence;
mod keys;
mod ledger;
mod migrations;
mod models;
#[cfg(feature = "notifications")]
mod notifications;
mod residue;
mod run;
mod shares;
mod shreds;
mod sidecars;
mod soak;
mod vectors;

#[cfg(feature = "notifications")]
pub use self::notifications::{CHANNEL, Listen, Notifications};
pub use self::{
    audit::AuditTables,
    dialect::Dialect,
    driver::{
        Begin, Cells, Connection, Driver, Failure, FailureKind, Param, Record, Statement,
        Transaction,
    },
    evidence::Evidence,
    keys::KeyTables,
    ledger::LedgerTable,
    migrations::{Migration, migrate, schema_version},
    models::{ModelTables, TableChanges},
    shares::ShareTables,
    shreds::shred_in,
    sidecars::SidecarRows,
    vectors::VectorRows,
};

#[doc(hidden)]
pub mod private {
    pub use async_trait::async_trait;
    pub use ophie_crypt;
}
