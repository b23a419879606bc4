//! `plan`: how far each column in a soak is, what is in its way, and which call is next.
//!
//! Invariant: it changes nothing, and rows are counted in the database. Absent: the steps (`soak`).

use ophie_crypt::soak::{Gate, Heartbeat, Rows, SoakColumn, SoakState, SoakStore};
use serde_json::{Value, json};

use super::{
    hex,
    soak::{Column, gate, store},
};
use crate::{error::Error, output::Report, world::World};

pub(super) async fn plan(world: &World) -> Result<Report, Error> {
    let store = store(world).await?;
    let rows = store.soaks().await?;
    let (mut lines, mut listed) = (Vec::new(), Vec::new());
    for row in &rows {
        let Some(column) = Column::of_row(&store, row) else {
            lines.push(format!(
                "{}.{} (plaintext {}.{}): {}; no model that this program knows has the column",
                row.table, row.column, row.table, row.twin, row.state
            ));
            listed.push(json!({"table": row.table, "column": row.column, "twin": row.twin, "state": row.state.as_str(),
                "version": row.version, "admits_old": row.admits_old, "rows": null, "processes": [], "next": null,
                "unmet": [], "call": null}));
            continue;
        };
        let (text, json) = of(&column).await?;
        lines.push(text);
        listed.push(json);
    }
    for soak in begun_by_none(&*store, &rows) {
        let column = Column {
            store: store.clone(),
            soak,
            row: None,
        };
        let (text, json) = of(&column).await?;
        lines.push(text);
        listed.push(json);
    }
    if lines.is_empty() {
        lines.push("no column soaks, and no model has `soak(twin = ..)`".to_owned());
    }
    Ok(Report::fine(lines.join("\n"), json!({"columns": listed})))
}

/// Columns with the attribute of which the database knows nothing.
fn begun_by_none(store: &dyn SoakStore, rows: &[ophie_crypt::soak::SoakRow]) -> Vec<SoakColumn> {
    let models = store.models();
    let mut found: Vec<SoakColumn> = Vec::new();
    for info in models.iter().flat_map(|model| model.columns()) {
        let column = info.column();
        let known = rows.iter().any(|row| row.is_of(&column))
            || found.iter().any(|soak| soak.column() == column);
        if info.twin().is_some() && !known {
            found.extend(SoakColumn::of(models, column.table(), column.name()));
        }
    }
    found
}

/// For people and for programs.
async fn of(column: &Column) -> Result<(String, Value), Error> {
    let (state, name) = (column.state(), column.soak.column());
    let next = state.next();
    let beats = match &column.row {
        Some(_) => column.store.heartbeats(&name).await?,
        None => Vec::new(),
    };
    let unmet = match (&column.row, next) {
        (Some(_), Some(next)) if state != SoakState::Plain => {
            let looker = column.looker()?;
            looker.stop_handle().stop(); // it waits for nobody
            looker.unmet(column.table(), column.name(), next).await?
        }
        _ => Vec::new(),
    };
    let rows = match what_counts(state) {
        Some((_, rows)) => Some(column.count(rows).await?),
        None => None,
    };
    let (version, admits_old) = column
        .row
        .as_ref()
        .map_or((0, true), |row| (row.version, row.admits_old));
    let call = next.map(|next| call(column, next, &unmet));
    let mut lines = vec![format!(
        "{name} (plaintext {}): {state}, at version {version}",
        column.plaintext()
    )];
    if let (Some(rows), Some((what, _))) = (rows, what_counts(state)) {
        lines.push(format!("  {rows} rows {what}"));
    }
    if admits_old && (SoakState::Expand..SoakState::Retired).contains(&state) {
        lines.push("  binaries that know nothing of the soak are admitted".to_owned());
    }
    for beat in beats.iter().filter(|beat| beat.lives) {
        lines.push(format!("  {}", process(beat, version)));
    }
    let live = beats.iter().filter(|beat| beat.lives).count();
    if live == 0 && next.is_some() && column.row.is_some() {
        lines.push(
            "  no process says that it knows the column: a release with a `SoakWatch` is to be deployed, or is down"
                .to_owned(),
        );
    }
    for gate in &unmet {
        lines.push(format!("  in the way: {gate}"));
    }
    match &call {
        Some(call) => lines.push(format!("  next: {call}")),
        None => lines.push("  nothing is left to be done".to_owned()),
    }
    let unmet: Vec<_> = unmet.iter().map(gate).collect();
    let processes: Vec<_> = beats.iter().map(|beat| entry(beat, version)).collect();
    let json = json!({
        "table": column.table(), "column": column.name(), "twin": column.soak.twin(), "state": state.as_str(),
        "version": version, "admits_old": admits_old, "rows": rows, "processes": processes,
        "next": next.map(SoakState::as_str), "unmet": unmet, "call": call,
    });
    Ok((lines.join("\n"), json))
}

/// Rows that the present state works off.
const fn what_counts(state: SoakState) -> Option<(&'static str, Rows)> {
    match state {
        SoakState::Plain | SoakState::Dropped => None,
        SoakState::Retired => Some(("with plaintext", Rows::WithTwin)),
        _ => Some(("pending: plaintext without ciphertext", Rows::Pending)),
    }
}

fn process(beat: &Heartbeat, version: i64) -> String {
    let acknowledged = match beat.version == version {
        true => "has acknowledged the state".to_owned(),
        false => format!("goes by version {} yet", beat.version),
    };
    let knows = match beat.knows_twin {
        true => format!("accepts nothing below {}", beat.floor),
        false => "knows no plaintext column".to_owned(),
    };
    format!(
        "process {}: {acknowledged}, {knows}; served {} pending values, {} mismatches and failures",
        hex(beat.process.as_bytes()),
        beat.pending,
        beat.odd
    )
}

fn entry(beat: &Heartbeat, version: i64) -> Value {
    json!({"process": hex(beat.process.as_bytes()), "lives": beat.lives, "acknowledged": beat.version == version,
        "knows_twin": beat.knows_twin, "floor": beat.floor.as_str(), "pending": beat.pending, "odd": beat.odd})
}

/// The call that goes on: of a job that a gate waits for, else of the step.
fn call(column: &Column, next: SoakState, unmet: &[Gate]) -> String {
    let word = unmet.iter().find_map(|gate| match gate {
        Gate::Emptied => Some("retire"),
        Gate::NoOldBinaries => Some("refuse-old"),
        Gate::NothingPending => Some("backfill"),
        Gate::Quiet => Some("verify"),
        Gate::Verified => Some("verify"),
        _ => None,
    });
    let word = word.unwrap_or(match next {
        SoakState::Expand => "expand",
        SoakState::DualWrite => "dual-write",
        SoakState::Backfill => "backfill",
        SoakState::Verify => "verify",
        SoakState::Soak => "soak",
        SoakState::Sealed => "seal",
        SoakState::Retired => "retire",
        SoakState::Plain | SoakState::Dropped => "drop",
    });
    let reason = match word {
        "backfill" | "verify" => " --reason ..",
        _ => "",
    };
    format!("ophie-crypt soak {word} {}{reason}", column.plaintext())
}
