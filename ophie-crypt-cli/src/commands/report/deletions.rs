//! The section on deletions: shreds with their three times, and sweeps.

use ophie_crypt::CanonicalId;
use serde_json::json;

use super::{
    Facts,
    section::{Block, Cell, Section, Table},
};
use crate::{error::Error, owner::OwnerName};

/// So often in a row a shred fails before it is stuck.
const STUCK_AFTER: u32 = 10;
/// Shreds that are listed.
const LISTED: u32 = 100;
/// In which a sweep comes by, in microseconds.
const GRACE: i64 = 2 * 86_400 * 1_000_000;

pub(super) fn begin() -> Section {
    Section::new(
        "shreds",
        "Deletions",
        "A deletion has three times. First the owner's keys are destroyed and the ledger remembers it: nothing opens from then \
         on. Next rows are marked and vectors deleted. Behind the horizon, when no backup has a wrapped key any more, the \
         rows themselves are swept. Why one failed is not printed here; `ophie-crypt sweep` says it.",
    )
}

pub(super) async fn fill(facts: &Facts<'_>, section: Section) -> Result<Section, Error> {
    let horizon = facts.world.horizon()?;
    let horizon_micros = i64::try_from(horizon.as_micros()).unwrap_or(i64::MAX);
    let now = facts.now.saturating_mul(1_000_000);
    let overdue_before = now.saturating_sub(horizon_micros).saturating_sub(GRACE);
    let sums = facts
        .database
        .counted(facts.evidence.shreds(STUCK_AFTER, overdue_before))
        .await?;
    let sum = |at: usize| sums.first().map_or(0, |row| row.number(at));
    let (all, undone, stuck, swept, overdue) = (sum(0), sum(1), sum(2), sum(3), sum(4));
    let named = facts.flags.owners;
    let (mut rows, mut listed) = (Vec::new(), Vec::new());
    for (number, row) in (1_i64..).zip(
        facts
            .database
            .counted(facts.evidence.last_shreds(LISTED))
            .await?,
    ) {
        let at = |at: usize| row.some_number(at);
        let shown = |at: Option<i64>| {
            at.map_or_else(
                || "–".to_owned(),
                |at| facts.scope.moment(at.div_euclid(1_000_000)),
            )
        };
        let sweep = match (at(7), at(2)) {
            (Some(swept), _) => shown(Some(swept)),
            (None, Some(appended)) => {
                let from = appended.max(row.number(1)).saturating_add(horizon_micros);
                format!("from {}", facts.scope.day(from.div_euclid(1_000_000)))
            }
            (None, None) => "–".to_owned(),
        };
        let mut cells = vec![Cell::Count(number)];
        let mut json = json!({"destroyed": at(1), "in_ledger": at(2), "rows_marked": at(3), "vectors_deleted": at(4),
            "vacuumed": at(5), "done": at(6), "swept": at(7), "attempts": row.number(8)});
        if named {
            let owner = OwnerName(CanonicalId::from_bytes(&row.bytes(0))).to_string();
            if let Some(fields) = json.as_object_mut() {
                fields.insert("owner".to_owned(), owner.clone().into());
            }
            cells.push(Cell::Name(owner));
        }
        cells.extend([
            shown(at(1)).into(),
            shown(at(2)).into(),
            shown(at(6)).into(),
            sweep.into(),
            row.number(8).into(),
        ]);
        listed.push(json);
        rows.push(cells);
    }
    let mut head = vec!["No."];
    if named {
        head.push("Owner");
    }
    head.extend([
        "1. Keys destroyed",
        "In the ledger",
        "2. Rows marked",
        "3. Rows swept",
        "Failures",
    ]);
    let days = horizon.as_secs().div_euclid(86_400);
    Ok(section
        .field("all", all)
        .field("undone", undone)
        .field("stuck", stuck)
        .field("swept", swept)
        .field("overdue", overdue)
        .field("horizon_days", days)
        .field("last", listed)
        .finds(stuck > 0, || {
            format!("{stuck} shreds failed {STUCK_AFTER} times in a row or more; `ophie-crypt sweep` says why")
        })
        .finds(overdue > 0, || {
            format!("{overdue} owners' rows are still there two days behind the horizon; run `ophie-crypt sweep`")
        })
        .with(Block::Facts(vec![
            ("Shreds", all.into()),
            ("Not done yet: in the ledger, marked and deleted", undone.into()),
            ("Of these, failed ten times in a row or more", stuck.into()),
            ("Swept: the rows are deleted", swept.into()),
            ("Behind the horizon for two days, and not swept", overdue.into()),
            ("Horizon, by what was configured", format!("{days} days").into()),
        ]))
        .with(Block::Table(Table {
            caption: format!("The last shreds, {LISTED} at most"),
            head,
            rows,
        })))
}
