//! Verifies the audit trail against its keys and the ledger.
//!
//! Invariant: a record is vouched for if its chain leads to it without a fault and the ledger has a head
//! at it or behind it. Memory grows with writers, findings and open intents, not with records or entries.
//! Absent: the ledger's side (`vouched`); who may do this: whoever may decrypt audit keys.

use core::fmt;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    APP, AuditStep, AuditStore, AuditStoreError, CallId,
    chain::{AuditRow, AuditWriter, Walk, WriterId},
    report::{AuditFinding, AuditReport, OpenIntent, WriterReport, time},
    vouched::Vouched,
};
use crate::{
    hazmat::data_key::Dek,
    kms::{EncryptionContext, Kms, KmsCall, KmsError},
    ledger::{Ledger, LedgerError, LedgerHead},
};

/// Rows or entries at a time.
pub(super) const PAGE: u32 = 512;
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);
/// Keys behind a longer gap are not looked for.
const LONGEST_GAP: u64 = 1 << 20;

/// Verifies the audit trail that [`ChainedAudit`](crate::ChainedAudit)s wrote.
///
/// ```
/// use ophie_crypt::{AuditVerifier, ChainedAudit, FileLedger, LocalKms};
/// use ophie_crypt_sqlx::SqliteKeyStore;
/// # use std::sync::Arc;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = std::env::temp_dir().join(format!("ophie-crypt-verify-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// # let kms = Arc::new(LocalKms::open_or_create(dir.join("master.key"))?);
/// # let ledger = FileLedger::open_or_create(dir.join("ledger"))?;
/// let store = SqliteKeyStore::open(dir.join("keys.db")).await?;
/// # let audit = ChainedAudit::builder(store.audit(), kms.clone()).ledger(ledger.clone()).start().await?;
/// # audit.checkpoint().await?;
/// let report = AuditVerifier::new(store.audit(), kms).ledger(ledger).verify().await?;
/// println!("{report}");
/// assert!(report.has_no_findings());
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok(()) }
/// ```
///
/// # Security
///
/// Run it elsewhere than the application, as a role of its own: `kms:Decrypt` under a context with
/// `purpose` = `audit`, SELECT on the two audit tables, and read access to the ledger. Whoever has
/// that right of decrypting can also forge records behind the last checkpoint.
pub struct AuditVerifier {
    pub(super) store: Arc<dyn AuditStore>,
    kms: Arc<dyn Kms>,
    app: Arc<str>,
    pub(super) ledger: Option<Arc<dyn Ledger>>,
    pub(super) known: Vec<LedgerHead>,
}

/// Intents and outcomes that lack their other half.
type Halves = BTreeMap<(Vec<u8>, i64), Option<OpenIntent>>;

impl AuditVerifier {
    /// Of this store, with a KMS that unwraps audit keys.
    #[must_use]
    pub fn new(store: impl AuditStore, kms: impl Kms) -> Self {
        Self {
            store: Arc::new(store),
            kms: Arc::new(kms),
            app: APP.into(),
            ledger: None,
            known: Vec::new(),
        }
    }

    /// The application's name, as [`ChainedAuditBuilder::app`](crate::ChainedAuditBuilder::app) gave it;
    /// `"ophie-crypt"` if none was given. Writers of another are findings, and their keys are not asked for.
    #[must_use]
    pub fn app(mut self, name: impl Into<Arc<str>>) -> Self {
        self.app = name.into();
        self
    }

    /// Compares with this ledger. Without one, nothing is vouched for.
    #[must_use]
    pub fn ledger(mut self, ledger: impl Ledger) -> Self {
        self.ledger = Some(Arc::new(ledger));
        self
    }

    /// A head that the ledger had once: it must still lead through it.
    #[must_use]
    pub fn known(mut self, head: LedgerHead) -> Self {
        self.known.push(head);
        self
    }

