//! All that the command prints.
//!
//! Invariant: nothing is printed elsewhere, and everything passes `scrub`. Absent: what is said (`commands`).

mod progress;
mod scrub;

use std::io::{self, BufRead, IsTerminal, Write};

use serde_json::{Value, json};

pub(crate) use self::progress::Progress;
use self::scrub::Scrub;
use crate::error::{Error, Exit};

/// What a subcommand found or did: for people, and for programs.
pub(crate) struct Report {
    pub(crate) text: String,
    pub(crate) json: Value,
    pub(crate) exit: Exit,
}

impl Report {
    /// All is well.
    pub(crate) const fn fine(text: String, json: Value) -> Self {
        Self {
            text,
            json,
            exit: Exit::Fine,
        }
    }

    /// Ended otherwise.
    pub(crate) const fn ends(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

/// The two streams, and whether the first one is for programs.
#[derive(Clone, Default)]
pub(crate) struct Output {
    json: bool,
    scrub: Scrub,
}

impl Output {
    /// Whether one JSON object is to be printed.
    pub(crate) fn is_for_programs(&mut self, json: bool) {
        self.json = json;
    }

    /// Whether one is.
    pub(crate) const fn is_json(&self) -> bool {
        self.json
    }

    /// Never to be printed.
    pub(crate) fn hide_url(&mut self, url: &str) {
        self.scrub.add_url(url);
    }

    /// The result. A reader who went away is no error.
    pub(crate) fn report(&self, report: &Report) {
        let text = match self.json {
            true => self.scrubbed(&report.json).to_string(),
            false => self.scrub.text(report.text.trim_end()),
        };
        writeln!(io::stdout().lock(), "{text}").ok();
    }

    /// As it is: scripts, pages and statements, which hold nothing of the configuration.
    pub(crate) fn raw(text: &[u8]) {
        io::stdout().lock().write_all(text).ok();
    }

    /// The error and its causes: to the second stream; with `--json` to the first.
    pub(crate) fn error(&self, error: &Error) {
        let mut causes = Vec::new();
        let mut cause = core::error::Error::source(error);
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        if self.json {
            let json = json!({"error": {"kind": error.word(), "message": error.to_string(), "causes": causes}});
            writeln!(io::stdout().lock(), "{}", self.scrubbed(&json)).ok();
            return;
        }
        let mut text = format!("error: {error}");
        for cause in causes {
            text.push_str("\n  because: ");
            text.push_str(&cause);
        }
        writeln!(io::stderr().lock(), "{}", self.scrub.text(&text)).ok();
    }

    /// What clap says: help, version and mistakes. An argument in it may be a URL.
    pub(crate) fn usage(&self, error: &clap::Error) {
        let text = self.scrub.text(&error.render().to_string());
        match error.use_stderr() {
            true => write!(io::stderr().lock(), "{text}").ok(),
            false => write!(io::stdout().lock(), "{text}").ok(),
        };
    }

    /// A line for who is waiting; quiet with `--json`.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            writeln!(io::stderr().lock(), "{}", self.scrub.text(text)).ok();
        }
    }

    /// A bar, if somebody sees it.
    pub(crate) fn progress(&self, what: &'static str, all: Option<u64>) -> Progress {
        Progress::new(what, all, self.is_watched())
    }

    /// Whether somebody sees bars: what they need alone is counted for nobody else.
    pub(crate) fn is_watched(&self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    /// A line from the terminal; `None` where there is none to ask.
    pub(crate) fn ask(&self, question: &str) -> Option<String> {
        if self.json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return None;
        }
        write!(io::stderr().lock(), "{} ", self.scrub.text(question)).ok();
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).ok()?;
        Some(answer.trim().to_owned())
    }

    /// A text that is to be written otherwise before it is printed.
    pub(crate) fn scrubbed_text(&self, text: &str) -> String {
        self.scrub.text(text)
    }

    fn scrubbed(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.scrub.text(text).into(),
            Value::Array(values) => values.iter().map(|value| self.scrubbed(value)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| (name.clone(), self.scrubbed(value)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            other => other.clone(),
        }
    }
}
