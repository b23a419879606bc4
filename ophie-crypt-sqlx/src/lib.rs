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
//!         .bind(person::name_fp("Mom")?.for_write())
//!         .execute(&db).await?;
//!     let [one, other] = person::name_fp(" mom ")?.candidates();
//!     sqlx::query_as::<_, Person>("SELECT * FROM people WHERE name_fp IN ($1, $2)")
//!         .bind(one)
//!         .bind(other)
//!         .fetch_one(&db).await
//! }).await?;
//! assert_eq!(found.name.expose_secret(), "Mom");
//! # Ok(()) }
//! ```
//!
//! # What works
//!
//! Every path of SQLx, with some habits of its own to know:
//!
//! - `.bind()` keeps only the text of a hook's error, and `QueryBuilder::push_bind` panics on one: use
//!   `.try_bind()` or the `query!` macros where the type matters ([`find_error`]), and make a
//!   fingerprint first, which fails early, before building a query.
//! - PostgreSQL: `array_agg` over a column whose type is a DOMAIN gives an array of the domain, which SQLx takes
//!   for no array of bytes: write `array_agg(name::bytea)`. A `char(n)` pads what it holds, so an owner
//!   column of that type gives every row to another owner: use `text`, `varchar` or `uuid`.
//! - MariaDB and MySQL hold ciphertext in `BLOB` or `VARBINARY(n)`, and fingerprints in `BINARY(17)`. Columns of text
//!   convert what they hold between character sets and are refused when they are read; most refuse an envelope when it
//!   is written. `BINARY(n)` fills up with zeros, after which an envelope does not open.
//! - MariaDB and MySQL refuse a value that is too long for its column, and one beyond `max_allowed_packet` (16 MiB
//!   by default). Without the strict `sql_mode` that is their default, and under `INSERT IGNORE`, the column's
//!   limit **cuts instead**, with a warning that SQLx does not read: the value is lost, and its reader is told so.
//! - MariaDB and MySQL take a text for a `BLOB`. A `CHECK (OCTET_LENGTH(name) >= 45 AND ORD(name) BETWEEN 0xFA AND
//!   0xFD)` keeps out what was bound without the constructors: no text in UTF-8 begins like an envelope.
//! - An owner column there is `BINARY(16)` for a `Uuid` (SQLx reads none from `CHAR(36)` or MariaDB's `UUID`), or a
//!   signed integer. For a text give it a collation that knows case and spaces, such as `utf8mb4_nopad_bin`: under
//!   others `WHERE user_id = 'Ada'` finds the rows of `ada`, too, and [`Owner`] refuses the whole result.
//! - MariaDB has `RETURNING` for INSERT and DELETE, and shows SQLx's macros none of its columns.
//! - MariaDB and MySQL: do not drop a query before its answer has come (by `select!`, a time-out, or a client that
//!   went away). SQLx may leave the answer, or a transaction, on the connection, and the next query, perhaps another
//!   request's from the pool, meets it. Another owner's rows are refused by [`Owner`] and by every encrypted column;
//!   plain columns are not. Spawn the work, in its session, and await the task: it then runs to its end.
//! - `query!` and `query_as!` need an override for columns (`name as "name: _"`) and `as _` for parameters.
//!
//! # Look-ups
//!
//! A fingerprint is a value of its column like any other, and `name_fp = $1` finds the rows. Not while the owner's index
//! key is being [rotated](ophie_crypt::Rotation::begin_index): rows then stand under two keys, and such a statement is
//! refused. One that takes both [`candidates`](BlindIndex::candidates), as above, and one that writes
//! [`for_write`](BlindIndex::for_write), work at any time. On PostgreSQL, `name_fp = ANY($1)` takes them as an array.
//!
//! Between rows there is no such help: while the key is being rotated, a join of two rows by their fingerprints, `GROUP BY`
//! one, and `ON CONFLICT` on one know rows of one key only. Leave `for_write` out of an upsert, and it is refused in that
//! time; or look for the candidates first, in the same transaction and behind a lock.
//!
//! # Values bound to their row
//!
//! A hook sees a value, not the row that it stands in, so somebody who writes to the database can swap two
//! values of one owner and column. Where that matters, make the row's id before the row (a UUID, say), declare
//! the field as [`Sealed`], and call [`seal_row`](Encrypted::seal_row) and [`open_row`](Sealed::open_row). They
//! refuse a value that is bound to another row or to none, so every writer of the column has to do so.
//!
//! ```
//! use ophie_crypt::{EncryptedModel, Keyring, LocalKms, MemoryKeyStore, Purpose};
//! use ophie_crypt_sqlx::{Owner, Sealed};
//! use uuid::Uuid;
//!
//! #[derive(EncryptedModel, sqlx::FromRow)]
//! #[crypt(table = "notes")]
//! struct Note {
//!     #[crypt(plain)]
//!     id: Uuid,
//!     user_id: Owner<i64>,
//!     text: Sealed<String, note::text>,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let db = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await?;
//! # sqlx::query("CREATE TABLE notes (id BLOB PRIMARY KEY, user_id INTEGER, text BLOB)").execute(&db).await?;
//! # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(MemoryKeyStore::new()).build()?;
//! let session = keyring.open_or_provision(&7_i64, Purpose::new("docs")).await?;
//! let note = session.scope(async {
//!     let id = Uuid::new_v4();
//!     sqlx::query("INSERT INTO notes (id, user_id, text) VALUES ($1, $2, $3)")
//!         .bind(id).bind(Owner(7_i64)).bind(note::text("slept badly").seal_row(&session, &id)?)
//!         .execute(&db).await?;
//!     sqlx::query_as::<_, Note>("SELECT * FROM notes").fetch_one(&db).await
//! }).await?;
//! assert_eq!(note.text.open_row(&session, &note.id)?.expose_secret(), "slept badly");
//! assert!(note.text.open_row(&session, &Uuid::new_v4()).is_err()); // moved to another row
//! assert!(note.text.open(&session).is_err());
//! # Ok(()) }
//! ```
//!
//! # Imports
//!
//! Import by name, as above. Both crates have an `Error`: [`ophie_crypt::Error`] says what went wrong, and
//! [`Error`] carries it through SQLx. Under two glob imports, name the one that you mean:
//!
//! ```
//! use ophie_crypt::*;
//! use ophie_crypt_sqlx::*;
//! use ophie_crypt::Error; // without it `Error` is ambiguous
//!
//! fn is_another_owners(error: &sqlx::Error) -> bool {
//!     matches!(find_error(error), Some(Error::Owner(OwnerError::OtherOwner)))
//! }
//! # assert!(!is_another_owners(&sqlx::Error::RowNotFound));
//! ```
//!
//! # Features
//!
//! `mysql`, `postgres` and `sqlite`, none by default: key store and audit for that database, and arrays of
//! column types on PostgreSQL. The column types themselves serve every SQLx driver.

