//! The section on configuration: what `doctor` finds.

use serde_json::json;

use super::{
    super::doctor::{self, State},
    Facts,
    section::{Block, Cell, Section, Table, visible},
};
use crate::error::Error;

pub(super) fn begin() -> Section {
    Section::new(
        "configuration",
        "Configuration",
        "What `ophie-crypt doctor` finds from this machine, with this configuration: whether databases, KMS and ledger answer, \
         clocks, settings that print values into logs, and the application's tables where this program knows its models.",
    )
}

pub(super) async fn fill(facts: &Facts<'_>, mut section: Section) -> Result<Section, Error> {
    let (mut rows, mut listed) = (Vec::new(), Vec::new());
    for (check, state, text) in doctor::look(facts.world).await?.0 {
        let text = visible(text.chars());
        if matches!(state, State::Warning | State::Failed) {
            section.findings.push(format!("{check}: {text}"));
        }
        listed.push(json!({"check": check, "state": state.word(), "text": text}));
        rows.push(vec![
            Cell::from(check),
            state.word().into(),
            Cell::Name(text),
        ]);
    }
    Ok(section.field("checks", listed).with(Block::Table(Table {
        caption: "Checks".to_owned(),
        head: vec!["Check", "State", "What was found"],
        rows,
    })))
}
