//! Puts a shredder together, and says why one of its steps failed.
//!
//! Invariant: the horizon is never shorter than keys may live in memory. Absent: the steps (`shredder`).

use core::{fmt, time::Duration};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::{
    entry::{NotAdded, View},
    guard::RestoreError,
    in_time::InTime,
    receipt::Terms,
    shredder::{Inner, Shredder},
    store::{RowStore, ShredStore},
};
use crate::{
    clock::Clock,
    keyring::Keyring,
    ledger::{Ledger, LedgerError},
    shares::{ShareStore, ShareStoreError},
    store::{ModelError, StoreError},
    vectors::{VectorStore, VectorStoreError},
};

/// Then a ledger counts as unreachable.
const LEDGER_WITHIN: Duration = Duration::from_secs(30);
/// What a process's clock may be off, and a re-check may take.
const SKEW: Duration = Duration::from_secs(60);

/// Builds a [`Shredder`].
///
/// ```
/// use ophie_crypt::{FileLedger, MemoryKeyStore, Shredder};
///
/// # let path = std::env::temp_dir().join(format!("ophie-crypt-shredder-builder-{}", std::process::id()));
/// let shredder = Shredder::builder(MemoryKeyStore::new(), FileLedger::open_or_create(&path)?).build();
/// # drop(shredder);
/// # std::fs::remove_file(path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct ShredderBuilder(Inner);

impl ShredderBuilder {
    pub(super) fn new(store: impl ShredStore, ledger: impl Ledger) -> Self {
        Self(Inner {
            store: Arc::new(store),
            ledger: Arc::new(InTime::over(ledger, LEDGER_WITHIN)),
            rows: Vec::new(),
            vectors: Vec::new(),
            shares: None,
            terms: Terms::new(Keyring::MAX_TTL.saturating_add(SKEW)),
            again: Duration::from_secs(24 * 3600),
            clock: Clock::default(),
            view: Mutex::new(View::new()),
        })
    }

    /// Tables of the application. May be called again, for another database.
    pub fn rows(mut self, rows: impl RowStore) -> Self {
        self.0.rows.push(Arc::new(rows));
        self
    }

    /// Vectors that stand outside the tables, under a name for errors.
    pub fn vectors(mut self, name: impl Into<Arc<str>>, vectors: impl VectorStore) -> Self {
        self.0.vectors.push((name.into(), Arc::new(vectors)));
        self
    }

    /// The second shares of keys in two shares, and how long a backup of **their** store is kept: zero if none is. A shred
    /// destroys them, and the receipt says when, and from when on no backup of the database opens without them.
    pub fn shares(mut self, shares: impl ShareStore, backups_kept: Duration) -> Self {
        self.0.shares = Some(Arc::new(shares));
        self.0.terms.shares = backups_kept;
        self
    }

    /// How long backups are kept: rows are swept once it has passed, and receipts name its end. 35 days by default; never
    /// shorter than keys may live in memory.
    pub fn horizon(mut self, horizon: Duration) -> Self {
        self.0.terms.backups = horizon;
        self
    }

    /// How long old versions of rows may stand in replicas and in the write-ahead log, for the receipt. As long as
    /// backups if nothing is said.
    pub fn replicas_and_wal(mut self, time: Duration) -> Self {
        self.0.terms.replicas = Some(time);
        self
    }

    /// When the last plaintext column of the models was dropped, in microseconds since 1970, for the receipt: backups
    /// from before hold rows in plaintext.
    pub fn plaintext_until(mut self, at: i64) -> Self {
        self.0.terms.plaintext_until = Some(at);
        self
    }

    /// How long after a sweep an owner's rows and vectors are looked for again: a day by default. Each time that none was
    /// found, it is twice as long until the next time, up to 32 times.
    pub fn sweep_again(mut self, after: Duration) -> Self {
        self.0.again = after;
        self
    }

    /// The shredder.
    pub fn build(self) -> Shredder {
        Shredder(Arc::new(self.0))
    }
}

/// A step of a shred failed; it is tried again.
///
/// ```
/// assert!(ophie_crypt::ShredderError::NotInLedger.to_string().contains("ledger"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShredderError {
    /// The ledger lacks entries that the database knows: it was put back, or this is an old copy of it.
    #[error(
        "the ledger ends at entry {end}, and the database knows of entry {known}, so nothing was added to it and nothing is deleted; put the whole ledger there"
    )]
    Behind {
        /// The last entry of which the database knows.
        known: u64,
        /// The last entry of the ledger.
        end: u64,
    },
    /// The ledger names a later epoch than the database has: this one was put back, or is a copy of the one that writes the
    /// ledger.
    #[error(
        "the ledger names a later epoch than this database has, so nothing was added to it and nothing is deleted; call `restore_replay` if the database was put back, and give a copy a ledger of its own"
    )]
    Epoch,
    /// The ledger belongs to another installation.
    #[error(
        "the ledger belongs to another installation, so nothing was added to it and nothing is deleted; give each database a ledger of its own"
    )]
    Foreign,
    /// The ledger failed.
    #[error(
        "the shred was not added to the ledger, so there is no receipt yet; see the ledger's error"
    )]
    Ledger(#[from] LedgerError),
    /// The application's tables failed.
    #[error("the owner's rows were not reached; see the database's error")]
    Model(#[from] ModelError),
    /// A vector store goes on showing vectors.
    #[error(
        "the vector store `{name}` still shows vectors of the owner; see whether something writes them"
    )]
    NotEmpty {
        /// Its name.
        name: Arc<str>,
    },
    /// The database calls an owner shredded whom the ledger does not know.
    #[error(
        "the ledger does not name the owner, so no row is deleted; keep both as they are and find out why"
    )]
    NotInLedger,
    /// Old versions of rows with the owner's keys in them are left in the tables' files.
    #[error(
        "a snapshot from before the shred still holds old versions of the keys' rows, which stay in the tables' files; end long transactions, and see to prepared ones, replication slots and replicas with hot_standby_feedback"
    )]
    Residue,
    /// The share store failed, or still shows a share of the owner.
    #[error("the owner's second shares were not destroyed; see the share store's error")]
    Shares(#[from] ShareStoreError),
    /// The key store failed.
    #[error("the key store failed; see its error")]
    Store(#[from] StoreError),
    /// A vector store failed.
    #[error("the owner's vectors were not deleted; see the vector store's error")]
    Vectors(#[from] VectorStoreError),
}

impl From<NotAdded> for ShredderError {
    fn from(error: NotAdded) -> Self {
        match error {
            NotAdded::Foreign => Self::Foreign,
            NotAdded::Ledger(error) => Self::Ledger(error),
        }
    }
}

impl From<RestoreError> for ShredderError {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Behind { known, end } => Self::Behind { known, end },
            RestoreError::Foreign => Self::Foreign,
            RestoreError::Ledger(error) => Self::Ledger(error),
            RestoreError::Shared { .. } => Self::Epoch,
            RestoreError::Store(error) => Self::Store(error),
        }
    }
}

impl fmt::Debug for ShredderBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShredderBuilder").finish_non_exhaustive()
    }
}
