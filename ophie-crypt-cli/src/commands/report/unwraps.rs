//! The section on unwraps: how many, when, by whom and what for.

use serde_json::json;

use super::{
    Facts,
    keys::micros,
    section::{Bars, Block, Cell, Section, Table, name},
};
use crate::{database::Counted, error::Error};

/// Principals and purposes that are listed; the rest is one line.
const LISTED: u32 = 50;
/// Bars that fit on paper.
const BARS: i64 = 60;
const DAY: i64 = 86_400;

pub(super) fn begin() -> Section {
    Section::new(
        "unwraps",
        "Unwraps",
        "By the audit trail of the period. Every call to the KMS for an owner's key is recorded before it is made and after it \
         was answered. A session that shares keys which are in memory already is recorded once for each purpose. Principals \
         are processes and people as they named themselves; the KMS's own log has who they were to it.",
    )
}

pub(super) async fn fill(facts: &Facts<'_>, section: Section) -> Result<Section, Error> {
    let count = |sql| facts.database.counted(sql);
    let totals = count(facts.evidence.totals()).await?;
    let total = |at: usize| totals.first().map_or(0, |row| row.number(at));
    let days = count(facts.evidence.days()).await?;
    let (bars, by_day) = bins(facts, &days);
    let listed = count(facts.evidence.principals(LISTED)).await?;
    let (mut rows, mut principals) = (Vec::new(), Vec::new());
    let mut rest: Vec<i64> = (1..6).map(total).collect();
    for row in &listed {
        let (actor, purpose) = (
            name(&row.bytes(0), row.number(1)),
            name(&row.bytes(2), row.number(3)),
        );
        let counts: Vec<_> = (4..9).map(|at| row.number(at)).collect();
        for (rest, count) in rest.iter_mut().zip(&counts) {
            *rest = rest.saturating_sub(*count);
        }
        let [sessions, unwraps, failed, unusual, reasons] = counts.as_slice() else {
            continue;
        };
        principals.push(json!({"principal": actor, "purpose": purpose, "sessions": sessions, "unwraps": unwraps,
            "failed": failed, "outside_usual_hours": unusual, "with_reason": reasons, "last": row.some_number(9).map(micros)}));
        let mut cells = vec![Cell::Name(actor), Cell::Name(purpose)];
        cells.extend(counts.iter().copied().map(Cell::Count));
        cells.push(
            row.some_number(9)
                .map_or_else(|| "–".to_owned(), |at| facts.scope.moment(at))
                .into(),
        );
        rows.push(cells);
    }
    let others = total(0).saturating_sub(i64::try_from(listed.len()).unwrap_or(i64::MAX));
    if others > 0 {
        let mut cells = vec![Cell::from(format!("{others} others")), "".into()];
        cells.extend(rest.into_iter().map(Cell::Count));
        cells.push("".into());
        rows.push(cells);
    }
    Ok(section
        .field("records", total(6))
        .field("sessions", total(1))
        .field("unwraps", total(2))
        .field("failed", total(3))
        .field("outside_usual_hours", total(4))
        .field("with_reason", total(5))
        .field("days", by_day)
        .field("principals", principals)
        .field("others", others)
        .with(Block::Facts(vec![
            ("Records in the period", total(6).into()),
            ("Sessions", total(1).into()),
            ("Keys unwrapped or renewed", total(2).into()),
            ("Calls that were refused or not answered", total(3).into()),
        ]))
        .with(Block::Bars(bars))
        .with(Block::Table(Table {
            caption: "By principal and purpose".to_owned(),
            head: vec![
                "Principal",
                "Purpose",
                "Sessions",
                "Unwraps",
                "Failed",
                "Outside usual hours",
                "With a reason",
                "Last",
            ],
            rows,
        })))
}

/// As few bars as fit, each of equally many days; and each day that has records.
fn bins(facts: &Facts<'_>, days: &[Counted]) -> (Bars, Vec<serde_json::Value>) {
    let offset = i64::from(facts.scope.offset.whole_seconds());
    let day_of = |at: i64| at.saturating_add(offset).div_euclid(DAY);
    let (first, end) = (
        day_of(facts.scope.period.start),
        day_of(facts.scope.period.end),
    );
    let all = end.saturating_sub(first).max(1);
    let width = all
        .saturating_add(BARS)
        .saturating_sub(1)
        .div_euclid(BARS)
        .max(1);
    let start = |bar: i64| {
        let day = first.saturating_add(bar.saturating_mul(width));
        facts
            .scope
            .day(day.saturating_mul(DAY).saturating_sub(offset))
    };
    let mut bars: Vec<_> = (0..all
        .saturating_add(width)
        .saturating_sub(1)
        .div_euclid(width))
        .map(|bar| (start(bar), [0_i64; 2]))
        .collect();
    let mut by_day = Vec::new();
    for row in days {
        let (day, done, failed) = (row.number(0), row.number(1), row.number(3));
        let date = facts
            .scope
            .day(day.saturating_mul(DAY).saturating_sub(offset));
        by_day.push(
            json!({"day": date, "unwraps": done, "other_calls": row.number(2), "failed": failed,
            "sessions": row.number(4)}),
        );
        let at = usize::try_from(day.saturating_sub(first).div_euclid(width)).ok();
        if let Some((_, [low, high])) = at.and_then(|at| bars.get_mut(at)) {
            *low = low.saturating_add(done);
            *high = high.saturating_add(failed);
        }
    }
    let each = match width {
        1 => "each day".to_owned(),
        days => format!("every {days} days"),
    };
    let bars = Bars {
        caption: format!("Keys unwrapped or renewed, {each}"),
        parts: ["done", "refused or not answered"],
        bars,
    };
    (bars, by_day)
}
