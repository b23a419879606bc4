//! The section on budgets: how often keys were used to seal, against the limit of the cipher.

use serde_json::json;

use super::{
    Facts,
    section::{Bars, Block, Section},
};
use crate::error::Error;

/// NIST SP 800-38D, section 8.3.
const LIMIT: u64 = 1 << 32;
/// From here on a rotation is asked for.
const HALF: u64 = LIMIT >> 1;

pub(super) fn begin() -> Section {
    Section::new(
        "budget",
        "Budget",
        "A key seals at most 4,294,967,296 times (NIST SP 800-38D, section 8.3), and is to be rotated at half of that. Counted \
         is what was granted to processes, which is never less than what they used.",
    )
}

pub(super) async fn fill(facts: &Facts<'_>, section: Section) -> Result<Section, Error> {
    let bounds = [0, LIMIT / 1_000, LIMIT / 100, LIMIT / 10, HALF, LIMIT];
    let rows = facts
        .database
        .counted(facts.evidence.budgets(&bounds))
        .await?;
    let at_least = |at: usize| rows.first().map_or(0, |row| row.number(at));
    let names = [
        "under 0.1%",
        "0.1 to 1%",
        "1 to 10%",
        "10 to 50%",
        "50 to 100%",
        "all of it",
    ];
    let bars = names.iter().zip(0..).map(|(name, at): (_, usize)| {
        let next = at.saturating_add(1);
        let more = if next < bounds.len() {
            at_least(next)
        } else {
            0
        };
        ((*name).to_owned(), [at_least(at).saturating_sub(more), 0])
    });
    let bars: Vec<_> = bars.collect();
    let by_share: Vec<_> = bars
        .iter()
        .map(|(share, [keys, _])| json!({"share": share, "keys": keys}))
        .collect();
    let (half, spent, most) = (at_least(4), at_least(5), at_least(bounds.len()));
    Ok(section
        .field("by_share", by_share)
        .field("most_granted", most)
        .field("limit", LIMIT)
        .finds(half > 0, || {
            format!(
                "{half} keys were granted half of their budget or more, {spent} of them all of it; rotate them with \
                 `ophie-crypt keys rotate --due`"
            )
        })
        .with(Block::Facts(vec![
            ("Most granted to one key", most.into()),
            ("Keys due for rotation by their budget", half.into()),
        ]))
        .with(Block::Bars(Bars {
            caption: "Keys that seal, by the share of their budget that was granted".to_owned(),
            parts: ["keys", ""],
            bars,
        })))
}
