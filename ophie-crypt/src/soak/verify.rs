//! Every row of a column in a soak, opened and compared.
//!
//! Invariant: a row is called wrong only if it is so while nobody writes it. Absent: what is done about it.

use core::fmt;

use tokio::time::sleep;

use super::{
    Rows, SoakJobError, SoakState, SoakedRow, Soaker,
    seal::{Looked, RETRY},
    sessions::Sessions,
    worker::not_now,
};
use crate::store::ModelError;

/// What a verify found.
///
/// ```
/// let report = ophie_crypt::soak::VerifyReport::default();
/// assert!(report.wrong.is_empty() && !report.is_clean()); // it has not been to the end
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Rows that are not NULL everywhere.
    pub rows: u64,
    /// Pending among them.
    pub pending: u64,
    /// Wrong rows: the first [`VerifyReport::NAMED`] by name.
    pub wrong: Vec<WrongRow>,
    /// How many there are.
    pub wrong_rows: u64,
    /// Whether every row was seen.
    pub complete: bool,
}

impl VerifyReport {
    /// How many wrong rows are named.
    pub const NAMED: usize = 1_000;

    /// Whether every row was seen, and none was wrong.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.complete && self.wrong_rows == 0
    }
}

/// A wrong row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WrongRow {
    /// Its key.
    pub key: String,
    /// What is wrong.
    pub wrong: Wrong,
}

impl fmt::Display for WrongRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {}: {}", self.key, self.wrong)
    }
}

/// What is wrong with a row.
///
/// ```
/// assert!(ophie_crypt::soak::Wrong::Differs.to_string().contains("plaintext"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Wrong {
    /// The ciphertext opens, and says something else.
    Differs,
    /// The ciphertext does not open for the row's owner.
    DoesNotOpen,
    /// A fingerprint is not that of the plaintext.
    Fingerprint,
    /// There is ciphertext, and the row's owner never had keys.
    NoKeys,
    /// There is ciphertext, and the plaintext is NULL.
    NoPlaintext,
    /// There is ciphertext and plaintext, and the owner's keys were destroyed.
    Shredded,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Differs => "the ciphertext says something else than the plaintext",
            Self::DoesNotOpen => "the ciphertext does not open for the row's owner",
            Self::Fingerprint => "a fingerprint is not that of the plaintext",
            Self::NoKeys => "there is ciphertext, and the row's owner never had keys",
            Self::NoPlaintext => "there is ciphertext, and the plaintext is NULL",
            Self::Shredded => {
                "the owner's keys were destroyed, and plaintext of the row is left; a shredder empties it"
            }
        })
    }
}

impl Soaker {
    /// Opens and compares every row, under its owner's keys: from `Verify` to `Sealed`. Run it on the primary.
    ///
    /// A full verify that finds nothing is remembered for the state in which it began, until one finds something.
    ///
    /// # Errors
    ///
    /// [`SoakJobError`].
    pub async fn verify(&self, table: &str, column: &str) -> Result<VerifyReport, SoakJobError> {
        let (soak, row) = self.known(table, column).await?;
        if row.state < SoakState::Backfill || row.state > SoakState::Sealed {
            return Err(not_now(&soak.column(), &row));
        }
        let total = self.store.count(&soak, Rows::All).await?;
        let mut sessions = Sessions::new(&self.keyring, false);
        let version = row.version;
        let mut report = VerifyReport::default();
        let mut after: Option<String> = None;
        while !self.is_stopped() {
            let page = self.store.page(&soak, after.as_deref(), self.batch).await?;
            let Some(last) = page.last() else {
                report.complete = true;
                break;
            };
            after = Some(last.key.clone());
            sessions
                .open_all(page.iter().map(|row| &row.owner), 0)
                .await?;
            for row in &page {
                report.rows = report.rows.saturating_add(1);
                match self.judge(&soak, &mut sessions, row).await? {
                    Looked::Right => {}
                    Looked::Pending => report.pending = report.pending.saturating_add(1),
                    Looked::Wrong(wrong) => {
                        if report.wrong_rows == 0 {
                            self.take_back(&soak, version).await?;
                        }
                        report.wrong_rows = report.wrong_rows.saturating_add(1);
                        if report.wrong.len() < VerifyReport::NAMED {
                            let key = row.key.clone();
                            report.wrong.push(WrongRow { key, wrong });
                        }
                    }
                }
            }
            self.tell(report.rows, total);
            self.rest().await;
        }
        if report.is_clean() {
            self.store.verified(&soak, version, true).await?;
        }
        Ok(report)
    }

    /// What a verify before has found lets no step through from now on, however this one ends.
    async fn take_back(&self, soak: &super::SoakColumn, version: i64) -> Result<(), SoakJobError> {
        loop {
            match self.store.verified(soak, version, false).await {
                Err(ModelError::Busy) => sleep(RETRY).await,
                taken => return Ok(taken?),
            }
        }
    }

    /// Of a row that looks wrong, what it is under a lock: somebody may be writing it.
    async fn judge(
        &self,
        soak: &super::SoakColumn,
        sessions: &mut Sessions,
        row: &SoakedRow,
    ) -> Result<Looked, SoakJobError> {
        sessions.open(&row.owner, 0).await?;
        let first = sessions.look(soak, row)?;
        if !matches!(first, Looked::Wrong(_)) {
            return Ok(first);
        }
        let Some(again) = self.store.reread(soak, &row.key).await? else {
            return Ok(Looked::Right); // deleted
        };
        sessions.open(&again.owner, 0).await?;
        sessions.look(soak, &again)
    }
}
