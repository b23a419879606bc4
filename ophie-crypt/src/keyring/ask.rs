//! Asks the KMS: attempts, time-outs, retries, each attempt audited.
//!
//! Invariant: no attempt without an intent that was recorded before it, and an outcome after it.
//! Absent: what the answer is for (`fill`), how an attempt travels (`kms`).

use core::{
    pin::{Pin, pin},
    time::Duration,
};
use std::sync::Arc;

use tokio::{
    select,
    time::{Sleep, sleep, timeout},
};

use super::Inner;
use crate::{
    audit::{AuditError, AuditEvent, AuditStep, CallId, KmsOperation, KmsResult},
    hazmat::fill_random,
    kms::{EncryptionContext, GeneratedDek, Kms, KmsCall, KmsError, WrappedDek},
    owner::CanonicalId,
    session::Purpose,
    shares::ShareStoreError,
};

const ATTEMPTS: u32 = 3;
const ATTEMPT: Duration = Duration::from_secs(2);
const TOTAL: Duration = Duration::from_secs(5);
/// Before the second attempt at most this long, before the third twice as long.
const PAUSE: Duration = Duration::from_millis(200);

/// For whom and why the KMS is asked.
#[derive(Clone)]
pub(super) struct Errand {
    pub(super) owner: CanonicalId,
    pub(super) purpose: Purpose,
    pub(super) reason: Option<Arc<str>>,
    pub(super) operation: KmsOperation,
}

/// What the KMS is asked.
pub(super) trait Question: Sync {
    type Answer: Send;
    fn ask(
        &self,
        kms: &dyn Kms,
        call: &KmsCall,
    ) -> impl Future<Output = Result<Self::Answer, KmsError>> + Send;
}

pub(super) struct MakeDek;
pub(super) struct UnwrapDek<'a>(pub(super) &'a WrappedDek);
pub(super) struct RewrapDek<'a>(pub(super) &'a WrappedDek);

impl Question for MakeDek {
    type Answer = GeneratedDek;
    async fn ask(&self, kms: &dyn Kms, call: &KmsCall) -> Result<GeneratedDek, KmsError> {
        kms.make_dek(call).await
    }
}

impl Question for UnwrapDek<'_> {
    type Answer = crate::Dek;
    async fn ask(&self, kms: &dyn Kms, call: &KmsCall) -> Result<crate::Dek, KmsError> {
        kms.unwrap_dek(self.0, call).await
    }
}

impl Question for RewrapDek<'_> {
    type Answer = WrappedDek;
    async fn ask(&self, kms: &dyn Kms, call: &KmsCall) -> Result<WrappedDek, KmsError> {
        kms.rewrap_dek(self.0, call).await
    }
}

/// Why there is no answer.
pub(super) enum NoAnswer {
    Audit(AuditError),
    Kms(KmsError),
}

impl From<AuditError> for NoAnswer {
    fn from(error: AuditError) -> Self {
        Self::Audit(error)
    }
}

impl Inner {
    /// Up to three attempts with full jitter between them, within five seconds, of which waiting for one's
    /// turn is a part. What the KMS refuses is not tried again.
    pub(super) async fn ask<Q: Question>(
        &self,
        errand: &Errand,
        generation: u32,
        question: Q,
    ) -> Result<Q::Answer, NoAnswer> {
        let mut total = pin!(sleep(TOTAL));
        let call = CallId::new(random()?);
        let mut attempt = 1;
        loop {
            let asked = self.attempt(errand, generation, &question, call, attempt, total.as_mut());
            match asked.await? {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_final() => return Err(NoAnswer::Kms(error)),
                Err(error) if attempt == ATTEMPTS || total.is_elapsed() => {
                    return Err(NoAnswer::Kms(error));
                }
                Err(_) => {}
            }
            select! {
                () = sleep(jitter(PAUSE.saturating_mul(attempt))?) => {}
                () = &mut total => return Err(NoAnswer::Kms(KmsError::unavailable(SLOW))),
            }
            attempt = attempt.saturating_add(1);
        }
    }

    /// One attempt. Time-outs cut the KMS's answer short, never the outcome in the audit.
    async fn attempt<Q: Question>(
        &self,
        errand: &Errand,
        generation: u32,
        question: &Q,
        call: CallId,
        attempt: u32,
        total: Pin<&mut Sleep>,
    ) -> Result<Result<Q::Answer, KmsError>, NoAnswer> {
        let operation = errand.operation;
        let intent = AuditStep::Intent {
            call,
            attempt,
            operation,
        };
        self.record(errand, generation, intent).await?;

        let context = EncryptionContext::new(Arc::clone(&self.app), &errand.owner, generation);
        let kms_call = KmsCall::attempt_of(context, attempt);
        let mut begun = self.clock.now();
        let asked = async {
            // At most so many at a time: a cold start must not meet the KMS's rate limit. Not while the audit
            // is written, or a slow one would look like a slow KMS.
            let _permit = self.asking.acquire().await;
            begun = self.clock.now();
            timeout(ATTEMPT, question.ask(&*self.kms, &kms_call)).await
        };
        let answer = select! {
            biased;
            () = total => None,
            answer = asked => answer.ok(),
        };
        let took = self.clock.now().since(&begun);
        let (result, answer) = match answer {
            Some(Ok(answer)) => (KmsResult::Done, Ok(answer)),
            Some(Err(error)) if error.is_final() => (KmsResult::Refused, Err(error)),
            Some(Err(error)) => (KmsResult::Unavailable, Err(error)),
            None => (KmsResult::TimedOut, Err(KmsError::unavailable(SLOW))),
        };
        if let Err(KmsError::Shares(ShareStoreError::Destroyed)) = &answer {
            tracing::warn!(
                target: "ophie_crypt::restore",
                generation,
                "the second shares of an owner's keys were destroyed, and the database does not know of it; was it put back?"
            );
        }
        self.metrics.kms(operation, result, took);
        let outcome = AuditStep::Outcome {
            call,
            attempt,
            operation,
            result,
            request_id: kms_call.request_id(),
            took,
        };
        self.record(errand, generation, outcome).await?;
        Ok(answer)
    }

    pub(super) async fn record(
        &self,
        errand: &Errand,
        generation: u32,
        step: AuditStep,
    ) -> Result<(), AuditError> {
        let event = AuditEvent {
            at: self.clock.now().wall(),
            actor: Arc::clone(&self.actor),
            owner: errand.owner.clone(),
            generation,
            purpose: errand.purpose,
            reason: errand.reason.clone(),
            step,
        };
        self.audit.record(&event).await
    }
}

const SLOW: &str = "it did not answer in time";

fn random<const N: usize>() -> Result<[u8; N], NoAnswer> {
    let mut bytes = [0; N];
    fill_random(&mut bytes).map_err(|error| NoAnswer::Kms(KmsError::unavailable(error)))?;
    Ok(bytes)
}

/// Anything between nothing and `most`.
fn jitter(most: Duration) -> Result<Duration, NoAnswer> {
    Ok(most.mul_f32(share(random()?)))
}

/// A number from 0 to 1 made of random bytes.
pub(super) fn share(random: [u8; 2]) -> f32 {
    f32::from(u16::from_ne_bytes(random)) / f32::from(u16::MAX)
}
