//! Encrypted columns for [Diesel](diesel): column types that seal when they are written and open when they
//! are read.
//!
//! ```
//! use diesel::prelude::*;
//! use ophie_crypt::{EncryptedModel, Keyring, LocalKms, MemoryKeyStore, Purpose};
//! use ophie_crypt_diesel::{BlindIndex, Encrypted, Owner};
//!
//! #[derive(EncryptedModel, Insertable, Queryable, Selectable)]
//! #[crypt(table = "people")]
//! #[diesel(table_name = people)]
//! pub struct Person {
//!     pub user_id: Owner<i64>,
//!     pub name: Encrypted<String, person::name>,
//!     #[crypt(index_of = "name", normalize = "name")]
//!     pub name_fp: BlindIndex<String, person::name_fp>,
//! }
//!
//! diesel::table! {
//!     use diesel::sql_types::BigInt;
//!     use ophie_crypt_diesel::Ciphertext;
//!     use super::person;
//!
//!     people (user_id) {
//!         user_id -> BigInt,
//!         name -> Ciphertext<person::name>,
//!         name_fp -> Ciphertext<person::name_fp>,
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use diesel::connection::SimpleConnection;
//! # let mut db = SqliteConnection::establish(":memory:")?;
//! # db.batch_execute("CREATE TABLE people (user_id BIGINT, name BLOB, name_fp BLOB)")?;
//! # let keyring = Keyring::builder().kms(LocalKms::ephemeral()?).key_store(MemoryKeyStore::new()).build()?;
//! let session = keyring.open_or_provision(&7_i64, Purpose::new("docs")).await?;
//! let found = session.scope_sync(|| {
//!     let mom = Person {
//!         user_id: Owner(7),
//!         name: person::name("Mom"),
//!         name_fp: person::name_fp("Mom")?.for_write(),
//!     };
//!     diesel::insert_into(people::table).values(&mom).execute(&mut db)?;
//!     people::table
//!         .filter(people::name_fp.eq_any(person::name_fp(" mom ")?.candidates()))
//!         .select(Person::as_select())
//!         .first(&mut db)
//! })?;
//! assert_eq!(found.name.expose_secret(), "Mom");
//! # Ok(()) }
//! ```
//!
//! # What is in this crate
//!
//! The column types, for Diesel's own connections and for those of diesel-async. Keys are the
//! [`Keyring`](ophie_crypt::Keyring)'s, in a key store of this crate's or of `ophie-crypt-sqlx`'s, which may share the
//! database. Opening a session is asynchronous, because it asks the KMS; everything inside
//! [`scope_sync`](ophie_crypt::Session::scope_sync) is not.
//!
//! Values are sealed when the statement runs and opened when its rows are read, on the calling thread. A
//! thread has no session unless it enters one: take a clone of the session into `spawn_blocking`, a pool's
//! `interact` or a thread, and call `scope_sync` there. What `load_iter` gives is read while it is iterated,
//! so iterate it in the scope too.
//!
//! # The schema
//!
//! In `table!`, an encrypted column or fingerprint is [`Ciphertext<marker>`](Ciphertext), nullable or not. To
//! write raw bytes, plaintext or another column's value there does not compile. `Binary`, as
//! `diesel print-schema` writes it, works too and is checked less: another column's value is refused when it
//! is read, and raw bytes are when they are opened.
//!
//! Two seals of one value differ, so `.eq(..)` on an `Encrypted` column finds nothing; compare the
//! fingerprint. Fingerprints are bound to their column: those of two columns never match.
//!
//! While an owner's index key is being [rotated](ophie_crypt::Rotation::begin_index), rows stand under two keys: `.eq(..)` on
//! a fingerprint is refused then, and so is an insert that does not say [`for_write`](BlindIndex::for_write).
//! `.eq_any(..candidates())` finds the rows at any time. A join of two rows by their fingerprints, `group_by` one and
//! `on_conflict` on one know rows of one key only: leave `for_write` out of an upsert, and it is refused in that time.
//!
//! A second struct on the same table, without the columns that the database fills in, or with fewer, takes the
//! markers of the first:
//!
//! ```
//! use diesel::prelude::*;
//! use ophie_crypt::EncryptedModel;
//! use ophie_crypt_diesel::{Encrypted, Owner};
//!
//! #[derive(EncryptedModel, Queryable, Selectable)]
//! #[crypt(table = "notes")]
//! #[diesel(table_name = notes)]
//! pub struct Note {
//!     #[crypt(plain)]
//!     pub id: i64,
//!     pub user_id: Owner<i64>,
//!     pub text: Encrypted<String, note::text>,
//!     pub title: Option<Encrypted<String, note::title>>,
//! }
//!
//! #[derive(EncryptedModel, Insertable)]
//! #[crypt(like = Note)]
//! #[diesel(table_name = notes)]
//! pub struct NewNote<'a> {
//!     pub user_id: Owner<i64>,
//!     pub text: &'a Encrypted<String, note::text>,
//! }
//!
//! diesel::table! {
//!     use diesel::sql_types::{BigInt, Nullable};
//!     use ophie_crypt_diesel::Ciphertext;
//!     use super::note;
//!
//!     notes (id) {
//!         id -> BigInt,
//!         user_id -> BigInt,
//!         text -> Ciphertext<note::text>,
//!         title -> Nullable<Ciphertext<note::title>>,
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! # Synchronous programs
//!
//! The keyring works on tokio's runtime also between calls: it refills leases, renews keys and writes the audit. Keep one
//! multi-thread runtime for the life of the program, and give its threads sessions by
//! [`scope_sync`](ophie_crypt::Session::scope_sync). Under a runtime that is not running, sealing ends with the lease, after
//! some thousand values.
//!
//! # Owners
//!
//! [`Owner<T>`](Owner) has the SQL type of `T`. Diesel knows `uuid::Uuid` on PostgreSQL only (its feature
//! `uuid`); elsewhere, `T` is an integer, a `String`, or a type of your own that has Diesel's traits and
//! [`OwnerId`](ophie_crypt::OwnerId). On MySQL, an `Owner<i64>` may stand in a `BIGINT UNSIGNED` column: a number
//! that is no `i64` is Diesel's own error. For all of `u64`, take a type of your own.
//!
//! # MySQL and MariaDB
//!
//! The column of an encrypted value is `BLOB` (64 KiB), `MEDIUMBLOB`, `LONGBLOB`, or a `VARBINARY` with room for
//! 45 bytes more than the plaintext; that of a fingerprint, `VARBINARY(17)` or `BINARY(17)`, which may be unique. In
//! a `TEXT` column, the server refuses ciphertext or recodes it, and what it recoded is refused when it is
//! read. What a server outside strict mode has cut, and what a wider `BINARY` has padded, is lost: it never opens
//! again. Diesel has neither RETURNING nor `excluded` there: in an upsert, set the value itself.
//!
//! An owner column of text needs a collation that knows case and spaces, such as `utf8mb4_nopad_bin`: under others
//! `user_id = 'Ada'` finds the rows of `ada`, too, and [`Owner`] refuses the whole result. Where the binary log is on, making
//! the library's triggers needs `log_bin_trust_function_creators`.
//!
//! Keep `lc_messages` in English, on PostgreSQL too. Diesel passes on no error codes, so the stores of this crate know a
//! deadlock by its text; in another language they report it instead of trying again.
//!
//! # NULL
//!
//! A nullable column is `Option`, and Diesel asks for it when the program is compiled. A NULL where the
//! schema says there is none is Diesel's own `UnexpectedNullError`, as an `Option<Model>` after a left join
//! depends on it.
//!
//! # Asynchronous connections
//!
//! The same types serve diesel-async: `AsyncPgConnection`, `AsyncMysqlConnection`, and SQLite through
//! `SyncConnectionWrapper`, alone or in a pool. Run each request's queries inside
//! [`session.scope(..)`](ophie_crypt::Session::scope); connections carry no session, so requests of many owners
//! share a pool.
//!
//! - Values are sealed when `execute` or `load` is *called*, not when it is awaited; rows are opened where they are
//!   *polled*. Call and await in one scope: `session.scope(async { query.execute(&mut db).await })`. Called outside and awaited inside, a statement with a value fails;
//!   called inside and awaited outside, rows do not open.
//! - A stream of `load_stream` opens each row in the session that polls it, and is not itself in a scope: consume it
//!   in the scope, or wrap it by [`in_session`](ophie_crypt::InSession).
//! - Queries pipelined on one `&AsyncPgConnection` may belong to different owners, each future in its own scope.
//! - A transaction's closure runs in the scope in which `transaction` is awaited. A value that is refused is
//!   refused before anything is sent, so the transaction goes on if you wish.
//! - `tokio::spawn` begins without a session: `tokio::spawn(work.in_session(&session))`. Until then it fails closed.
//! - In a statement with a PostgreSQL type of your own (an enum, say), diesel-async asks for every value twice.
//!   Each is then sealed twice, and counts twice against the owner's budget; one of the two is sent.
//! - On MySQL, do not drop a query before its answer has come (by `select!`, a time-out, or a client that went
//!   away): diesel-async leaves the answer on the connection, and the next query, perhaps another request's from
//!   the pool, reads it. Another owner's rows are refused by [`Owner`] and by every encrypted column; plain columns
//!   are not, and neither is another answer of the same owner's. Spawn the work, in its session, and await the task:
//!   it then runs to its end. Or run it in a transaction: a connection in the middle of one is closed by its pool
//!   (by deadpool when it is next asked for one; the locks stay until then).
//!   PostgreSQL is not concerned; on SQLite, what was called runs to its end anyway.
//!
//! # What Diesel shows
//!
//! `debug_query`, `Debug` of a query, and the events of an `Instrumentation` show no plaintext. They print each bind
//! by its `Debug`: `[REDACTED]`, `BlindIndex(..)`, and `Owner(..)` without the id; an id that you bind as a plain
//! integer is printed, as any plain value is. Two show what goes to the database instead, ciphertext, fingerprints
//! and owner ids: the events of diesel-async's `SyncConnectionWrapper`, and tokio-postgres, which logs
//! parameters at the level DEBUG.
//!
//! # Values bound to their row
//!
//! A hook sees a value, not the row that it stands in, so somebody who writes to the database can swap two
//! values of one owner and column. Where that matters, make the row's id before the row (a UUID, say), declare
//! the field as [`Sealed`], and call [`seal_row`](Encrypted::seal_row) and [`open_row`](Sealed::open_row). They
//! refuse a value that is bound to another row or to none, so every writer of the column has to do so.
//!
//! # Features
//!
//! None by default.
//!
//! - `sqlite`, `postgres`, `mysql`: writing on that back end, without which no column type has Diesel's `ToSql` there. `postgres` and `mysql` take no client library; that
//!   is the application's choice, by Diesel's features.
//! - `r2d2`: [`DieselKeyStore`] and [`DieselAudit`] over Diesel's pools, and [`Migrations`].
//! - `bb8`, `deadpool`: the same over pools of diesel-async, with `async-postgres` or `async-mysql` for the
//!   connections. `async-postgres` also brings the notifications.

#![forbid(unsafe_code)]

mod bind;
mod error;
mod hooks;
#[cfg(feature = "_store")]
mod migrations;
mod soak;
mod sql_type;
#[cfg(feature = "_store")]
mod store;

#[cfg(feature = "r2d2")]
pub use self::store::shred_in;
#[cfg(feature = "_async")]
pub use self::store::shred_in_async;
pub use self::{bind::Bind, error::find_error, sql_type::Ciphertext};
#[cfg(feature = "_store")]
pub use self::{
    migrations::Migrations,
    store::{
        DieselAudit, DieselKeyStore, DieselLedger, DieselModels, DieselShares, KeyBackend, KeyPool,
    },
};

ophie_crypt::column_types!("ophie_crypt_diesel");
