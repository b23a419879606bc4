//! What a report is made of: sections of facts, tables and plots, each for people and for programs.
//!
//! Invariant: a text that others wrote is a [`Cell::Name`], which shows what is invisible. Absent: HTML (`page`).

use serde_json::{Map, Value};

/// Characters of a name that are shown.
const SHOWN: usize = 80;

/// How much was looked at.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Looked {
    /// All of it.
    Whole,
    /// Nothing was configured to be looked at, as this says.
    Absent(String),
    /// Not all, because of this.
    Failed(String),
}

/// One part of the report.
pub(super) struct Section {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What it shows, and what it does not.
    pub(super) says: &'static str,
    pub(super) looked: Looked,
    pub(super) findings: Vec<String>,
    pub(super) blocks: Vec<Block>,
    pub(super) json: Map<String, Value>,
}

pub(super) enum Block {
    Facts(Vec<(&'static str, Cell)>),
    Table(Table),
    Bars(Bars),
    Week(Week),
}

pub(super) struct Table {
    pub(super) caption: String,
    pub(super) head: Vec<&'static str>,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// Bars from left to right, in one or two colours upon each other.
pub(super) struct Bars {
    pub(super) caption: String,
    /// What the lower and the upper part count.
    pub(super) parts: [&'static str; 2],
    pub(super) bars: Vec<(String, [i64; 2])>,
}

/// Counts by day of the week and hour, and which of them are usual.
pub(super) struct Week {
    pub(super) caption: String,
    pub(super) counts: Vec<(u8, u8, i64)>,
    pub(super) usual: Vec<(u8, u8)>,
}

#[derive(Clone)]
pub(super) enum Cell {
    Count(i64),
    /// Of our own.
    Text(String),
    /// Of others, who may mean harm.
    Name(String),
}

impl Section {
    pub(super) fn new(id: &'static str, title: &'static str, says: &'static str) -> Self {
        Self {
            id,
            title,
            says,
            looked: Looked::Whole,
            findings: Vec::new(),
            blocks: Vec::new(),
            json: Map::new(),
        }
    }

    pub(super) fn with(mut self, block: Block) -> Self {
        self.blocks.push(block);
        self
    }

    /// And this field for programs.
    pub(super) fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.json.insert(name.to_owned(), value.into());
        self
    }

    pub(super) fn finds(mut self, found: bool, finding: impl FnOnce() -> String) -> Self {
        if found {
            self.findings.push(finding());
        }
        self
    }

    pub(super) fn looked(mut self, looked: Looked) -> Self {
        self.looked = looked;
        self
    }

    /// A word for its state.
    pub(super) fn state(&self) -> &'static str {
        match (&self.looked, self.findings.is_empty()) {
            (Looked::Failed(_), _) => "failed",
            (_, false) => "findings",
            (Looked::Absent(_), true) => "absent",
            (Looked::Whole, true) => "ok",
        }
    }

    /// Why not all was looked at.
    pub(super) fn why(&self) -> Option<&str> {
        match &self.looked {
            Looked::Whole => None,
            Looked::Absent(why) | Looked::Failed(why) => Some(why),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let mut json = self.json.clone();
        json.insert("state".into(), self.state().into());
        json.insert("why".into(), self.why().into());
        json.insert("findings".into(), self.findings.clone().into());
        json.into()
    }
}

/// A name from its bytes and how many characters it has: cut, and with what nobody sees written out.
pub(super) fn name(bytes: &[u8], length: i64) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = visible(text.chars().take(SHOWN));
    if length > i64::try_from(SHOWN).unwrap_or(i64::MAX) {
        shown.push_str(&format!("… ({length} characters)"));
    }
    shown
}

/// Control characters, marks that turn the direction of text, and accents that pile up, as escapes.
pub(super) fn visible(text: impl Iterator<Item = char>) -> String {
    let mut shown = String::new();
    for c in text {
        match c {
            '\'' | '"' | '\\' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    shown
}

impl From<i64> for Cell {
    fn from(count: i64) -> Self {
        Self::Count(count)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_is_written_out_and_long_names_are_cut() {
        let name = |text: &str| {
            name(
                text.as_bytes(),
                i64::try_from(text.chars().count()).unwrap(),
            )
        };
        assert_eq!(name("Zoë \"<ü>'"), "Zoë \"<ü>'");
        assert_eq!(
            name("a\u{202e}b\u{200f}\u{1b}[2J"),
            "a\\u{202e}b\\u{200f}\\u{1b}[2J"
        );
        assert_eq!(name("e\u{301}\0"), "e\\u{301}\\0");
        let long = name(&"x".repeat(10_000));
        assert_eq!(long, format!("{}… (10000 characters)", "x".repeat(80)));
    }

    #[test]
    fn a_part_that_failed_is_never_fine() {
        let section = Section::new("a", "A", "..");
        assert_eq!(section.state(), "ok");
        let absent = section.looked(Looked::Absent("none".into()));
        assert_eq!(absent.state(), "absent");
        let found = absent.finds(true, || "x".into());
        assert_eq!(found.state(), "findings");
        assert_eq!(
            found.looked(Looked::Failed("down".into())).state(),
            "failed"
        );
    }
}
