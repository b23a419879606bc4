//! The ledger: what must be remembered outside the database, entry by entry.
//!
//! Invariant: an entry is added only behind the head that its writer knew, and each entry's hash covers
//! all before it, so that who knows one head sees whether it was rewritten. Absent: what entries mean.

mod file;
#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    reason = "small counts, far from any limit"
)]
mod tests;

use core::fmt::{self, Debug};
use std::sync::Arc;

use async_trait::async_trait;

pub use self::file::FileLedger;
use crate::{
    binding::pae,
    hazmat::chain::ledger_hash,
    hex::{from_hex, to_hex},
};

/// A list of entries outside the database and its backups, which grows and never changes.
///
/// Audit checkpoints and shreds stand in it. Keep it where neither the application's database role nor whoever
/// restores the database can write: it is worth what separates it from them.
///
/// ```
/// use ophie_crypt::{FileLedger, Ledger, LedgerError, LedgerHead};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = std::env::temp_dir().join(format!("ophie-crypt-ledger-trait-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// let ledger = FileLedger::open_or_create(dir.join("ledger"))?;
/// let first = ledger.append(&LedgerHead::EMPTY, "note", b"one").await?;
/// // Whoever has not seen it cannot add beside it.
/// let beside = ledger.append(&LedgerHead::EMPTY, "note", b"other").await;
/// assert!(matches!(beside, Err(LedgerError::Moved { head }) if head == first));
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok(()) }
/// ```
#[async_trait]
pub trait Ledger: Debug + Send + Sync + 'static {
    /// The last entry.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    async fn head(&self) -> Result<LedgerHead, LedgerError>;

    /// Adds an entry if the head is still the one expected, and returns once it outlives a crash.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Moved`] if it is not; anything else leaves open whether the entry is there.
    async fn append(
        &self,
        expected: &LedgerHead,
        kind: &str,
        payload: &[u8],
    ) -> Result<LedgerHead, LedgerError>;

    /// Entries behind position `after` (0 for all), in order, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`LedgerError`].
    async fn read(&self, after: u64, limit: usize) -> Result<Vec<LedgerEntry>, LedgerError>;
}

#[async_trait]
impl<L: Ledger + ?Sized> Ledger for Arc<L> {
    async fn head(&self) -> Result<LedgerHead, LedgerError> {
        (**self).head().await
    }

    async fn append(
        &self,
        expected: &LedgerHead,
        kind: &str,
        payload: &[u8],
    ) -> Result<LedgerHead, LedgerError> {
        (**self).append(expected, kind, payload).await
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Vec<LedgerEntry>, LedgerError> {
        (**self).read(after, limit).await
    }
}

/// A place in a ledger: a position from 1, and the hash of all up to it. Position 0 is the empty ledger.
///
/// ```
/// use ophie_crypt::LedgerHead;
///
/// let first = LedgerHead::EMPTY.next("note", b"hello");
/// assert_eq!(first.position(), 1);
/// assert_eq!(first.to_string().parse(), Ok(first)); // write it down, and compare later
/// assert_ne!(first, LedgerHead::EMPTY.next("note", b"hullo"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerHead {
    position: u64,
    hash: [u8; 32],
}

impl LedgerHead {
    /// Of a ledger without entries.
    pub const EMPTY: Self = Self {
        position: 0,
        hash: [0; 32],
    };

    /// From what was kept of one.
    #[must_use]
    pub const fn new(position: u64, hash: [u8; 32]) -> Self {
        Self { position, hash }
    }

    /// How many entries there are up to it.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Covers every entry up to it.
    #[must_use]
    pub const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// What this entry behind it makes of it.
    #[must_use]
    pub fn next(&self, kind: &str, payload: &[u8]) -> Self {
        let position = self.position.saturating_add(1);
        let entry = pae([
            &position.to_be_bytes(),
            &self.hash,
            kind.as_bytes(),
            payload,
        ]);
        Self {
            position,
            hash: ledger_hash(&entry),
        }
    }
}

/// The position, a colon, the hash in hexadecimal.
impl fmt::Display for LedgerHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.position, to_hex(&self.hash))
    }
}

