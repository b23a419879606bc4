//! Audit events as `tracing` events.
//!
//! Absent: proof. Whoever can write to the log can write another history: see `chain`.

use async_trait::async_trait;

use super::{AuditError, AuditEvent, AuditSink, AuditStep};

/// Emits each event at level INFO, target `ophie_crypt::audit`. It never fails, and proves nothing.
///
/// Owners stand in it as the hexadecimal of their canonical bytes, as in KMS logs.
///
/// ```
/// use ophie_crypt::{Keyring, LocalKms, MemoryKeyStore, TracingAudit};
///
/// let keyring = Keyring::builder()
///     .kms(LocalKms::ephemeral()?) // testing only
///     .key_store(MemoryKeyStore::new()) // testing only
///     .audit(TracingAudit) // what it would be anyway
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[allow(clippy::exhaustive_structs, reason = "it has nothing to set")]
pub struct TracingAudit;

#[async_trait]
impl AuditSink for TracingAudit {
    async fn record(&self, event: &AuditEvent) -> Result<(), AuditError> {
        let owner = event.owner.to_hex();
        let (actor, purpose, reason) = (
            &*event.actor,
            event.purpose.as_str(),
            event.reason.as_deref(),
        );
        let generation = event.generation;
        match &event.step {
            AuditStep::Intent {
                call,
                attempt,
                operation,
            } => tracing::info!(
                target: "ophie_crypt::audit",
                actor, owner, purpose, reason, generation, attempt, %call,
                operation = operation.as_str(),
                "the KMS is about to be asked"
            ),
            AuditStep::Joined => tracing::info!(
                target: "ophie_crypt::audit",
                actor, owner, purpose, reason, generation,
                "a session shares unwrapped keys"
            ),
            AuditStep::Outcome {
                call,
                attempt,
                operation,
                result,
                request_id,
                took,
            } => tracing::info!(
                target: "ophie_crypt::audit",
                actor, owner, purpose, reason, generation, attempt, %call,
                operation = operation.as_str(),
                result = result.as_str(),
                request_id = request_id.as_deref(),
                milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                "the KMS answered"
            ),
        }
        Ok(())
    }
}
