//! What a call did with a column, for people and for programs.
//!
//! Absent: what is done.

use core::time::Duration;

use ophie_crypt::soak::{Gate, SoakState, Soaker};
use serde_json::{Value, json};

use super::Column;
use crate::{error::Exit, output::Report, world::World};

/// What a call did with a column.
pub(super) struct Told {
    was: SoakState,
    /// Where the step leads.
    pub(super) to: Option<SoakState>,
    pub(super) unmet: Vec<Gate>,
    /// Rows that a job was done with, and that are left to it.
    pub(super) done: Option<u64>,
    pub(super) left: Option<u64>,
    pub(super) interrupted: bool,
    pub(super) dry_run: bool,
    pub(super) findings: bool,
    /// How long a job has waited for replicas.
    waited: Option<Duration>,
    lines: Vec<String>,
    fields: Vec<(&'static str, Value)>,
}

impl Told {
    pub(super) fn of(column: &Column, dry_run: bool) -> Self {
        Self {
            was: column.state(),
            to: None,
            unmet: Vec::new(),
            done: None,
            left: None,
            interrupted: false,
            dry_run,
            findings: false,
            waited: None,
            lines: Vec::new(),
            fields: Vec::new(),
        }
    }

    /// Of a job with rows.
    pub(super) fn of_job(column: &Column, dry_run: bool) -> Self {
        Self {
            waited: Some(Duration::ZERO),
            ..Self::of(column, dry_run)
        }
    }

    /// How long this one has waited.
    pub(super) fn waited(&mut self, soaker: &Soaker) {
        let more = soaker.waited_for_replicas();
        self.waited = Some(self.waited.unwrap_or_default().saturating_add(more));
    }

    /// What does not hold, also because nobody waited for the rest.
    pub(super) fn holds_not(&mut self, world: &World, unmet: Vec<Gate>) {
        self.interrupted |= world.stop.is_asked() && !unmet.is_empty();
        self.unmet = unmet;
    }

    pub(super) fn line(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    pub(super) fn more(&mut self, name: &'static str, value: Value) {
        self.fields.retain(|(known, _)| *known != name);
        self.fields.push((name, value));
    }

    /// Where plaintext may still lie.
    pub(super) fn residue(&mut self, places: &[&str]) {
        self.line("the table was written anew; plaintext may still lie in:");
        for place in places {
            self.line(format!("  {place}"));
        }
        self.more("residue", json!(places));
    }

    fn exit(&self) -> Exit {
        let only_processes = self.unmet == [Gate::Acknowledged];
        match (self.unmet.is_empty(), self.left.unwrap_or(0)) {
            _ if self.interrupted => Exit::Interrupted,
            _ if self.findings => Exit::Findings,
            (false, _) if only_processes => Exit::Waiting,
            (false, _) => Exit::Refused,
            (true, 1..) if !self.dry_run => Exit::Waiting,
            (true, _) => Exit::Fine,
        }
    }

    pub(super) fn report(mut self, column: &Column) -> Report {
        let (name, plaintext) = (column.soak.column(), column.plaintext());
        let (was, state) = (self.was, column.state());
        let exit = self.exit();
        let mut lines = vec![match (was == state, self.dry_run, self.to) {
            (true, true, Some(to)) if to != state => {
                format!("{name} (plaintext {plaintext}): {state}; the step would be to {to}")
            }
            (true, ..) => format!("{name} (plaintext {plaintext}): {state}"),
            (false, ..) => format!("{name} (plaintext {plaintext}): {state}, was {was}"),
        }];
        match (self.unmet.is_empty(), self.to) {
            (true, _) => {}
            (false, Some(to)) => lines.push(format!("in the way of {to}:")),
            (false, None) => lines.push("in the way:".to_owned()),
        }
        let said = |gate: &Gate| format!("  {gate}");
        lines.extend(self.unmet.iter().map(said));
        lines.append(&mut self.lines);
        if let Some(waited) = self.waited.filter(|waited| !waited.is_zero()) {
            lines.push(format!("waited {} s for replicas", waited.as_secs()));
        }
        if self.interrupted {
            lines.push("stopped; the same command goes on from here".to_owned());
        }
        let unmet: Vec<_> = self.unmet.iter().map(gate).collect();
        let mut json = json!({
            "table": column.table(), "column": column.name(), "twin": column.soak.twin(),
            "was": was.as_str(), "state": state.as_str(), "unmet": unmet, "done": self.done, "left": self.left,
            "interrupted": self.interrupted, "dry_run": self.dry_run,
        });
        if let Value::Object(fields) = &mut json {
            if let Some(waited) = self.waited {
                let waited = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
                fields.insert("waited_ms".to_owned(), waited.into());
            }
            let more = self.fields.into_iter();
            fields.extend(more.map(|(name, value)| (name.to_owned(), value)));
        }
        Report::fine(lines.join("\n"), json).ends(exit)
    }
}

/// A gate for programs.
pub(in crate::commands) fn gate(gate: &Gate) -> Value {
    json!({"gate": word(*gate), "says": gate.to_string()})
}

const fn word(gate: Gate) -> &'static str {
    match gate {
        Gate::Acknowledged => "acknowledged",
        Gate::Decrypted => "decrypted",
        Gate::Emptied => "emptied",
        Gate::Floor => "floor",
        Gate::NoOldBinaries => "no-old-binaries",
        Gate::NothingPending => "nothing-pending",
        Gate::Quiet => "quiet",
        Gate::TwinUnknown => "twin-unknown",
        Gate::Verified => "verified",
        _ => "other",
    }
}
