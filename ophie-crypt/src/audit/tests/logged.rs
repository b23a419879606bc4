//! What the audit says in the log, which is the default of where it goes.

use super::*;
use crate::logged::Logged;

/// Who did what with whose keys, and why: one line before the KMS is asked, and one after.
#[tokio::test]
async fn each_event_is_a_line_that_says_who_and_why() {
    let logged = Logged::here();
    for event in [intent(7), outcome(7), event(AuditStep::Joined)] {
        TracingAudit.record(&event).await.unwrap();
        let line = logged.take();
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
}
