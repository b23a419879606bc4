//! The page: HTML that needs no network and no script.
//!
//! Invariant: every text is escaped by the macro that writes it, and passes `clean`, which takes passwords out; the page
//! forbids itself scripts and whatever is elsewhere. Absent: what is said (the sections), the drawing of plots (`plots`).

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    About, plots,
    section::{Block, Cell, Section, Table},
};

/// Nothing is fetched, and nothing runs.
const POLICY: &str = include_str!("policy.txt");

pub(super) fn page(about: &About, sections: &[Section], clean: impl Fn(&str) -> String) -> String {
    let clean: &dyn Fn(&str) -> String = &clean;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Evidence of encrypted columns: " (clean(&about.database)) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                header {
                    h1 { "Evidence of encrypted columns" }
                    dl class="facts" {
                        (fact("Database of the keys", &clean(&about.database)))
                        (fact("Made", &about.made_at))
                        (fact("By", &about.program))
                        (fact("Period", &about.period))
                        (fact("Usual hours", &about.usual))
                        (fact("Owners", if about.owners { "named, as was asked for" } else { "not named; rows are numbered" }))
                    }
                    (summary(sections, clean))
                    p class="note" {
                        "What is counted was read one after another while the report was made, not in one moment. It holds no \
                         plaintext, no byte of a key, no fingerprint and no ciphertext. It names principals and purposes: keep it \
                         as you keep an audit log."
                    }
                }
                main {
                    @for one in sections { (section(one, clean)) }
                }
            }
        }
    };
    page.into_string()
}

fn fact(label: &str, text: &str) -> Markup {
    html! { div { dt { (label) } dd { bdi { (text) } } } }
}

fn summary(sections: &[Section], clean: &dyn Fn(&str) -> String) -> Markup {
    html! {
        div class="wide" {
            table class="summary" {
                caption { "What was looked at" }
                thead { tr { th scope="col" { "Part" } th scope="col" { "State" } th scope="col" { "What was found" } } }
                tbody {
                    @for section in sections {
                        tr {
                            th scope="row" { a href={ "#" (section.id) } { (section.title) } }
                            td { (state(section)) }
                            td {
                                @match (section.why(), section.findings.len()) {
                                    (Some(why), _) => { (clean(why)) }
                                    (None, 0) => { "nothing" }
                                    (None, 1) => { "1 finding" }
                                    (None, found) => { (found) " findings" }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn state(section: &Section) -> Markup {
    let (class, words) = match section.state() {
        "ok" => ("state ok", "no finding"),
        "findings" => ("state findings", "findings"),
        "absent" => ("state absent", "not looked at"),
        _ => ("state failed", "failed"),
    };
    html! { span class=(class) { (words) } }
}

fn section(section: &Section, clean: &dyn Fn(&str) -> String) -> Markup {
    html! {
        section id=(section.id) {
            h2 { (section.title) " " (state(section)) }
            p class="says" { (section.says) }
            @if let Some(why) = section.why() { p class="why" { bdi { (clean(why)) } } }
            @if !section.findings.is_empty() {
                ul class="found" { @for finding in &section.findings { li { bdi { (clean(finding)) } } } }
            }
            @for block in &section.blocks { (self::block(block, clean)) }
        }
    }
}

fn block(block: &Block, clean: &dyn Fn(&str) -> String) -> Markup {
    match block {
        Block::Facts(facts) => html! {
            dl class="facts" { @for (label, cell) in facts { div { dt { (label) } dd { (shown(cell, clean)) } } } }
        },
        Block::Table(table) => self::table(table, clean),
        Block::Bars(bars) => plots::bars(bars),
        Block::Week(week) => plots::week(week),
    }
}

fn table(table: &Table, clean: &dyn Fn(&str) -> String) -> Markup {
    let is_count = |at: usize| {
        let mut rows = table.rows.iter();
        rows.next()
            .is_some_and(|row| matches!(row.get(at), Some(Cell::Count(_))))
    };
    html! {
        @if table.rows.is_empty() {
            p class="none" { (table.caption) ": none" }
        } @else {
            // A narrow screen scrolls the table, not the page.
            div class="wide" tabindex="0" role="group" aria-label=(table.caption) {
                table {
                    caption { (table.caption) }
                    thead {
                        tr { @for (at, name) in table.head.iter().enumerate() { th scope="col" class=[is_count(at).then_some("count")] { (name) } } }
                    }
                    tbody {
                        @for row in &table.rows {
                            tr { @for cell in row { td class=(kind(cell)) { (shown(cell, clean)) } } }
                        }
                    }
                }
            }
        }
    }
}

const fn kind(cell: &Cell) -> &'static str {
    match cell {
        Cell::Count(_) => "count",
        Cell::Text(_) => "own",
        Cell::Name(_) => "named",
    }
}

fn shown(cell: &Cell, clean: &dyn Fn(&str) -> String) -> Markup {
    match cell {
        Cell::Count(count) => html! { (grouped(*count)) },
        Cell::Text(text) => html! { (clean(text)) },
        Cell::Name(name) => html! { bdi class="name" { (clean(name)) } },
    }
}

/// With commas between thousands.
pub(super) fn grouped(count: i64) -> String {
    let digits = count.unsigned_abs().to_string();
    let first = digits.len().checked_rem(3).unwrap_or(0);
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at.checked_rem(3) == Some(first) {
            text.push(',');
        }
        text.push(digit);
    }
    match count < 0 {
        true => format!("−{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_apart() {
        for (count, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345, "12,345"),
            (4_294_967_296, "4,294,967,296"),
            (-1_234_567, "−1,234,567"),
        ] {
            assert_eq!(grouped(count), text);
        }
    }
}
