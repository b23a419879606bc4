//! What the ledger vouches for: each of its heads is compared with the record in its place.
//!
//! Invariant: every head counts, not only a writer's last: who held its key in between can make a history
//! that agrees with later ones. Absent: the chains between heads (`verify`).

use std::collections::{BTreeSet, HashMap};

use super::{
    chain::{Head, WriterId},
    checkpoint::{KIND, decode},
    report::{AuditFinding, AuditReport},
    verify::{AuditVerifier, PAGE, VerifyError},
};
use crate::ledger::{LedgerEntry, LedgerError, LedgerHead};

/// What the ledger says of one writer.
#[derive(Default)]
pub(super) struct Vouched {
    /// The furthest record.
    pub(super) most: u64,
    /// The furthest that agrees with the table and stands before `limit`.
    pub(super) best: u64,
    /// The MAC of the writer itself, by the first head that has it.
    pub(super) start: Option<[u8; 32]>,
    /// Records that disagree.
    pub(super) rewritten: BTreeSet<u64>,
}

/// Places in one query: databases bind only so many values.
const PLACES: usize = 1024;

pub(super) type Ledgers = HashMap<WriterId, Vouched>;

impl AuditVerifier {
    /// Follows the ledger, and compares each head with the record that is stored in its place.
    pub(super) async fn read_ledger(
        &self,
        report: &mut AuditReport,
    ) -> Result<Ledgers, VerifyError> {
        let mut vouched = Ledgers::new();
        let Some(ledger) = &self.ledger else {
            return Ok(vouched);
        };
        let mut at = LedgerHead::EMPTY;
        let mut known = self.known.clone();
        known.retain(|known| *known != at);
        loop {
            let page = usize::try_from(PAGE).unwrap_or(usize::MAX);
            let entries = match ledger.read(at.position(), page).await {
                Ok(entries) => entries,
                Err(LedgerError::Damaged { position }) => {
                    report
                        .findings
                        .push(AuditFinding::LedgerDamaged { position });
                    break;
                }
                Err(LedgerError::Forked { position }) => {
                    report
                        .findings
                        .push(AuditFinding::LedgerForked { position });
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            if entries.is_empty() {
                break;
            }
            let mut heads = Vec::new();
            let mut damaged = None;
            for entry in &entries {
                let position = at.position().saturating_add(1);
                match checkpoint(entry, &at) {
                    Some(found) => heads.extend(found),
                    None => {
                        damaged = Some(AuditFinding::LedgerDamaged { position });
                        break;
                    }
                }
                at = *entry.head();
                known.retain(|known| *known != at);
            }
            self.compare(&heads, &mut vouched).await?;
            if let Some(damaged) = damaged {
                report.findings.push(damaged);
                break;
            }
        }
        let forked = known.iter().map(|head| AuditFinding::LedgerForked {
            position: head.position(),
        });
        report.findings.extend(forked);
        report.ledger = Some(at);
        Ok(vouched)
    }

    async fn compare(&self, heads: &[Head], vouched: &mut Ledgers) -> Result<(), VerifyError> {
        let places = heads.iter().filter(|head| head.seq > 0).map(place);
        let places: Vec<_> = places.collect();
        let mut stored = HashMap::new();
        for places in places.chunks(PLACES) {
            let macs = self.store.macs(places).await?.into_iter();
            stored.extend(macs.map(|(writer, seq, mac)| ((writer, seq), mac)));
        }
        for head in heads {
            let vouched = vouched.entry(head.writer).or_default();
            vouched.most = vouched.most.max(head.seq);
            if head.seq == 0 {
                if *vouched.start.get_or_insert(head.mac) != head.mac {
                    vouched.rewritten.insert(0);
                }
                continue;
            }
            match stored.get(&place(head)) {
                Some(mac) if *mac == head.mac => vouched.best = vouched.best.max(head.seq),
                Some(_) => drop(vouched.rewritten.insert(head.seq)),
                None => {} // the walk finds what is missing
            }
        }
        Ok(())
    }

    /// Takes back what was vouched for behind a fault: the last head before it counts.
    pub(super) async fn lower(&self, report: &mut AuditReport) -> Result<(), VerifyError> {
        let mut limits: HashMap<WriterId, (u64, u64)> = HashMap::new(); // first fault, best head before
        for (writer, seq) in report.findings.iter().filter_map(AuditFinding::place) {
            let limit = limits.entry(writer).or_insert((seq, 0));
            limit.0 = limit.0.min(seq);
        }
        if limits.is_empty() {
            return Ok(());
        }
        if let Some(ledger) = &self.ledger {
            let end = report.ledger.map_or(0, |head| head.position());
            let mut at = LedgerHead::EMPTY;
            while at.position() < end {
                let page = usize::try_from(PAGE).unwrap_or(usize::MAX);
                let entries = ledger.read(at.position(), page).await?;
                let Some(last) = entries.last() else { break };
                let next = *last.head();
                for entry in entries
                    .iter()
                    .filter(|entry| entry.head().position() <= end)
                {
                    for head in decode(entry.payload()).into_iter().flatten() {
                        if let Some((first, best)) = limits.get_mut(&head.writer)
                            && entry.kind() == KIND
                            && head.seq < *first
                        {
                            *best = (*best).max(head.seq);
                        }
                    }
                }
                at = next;
            }
        }
        for writer in &mut report.writers {
            if let Some((_, best)) = limits.get(&writer.writer) {
                writer.vouched = *best;
            }
        }
        Ok(())
    }
}

/// The heads in an entry that stands behind `before`; `None` if it does not.
fn checkpoint(entry: &LedgerEntry, before: &LedgerHead) -> Option<Vec<Head>> {
    if !entry.follows(before) {
        return None;
    }
    if entry.kind() != KIND {
        return Some(Vec::new());
    }
    decode(entry.payload())
}

fn place(head: &Head) -> (WriterId, i64) {
    (head.writer, i64::try_from(head.seq).unwrap_or(i64::MAX))
}
