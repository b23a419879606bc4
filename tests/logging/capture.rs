//! All that is logged in this process, by `tracing` or `log`, from TRACE up.

use std::{
    io::{self, Write},
    sync::{Mutex, Once, PoisonError},
};

static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Begins to capture, once; what was logged before is lost.
pub(crate) fn start() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(|| Sink)
            .init();
    });
}

pub(crate) fn logged() -> String {
    let logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&logged).into_owned()
}

struct Sink;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
        logged.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The forms in which text may stand in a log: as it is, as a list of bytes, as hexadecimal digits.
pub(crate) fn forms(text: &str) -> Vec<String> {
    let bytes = format!("{:?}", text.as_bytes());
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    vec![
        text.to_owned(),
        bytes.trim_matches(['[', ']']).to_owned(),
        hex.to_uppercase(),
        hex,
    ]
}

/// Fails if the text stands there in any form.
#[track_caller]
pub(crate) fn holds_none_of(shown: &str, text: &str) {
    for form in forms(text) {
        let line = shown.lines().find(|line| line.contains(&form));
        assert!(line.is_none(), "{text} is shown: {line:?}");
    }
}

#[test]
fn a_text_is_found_in_each_form() {
    for form in forms("Mom") {
        let held = std::panic::catch_unwind(|| holds_none_of(&format!("a\nb {form} c"), "Mom"));
        assert!(held.is_err(), "{form}");
    }
    holds_none_of("a\nb", "Mom");
}
