//! The section on keys: owners, generations, ages, and master keys.

use serde_json::json;

use super::{
    Facts,
    section::{Bars, Block, Cell, Section, Table, name},
};
use crate::error::Error;

/// In days; keys as old as the last are due.
const AGES: [i64; 4] = [30, 90, 180, 365];

pub(super) fn begin() -> Section {
    Section::new(
        "keys",
        "Keys",
        "Each owner has data keys in generations, of which one seals at a time. All are stored wrapped by a master key that \
         the KMS does not give away. Counts only: a key is not read to make this report.",
    )
}

pub(super) async fn fill(facts: &Facts<'_>, section: Section) -> Result<Section, Error> {
    let count = |sql| facts.database.counted(sql);
    let owners = count(facts.evidence.owners()).await?;
    let of = |state: &str| {
        let row = owners.iter().find(|row| row.text(0) == state);
        row.map_or(0, |row| row.number(1))
    };
    let (living, shredded) = (of("living"), of("shredded"));
    let (mut rows, mut listed) = (Vec::new(), Vec::new());
    for row in count(facts.evidence.keys()).await? {
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
            "oldest": row.some_number(3).map(micros), "youngest": row.some_number(4).map(micros)}),
        );
    }
    let ages = count(facts.evidence.sealing_ages(facts.now, &AGES)).await?;
    let sealing = listed.iter().filter(|row| row["state"] == "sealing");
    let sealing: i64 = sealing
        .filter_map(|row| row["keys"].as_i64())
        .fold(0, i64::saturating_add);
    let at_least = |at: usize| ages.first().map_or(0, |row| row.number(at));
    let bounds = [
        sealing,
        at_least(0),
        at_least(1),
        at_least(2),
        at_least(3),
        0,
    ];
    let names = [
        "under 30 days",
        "30 to 90",
        "90 to 180",
        "180 to 365",
        "a year or more",
    ];
    let bars = names.iter().zip(bounds.iter().zip(bounds.iter().skip(1)));
    let bars =
        bars.map(|(name, (more, less))| ((*name).to_owned(), [more.saturating_sub(*less), 0]));
    let bars: Vec<_> = bars.collect();
    let by_age: Vec<_> = bars
        .iter()
        .map(|(age, [keys, _])| json!({"age": age, "keys": keys}))
        .collect();
    let (mut keks, mut under) = (Vec::new(), Vec::new());
    for row in count(facts.evidence.keks()).await? {
        let kek = name(&row.bytes(0), row.number(1));
        under.push(json!({"kek": kek, "keys": row.number(2)}));
        keks.push(vec![Cell::Name(kek), Cell::Count(row.number(2))]);
    }
    let old = at_least(3);
    Ok(section
        .field("owners", json!({"living": living, "shredded": shredded}))
        .field("generations", listed)
        .field("sealing_by_age", by_age)
        .field("master_keys", under)
        .finds(old > 0, || {
            format!("{old} keys have sealed for a year or more; rotate them with `ophie-crypt keys rotate --due`")
        })
        .with(Block::Facts(vec![
            ("Living owners", living.into()),
            ("Shredded owners, who have no keys", shredded.into()),
        ]))
        .with(Block::Table(Table {
            caption: "Generations by state".to_owned(),
            head: vec!["Generation", "State", "Keys", "Oldest", "Youngest", "First in this state"],
            rows,
        }))
        .with(Block::Bars(Bars {
            caption: "Keys that seal, by age".to_owned(),
            parts: ["keys", ""],
            bars,
        }))
        .with(Block::Table(Table {
            caption: "Master keys that wrap them".to_owned(),
            head: vec!["Master key", "Keys"],
            rows: keks,
        })))
}

/// Seconds as microseconds.
pub(super) fn micros(seconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000)
}
