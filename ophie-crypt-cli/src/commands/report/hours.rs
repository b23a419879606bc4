//! The section on when sessions began: the week, those outside usual hours, and those with a reason.

use ophie_crypt::CanonicalId;
use serde_json::{Value, json};

use super::{
    Facts,
    keys::micros,
    section::{Block, Cell, Section, Table, Week, name},
};
use crate::{error::Error, owner::OwnerName};

/// Sessions that are listed.
const LISTED: u32 = 25;

pub(super) fn begin() -> Section {
    Section::new(
        "hours",
        "Sessions outside usual hours",
        "When sessions of the period began, by the clocks of their processes, against the usual hours that this report was \
         asked for. A fixed offset from UTC knows no summer time. Unusual is not wrong: see who, and what for. A reason is \
         given by who breaks the glass, and by people who use the command.",
    )
}

pub(super) async fn fill(facts: &Facts<'_>, section: Section) -> Result<Section, Error> {
    let mut counts = Vec::new();
    for row in facts.database.counted(facts.evidence.week()).await? {
        let (day, hour) = (u8::try_from(row.number(0)), u8::try_from(row.number(1)));
        if let (Ok(day), Ok(hour)) = (day, hour) {
            counts.push((day, hour, row.number(2)));
        }
    }
    let usual = (0..7).flat_map(|day| (0..24).map(move |hour| (day, hour)));
    let usual: Vec<_> = usual
        .filter(|(day, hour)| facts.scope.is_usual(*day, *hour))
        .collect();
    let is_usual = |day: u8, hour: u8| usual.contains(&(day, hour));
    let unusual = counts
        .iter()
        .filter(|(day, hour, _)| !is_usual(*day, *hour));
    let unusual = unusual
        .map(|(.., count)| *count)
        .fold(0, i64::saturating_add);
    let week: Vec<_> = counts
        .iter()
        .map(|(day, hour, count)| json!([day, hour, count]))
        .collect();
    let (late, late_json) = sessions(
        facts,
        facts.evidence.unusual_sessions(LISTED),
        "the last outside usual hours",
    )
    .await?;
    let (reasoned, reasoned_json) = sessions(
        facts,
        facts.evidence.reasoned_sessions(LISTED),
        "the last with a reason",
    )
    .await?;
    Ok(section
        .field("usual_hours", facts.scope.usual())
        .field("outside", unusual)
        .field("week", week)
        .field("last_outside", late_json)
        .field("last_with_reason", reasoned_json)
        .with(Block::Facts(vec![
            ("Usual hours", facts.scope.usual().into()),
            ("Sessions outside them", unusual.into()),
        ]))
        .with(Block::Week(Week {
            caption: "Sessions by day and hour".to_owned(),
            counts,
            usual,
        }))
        .with(Block::Table(late))
        .with(Block::Table(reasoned)))
}

async fn sessions(
    facts: &Facts<'_>,
    sql: String,
    which: &str,
) -> Result<(Table, Vec<Value>), Error> {
    let named = facts.flags.owners;
    let (mut rows, mut listed) = (Vec::new(), Vec::new());
    for (number, row) in (1_i64..).zip(facts.database.counted(sql).await?) {
        let (actor, purpose) = (
            name(&row.bytes(1), row.number(2)),
            name(&row.bytes(3), row.number(4)),
        );
        let at = row.some_number(0);
        let mut json = json!({"at": at.map(micros), "principal": actor, "purpose": purpose});
        let mut cells = vec![
            Cell::Count(number),
            at.map_or_else(|| "no time".to_owned(), |at| facts.scope.moment(at))
                .into(),
            Cell::Name(actor),
            Cell::Name(purpose),
        ];
        if named {
            let owner = OwnerName(CanonicalId::from_bytes(&row.bytes(5))).to_string();
            let reason = name(&row.bytes(6), 0);
            if let Some(fields) = json.as_object_mut() {
                fields.insert("owner".to_owned(), owner.clone().into());
                fields.insert("reason".to_owned(), reason.clone().into());
            }
            cells.extend([Cell::Name(owner), Cell::Name(reason)]);
        }
        listed.push(json);
        rows.push(cells);
    }
    let mut head = vec!["No.", "Began", "Principal", "Purpose"];
    if named {
        head.extend(["Owner", "Reason"]);
    }
    let caption = format!("Sessions: {which}, {LISTED} at most");
    Ok((
        Table {
            caption,
            head,
            rows,
        },
        listed,
    ))
}
