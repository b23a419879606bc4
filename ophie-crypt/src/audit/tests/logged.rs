//! What the audit says in the log, which is the default of where it goes.

use std::{
    fmt::{self, Write},
    sync::Mutex,
};

use ::tracing::{Dispatch, Event, Metadata, Subscriber, dispatcher, field, span};

use super::*;

/// The fields of all events.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl field::Visit for Log {
    fn record_debug(&mut self, field: &field::Field, value: &dyn fmt::Debug) {
        write!(self.0.lock().unwrap(), "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Log {
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

/// Who did what with whose keys, and why: one line before the KMS is asked, and one after.
#[tokio::test]
async fn each_event_is_a_line_that_says_who_and_why() {
    // While there is but one, an event that another test comes to first counts as one that nobody wants.
    let _another = Dispatch::new(Log::default());
    let log = Log::default();
    let logging = dispatcher::set_default(&Dispatch::new(log.clone()));
    for event in [intent(7), outcome(7), event(AuditStep::Joined)] {
        TracingAudit.record(&event).await.unwrap();
        let line = std::mem::take(&mut *log.0.lock().unwrap());
        for said in [
            r#"actor="api@host""#.to_owned(),
            format!("owner={:?}", event.owner.to_hex()),
            r#"purpose="tests""#.to_owned(),
            r#"reason="reason-canary""#.to_owned(),
            "generation=3".to_owned(),
        ] {
            assert!(line.contains(&said), "{said}: {line}");
        }
        let call = format!("call={}", "07".repeat(16));
        let is_of_a_call = !matches!(event.step, AuditStep::Joined);
        assert_eq!(line.contains(&call), is_of_a_call, "{line}");
        let ended = r#"result="done" request_id="request" milliseconds=1"#;
        let is_the_end = matches!(event.step, AuditStep::Outcome { .. });
        assert_eq!(line.contains(ended), is_the_end, "{line}");
    }
    drop(logging);
}
