//! The tables of a soak, as watch and jobs reach them.
//!
//! Invariant: what a job writes, it writes only where what it read still stands. Absent: SQL (the adapters), keys.

use core::{fmt, time::Duration};
use std::sync::Arc;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::{Beat, Heartbeat, SoakColumn, SoakMigration, SoakProcess, SoakState};
use crate::{
    column::ColumnRef,
    owner::CanonicalId,
    store::{ModelError, ModelStore},
};

/// Tables whose columns can soak. The adapters' are, through the types that reach the application's tables.
#[async_trait]
pub trait SoakStore: ModelStore {
    /// Every column that soaks or has soaked, as the database has it now.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn soaks(&self) -> Result<Vec<SoakRow>, ModelError>;

    /// Says that a process lives, and what it has seen.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn beat(&self, process: SoakProcess, beats: &[Beat]) -> Result<(), ModelError>;

    /// Takes a process's heartbeats away: it ends, and nobody waits for it. One that counted something odd stays, expired.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn leave(&self, process: SoakProcess) -> Result<(), ModelError>;

    /// Heartbeats of this column; which of them live, the database's clock says.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn heartbeats(&self, column: &ColumnRef) -> Result<Vec<Heartbeat>, ModelError>;

    /// From `Plain` to `Expand`: adds the encrypted column and its fingerprints where they are missing, a CHECK that admits
    /// envelopes only, and the guard. It does nothing and says no if the soak has begun.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn expand(&self, soak: &SoakColumn) -> Result<bool, ModelError>;

    /// What [`expand`](Self::expand) does, and what takes it back, as SQL: for a migration of the application's own. It is
    /// made for the table as it is in this database now.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn expansion(&self, soak: &SoakColumn) -> Result<SoakMigration, ModelError>;

    /// Steps to an adjacent state (to `Plain`: with no ciphertext left), if the column is still in `from`, and changes the triggers with it. It keeps writers out
    /// and looks once more for pending rows before `Retired`, and for ciphertext without plaintext on the way back from
    /// `Sealed`; it says no if there are any, or if the column was moved.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn step(
        &self,
        soak: &SoakColumn,
        from: &SoakRow,
        to: SoakState,
    ) -> Result<bool, ModelError>;

    /// In `Retired`: from here on no plaintext gets in. The refusing trigger takes the guard's place, while writers are kept
    /// out; what is done already is done again. It says no if the column was moved.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn close(&self, soak: &SoakColumn, from: &SoakRow) -> Result<bool, ModelError>;

    /// Admits binaries that know nothing of the soak, or admits them no longer. In `Sealed` it keeps writers out and looks
    /// for ciphertext without plaintext first; it says no if there is any, or if the column was moved since `from`.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn admit_old(
        &self,
        soak: &SoakColumn,
        from: &SoakRow,
        admit: bool,
    ) -> Result<bool, ModelError>;

    /// Begins a pass through the pending rows, where the cursor is.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn pass(&self, soak: &SoakColumn) -> Result<Box<dyn SoakPass>, ModelError>;

    /// Takes the plaintext, and its ciphertext with it, of at most so many rows whose owner's keys were destroyed: what a
    /// shred did not reach, as the column did not soak then. Says of how many.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn empty_buried(&self, soak: &SoakColumn, limit: u32) -> Result<u64, ModelError>;

    /// Takes ciphertext and fingerprints of at most so many rows behind a key, which nobody else holds, in `Expand`: where
    /// no release writes any. Gives the keys of these rows, in their order.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn empty_sealed(
        &self,
        soak: &SoakColumn,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, ModelError>;

    /// Puts the cursor back to the first row.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn rewind(&self, soak: &SoakColumn) -> Result<(), ModelError>;

    /// Counts rows.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn count(&self, soak: &SoakColumn, rows: Rows) -> Result<u64, ModelError>;

    /// The next rows that are not NULL everywhere, without ciphertext alone whose owner's keys were destroyed, in the order of their keys, each read in one statement.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn page(
        &self,
        soak: &SoakColumn,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<SoakedRow>, ModelError>;

    /// One row, under a lock that waits for who writes it now.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn reread(&self, soak: &SoakColumn, key: &str) -> Result<Option<SoakedRow>, ModelError>;

    /// Remembers what a verify that began at this version found: nothing, in all of the table, if it is `clean`; otherwise that
    /// something is wrong, which takes back what one before it has found.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn verified(
        &self,
        soak: &SoakColumn,
        version: i64,
        clean: bool,
    ) -> Result<(), ModelError>;

    /// Sets the plaintext of some rows to NULL that have ciphertext, if the column is [closed](Self::close); says of how many, and `None` if a row's ciphertext
    /// changed with it, in which case nothing did.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn empty(&self, soak: &SoakColumn, limit: u32) -> Result<Option<u64>, ModelError>;

    /// Gives rows their plaintext back, and a new envelope with it, where it is NULL, the old envelope still stands, and the
    /// column takes the plaintext whole. Says how many.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn decrypted(&self, soak: &SoakColumn, rows: Vec<Decrypted>) -> Result<u64, ModelError>;

    /// [Closes](Self::close) the column, and drops its plaintext and the triggers, from `Retired` to `Dropped`; says no if the
    /// column was moved, has plaintext, or if a live process knows it.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn drop_twin(&self, soak: &SoakColumn, from: &SoakRow) -> Result<bool, ModelError>;

    /// Writes the table anew, so that no dead row of it stays in its files.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn rewrite(&self, soak: &SoakColumn) -> Result<(), ModelError>;

    /// How far the slowest replica is behind in applying what is written here, for jobs that wait for it:
    /// [`Soaker::max_lag`](super::Soaker::max_lag). `None` if this database does not know, as all but PostgreSQL, or if none
    /// is behind.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn lag(&self) -> Result<Option<Duration>, ModelError> {
        Ok(None)
    }

    /// Where plaintext may still lie after that, for people.
    fn residue(&self) -> &'static [&'static str];
}

