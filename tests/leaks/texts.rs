//! What this process logs, and what the library gives out as `Debug` and errors.

use std::{
    fmt::Debug,
    io,
    sync::{Arc, Mutex},
};

/// Everything that this process logs, and every text that the library gave out.
#[derive(Clone, Default)]
pub(crate) struct Texts(Arc<Mutex<Vec<u8>>>);

impl Texts {
    /// With all that this process logs from now on.
    pub(crate) fn collect() -> Self {
        let texts = Self::default();
        let log = texts.clone();
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || log.clone())
            .with_ansi(false)
            .init();
        texts
    }

    pub(crate) fn add(&self, of: impl Debug) {
        self.0
            .lock()
            .unwrap()
            .extend(format!("{of:?} {of:#?}\n").bytes());
    }

    pub(crate) fn add_error(&self, error: &(dyn std::error::Error + 'static)) {
        let mut next = Some(error);
        while let Some(error) = next {
            self.add(format_args!("{error} {error:?}"));
            next = error.source();
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl io::Write for Texts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
