//! What the adapters of [`ophie_crypt`] share: the library's own tables, the key store and the audit upon them, and
//! envelopes in the application's tables, over any driver.
//!
//! An adapter implements [`Driver`] for its connections, and [`key_store!`], [`audit_store!`] and
//! [`model_store!`] make its types the core's stores. Statements, transactions and the reading of rows stand here, once for all adapters and
//! databases. Not for applications, and exempt from semantic versioning.

#![forbid(unsafe_code)]

mod audit;
mod dialect;
mod driver;
mod keys;
mod migrations;
mod models;
#[cfg(feature = "notifications")]
mod notifications;
mod run;
mod vectors;

#[cfg(feature = "notifications")]
pub use self::notifications::{CHANNEL, Listen, Notifications};
pub use self::{
    audit::AuditTables,
    dialect::Dialect,
    driver::{Begin, Cells, Driver, Failure, FailureKind, Param, Record, Statement, Transaction},
    keys::KeyTables,
    migrations::{Migration, migrate},
    models::ModelTables,
    vectors::VectorRows,
};

#[doc(hidden)]
pub mod private {
    pub use async_trait::async_trait;
    pub use ophie_crypt;
}
