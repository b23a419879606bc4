//! `report`: an evidence pack for an auditor, as one page of HTML that needs nothing else, or as JSON.
//!
//! Invariant: it holds no plaintext, no byte of a key, no fingerprint and no ciphertext; owners only where a flag says so.
//! What could not be looked at is said, and ends it with another code. Memory does not grow with rows but of audit
//! writers, intents without an outcome, and findings. A section is a file with `begin` and `fill`, and a line in
//! `sections`. Absent: statements (`ophie_crypt_sql::Evidence`).

mod chain;
mod configuration;
mod deletions;
mod flags;
mod hours;
mod installation;
mod keys;
mod page;
mod plots;
mod rotation;
mod section;
mod soaks;
mod unwraps;
mod usage;

use ophie_crypt::LedgerHead;
use ophie_crypt_sql::{Evidence, Migration};
use serde_json::{Map, Value, json};

pub(crate) use self::flags::Flags;
use self::{flags::Scope, section::Looked};
use crate::{
    clock,
    database::Database,
    error::{Error, Exit},
    output::Report,
    world::World,
};

/// What sections are made from.
struct Facts<'a> {
    world: &'a World,
    database: Database,
    evidence: Evidence,
    scope: Scope,
    flags: &'a Flags,
    /// Heads that the ledger had once.
    known: Vec<LedgerHead>,
    /// In seconds since 1970.
    now: i64,
}

/// Each of these modules' sections; one that fails says why in its place.
macro_rules! sections {
    ($facts:ident, $($module:ident)*) => {
        vec![$(
            match $module::fill($facts, $module::begin()).await {
                Ok(section) => section,
                Err(error) => $module::begin().looked(Looked::Failed(super::rotate::chain(&error))),
            }
        ),*]
    };
}

pub(super) async fn report(world: &World, flags: &Flags) -> Result<Report, Error> {
    let now = clock::now().div_euclid(1_000_000);
    let scope = Scope::new(flags, now).ok_or(Error::Value {
        what: "period of one day to ten years",
        value: "--from to --to".to_owned(),
    })?;
    let known = flags.known.iter().map(|head| {
        head.parse().map_err(|_| Error::Value {
            what: "head of a ledger",
            value: head.clone(),
        })
    });
    let known = known.collect::<Result<Vec<_>, _>>()?;
    let database = world.keys_database(false).await?;
    let facts = &Facts {
        world,
        evidence: scope.evidence(database.dialect()),
        database,
        scope,
        flags,
        known,
        now,
    };
    let newest = Migration::all(facts.database.dialect()).last();
    let newest = newest.map_or(0, Migration::number);
    let sections = match facts.database.schema_version().await? == newest {
        true => {
            sections!(facts, installation keys usage rotation unwraps hours deletions soaks chain configuration)
        }
        // Of other tables, or none, nothing can be said.
        false => sections!(facts, installation configuration),
    };
    let (name, version) = facts.database.whereabouts().await?;
    let about = About {
        made_at: facts.scope.moment(now),
        usual: facts.scope.usual(),
        period: format!(
            "{} to {}",
            facts.scope.day(facts.scope.period.start),
            facts.scope.day(facts.scope.period.end.saturating_sub(1))
        ),
        database: format!("{name} ({} {version})", facts.database.name()),
        program: format!("ophie-crypt {}", env!("CARGO_PKG_VERSION")),
        owners: flags.owners,
    };
    let findings = sections.iter().map(|section| section.findings.len()).sum();
    let failed = sections
        .iter()
        .any(|section| matches!(section.looked, Looked::Failed(_)));
    let by_id = sections
        .iter()
        .map(|section| (section.id.to_owned(), section.to_json()));
    let json = json!({
        "made_at": now.saturating_mul(1_000_000),
        "program": about.program,
        "database": {"kind": facts.database.name(), "name": name, "version": version},
        "period": {"from": facts.scope.period.start.saturating_mul(1_000_000), "until": facts.scope.period.end.saturating_mul(1_000_000)},
        "usual_hours": about.usual,
        "owners_named": flags.owners,
        "findings": super::count(findings),
        "whole": !failed,
        "sections": Value::Object(by_id.collect::<Map<_, _>>()),
    });
    let html = page::page(&about, &sections, |text| world.output.scrubbed_text(text));
    let exit = match (failed, findings) {
        (true, _) => Exit::Failed,
        (false, 1..) => Exit::Findings,
        (false, 0) => Exit::Fine,
    };
    Ok(Report::fine(html, json).ends(exit))
}

/// What the page says of itself.
struct About {
    made_at: String,
    period: String,
    usual: String,
    database: String,
    program: String,
    owners: bool,
}