macro_rules! handed_on {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $done:ty;)*) => {
        #[async_trait]
        impl<S: SoakStore + ?Sized> SoakStore for Arc<S> {
            $(
                async fn $name(&self, $($argument: $kind),*) -> Result<$done, ModelError> {
                    (**self).$name($($argument),*).await
                }
            )*

            fn residue(&self) -> &'static [&'static str] {
                (**self).residue()
            }
        }
    };
}

handed_on! {
    soaks() -> Vec<SoakRow>;
    beat(process: SoakProcess, beats: &[Beat]) -> ();
    leave(process: SoakProcess) -> ();
    heartbeats(column: &ColumnRef) -> Vec<Heartbeat>;
    expand(soak: &SoakColumn) -> bool;
    expansion(soak: &SoakColumn) -> SoakMigration;
    step(soak: &SoakColumn, from: &SoakRow, to: SoakState) -> bool;
    close(soak: &SoakColumn, from: &SoakRow) -> bool;
    admit_old(soak: &SoakColumn, from: &SoakRow, admit: bool) -> bool;
    pass(soak: &SoakColumn) -> Box<dyn SoakPass>;
    empty_buried(soak: &SoakColumn, limit: u32) -> u64;
    empty_sealed(soak: &SoakColumn, after: Option<&str>, limit: u32) -> Vec<String>;
    rewind(soak: &SoakColumn) -> ();
    count(soak: &SoakColumn, rows: Rows) -> u64;
    page(soak: &SoakColumn, after: Option<&str>, limit: u32) -> Vec<SoakedRow>;
    reread(soak: &SoakColumn, key: &str) -> Option<SoakedRow>;
    verified(soak: &SoakColumn, version: i64, clean: bool) -> ();
    empty(soak: &SoakColumn, limit: u32) -> Option<u64>;
    decrypted(soak: &SoakColumn, rows: Vec<Decrypted>) -> u64;
    drop_twin(soak: &SoakColumn, from: &SoakRow) -> bool;
    rewrite(soak: &SoakColumn) -> ();
    lag() -> Option<Duration>;
}

/// One worker's way through the pending rows of a column. Others may be on theirs: each passes over the rows that another
/// holds, and the cursor, which all move, is where one begins who comes later.
#[async_trait]
pub trait SoakPass: Send {
    /// The owners of the next pending rows, each once; none where the pass is at its end.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn owners_ahead(&mut self, limit: u32) -> Result<Vec<CanonicalId>, ModelError>;

    /// Seals the next pending rows that nobody else holds, and moves the cursor, in one transaction.
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    async fn fill(&mut self, limit: u32, seal: SealRows) -> Result<Filled, ModelError>;

    /// Begins anew at the first row, wherever the cursor is: others move it. One of several of a process goes by itself from
    /// then on, as those of other processes do, so that it meets what a failed batch of another has left.
    fn restart(&mut self);