/// Not the text of a [`LedgerHead`].
///
/// ```
/// assert!("12".parse::<ophie_crypt::LedgerHead>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a ledger's head is a position, a colon and 64 hexadecimal digits; copy it as it was printed"
)]
#[non_exhaustive]
pub struct NotALedgerHead;

impl core::str::FromStr for LedgerHead {
    type Err = NotALedgerHead;

    fn from_str(text: &str) -> Result<Self, NotALedgerHead> {
        let (position, hash) = text.split_once(':').ok_or(NotALedgerHead)?;
        let hash = from_hex(hash).and_then(|hash| hash.try_into().ok());
        Ok(Self {
            position: position.parse().map_err(|_| NotALedgerHead)?,
            hash: hash.ok_or(NotALedgerHead)?,
        })
    }
}

/// One entry.
///
/// ```
/// use ophie_crypt::{LedgerEntry, LedgerHead};
///
/// let head = LedgerHead::EMPTY.next("note", b"hello");
/// let entry = LedgerEntry::new("note", b"hello", head);
/// assert_eq!((entry.kind(), entry.payload()), ("note", &b"hello"[..]));
/// assert!(entry.follows(&LedgerHead::EMPTY));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    kind: String,
    payload: Vec<u8>,
    head: LedgerHead,
}

impl LedgerEntry {
    /// As stored, with the head that it makes.
    #[must_use]
    pub fn new(kind: impl Into<String>, payload: impl Into<Vec<u8>>, head: LedgerHead) -> Self {
        Self {
            kind: kind.into(),
            payload: payload.into(),
            head,
        }
    }

    /// What it is about, which also says how to read the payload.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What it says.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The head once it was added.
    #[must_use]
    pub const fn head(&self) -> &LedgerHead {
        &self.head
    }

    /// What every ledger takes: for who implements one.
    ///
    /// ```
    /// assert!(ophie_crypt::LedgerEntry::check("two words", b"").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`LedgerError::Invalid`].
    pub fn check(kind: &str, payload: &[u8]) -> Result<(), LedgerError> {
        check(kind, payload)
    }

    /// Whether it stands right behind `before`.
    #[must_use]
    pub fn follows(&self, before: &LedgerHead) -> bool {
        before.next(&self.kind, &self.payload) == self.head
    }
}

/// A ledger did not do its work.
///
/// ```
/// let error = ophie_crypt::LedgerError::unavailable("no space left on device");
/// assert!(error.to_string().contains("ledger"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// What stands there does not follow from what stands before it.
    #[error(
        "the ledger is damaged at entry {position}; keep it as it is and find out who changed it"
    )]
    Damaged {
        /// The first entry that does not fit.
        position: u64,
    },
    /// An entry that was there is no longer: the ledger was put back or replaced.
    #[error(
        "the ledger lacks entry {position}, which it had; keep it as it is and find out who changed it"
    )]
    Forked {
        /// The entry.
        position: u64,
    },
    /// A kind that is not 1 to 32 of `a-z 0-9 -`, or a payload beyond 64 KiB.
    #[error(
        "a ledger entry's kind is 1 to 32 of a-z, 0-9 and -, and its payload at most 65,536 bytes"
    )]
    Invalid,
    /// Another entry was added meanwhile.
    #[error("the ledger's head moved; add the entry behind the new one")]
    Moved {
        /// The head now.
        head: LedgerHead,
    },
    /// It cannot be reached, written or read.
    #[error(
        "the ledger is unavailable; check its file, its folder and the space left, then try again"
    )]
    Unavailable {
        /// What happened.
        #[source]
        source: Arc<dyn core::error::Error + Send + Sync>,
    },
}

impl LedgerError {
    /// A ledger that cannot be reached.
    #[must_use]
    pub fn unavailable(source: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable {
            source: source.into().into(),
        }
    }
}

/// What every ledger takes.
fn check(kind: &str, payload: &[u8]) -> Result<(), LedgerError> {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let named = (1..=32).contains(&kind.len()) && kind.bytes().all(letter);
    if named && payload.len() <= 65_536 {
        return Ok(());
    }
    Err(LedgerError::Invalid)
}