#![forbid(unsafe_code)]

#[cfg(feature = "_store")]
mod audit;
mod error;
mod hooks;
#[cfg(feature = "_store")]
mod ledger;
#[cfg(feature = "_store")]
mod models;
#[cfg(feature = "_store")]
mod shares;
mod soak;
#[cfg(feature = "_store")]
mod store;
#[cfg(feature = "postgres")]
mod vectors;

pub use self::error::find_error;
#[cfg(feature = "postgres")]
pub use self::vectors::{PgSidecars, PgVectors};
#[cfg(feature = "mysql")]
pub use self::{
    audit::mysql::MySqlAudit, ledger::MySqlLedger, models::MySqlModels, shares::MySqlShares,
    store::mysql::MySqlKeyStore,
};
#[cfg(feature = "postgres")]
pub use self::{
    audit::postgres::PostgresAudit, ledger::PostgresLedger, models::PostgresModels,
    shares::PostgresShares, store::postgres::PostgresKeyStore,
};
#[cfg(feature = "sqlite")]
pub use self::{
    audit::sqlite::SqliteAudit, ledger::SqliteLedger, models::SqliteModels, shares::SqliteShares,
    store::sqlite::SqliteKeyStore,
};

ophie_crypt::column_types!("ophie_crypt_sqlx");
