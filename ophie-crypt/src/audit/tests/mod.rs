//! The chain, who writes it and who verifies it, on a store in memory that can be told to fail.

mod bytes;
mod logged;
mod misleading;
mod store;
mod verifying;
mod writing;

use std::time::{Duration, SystemTime};

use super::*;

const PURPOSE: Purpose = Purpose::new("tests");

fn event(step: AuditStep) -> AuditEvent {
    AuditEvent {
        at: SystemTime::UNIX_EPOCH + Duration::from_nanos(1_764_000_000_123_456_789),
        actor: "api@host".into(),
        owner: CanonicalId::text("owner-canary"),
        generation: 3,
        purpose: PURPOSE,
        reason: Some("reason-canary".into()),
        step,
    }
}

fn intent(call: u8) -> AuditEvent {
    event(AuditStep::Intent {
        call: CallId::new([call; 16]),
        attempt: 1,
        operation: KmsOperation::Unwrap,
    })
}

fn outcome(call: u8) -> AuditEvent {
    event(AuditStep::Outcome {
        call: CallId::new([call; 16]),
        attempt: 1,
        operation: KmsOperation::Unwrap,
        result: KmsResult::Done,
        request_id: Some("request".into()),
        took: Duration::from_micros(1234),
    })
}