    /// Reads all of it. It may run while the application does.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] if something could not be reached, so that nothing can be said. No row of the tables
    /// makes it fail: what is wrong with one is a finding, and the rest is looked at.
    pub async fn verify(&self) -> Result<AuditReport, VerifyError> {
        let mut report = AuditReport::default();
        let mut vouched = self.read_ledger(&mut report).await?;
        let mut halves = Halves::new();
        let mut keys = Keys::default();
        let mut after = None;
        loop {
            let before = after;
            for writer in self.store.writers(before, PAGE).await? {
                let id = writer.id;
                if after.is_some_and(|after| id <= after) {
                    report
                        .findings
                        .push(AuditFinding::OutOfOrder { writer: id });
                    continue;
                }
                after = Some(id);
                let vouched = vouched.entry(id).or_default();
                let findings = &mut report.findings;
                let key = self.unwrap(&writer, findings, &mut keys).await;
                let records = self
                    .walk(&writer, key, vouched, findings, &mut halves)
                    .await?;
                report.writers.push(WriterReport {
                    writer: id,
                    app: writer.app,
                    started_at: time(writer.started_at),
                    records,
                    vouched: vouched.best,
                });
            }
            if after == before {
                break;
            }
        }
        if let (false, Some(error)) = (keys.answered, keys.unavailable) {
            return Err(error.into());
        }
        let stored = |id: &WriterId| {
            let found = report.writers.binary_search_by_key(id, |one| one.writer);
            found.is_ok()
        };
        let mut missing: Vec<_> = vouched.iter().filter(|(id, _)| !stored(id)).collect();
        missing.sort_by_key(|(id, _)| **id);
        let missing = missing
            .into_iter()
            .map(|(id, vouched)| AuditFinding::WriterMissing {
                writer: *id,
                vouched: vouched.most,
            });
        report.findings.extend(missing);
        let unknown = self.store.unknown_writers(PAGE).await?;
        let unknown = unknown
            .into_iter()
            .map(|id| AuditFinding::UnknownWriter { id });
        report.findings.extend(unknown);
        report.open_intents = halves.into_values().flatten().collect();
        self.lower(&mut report).await?;
        Ok(report)
    }

    /// Follows one writer's chain; how many records it has.
    async fn walk(
        &self,
        writer: &AuditWriter,
        key: Option<Dek>,
        vouched: &mut Vouched,
        findings: &mut Vec<AuditFinding>,
        halves: &mut Halves,
    ) -> Result<u64, VerifyError> {
        let id = writer.id;
        if vouched.start.is_some_and(|mac| writer.mac != mac) {
            vouched.rewritten.insert(0);
        }
        for seq in &vouched.rewritten {
            findings.push(AuditFinding::Rewritten {
                writer: id,
                seq: *seq,
            });
        }
        let mut walk = key.map(|key| {
            let (walk, fits) = Walk::begin(writer, &key);
            if !fits {
                findings.push(AuditFinding::WriterAltered { writer: id });
            }
            walk
        });
        let (mut after, mut records, mut next) = (i64::MIN, 0_u64, 1_u64);
        loop {
            let rows = self.page(id, after, findings).await?;
            let Some(last) = rows.last() else { break };
            if last.seq <= after {
                findings.push(AuditFinding::OutOfOrder { writer: id });
                break;
            }
            after = last.seq;
            for row in rows {
                records = records.saturating_add(1);
                let seq = match u64::try_from(row.seq) {
                    Ok(seq) if seq >= next => seq,
                    _ => {
                        findings.push(AuditFinding::Duplicate {
                            writer: id,
                            seq: row.seq,
                        });
                        continue;
                    }
                };
                let gap = seq.saturating_sub(next);
                if gap > 0 {
                    findings.push(AuditFinding::Missing {
                        writer: id,
                        records: next..=seq.saturating_sub(1),
                    });
                }
                next = seq.saturating_add(1);
                if gap > LONGEST_GAP {
                    walk = None;
                }
                let Some(walk) = &mut walk else { continue };
                if gap > 0 {
                    walk.resume(gap, &row);
                } else if walk.step(&row) {
                    pair(halves, &row);
                } else {
                    altered(findings, id, seq);
                }
            }
        }
        let last = next.saturating_sub(1);
        if vouched.most > last {
            findings.push(AuditFinding::Truncated {
                writer: id,
                last,
                vouched: vouched.most,
            });
        }
        Ok(records)
    }

