//! Second shares in tables of a second database.
//!
//! Absent: what they do there (`ophie_crypt_sql`), the library's other tables (`keys`).

use ophie_crypt::ShareStoreError;
use ophie_crypt_sql::ShareTables;

use super::keys::KeyPool;

/// A [`ShareStore`](ophie_crypt::ShareStore) in tables: in another database than the keys, on another server, and not in
/// the backup of theirs. The same tables as those of the shares of `ophie-crypt-sqlx`. See
/// [`manual::two_shares`](ophie_crypt::manual::two_shares).
///
/// ```
/// use diesel::{SqliteConnection, r2d2::{ConnectionManager, Pool}};
/// use ophie_crypt::{LocalKms, TwoShareKms};
/// use ophie_crypt_diesel::DieselShares;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = std::env::temp_dir().join(format!("ophie-crypt-diesel-shares-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// let file = dir.join("shares.db").display().to_string(); // not beside the keys
/// let pool = Pool::new(ConnectionManager::<SqliteConnection>::new(file))?;
/// let shares = DieselShares::new(pool, "shop-production"); // this key store's name in there
/// shares.create().await?; // once, as the role that is to own the tables
/// let kms = TwoShareKms::new(LocalKms::ephemeral()?, shares);
/// # drop(kms);
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok(()) }
/// ```
///
/// # Security
///
/// Give the application's role SELECT and INSERT on `ophie_crypt_shares`, and SELECT on `ophie_crypt_shares_destroyed`; a
/// role that shreds or rotates also DELETE on the first, and INSERT and UPDATE on the second. A share passes through the
/// driver's buffers, which are not wiped: alone it is of no use. It is as durable as a commit.
#[derive(Clone)]
pub struct DieselShares<P: KeyPool> {
    tables: ShareTables<P::Driver>,
}

impl<P: KeyPool> DieselShares<P> {
    /// In the database of this pool; the shares of the key store that is called so, in 1 to 255 bytes. The name is for
    /// good: under another one no key opens. Key stores that share these tables need different names, and so does a
    /// copy, or the one destroys the shares of the other.
    #[must_use]
    pub fn new(pool: P, key_store: &str) -> Self {
        Self {
            tables: ShareTables::new(pool.driver(), key_store),
        }
    }

    /// Makes the tables, if they are not there. For the first start: shares that are lost must not become none.
    ///
    /// # Errors
    ///
    /// [`ShareStoreError`].
    pub async fn create(&self) -> Result<(), ShareStoreError> {
        self.tables.create().await
    }
}

ophie_crypt_sql::share_store!(DieselShares<P: KeyPool>);
