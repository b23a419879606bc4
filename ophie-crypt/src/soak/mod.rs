//! Moving an existing plaintext column to an encrypted one while the application runs.
//!
//! Plaintext and ciphertext stand side by side for a while, the **soak**, in one row: the plaintext column is the
//! **twin** of the encrypted one. The database holds how far each column is ([`SoakState`]); processes say by heartbeat
//! which state they have seen ([`SoakWatch`]); and a tool goes from state to state, each time after what must hold was seen
//! to hold ([`Soaker`]). From every state but the last there is a way back.
//!
//! 1. [`Soaker::expand`] adds the encrypted column, its fingerprints, and a trigger, the **guard**: whoever changes plaintext
//!    alone, such as a binary that knows nothing of all this, empties the ciphertext beside it.
//! 2. Deploy a release whose field is a `Soak<T, C>` with `#[crypt(soak(twin = ".."))]` and whose keyring has a
//!    [`SoakWatch`]. Its statements stay the same in every state.
//! 3. [`Soaker::step`] to `DualWrite` and `Backfill`; [`Soaker::backfill`]; step to `Verify`; [`Soaker::verify`]; step to
//!    `Soak`, where readers compare, for days; step to `Sealed`.
//! 4. [`Soaker::admit_old_binaries`]`(.., false)`, `verify` again, step to `Retired`; once every process has seen that,
//!    [`Soaker::null_out`].
//! 5. Deploy a release without the attribute: the field is `Encrypted<T, C>`. Then [`Soaker::drop_twin`], which nothing
//!    undoes.
//!
//! # What the database holds
//!
//! The guard lets no ciphertext stand beside plaintext that changed without it, compared byte by byte: to a collation, `Mom`
//! and `mom` may be one. It refuses ciphertext without plaintext before `Sealed`, plaintext of owners in
//! `ophie_crypt_tombstones`, and, once old binaries are not admitted any more, plaintext without ciphertext. In `Retired`
//! it admits both of what releases write, until every live process has acknowledged the state; then
//! [`null_out`](Soaker::null_out) puts another trigger in its place that refuses every new plaintext. Roles that write the table need SELECT on
//! `ophie_crypt_soaks` and `ophie_crypt_tombstones`.
//!
//! - **PostgreSQL**: all of it. The steps that change triggers are transactions; writers are kept out for their length,
//!   and nobody is waited for longer than four seconds. A plaintext column that is NOT NULL takes NULL from `Expand` on.
//!   **A statement `SELECT *` that a connection has prepared fails once columns were added** ("cached plan must not change
//!   result type"), as with every added column: before `expand`, have old binaries name their columns, keep no prepared
//!   statements (SQLx: `.persistent(false)` or `statement_cache_capacity(0)`), or open their connections anew after it.
//! - **MariaDB**: its DDL commits by itself. Writers are kept out by `LOCK TABLES`, and the refusing trigger comes before
//!   the guard goes; a tool that dies in between leaves a table that refuses plaintext, and is run again. The plaintext
//!   column must take NULL from the beginning. Who writes the table holds the column's state until its transaction ends, and
//!   a step waits for it, not for long.
//! - **SQLite**: its triggers change no row that is being written, so the guard mends a row after the statement, in its
//!   transaction, and envelopes are told by the triggers, as no CHECK is added to a table that is there. The plaintext
//!   column must take NULL, a table has a `rowid`, by which jobs name rows, and is in the main database. **SQLx's connections
//!   that are open while a column is added or dropped must name columns**: they take `SELECT *` for what it was, and then
//!   give no row at all. Open them anew after `expand` and after the drop.
//!
//! Elsewhere than on SQLite, a table has a primary key of one column. Jobs read text, bytes, integers, booleans, UUIDs and
//! JSON, and floats on PostgreSQL. Times they do not read: each database writes them in its own way. A UUID in a text that is
//! none stays pending. `character(n)` on PostgreSQL, a blind index over JSON, and an SQLite database in UTF-16 would give
//! other bytes than were written. What cannot soak is refused by [`ModelError::CannotSoak`](crate::ModelError::CannotSoak).
//!
//! After the drop, [`Soaker::drop_twin`] writes the table anew and says where plaintext may still lie. Whoever may drop
//! triggers or write the table of states can undo all this; `floor` in the attribute holds the lowest state that a release
//! accepts.
//!
//! Invariant: a value is in the column that every live process reads; of two adjacent states, never three.
//! Absent: SQL (the adapters).

mod admission;
mod backfill;
mod column;
mod deaths;
mod error;
mod gates;
mod heartbeat;
pub(crate) mod hooks;
mod jobs;
mod join;
mod known;
mod lag;
mod migration;
mod seal;
mod sessions;
mod state;
mod store;
#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "small counts, far from any limit"
)]
mod tests;
mod verify;
pub(crate) mod watch;
mod worker;

pub use self::{
    backfill::Backfilled,
    column::{SoakColumn, SoakIndex, Soakable, lookup},
    error::{SoakError, SoakJobError},
    heartbeat::{Beat, Heartbeat, SoakProcess},
    hooks::{SoakColumns, SoakMarker},
    join::Finding,
    known::SoakCounts,
    migration::SoakMigration,
    state::{Gate, SoakState},
    store::{
        Decrypted, Filled, PlainRow, Rows, SealRows, SealedRow, Sealing, SoakPass, SoakRow,
        SoakStore, SoakedRow,
    },
    verify::{VerifyReport, Wrong, WrongRow},
    watch::SoakWatch,
    worker::{SoakProgress, SoakStatus, SoakStop, Soaker},
};