    /// A pass for another worker of this process, which goes on behind the rows that each of them has taken. None where one
    /// transaction writes at a time, or where nobody wrote this.
    fn beside(&mut self) -> Option<Box<dyn SoakPass>> {
        None
    }
}

/// How far a column is, as the database says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a row that a store reads and jobs look at"
)]
pub struct SoakRow {
    /// The table.
    pub table: String,
    /// The encrypted column.
    pub column: String,
    /// The plaintext column.
    pub twin: String,
    /// Its state.
    pub state: SoakState,
    /// Raised by each step, and when old binaries are admitted or no longer.
    pub version: i64,
    /// The version at which the state began.
    pub since: i64,
    /// Whether binaries that know nothing of the soak are admitted.
    pub admits_old: bool,
    /// At which version a full verify began that found nothing.
    pub verified: Option<i64>,
    /// Rows that backfills have sealed.
    pub filled: u64,
}

impl SoakRow {
    /// Whether it is about this column.
    #[must_use]
    pub fn is_of(&self, column: &ColumnRef) -> bool {
        self.table == column.table() && self.column == column.name()
    }
}

/// Which rows are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "each store must know them all")]
pub enum Rows {
    /// All.
    All,
    /// With ciphertext and without plaintext, of owners whose keys were not destroyed.
    Undecrypted,
    /// With plaintext, and without ciphertext or one of the fingerprints.
    Pending,
    /// With plaintext.
    WithTwin,
}

/// A pending row: its key, its owner, and its plaintext as its codec writes it.
#[expect(clippy::exhaustive_structs, reason = "what stores give to jobs")]
pub struct PlainRow {
    /// The row's key, as text.
    pub key: String,
    /// Whose it is.
    pub owner: CanonicalId,
    /// What its codec writes.
    pub plain: Zeroizing<Vec<u8>>,
}

/// Without the plaintext.
impl fmt::Debug for PlainRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainRow").finish_non_exhaustive()
    }
}

/// Seals rows within the transaction that holds them: one answer for each, in their order.
pub type SealRows = Arc<dyn Fn(&[PlainRow]) -> Vec<Sealing> + Send + Sync>;

/// What becomes of a pending row.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "each store must know them all")]
pub enum Sealing {
    /// It is written.
    Sealed(SealedRow),
    /// It stays as it is, and the cursor passes it: its owner has no keys.
    Skip,
    /// It stays as it is, and so does what follows: its owner's keys are not open, or its lease is used up.
    Stop,
}

/// An envelope, and its value's fingerprints in the order of [`SoakColumn::indexes`].
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "what jobs make and stores write")]
pub struct SealedRow {
    /// The envelope.
    pub sealed: Vec<u8>,
    /// The fingerprints.
    pub fingerprints: Vec<Vec<u8>>,
}

/// What one batch of a backfill did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "what stores say to jobs")]
pub struct Filled {
    /// Rows that were read and locked.
    pub read: u64,
    /// Rows that were written.
    pub written: u64,
    /// Whether the column was in a state in which rows are sealed.
    pub admitted: bool,
}

/// A row as verify sees it, read in one statement.
#[expect(clippy::exhaustive_structs, reason = "what stores give to jobs")]
pub struct SoakedRow {
    /// The row's key, as text.
    pub key: String,
    /// Whose it is.
    pub owner: CanonicalId,
    /// The plaintext as its codec writes it.
    pub plain: Option<Zeroizing<Vec<u8>>>,
    /// The envelope.
    pub sealed: Option<Vec<u8>>,
    /// The fingerprints, in the order of [`SoakColumn::indexes`].
    pub fingerprints: Vec<Option<Vec<u8>>>,
}

/// Without the plaintext.
impl fmt::Debug for SoakedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoakedRow").finish_non_exhaustive()
    }
}

/// A row whose plaintext comes back.
#[expect(clippy::exhaustive_structs, reason = "what jobs make and stores write")]
pub struct Decrypted {
    /// As it was read.
    pub row: SoakedRow,
    /// The plaintext as its codec writes it.
    pub plain: Zeroizing<Vec<u8>>,
    /// A new envelope, and the fingerprints. The guard takes those that plaintext kept through a change for forgotten.
    pub anew: SealedRow,
}

/// Without the plaintext.
impl fmt::Debug for Decrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decrypted").finish_non_exhaustive()
    }
}
