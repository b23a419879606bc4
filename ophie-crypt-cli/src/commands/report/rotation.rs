//! The section on rotations: generations that change, and those of index keys.

use serde_json::json;

use super::{
    Facts,
    keys::micros,
    section::{Block, Cell, Section, Table},
};
use crate::error::Error;

pub(super) fn begin() -> Section {
    Section::new(
        "rotation",
        "Rotations and index keys",
        "A generation is announced, seals, drains, and is retired once nothing is sealed under it; it is destroyed by a step of \
         its own. Index keys, which make the fingerprints of blind indexes, go through generations of their own.",
    )
}

pub(super) async fn fill(facts: &Facts<'_>, section: Section) -> Result<Section, Error> {
    let count = |sql| facts.database.counted(sql);
    let keys = count(facts.evidence.keys()).await?;
    let of = |state: &str| {
        let rows = keys.iter().filter(|row| row.text(1) == state);
        rows.map(|row| row.number(2)).fold(0, i64::saturating_add)
    };
    let states = ["announced", "draining", "retired", "destroyed"].map(|state| (state, of(state)));
    let old = count(facts.evidence.keys_of_other_epochs()).await?;
    let old = old.first().map_or(0, |row| row.number(0));
    let (mut rows, mut listed) = (Vec::new(), Vec::new());
    for row in count(facts.evidence.index_keys()).await? {
        let day = |at| {
            row.some_number(at)
                .map_or_else(|| "–".to_owned(), |at| facts.scope.day(at))
        };
        rows.push(vec![
            Cell::Count(row.number(0)),
            Cell::Name(row.text(1).to_owned()),
            Cell::Count(row.number(2)),
            day(3).into(),
            day(4).into(),
            day(5).into(),
        ]);
        listed.push(
            json!({"generation": row.number(0), "state": row.text(1), "keys": row.number(2),
            "oldest": row.some_number(3).map(micros)}),
        );
    }
    let by_state: serde_json::Map<_, _> = states
        .iter()
        .map(|(state, keys)| ((*state).to_owned(), (*keys).into()))
        .collect();
    Ok(section
        .field("keys", by_state)
        .field("keys_of_other_epochs", old)
        .field("index_keys", listed)
        .finds(old > 0, || {
            format!("{old} keys were made before the last restore and seal nothing; rotate them with `ophie-crypt keys rotate --due`")
        })
        .with(Block::Facts(vec![
            ("Announced generations: every process is to know them before they seal", of("announced").into()),
            ("Draining generations: values are sealed anew", of("draining").into()),
            ("Retired generations: nothing is left under them", of("retired").into()),
            ("Destroyed keys, those of shredded owners too", of("destroyed").into()),
            ("Keys that seal and were made before the last restore", old.into()),
        ]))
        .with(Block::Table(Table {
            caption: "Index keys by generation and state".to_owned(),
            head: vec!["Generation", "State", "Keys", "Oldest", "Youngest", "First in this state"],
            rows,
        })))
}
