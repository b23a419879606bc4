//! What can be said of an owner's deletion, with each of its times apart, and a signature upon it.
//!
//! Invariant: no receipt without an entry in the ledger. Absent: how the entry gets there (`shredder`).

use core::{fmt, time::Duration};
use std::sync::Arc;

use super::{
    record::{Shred, ShredId},
    store::RowStore,
};
use crate::{
    audit::WriterId,
    binding::pae,
    hazmat::chain::{ChainKey, same},
    hex::to_hex,
    kms::{EncryptionContext, Kms, KmsCall, KmsError, WrappedDek},
    ledger::{LedgerError, LedgerHead},
    owner::CanonicalId,
    shares::ShareStoreError,
    store::StoreError,
    vectors::VectorStore,
};

/// What the operator says of times.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// No process holds a key for longer.
    pub(super) caches: Duration,
    pub(super) backups: Duration,
    pub(super) replicas: Option<Duration>,
    pub(super) plaintext_until: Option<i64>,
    /// How long backups of the share store are kept.
    pub(super) shares: Duration,
}

impl Terms {
    pub(super) const fn new(caches: Duration) -> Self {
        Self {
            caches,
            backups: Duration::from_secs(35 * 24 * 3600),
            replicas: None,
            plaintext_until: None,
            shares: Duration::ZERO,
        }
    }

    /// When rows are swept: no process can seal a new one by then, and no backup could bring one back.
    pub(super) fn horizon(&self) -> Duration {
        self.backups.max(self.caches)
    }
}

/// What can be said of an owner's deletion now. [`Display`](fmt::Display) is its text. Times are microseconds since
/// 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The shred.
    pub shred: Shred,
    /// The position of its entry in the ledger.
    pub entry: u64,
    /// A head of the ledger that covers the entry.
    pub head: LedgerHead,
    /// Nothing in the database opens from here on.
    pub live_from: i64,
    /// No process holds a key in memory from here on.
    pub caches_from: i64,
    /// No replica and no write-ahead log holds a wrapped key from here on, by what the operator said of them.
    pub replicas_from: i64,
    /// No backup holds a wrapped key from here on, by what the operator said of them.
    pub backups_from: i64,
    /// No backup holds a row from when its columns were plaintext from here on; `None` if none is known to have been.
    pub plaintext_from: Option<i64>,
    /// Whether this shredder destroys second shares; without it the receipt says nothing of them.
    pub in_two_shares: bool,
    /// When the second shares were destroyed, by their store, which was asked for this; `None` if they were not.
    pub shares_destroyed_at: Option<i64>,
    /// No backup of the database opens what was sealed under a key in two shares from here on, by what the operator said
    /// of the share store's backups; `None` as long as the second shares are there.
    pub shares_from: Option<i64>,
    /// Tables that are kept, and why.
    pub kept: Vec<(String, String)>,
    /// Tables whose rows this shredder deletes; without any the receipt says so.
    pub tables: Vec<String>,
    /// Vector stores that this shredder empties; without any the receipt says so.
    pub vectors: Vec<String>,
}

/// What a shredder was given to work on.
pub(super) struct Reach {
    pub(super) kept: Vec<(String, String)>,
    pub(super) tables: Vec<String>,
    pub(super) vectors: Vec<String>,
    /// When the second shares were destroyed, where there are any.
    pub(super) shares: Option<Option<i64>>,
}

impl Reach {
    pub(super) fn of(
        rows: &[Arc<dyn RowStore>],
        vectors: &[(Arc<str>, Arc<dyn VectorStore>)],
    ) -> Self {
        let models = || rows.iter().map(|rows| rows.models());
        let kept = models().flat_map(|models| models.kept());
        let kept = kept.map(|(table, reason)| (table.to_owned(), reason.to_owned()));
        let tables = models().flat_map(|models| models.deleted_tables());
        Self {
            kept: kept.collect(),
            tables: tables.map(str::to_owned).collect(),
            vectors: vectors.iter().map(|(name, _)| name.to_string()).collect(),
            shares: None,
        }
    }
}

