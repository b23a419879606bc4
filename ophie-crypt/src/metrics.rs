//! What is counted, through the `metrics` facade (feature `metrics`).
//!
//! Invariant: no owner stands in a label. Absent: who collects it.

use core::time::Duration;

use crate::audit::{KmsOperation, KmsResult};

#[cfg(feature = "metrics")]
#[cfg(test)] // apart, because clippy looks for it as it stands here
#[allow(
    clippy::arithmetic_side_effects,
    reason = "small counts, far from any limit"
)]
mod tests;

/// Counts nothing without the feature.
#[derive(Debug)]
pub(crate) struct Metrics;

#[cfg(feature = "metrics")]
impl Metrics {
    pub(crate) fn kms(&self, operation: KmsOperation, result: KmsResult, took: Duration) {
        let (operation, result) = (operation.as_str(), result.as_str());
        metrics::counter!("ophie_crypt_kms_attempts_total", "operation" => operation, "result" => result)
            .increment(1);
        metrics::histogram!("ophie_crypt_kms_seconds", "operation" => operation).record(took);
    }

    pub(crate) fn opened(&self, cached: bool) {
        let keys = if cached { "cached" } else { "fetched" };
        metrics::counter!("ophie_crypt_sessions_total", "keys" => keys).increment(1);
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        metrics::counter!("ophie_crypt_refusals_total", "reason" => reason).increment(1);
    }

    /// `left` of the owner's key: the lowest of all owners is what to watch.
    pub(crate) fn granted(&self, count: u32, left: u64) {
        metrics::counter!("ophie_crypt_invocations_granted_total").increment(count.into());
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        metrics::histogram!("ophie_crypt_invocations_left").record(left);
    }

    pub(crate) fn rotation_due(&self) {
        metrics::counter!("ophie_crypt_rotations_due_total").increment(1);
    }
}

#[cfg(not(feature = "metrics"))]
impl Metrics {
    pub(crate) const fn kms(&self, _: KmsOperation, _: KmsResult, _: Duration) {}
    pub(crate) const fn opened(&self, _: bool) {}
    pub(crate) const fn refused(&self, _: &'static str) {}
    pub(crate) const fn granted(&self, _: u32, _: u64) {}
    pub(crate) const fn rotation_due(&self) {}
}
