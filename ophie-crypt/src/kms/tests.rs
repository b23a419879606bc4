//! What a KMS is told, and that it is told also through what wraps it.

use super::*;
use crate::{audit::WriterId, owner::CanonicalId};

fn call() -> KmsCall {
    KmsCall::new(EncryptionContext::new("app", &CanonicalId::text("ada"), 7))
}

/// Notes what it is to forget.
#[derive(Default)]
struct Forgets(Mutex<Vec<u32>>);

#[async_trait]
impl Kms for Forgets {
    async fn make_dek(&self, _: &KmsCall) -> Result<GeneratedDek, KmsError> {
        Err(KmsError::unavailable("never"))
    }

    async fn unwrap_dek(&self, _: &WrappedDek, _: &KmsCall) -> Result<Dek, KmsError> {
        Err(KmsError::unavailable("never"))
    }

    async fn rewrap_dek(&self, _: &WrappedDek, _: &KmsCall) -> Result<WrappedDek, KmsError> {
        Err(KmsError::unavailable("never"))
    }

    async fn forget_all_but(&self, generations: &[u32], _: &KmsCall) -> Result<(), KmsError> {
        self.0.lock().unwrap().extend(generations);
        Ok(())
    }

    fn holds(&self, _: &str) -> bool {
        false
    }
}

/// Or the shares of destroyed generations would stay: on either side of a move.
#[tokio::test]
async fn a_kms_is_told_what_to_forget_through_what_wraps_it() {
    let (old, new) = (Arc::new(Forgets::default()), Arc::new(Forgets::default()));
    let moving = Arc::new(MovingKms::new(Arc::clone(&old), Arc::clone(&new)));
    moving.forget_all_but(&[5, 6], &call()).await.unwrap();
    for kms in [old, new] {
        assert_eq!(*kms.0.lock().unwrap(), [5, 6]);
    }
}

/// What a policy can ask for, and CloudTrail shows.
#[test]
fn a_context_has_three_pairs() {
    let pairs = [("app", "app"), ("generation", "7"), ("owner", "74616461")];
    assert_eq!(call().context().pairs(), pairs);
    let audit = EncryptionContext::audit("app", WriterId::from_bytes([0xab; 16]));
    let writer = "ab".repeat(16);
    let pairs = [("app", "app"), ("purpose", "audit"), ("writer", &writer)];
    assert_eq!(audit.pairs(), pairs);
}

#[test]
fn a_call_keeps_the_id_that_the_kms_gave_it() {
    let call = call();
    assert_eq!(call.request_id(), None);
    call.note_request_id("0b5e-1");
    assert_eq!(call.request_id().as_deref(), Some("0b5e-1"));
}

/// An owner stands in the context, and the bytes of a wrapped key say nothing to a reader.
#[test]
fn what_is_printed_names_neither_owner_nor_bytes() {
    let kms = LocalKms::ephemeral().unwrap();
    let kek = kms.kek();
    let printed = format!(
        "{:?} {:?} {kms:?} {:?}",
        call().context(),
        WrappedDek::new("kek", [0xab; 4]),
        MovingKms::new(
            LocalKms::ephemeral().unwrap(),
            LocalKms::ephemeral().unwrap()
        ),
    );
    let expected = format!(
        r#"EncryptionContext {{ app: "app", generation: "7", .. }} WrappedDek {{ kek: "kek", .. }} LocalKms {{ kek: "{kek}", .. }} MovingKms {{ .. }}"#
    );
    assert_eq!(printed, expected);
}
