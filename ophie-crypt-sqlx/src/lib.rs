//! Encrypted columns for [SQLx](sqlx): column types whose hooks seal on encode and open on decode.
//!
//! ```
//! use ophie_crypt::{EncryptedModel, Keyring, LocalKms, MemoryKeyStore, Purpose};
//! use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner};
//!
//! #[derive(EncryptedModel, sqlx::FromRow)]
//! #[crypt(table = "people")]
//! struct Person {
//!     user_id: Owner<i64>,
//!     name: Encrypted<String, person::name>,
//!     #[crypt(index_of = "name", normalize = "name")]
//!     name_fp: BlindIndex<String, person::name_fp>,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let db = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await?;
//! # sqlx::query("CREATE TABLE people (user_id INTEGER, name BLOB, name_fp BLOB)").execute(&db).await?;
//! # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(MemoryKeyStore::new()).build()?;
//! let session = keyring.open_or_provision(&7_i64, Purpose::new("docs")).await?;
//! let found = session.scope(async {
//!     sqlx::query("INSERT INTO people (user_id, name, name_fp) VALUES ($1, $2, $3)")
//!         .bind(Owner(7_i64))
//!         .bind(person::name("Mom"))
//!         .bind(person::name_fp("Mom")?)
//!         .execute(&db).await?;
//!     sqlx::query_as::<_, Person>("SELECT * FROM people WHERE name_fp = $1")
//!         .bind(person::name_fp(" mom ")?)
//!         .fetch_one(&db).await
//! }).await?;
//! assert_eq!(found.name.expose_secret(), "Mom");
//! # Ok(()) }
//! ```
//!
//! # What works
//!
//! Every path of SQLx, with two habits of its own to know:
//!
//! - `.bind()` keeps only the text of a hook's error, and `QueryBuilder::push_bind` panics on one: use
//!   `.try_bind()` or the `query!` macros where the type matters ([`find_error`]), and make a
//!   fingerprint first, which fails early, before building a query.
//! - `query!` and `query_as!` need an override for columns (`name as "name: _"`) and `as _` for parameters.
//!
//! # Features
//!
//! `postgres` and `sqlite`, none by default: key store and audit for that database, and arrays of
//! column types on PostgreSQL. The column types themselves serve every SQLx driver.

#![forbid(unsafe_code)]

#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod audit;
mod error;
mod hooks;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod store;

pub use self::error::find_error;
#[cfg(feature = "postgres")]
pub use self::{audit::postgres::PostgresAudit, store::postgres::PostgresKeyStore};
#[cfg(feature = "sqlite")]
pub use self::{audit::sqlite::SqliteAudit, store::sqlite::SqliteKeyStore};

ophie_crypt::column_types!("ophie_crypt_sqlx");
