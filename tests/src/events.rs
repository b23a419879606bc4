//! Audit events of every kind, as a keyring makes them.

use std::sync::{Arc, Mutex};

use ophie_crypt::{AuditError, AuditEvent, AuditSink, Keyring, LocalKms, MemoryKeyStore, Purpose};
use uuid::Uuid;

/// Whose they are.
pub const OWNER: Uuid = Uuid::from_u128(0xa11ce);

const PURPOSE: Purpose = Purpose::new("tests");

/// Keeps events that a keyring made, to be recorded as often as a test wants.
#[derive(Default)]
struct Kept(Mutex<Vec<AuditEvent>>);

#[async_trait::async_trait]
impl AuditSink for Kept {
    async fn record(&self, event: &AuditEvent) -> Result<(), AuditError> {
        self.0
            .lock()
            .expect("nothing stands in the way of a test")
            .push(event.clone());
        Ok(())
    }
}

/// Of one owner's sign-up and two sessions: every kind of step, with and without a reason.
///
/// # Panics
///
/// If a step is missing.
pub async fn events() -> Vec<AuditEvent> {
    let kept = Arc::new(Kept::default());
    let keyring = Keyring::builder()
        .kms(LocalKms::ephemeral().expect("nothing stands in the way of a test"))
        .key_store(MemoryKeyStore::new())
        .audit(Arc::clone(&kept))
        .actor("Zoë's laptop ☃")
        .build()
        .expect("nothing stands in the way of a test");
    let session = keyring
        .open_or_provision(&OWNER, PURPOSE)
        .await
        .expect("nothing stands in the way of a test");
    let other = keyring
        .open(&OWNER, Purpose::new("other"))
        .await
        .expect("nothing stands in the way of a test");
    drop((session, other));
    let urgent = keyring.break_glass(&OWNER, PURPOSE, "a call from 'support'; \"urgent\" $1 ?");
    drop(urgent.await.expect("nothing stands in the way of a test"));
    let events = kept
        .0
        .lock()
        .expect("nothing stands in the way of a test")
        .clone();
    let steps: Vec<_> = events.iter().map(|event| event.step.as_str()).collect();
    for step in ["intent", "joined", "outcome"] {
        assert!(steps.contains(&step), "{steps:?}");
    }
    events
}

/// An error and all below it.
#[must_use]
pub fn texts(error: &dyn std::error::Error) -> String {
    let (mut texts, mut next) = (String::new(), Some(error));
    while let Some(error) = next {
        texts += &format!("{error} | {error:?} | ");
        next = error.source();
    }
    texts
}
