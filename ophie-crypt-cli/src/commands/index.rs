//! `index plan`: what a blind index would show of a column that is plaintext now.

use serde_json::json;

use crate::{database::Shown, error::Error, output::Report, world::World};

/// Of a fingerprint, behind its byte of the generation.
const ALL_BITS: u32 = 128;

pub(super) async fn plan(
    world: &World,
    table: &str,
    column: &str,
    owner_column: &str,
) -> Result<Report, Error> {
    let database = world.rows_database().await?;
    let bar = world.output.progress("counting", Some(Shown::QUESTIONS));
    let answered = || bar.done(1);
    let shown = database.shown(table, column, owner_column, answered);
    let shown = shown.await?;
    drop(bar);
    let filled = shown.rows.saturating_sub(shown.nulls);
    let mut lines = vec![
        format!(
            "{table}.{column}: {} rows, {} of them NULL, of {} owners",
            shown.rows, shown.nulls, shown.owners
        ),
        format!(
            "different fingerprints, each owner's by themselves: {}",
            shown.fingerprints
        ),
        format!(
            "rows whose fingerprint stands once: {} ({})",
            shown.alone,
            share(shown.alone, filled)
        ),
        format!(
            "owners whose rows all have one fingerprint: {}",
            shown.uniform_owners
        ),
    ];
    for (at, rows) in (1..).zip(&shown.most) {
        lines.push(format!(
            "most frequent, {at}: {rows} rows ({})",
            share(*rows, filled)
        ));
    }
    let most = shown.most.first().copied().unwrap_or(0);
    let learns = learns(filled, shown.fingerprints, shown.alone, most);
    lines.push(format!("who reads the column learns: {learns}"));
    let bits = recommended_bits(filled, most);
    lines.push(format!("recommended: {}", recommended(bits)));
    lines.push(
        "counted byte by byte; the normalisers `name` and `email` make more values equal"
            .to_owned(),
    );
    let json = json!({
        "table": table, "column": column, "owner_column": owner_column,
        "rows": shown.rows, "nulls": shown.nulls, "owners": shown.owners,
        "fingerprints": shown.fingerprints, "alone": shown.alone,
        "uniform_owners": shown.uniform_owners, "most_frequent": shown.most, "learns": learns,
        "recommended_bits": bits,
    });
    Ok(Report::fine(lines.join("\n"), json))
}

/// Bits of a fingerprint: all, or none where one value is to be told by its share alone. Cut short, the rows of one value
/// would still have one fingerprint, and others with them: the greatest share never falls.
const fn recommended_bits(rows: i64, most: i64) -> Option<u32> {
    if rows == 0 {
        None
    } else if is_skewed(rows, most) {
        Some(0)
    } else {
        Some(ALL_BITS)
    }
}

const fn recommended(bits: Option<u32>) -> &'static str {
    match bits {
        None => "nothing yet, as nothing was counted",
        Some(0) => {
            "no index; open the rows and filter. Fewer bits would not help: rows of one value stay together however short their fingerprint is"
        }
        Some(_) => {
            "all 128 bits, which each index has. Fewer would hide which rows are equal by false matches alone, and every look-up would pay for them; \
             see the manual's page on fingerprints"
        }
    }
}

/// Whether one value stands on a tenth of the rows.
const fn is_skewed(rows: i64, most: i64) -> bool {
    most.saturating_mul(10) >= rows
}

/// What the manual's page on fingerprints says of columns like this.
fn learns(rows: i64, fingerprints: i64, alone: i64, most: i64) -> &'static str {
    if rows == 0 {
        return "nothing, as it is empty";
    }
    if alone == rows {
        return "that each value stands once for its owner, and nothing else";
    }
    if is_skewed(rows, most) {
        return "which rows of an owner are equal, and one value by how often it stands: do not index it, or know who could guess it";
    }
    if fingerprints.saturating_mul(10) <= rows {
        return "which rows of an owner are equal; there are so few values that how often each stands may say which it is";
    }
    "which rows of an owner are equal, and how often each value stands"
}

/// A share in per cent, with one place.
fn share(part: i64, all: i64) -> String {
    let tenths = part.saturating_mul(1000).checked_div(all).unwrap_or(0);
    let (whole, tenth) = (tenths.checked_div(10), tenths.checked_rem(10));
    format!("{}.{}%", whole.unwrap_or(0), tenth.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_cut_and_nothing_of_nothing_is_nothing() {
        assert_eq!(
            (share(1, 3), share(3, 3), share(0, 0)),
            ("33.3%".into(), "100.0%".into(), "0.0%".into())
        );
    }

    #[test]
    fn a_column_is_indexed_whole_or_not_at_all() {
        assert_eq!(recommended_bits(0, 0), None);
        assert_eq!(recommended_bits(1000, 100), Some(0));
        assert_eq!(recommended_bits(1000, 99), Some(128));
        assert!(recommended(Some(0)).starts_with("no index"));
        assert!(recommended(Some(128)).starts_with("all 128 bits"));
    }

    #[test]
    fn skewed_columns_and_those_of_few_values_are_told_apart() {
        assert!(learns(1000, 50, 0, 222).contains("do not index"));
        assert!(learns(1000, 50, 0, 60).contains("so few"));
        assert!(learns(1000, 900, 800, 4).starts_with("which rows"));
        assert!(learns(1000, 1000, 1000, 1).starts_with("that each value stands once"));
        assert!(learns(0, 0, 0, 0).starts_with("nothing"));
    }
}
