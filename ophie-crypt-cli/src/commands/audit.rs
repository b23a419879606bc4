//! `audit`: the last records, and whether all are as they were written.

use std::sync::Arc;

use ophie_crypt::{
    AuditRow, AuditStore, AuditStoreError, AuditVerifier, CanonicalId, LedgerHead, WriterId,
};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{PAGE, watched::Records};
use crate::{
    arguments::Audit,
    clock::micros,
    error::{Error, Exit},
    output::Report,
    owner::OwnerName,
    world::World,
};

pub(super) async fn run(world: &World, command: Audit) -> Result<Report, Error> {
    match command {
        Audit::Tail { lines, owner } => tail(world, lines, owner).await,
        Audit::Verify { known } => verify(world, &known).await,
    }
}

async fn tail(world: &World, lines: u32, owner: Option<OwnerName>) -> Result<Report, Error> {
    let audit = world.keys().await?.audit;
    let owner = owner.map(|owner| owner.0);
    let most = usize::try_from(lines).unwrap_or(usize::MAX);
    let mut rows: Vec<AuditRow> = Vec::new();
    let mut after = None;
    loop {
        let writers = audit.writers(after, PAGE).await?;
        let Some(last) = writers.last() else { break };
        after = Some(last.id);
        for writer in &writers {
            rows.extend(last_of(&*audit, writer.id, owner.as_ref(), most).await?);
            rows.sort_by_key(|row| (row.at, row.writer, row.seq));
            let surplus = rows.len().saturating_sub(most);
            rows.drain(..surplus);
        }
    }
    let text: Vec<_> = rows.iter().map(line).collect();
    let records: Vec<_> = rows.iter().map(record).collect();
    let text = match text.is_empty() {
        true => "no records".to_owned(),
        false => text.join("\n"),
    };
    Ok(Report::fine(text, json!({"records": records})))
}

/// A writer's last records; of one owner's, all are read.
async fn last_of(
    audit: &dyn AuditStore,
    writer: WriterId,
    owner: Option<&CanonicalId>,
    most: usize,
) -> Result<Vec<AuditRow>, AuditStoreError> {
    let mut after = match owner {
        Some(_) => 0,
        None => {
            let end = end(audit, writer).await?;
            end.saturating_sub(i64::try_from(most).unwrap_or(i64::MAX))
                .max(0)
        }
    };
    let mut rows: Vec<AuditRow> = Vec::new();
    loop {
        let page = audit.rows(writer, after, PAGE).await?;
        let Some(last) = page.last().filter(|last| last.seq > after) else {
            return Ok(rows);
        };
        after = last.seq;
        let of_owner = |row: &AuditRow| owner.is_none_or(|owner| row.owner == owner.as_bytes());
        rows.extend(page.into_iter().filter(of_owner));
        let surplus = rows.len().saturating_sub(most);
        rows.drain(..surplus);
    }
}

/// The last record's place, by halving: the store gives records forwards only.
async fn end(audit: &dyn AuditStore, writer: WriterId) -> Result<i64, AuditStoreError> {
    let is_behind = async |at| Ok(!audit.rows(writer, at, 1).await?.is_empty());
    let (mut low, mut high) = (0_i64, 1_i64);
    while is_behind(high).await? {
        low = high;
        high = high.saturating_mul(2);
    }
    // Something is behind `low`, if anything is; nothing is behind `high`.
    while high.saturating_sub(low) > 1 {
        let middle = low.midpoint(high);
        match is_behind(middle).await? {
            true => low = middle,
            false => high = middle,
        }
    }
    Ok(high)
}

fn line(row: &AuditRow) -> String {
    let owner = OwnerName(CanonicalId::from_bytes(&row.owner));
    let mut text = format!(
        "{}  {:?}  {owner} generation {}  {:?} {}",
        moment(row.at),
        row.actor,
        row.generation,
        row.purpose,
        row.step
    );
    for part in [&row.operation, &row.result, &row.request_id]
        .into_iter()
        .flatten()
    {
        text.push_str(&format!(" {part:?}"));
    }
    if let Some(reason) = &row.reason {
        text.push_str(&format!("  reason: {reason:?}"));
    }
    text
}

fn record(row: &AuditRow) -> Value {
    let owner = OwnerName(CanonicalId::from_bytes(&row.owner)).to_string();
    json!({"writer": row.writer.to_string(), "seq": row.seq, "at": row.at, "actor": row.actor,
        "owner": owner, "generation": row.generation, "purpose": row.purpose, "reason": row.reason,
        "step": row.step, "operation": row.operation, "result": row.result,
        "request_id": row.request_id, "took": row.took})
}

/// A time as people read it.
fn moment(micros: i64) -> String {
    let nanos = i128::from(micros).saturating_mul(1000);
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos);
    at.map_or_else(|_| micros.to_string(), |at| at.to_string())
}

async fn verify(world: &World, known: &[String]) -> Result<Report, Error> {
    let database = world.keys_database(false).await?;
    let master = world.master().await?;
    let records = Records::of(world, &database).await?;
    let mut verifier = AuditVerifier::new(records, master.kms).app(world.app());
    let ledger = world.ledger().await?;
    if let Some(ledger) = &ledger {
        verifier = verifier.ledger(Arc::clone(ledger));
    }
    for head in known {
        let head: LedgerHead = head.parse().map_err(|_| Error::Value {
            what: "head of a ledger",
            value: head.clone(),
        })?;
        verifier = verifier.known(head);
    }
    let report = verifier.verify().await?;
    drop(verifier);
    let writers: Vec<_> = report
        .writers
        .iter()
        .map(|writer| {
            json!({"writer": writer.writer.to_string(), "app": writer.app,
                "started_at": micros(writer.started_at), "records": writer.records, "vouched": writer.vouched})
        })
        .collect();
    let findings: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    let open: Vec<_> = report
        .open_intents
        .iter()
        .map(|intent| {
            json!({"writer": intent.writer.to_string(), "seq": intent.seq, "at": micros(intent.at),
                "call": intent.call.to_string(), "attempt": intent.attempt})
        })
        .collect();
    let json = json!({"writers": writers, "findings": findings, "open_intents": open,
        "ledger": report.ledger.map(|head| head.to_string())});
    let exit = match report.has_no_findings() {
        true => Exit::Fine,
        false => Exit::Findings,
    };
    Ok(Report::fine(report.to_string(), json).ends(exit))
}