impl Receipt {
    pub(super) fn new(
        shred: Shred,
        appended_at: i64,
        entry: u64,
        head: LedgerHead,
        terms: &Terms,
        reach: Reach,
    ) -> Self {
        let after = |at: i64, time: Duration| {
            at.saturating_add(i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
        };
        // Not when it was asked for: the application's transaction may have been open long after, and after a restore the
        // keys were back. By what the ledger has, the shred was committed.
        let at = shred.requested_at.max(appended_at);
        Self {
            live_from: at,
            caches_from: after(at, terms.caches),
            replicas_from: after(at, terms.replicas.unwrap_or(terms.backups)),
            backups_from: after(at, terms.backups),
            plaintext_from: terms
                .plaintext_until
                .map(|until| after(until.max(at), terms.backups)),
            shred,
            entry,
            head,
            in_two_shares: reach.shares.is_some(),
            shares_destroyed_at: reach.shares.flatten(),
            shares_from: reach
                .shares
                .flatten()
                .map(|destroyed| after(destroyed.max(at), terms.shares)),
            kept: reach.kept,
            tables: reach.tables,
            vectors: reach.vectors,
        }
    }

    /// Signs its text with a key that the KMS makes for it and that nobody keeps: HMAC-SHA-256.
    ///
    /// What that proves: whoever signed had the right to have the KMS make audit keys for this application, and the text
    /// is theirs to the letter. Not who it was among those, and not that the text is true: what it says of the ledger
    /// can be compared with the ledger, the rest is by the database's clock and the operator's word.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use ophie_crypt::{FileLedger, Keyring, LocalKms, MemoryKeyStore, Shredder};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("ophie-crypt-receipt-{}", std::process::id()));
    /// # let store = Arc::new(MemoryKeyStore::new());
    /// # let kms = Arc::new(LocalKms::ephemeral()?);
    /// # let keyring = Keyring::builder().kms(Arc::clone(&kms)).key_store(Arc::clone(&store)).build()?;
    /// # let shredder = Shredder::builder(store, FileLedger::open_or_create(&path)?).build();
    /// # keyring.provision("ada").await?;
    /// # keyring.shred("ada").await?;
    /// # shredder.work().await?;
    /// let signed = shredder.receipt("ada").await?.sign(&*kms, "ophie-crypt").await?;
    /// println!("{signed}"); // keep it whole
    /// assert!(signed.verify(&*kms, "ophie-crypt").await?);
    /// # std::fs::remove_file(path)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`KmsError`].
    pub async fn sign(
        &self,
        kms: &dyn Kms,
        app: impl Into<Arc<str>>,
    ) -> Result<SignedReceipt, KmsError> {
        let made = kms
            .make_dek(&KmsCall::new(context(app, self.shred.id)))
            .await?;
        let text = self.to_string();
        Ok(SignedReceipt {
            id: self.shred.id,
            mac: mac(&made.dek, &text),
            wrapped: made.wrapped,
            text,
        })
    }
}

/// The audit's, of a writer that has the shred's name: policies that admit the one admit the other.
fn context(app: impl Into<Arc<str>>, id: ShredId) -> EncryptionContext {
    EncryptionContext::audit(app, WriterId::from_bytes(*id.as_bytes()))
}

fn mac(key: &crate::Dek, text: &str) -> [u8; 32] {
    let message = pae([b"ophie-crypt/v1/receipt".as_slice(), text.as_bytes()]);
    ChainKey::first(key).seal(&message)
}

/// A receipt's text and its signature. [`Display`](fmt::Display) shows both.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_structs,
    reason = "made again from what was kept of it"
)]
pub struct SignedReceipt {
    /// The shred.
    pub id: ShredId,
    /// The receipt's text.
    pub text: String,
    /// The key, wrapped by the KMS.
    pub wrapped: WrappedDek,
    /// Of the text.
    pub mac: [u8; 32],
}

impl SignedReceipt {
    /// Whether the signature is of this text: see [`Receipt::sign`] for what that proves.
    ///
    /// # Errors
    ///
    /// [`KmsError`]; of another application's or shred's key too.
    pub async fn verify(&self, kms: &dyn Kms, app: impl Into<Arc<str>>) -> Result<bool, KmsError> {
        let call = KmsCall::new(context(app, self.id));
        let key = kms.unwrap_dek(&self.wrapped, &call).await?;
        Ok(same(&mac(&key, &self.text), &self.mac))
    }
}

impl fmt::Display for SignedReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        writeln!(
            f,
            "key      {} {}",
            self.wrapped.kek(),
            to_hex(self.wrapped.as_bytes())
        )?;
        write!(f, "mac      {}", to_hex(&self.mac))
    }
}

