//! What stands in the audit.

use std::sync::atomic::Ordering::SeqCst;

use super::{
    super::*,
    world::{ADA, PURPOSE, World},
};
use crate::audit::{AuditEvent, KmsResult};

#[tokio::test]
async fn an_audit_that_fails_fails_the_open() {
    let world = World::new(|builder| builder);
    world.keyring.provision(ADA).await.unwrap();
    world.calls();
    world.audit.is_down.store(true, SeqCst);
    let opened = world.keyring.open(ADA, PURPOSE).await;
    assert!(matches!(opened, Err(SessionError::Audit(_))), "{opened:?}");
    assert_eq!(world.calls().0, 0, "the KMS was asked without an intent");
}

#[tokio::test(start_paused = true)]
async fn every_attempt_has_an_intent_and_an_outcome() {
    let world = World::new(|builder| builder);
    world.keyring.provision(ADA).await.unwrap();
    world.kms.is_down.store(true, SeqCst);
    world.keyring.open(ADA, PURPOSE).await.unwrap_err();
    world.kms.is_down.store(false, SeqCst);
    world
        .keyring
        .open(ADA, Purpose::new("other"))
        .await
        .unwrap();

    let seen: Vec<AuditEvent> = world.audit.seen.lock().unwrap().clone();
    let results: Vec<_> = seen
        .chunks(2)
        .map(|pair| match (&pair[0].step, &pair[1].step) {
            (
                AuditStep::Intent {
                    call,
                    attempt,
                    operation,
                },
                AuditStep::Outcome {
                    call: same_call,
                    attempt: same_attempt,
                    operation: same_operation,
                    result,
                    ..
                },
            ) => {
                assert_eq!((call, attempt), (same_call, same_attempt));
                assert_eq!(operation, same_operation);
                (*operation, *attempt, *result)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let (make, unwrap) = (KmsOperation::Make, KmsOperation::Unwrap);
    let (done, down) = (KmsResult::Done, KmsResult::Unavailable);
    assert_eq!(
        results,
        [
            (make, 1, done),
            (unwrap, 1, down),
            (unwrap, 2, down),
            (unwrap, 3, down),
            (unwrap, 1, done)
        ]
    );
}

#[tokio::test]
async fn a_second_purpose_on_the_same_keys_is_audited_once() {
    let world = World::new(|builder| builder);
    let _first = world.keyring.open_or_provision(ADA, PURPOSE).await.unwrap();
    world.audit.seen.lock().unwrap().clear();
    let support = Purpose::new("support");
    let _more: Vec<_> = [
        world.keyring.open(ADA, support).await.unwrap(),
        world.keyring.open(ADA, support).await.unwrap(),
        world.keyring.open(ADA, PURPOSE).await.unwrap(),
    ]
    .into();
    let seen = world.audit.seen.lock().unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (seen[0].purpose, &seen[0].step),
        (support, &AuditStep::Joined)
    );
}

#[tokio::test]
async fn a_purpose_is_audited_for_each_unwrap() {
    let world = World::new(|builder| builder);
    let (here, other) = (PURPOSE, Purpose::new("other"));
    let about = |purpose: Purpose| {
        let seen = world.audit.seen.lock().unwrap();
        seen.iter().filter(|event| event.purpose == purpose).count()
    };
    world.keyring.provision(ADA).await.unwrap();
    let first = world.keyring.open(ADA, here).await.unwrap();
    assert_eq!((about(here), about(other)), (2, 0));
    world.clock.pass(Keyring::MAX_TTL);
    let _other = world.keyring.open(ADA, other).await.unwrap();
    let before = about(here);
    let _again = world.keyring.open(ADA, here).await.unwrap();
    assert_eq!(about(here), before + 1, "it joined keys of another unwrap");
    drop(first);
}

/// As a request whose client goes away at sign-up.
#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_intent_without_its_outcome() {
    let world = World::new(|builder| builder);
    world.audit.takes_ms.store(5, SeqCst);
    let provisioning = tokio::spawn({
        let keyring = world.keyring.clone();
        async move { keyring.provision(ADA).await }
    });
    let events = || world.audit.seen.lock().unwrap().len();
    world.until(|| events() == 1).await;
    provisioning.abort();
    world.until(|| events() == 2).await;
    let seen = world.audit.seen.lock().unwrap();
    assert!(matches!(seen[0].step, AuditStep::Intent { .. }));
    assert!(matches!(seen[1].step, AuditStep::Outcome { .. }));
}
