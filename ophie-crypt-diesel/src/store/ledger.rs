//! The ledger in a table of a second database.
//!
//! Absent: what it does there (`ophie_crypt_sql`), the library's other tables (`keys`).

use ophie_crypt::LedgerError;
use ophie_crypt_sql::LedgerTable;

use super::keys::KeyPool;

/// A [`Ledger`](ophie_crypt::Ledger) in a table: in another database than the keys, on another server, and out of the
/// backup of theirs. The same table as that of the ledgers of `ophie-crypt-sqlx`.
///
/// ```
/// use diesel::{SqliteConnection, r2d2::{ConnectionManager, Pool}};
/// use ophie_crypt::{Ledger, LedgerHead};
/// use ophie_crypt_diesel::DieselLedger;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = std::env::temp_dir().join(format!("ophie-crypt-diesel-ledger-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// let file = dir.join("ledger.db").display().to_string();
/// let ledger = DieselLedger::new(Pool::new(ConnectionManager::<SqliteConnection>::new(file))?);
/// ledger.create().await?; // once, as the role that is to own it
/// assert_eq!(ledger.head().await?, LedgerHead::EMPTY);
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok(()) }
/// ```
///
/// # Security
///
/// Give the application's role SELECT and INSERT on `ophie_crypt_ledger`, no more. Whoever owns the table can change it;
/// what was changed does not fit heads that were kept elsewhere. An entry is as durable as a commit.
#[derive(Clone)]
pub struct DieselLedger<P: KeyPool> {
    table: LedgerTable<P::Driver>,
}

impl<P: KeyPool> DieselLedger<P> {
    /// In the database of this pool.
    #[must_use]
    pub fn new(pool: P) -> Self {
        Self {
            table: LedgerTable::new(pool.driver()),
        }
    }

    /// Makes the table, if it is not there. For the first start: a ledger that is lost must not become an empty one.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    pub async fn create(&self) -> Result<(), LedgerError> {
        self.table.create().await
    }
}

ophie_crypt_sql::ledger!(DieselLedger<P: KeyPool>);
