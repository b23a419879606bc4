//! What is logged on one thread, for tests that read it.
//!
//! Absent: spans.

use core::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use tracing::{Dispatch, Event, Metadata, Subscriber, dispatcher, field, span};

/// The fields of all events of this thread, until it is dropped.
pub(crate) struct Logged {
    fields: Fields,
    _default: dispatcher::DefaultGuard,
    _another: Dispatch,
}

impl Logged {
    /// From now on.
    pub(crate) fn here() -> Self {
        // While there is but one, an event that another test comes to first counts as one that nobody wants.
        let another = Dispatch::new(Fields::default());
        let fields = Fields::default();
        Self {
            _default: dispatcher::set_default(&Dispatch::new(fields.clone())),
            _another: another,
            fields,
        }
    }

    /// What was logged since the last look.
    pub(crate) fn take(&self) -> String {
        core::mem::take(&mut *self.fields.0.lock().unwrap())
    }
}

#[derive(Clone, Default)]
struct Fields(Arc<Mutex<String>>);

impl field::Visit for Fields {
    fn record_debug(&mut self, field: &field::Field, value: &dyn fmt::Debug) {
        write!(self.0.lock().unwrap(), "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Fields {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
