//! The section on columns that move from plaintext to ciphertext.
//!
//! Absent: rows, which nobody counts here, as that reads whole tables (`plan` does).

use std::sync::Arc;

use ophie_crypt::soak::{Heartbeat, SoakRow, SoakState, SoakStore};
use serde_json::json;

use super::{
    super::{count, soak::Column},
    Facts,
    section::{Block, Cell, Looked, Section, Table, name},
};
use crate::error::Error;

pub(super) fn begin() -> Section {
    Section::new(
        "soaks",
        "Columns that move to ciphertext",
        "A column whose plaintext of before moves to ciphertext goes from state to state, and plaintext stands in its table and \
         in backups until it is dropped. Processes that are alive say which state they go by, and how often a value of plaintext \
         and one of ciphertext did not agree, or did not open. `ophie-crypt plan` counts the rows.",
    )
}

pub(super) async fn fill(facts: &Facts<'_>, section: Section) -> Result<Section, Error> {
    let section = section.field("columns", json!([]));
    if facts.world.config.rows_url().is_err() {
        return Ok(absent(
            section,
            "where the application's rows are was not configured",
        ));
    }
    let database = facts.world.rows_database().await?;
    if !database.has_soaks().await? {
        return Ok(absent(
            section,
            "no column ever moved in the application's database",
        ));
    }
    let store = database.soaks(facts.world.application.models.clone());
    let (mut rows, mut listed, mut odd, mut standing) = (Vec::new(), Vec::new(), 0_i64, 0_i64);
    for soak in store.soaks().await? {
        let seen = Seen::of(&store, &soak).await?;
        let stands = soak.state != SoakState::Dropped;
        standing = standing.saturating_add(i64::from(stands));
        odd = odd.saturating_add(i64::from(seen.odd.is_some_and(|odd| odd > 0)));
        let number = |number: Option<u64>| match number {
            Some(number) => Cell::Count(i64::try_from(number).unwrap_or(i64::MAX)),
            None => "–".into(),
        };
        rows.push(vec![
            shown(&soak.table, &soak.column),
            shown(&soak.table, &soak.twin),
            soak.state.as_str().into(),
            if stands { "yes" } else { "no" }.into(),
            number(seen.live),
            number(seen.acknowledged),
            number(seen.odd),
        ]);
        listed.push(json!({"table": soak.table, "column": soak.column, "twin": soak.twin, "state": soak.state.as_str(),
            "plaintext_stands": stands, "admits_old": soak.admits_old, "processes": seen.live,
            "acknowledged": seen.acknowledged, "odd": seen.odd}));
    }
    Ok(section
        .field("columns", listed)
        .finds(odd > 0, || {
            format!("{odd} columns had values that did not agree or did not open; `ophie-crypt soak verify` names the rows")
        })
        .with(Block::Facts(vec![(
            "Columns whose plaintext still stands in their table",
            standing.into(),
        )]))
        .with(Block::Table(Table {
            caption: "Columns, with those that are through".to_owned(),
            head: vec![
                "Encrypted column",
                "Plaintext column",
                "State",
                "Plaintext stands",
                "Processes alive",
                "Of these, go by this state",
                "Values that did not agree or open",
            ],
            rows,
        })))
}

fn absent(section: Section, why: &str) -> Section {
    section.looked(Looked::Absent(why.to_owned()))
}

fn shown(table: &str, column: &str) -> Cell {
    let full = format!("{table}.{column}");
    let length = i64::try_from(full.chars().count()).unwrap_or(i64::MAX);
    Cell::Name(name(full.as_bytes(), length))
}

/// What processes said of a column; nothing where this program has no model of it.
#[derive(Default)]
struct Seen {
    live: Option<u64>,
    acknowledged: Option<u64>,
    /// Of processes that have ended, too.
    odd: Option<u64>,
}

impl Seen {
    async fn of(store: &Arc<dyn SoakStore>, row: &SoakRow) -> Result<Self, Error> {
        let Some(column) = Column::of_row(store, row) else {
            return Ok(Self::default());
        };
        let beats = store.heartbeats(&column.soak.column()).await?;
        let of = |which: fn(&Heartbeat, i64) -> bool| {
            count(beats.iter().filter(|beat| which(beat, row.version)).count())
        };
        Ok(Self {
            live: Some(of(|beat, _| beat.lives)),
            acknowledged: Some(of(|beat, version| beat.lives && beat.version == version)),
            odd: Some(
                beats
                    .iter()
                    .fold(0, |all, beat| all.saturating_add(beat.odd)),
            ),
        })
    }
}
