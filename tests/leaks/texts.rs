//! What this process logs, and what the library gives out as `Debug` and errors.

use std::{
    fmt::Debug,
    io,
    sync::{Arc, Mutex, Once, OnceLock},
};

use ::diesel::connection::{InstrumentationEvent, set_default_instrumentation};
use metrics_util::debugging::{DebuggingRecorder, Snapshotter};

/// Everything that this process logs, and every text that the library gave out.
#[derive(Clone, Default)]
pub(crate) struct Texts(Arc<Mutex<Vec<u8>>>);

impl Texts {
    /// With all that this process logs, counts and panics with from now on, and what Diesel tells observers: one for all
    /// tests.
    pub(crate) fn collect() -> Self {
        static ALL: OnceLock<Texts> = OnceLock::new();
        static BEGUN: Once = Once::new();
        let texts = ALL.get_or_init(Self::default).clone();
        BEGUN.call_once(|| {
            let log = texts.clone();
            tracing_subscriber::fmt()
                .with_max_level(tracing::Level::TRACE)
                .with_writer(move || log.clone())
                .with_ansi(false)
                .init();
            let panics = texts.clone();
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                panics.add(format_args!("{panic} {:?}", panic));
                before(panic);
            }));
            counted();
            set_default_instrumentation(|| Some(Box::new(observe))).unwrap();
        });
        texts
    }

    /// All that was counted so far.
    pub(crate) fn add_metrics(&self) {
        self.add(counted().snapshot().into_vec());
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

/// What the first call begins to count.
fn counted() -> &'static Snapshotter {
    static COUNTED: OnceLock<Snapshotter> = OnceLock::new();
    COUNTED.get_or_init(|| {
        let recorder = DebuggingRecorder::new();
        let counted = recorder.snapshotter();
        recorder.install().unwrap();
        counted
    })
}

fn observe(event: InstrumentationEvent<'_>) {
    Texts::collect().add(&event);
    // What loggers print in its place.
    if let InstrumentationEvent::StartQuery { query, .. }
    | InstrumentationEvent::FinishQuery { query, .. } = event
    {
        Texts::collect().add(format_args!("{query}"));
    }
}