/// What steps are over, and what is said where a shredder was not given any.
const KEYS: &str = "DEKs and index keys";
const KEYS_VACUUMED: &str = "no old version of a DEK or an index key is left; bytes of one may lie in free space until they are overwritten";
const SHARES: &str = "second shares of DEKs destroyed, if there were any";
const NO_TABLE: &str = "no table was named";
const NO_VECTORS: &str = "no vector store was named";

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shred = &self.shred;
        writeln!(f, "shred    {}", shred.id)?;
        writeln!(f, "owner    {}", CanonicalId::to_hex(&shred.owner))?;
        writeln!(f, "ledger   entry {}, covered by {}", self.entry, self.head)?;
        writeln!(
            f,
            "live     {}: nothing in the database opens",
            Time(self.live_from)
        )?;
        writeln!(
            f,
            "caches   {}: no process holds a key",
            Time(self.caches_from)
        )?;
        writeln!(
            f,
            "replicas {}: nor a replica or write-ahead log, as configured",
            Time(self.replicas_from)
        )?;
        writeln!(
            f,
            "backups  {}: nor a backup, as configured",
            Time(self.backups_from)
        )?;
        if let Some(at) = self.shares_from {
            writeln!(
                f,
                "shares   {}: nor does a backup open under a key in two shares, as configured",
                Time(at)
            )?;
        }
        match self.plaintext_from {
            Some(at) => writeln!(
                f,
                "contract {}: nor a backup from when columns were plaintext",
                Time(at)
            )?,
            None => writeln!(f, "contract no column is known to have been plaintext")?,
        }
        let (rows, vectors) = (self.tables.join(", "), self.vectors.join(", "));
        match self.shares_destroyed_at {
            Some(at) => writeln!(f, "done     {}: {SHARES}", Time(at))?,
            None if self.in_two_shares => writeln!(f, "not done {SHARES}")?,
            None => {}
        }
        let vacuumed = if self.in_two_shares {
            "key tables and the table of second shares vacuumed"
        } else {
            "key tables vacuumed"
        };
        let keys = match shred.vacuumed_at {
            Some(_) => KEYS_VACUUMED,
            None => KEYS,
        };
        for (step, of, nothing, at) in [
            ("rows tombstoned", &*rows, NO_TABLE, shred.tombstoned_at),
            (
                "vectors deleted, and listed until none was left",
                &vectors,
                NO_VECTORS,
                shred.emptied_at,
            ),
            (vacuumed, keys, "", shred.vacuumed_at),
            ("rows deleted", &rows, NO_TABLE, shred.swept_at),
        ] {
            // A step over nothing is noted too.
            match at {
                _ if of.is_empty() => writeln!(f, "not done {step}: {nothing}")?,
                Some(at) => writeln!(f, "done     {}: {step}: {of}", Time(at))?,
                None => writeln!(f, "not done {step}: {of}")?,
            }
        }
        for (table, reason) in &self.kept {
            writeln!(f, "kept     {table}: {reason}")?;
        }
        Ok(())
    }
}

/// In UTC, as RFC 3339 writes it.
struct Time(i64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.max(0) / 1_000_000;
        let (mut days, second) = (seconds / 86_400, seconds % 86_400);
        let mut year = 1970_i64;
        while days >= days_of(year) {
            days = days.saturating_sub(days_of(year));
            year = year.saturating_add(1);
        }
        let mut month = 1;
        let months = [
            31,
            days_of(year).saturating_sub(337),
            31,
            30,
            31,
            30,
            31,
            31,
            30,
            31,
            30,
        ];
        for of_month in months {
            if days < of_month {
                break;
            }
            days = days.saturating_sub(of_month);
            month = i64::saturating_add(month, 1);
        }
        let (day, hour, minute) = (days.saturating_add(1), second / 3600, second / 60 % 60);
        let second = second % 60;
        write!(
            f,
            "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

const fn days_of(year: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if leap { 366 } else { 365 }
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    reason = "days and moments of this century"
)]
mod tests;

/// There is no receipt.
///
/// ```
/// assert!(ophie_crypt::ReceiptError::TooEarly.to_string().contains("ledger"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// The ledger belongs to another installation: it says nothing of this key store's owners.
    #[error(
        "there is no receipt from a ledger that belongs to another installation; give each database a ledger of its own"
    )]
    Foreign,
    /// The ledger cannot be read, so nobody knows what it would remember.
    #[error("there is no receipt while the ledger cannot be read; see its error")]
    Ledger(#[from] LedgerError),
    /// The owner was never shredded in this key store.
    #[error("the owner was not shredded in this key store")]
    NotShredded,
    /// The share store cannot be asked, so nobody knows what it holds.
    #[error("there is no receipt while the share store cannot be asked; see its error")]
    Shares(#[from] ShareStoreError),
    /// The key store failed.
    #[error("the key store failed; see its error")]
    Store(#[from] StoreError),
    /// The ledger does not have the owner yet.
    #[error(
        "the owner's keys are destroyed, but the ledger does not name it yet, so a restore would bring them back; let a `Shredder` work"
    )]
    TooEarly,
}
