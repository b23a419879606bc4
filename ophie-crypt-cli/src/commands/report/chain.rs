//! The section on the audit trail: whether it is as it was written, by its keys and the ledger.

use std::sync::Arc;

use ophie_crypt::{AuditReport, AuditVerifier};

use super::{
    super::watched::Records,
    Facts,
    section::{Block, Looked, Section, visible},
};
use crate::error::Error;

/// Findings that are printed one by one.
const PRINTED: usize = 100;

pub(super) fn begin() -> Section {
    Section::new(
        "chain",
        "Audit trail",
        "All records of all time, each against the chain that it stands in, by a key that the KMS unwraps for this, and against \
         the checkpoints in the ledger. A record is vouched for if the ledger has a checkpoint at it or behind it. Keep the \
         head: the next report compares with it if it is given as `--known`.",
    )
}

pub(super) async fn fill(facts: &Facts<'_>, section: Section) -> Result<Section, Error> {
    let world = facts.world;
    if world.config.setting("kms").is_none() {
        let why = "no KMS is configured, so that nothing was verified";
        return Ok(section.looked(Looked::Absent(why.to_owned())));
    }
    let master = world.master().await?;
    let records = Records::of(world, &facts.database).await?;
    let mut verifier = AuditVerifier::new(records, master.kms).app(world.app());
    let ledger = world.ledger().await?;
    let configured = ledger.is_some();
    if let Some(ledger) = ledger {
        verifier = verifier.ledger(Arc::clone(&ledger));
    }
    for head in &facts.known {
        verifier = verifier.known(*head);
    }
    let report = verifier.verify().await?;
    drop(verifier);
    let section = counted(section, &report);
    Ok(match configured {
        true => section,
        false => section.looked(Looked::Absent(
            "no ledger is configured: nothing is vouched for, and records that were removed at the end are not missed".to_owned(),
        )),
    })
}

fn counted(section: Section, report: &AuditReport) -> Section {
    let sum = |of: fn(&ophie_crypt::WriterReport) -> u64| {
        report.writers.iter().map(of).fold(0, u64::saturating_add)
    };
    let (records, vouched) = (sum(|writer| writer.records), sum(|writer| writer.vouched));
    let (writers, open) = (report.writers.len(), report.open_intents.len());
    let head = report.ledger.map(|head| head.to_string());
    let mut section = section
        .field("writers", super::super::count(writers))
        .field("records", records)
        .field("vouched", vouched)
        .field("open_intents", super::super::count(open))
        .field("ledger", head.clone());
    let findings = report.findings.iter().take(PRINTED);
    section
        .findings
        .extend(findings.map(|finding| visible(finding.to_string().chars().take(500))));
    if let Some(more @ 1..) = report.findings.len().checked_sub(PRINTED) {
        section.findings.push(format!(
            "and {more} more; `ophie-crypt audit verify` prints all"
        ));
    }
    section.with(Block::Facts(vec![
        ("Writers: runs of processes", writers.to_string().into()),
        ("Records", records.to_string().into()),
        (
            "Records that the ledger vouches for",
            vouched.to_string().into(),
        ),
        (
            "Calls to the KMS without an outcome on record",
            open.to_string().into(),
        ),
        (
            "Head of the ledger",
            head.unwrap_or_else(|| "–".to_owned()).into(),
        ),
    ]))
}