    /// The next records. One place with several is given whole, or what is behind it would be lost.
    async fn page(
        &self,
        writer: WriterId,
        after: i64,
        findings: &mut Vec<AuditFinding>,
    ) -> Result<Vec<AuditRow>, VerifyError> {
        let mut rows = self.store.rows(writer, after, PAGE).await?;
        let full = u32::try_from(rows.len()).is_ok_and(|count| count >= PAGE);
        let last = rows.last().map(|row| row.seq);
        if let (true, Some(last)) = (full, last) {
            if rows.iter().all(|row| row.seq == last) {
                findings.push(AuditFinding::Duplicate { writer, seq: last });
            } else {
                rows.retain(|row| row.seq != last);
            }
        }
        Ok(rows)
    }

    /// The writer's key, or a finding.
    async fn unwrap(
        &self,
        writer: &AuditWriter,
        findings: &mut Vec<AuditFinding>,
        keys: &mut Keys,
    ) -> Option<Dek> {
        let id = writer.id;
        if *writer.app != *self.app {
            let app = writer.app.clone();
            findings.push(AuditFinding::OtherApp { writer: id, app });
            return None;
        }
        let mut attempt = 1;
        loop {
            let context = EncryptionContext::audit(Arc::clone(&self.app), id);
            let call = KmsCall::attempt_of(context, attempt);
            match self.kms.unwrap_dek(&writer.wrapped, &call).await {
                Ok(key) => {
                    keys.answered = true;
                    return Some(key);
                }
                Err(error) if error.is_final() => {
                    keys.answered = true;
                    findings.push(AuditFinding::KeyRefused { writer: id });
                    return None;
                }
                Err(error) if attempt == ATTEMPTS => {
                    keys.unavailable = Some(error);
                    findings.push(AuditFinding::KeyUnavailable { writer: id });
                    return None;
                }
                Err(_) => sleep(PAUSE).await,
            }
            attempt = attempt.saturating_add(1);
        }
    }
}

/// What the KMS said of all keys: only one that answered nothing is away. Else a writer whose row makes
/// it fail would hide all others.
#[derive(Default)]
struct Keys {
    answered: bool,
    unavailable: Option<KmsError>,
}

/// One more record that was changed; neighbours are one finding.
fn altered(findings: &mut Vec<AuditFinding>, writer: WriterId, seq: u64) {
    if let Some(AuditFinding::Altered {
        writer: before,
        records,
    }) = findings.last_mut()
        && *before == writer
        && records.end().checked_add(1) == Some(seq)
    {
        *records = *records.start()..=seq;
        return;
    }
    findings.push(AuditFinding::Altered {
        writer,
        records: seq..=seq,
    });
}

/// An intent and its outcome cancel out, in whichever order they come: a process whose chain began anew
/// has them in two.
fn pair(halves: &mut Halves, row: &AuditRow) {
    let (Some(call), Some(attempt)) = (&row.call, row.attempt) else {
        return;
    };
    let key = (call.clone(), attempt);
    let half = match (row.step.as_str(), call.as_slice().try_into()) {
        (AuditStep::INTENT, Ok(call)) => Some(OpenIntent {
            writer: row.writer,
            seq: row.seq.unsigned_abs(),
            at: time(row.at),
            call: CallId::new(call),
            attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
        }),
        _ => None,
    };
    if halves.remove(&key).is_none() {
        halves.insert(key, half);
    }
}

/// The audit trail could not be verified, one way or the other.
///
/// ```
/// # use ophie_crypt::{AuditStoreError, VerifyError};
/// let error = VerifyError::from(AuditStoreError::NotMigrated);
/// assert!(error.to_string().contains("could not be read"));
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The KMS unwrapped no key and refused none.
    #[error("the keys of the audit could not be unwrapped; try again")]
    Kms(#[from] KmsError),
    /// The ledger is unavailable.
    #[error("the ledger could not be read; try again")]
    Ledger(#[from] LedgerError),
    /// The records are.
    #[error("the audit could not be read; try again")]
    Store(#[from] AuditStoreError),
}

impl fmt::Debug for AuditVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditVerifier")
            .field("app", &self.app)
            .field("store", &self.store)
            .field("ledger", &self.ledger)
            .finish_non_exhaustive()
    }
}
