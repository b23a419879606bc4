//! The operations that make, show and switch keys.
//!
//! Invariant: states change only as AWS documents: a key whose deletion is scheduled can be cancelled,
//! and is disabled then. Absent: permissions for these operations; any principal is an administrator.

use serde_json::{Value, json};

use super::keys::KeyState;
use super::operations::Request;
use super::policy::Policy;
use super::{Refusal, State};

/// AWS's bounds and default of the waiting period, in days.
const WAITING_PERIOD: std::ops::RangeInclusive<i64> = 7..=30;
const DEFAULT_WAITING_PERIOD: i64 = 30;

impl State {
    pub(super) fn create_key(&mut self, request: &Request<'_>) -> Result<Value, Refusal> {
        let policy = policy(request)?;
        let multi_region = request.flag("MultiRegion");
        let key = self.keys.make(request.region, multi_region, policy);
        Ok(json!({ "KeyMetadata": key.metadata() }))
    }

    pub(super) fn replicate_key(&mut self, request: &Request<'_>) -> Result<Value, Refusal> {
        let key = self.keys.find(request.region, request.text("KeyId")?)?;
        key.usable()?;
        if !key.is_multi_region() {
            let message = format!("{} is not a multi-Region key.", key.arn());
            return Err(Refusal::new("UnsupportedOperationException", message));
        }
        let id = key.id.clone();
        let region = request.text("ReplicaRegion")?;
        let replica = self.keys.replicate(&id, region, policy(request)?)?;
        Ok(json!({ "ReplicaKeyMetadata": replica.metadata() }))
    }

    pub(super) fn describe_key(&mut self, request: &Request<'_>) -> Result<Value, Refusal> {
        let key = self.keys.find(request.region, request.text("KeyId")?)?;
        Ok(json!({ "KeyMetadata": key.metadata() }))
    }

    pub(super) fn enable_key(&mut self, request: &Request<'_>) -> Result<Value, Refusal> {
        self.switch(request, KeyState::Enabled)
    }

    pub(super) fn disable_key(&mut self, request: &Request<'_>) -> Result<Value, Refusal> {
        self.switch(request, KeyState::Disabled)
    }

    fn switch(&mut self, request: &Request<'_>, state: KeyState) -> Result<Value, Refusal> {
        let key = self.keys.find(request.region, request.text("KeyId")?)?;
        if matches!(key.state, KeyState::PendingDeletion { .. }) {
            return Err(key.invalid_state());
        }
        key.state = state;
        Ok(json!({}))
    }

    pub(super) fn schedule_key_deletion(
        &mut self,
        request: &Request<'_>,
    ) -> Result<Value, Refusal> {
        let key = self.keys.find(request.region, request.text("KeyId")?)?;
        let days = request.body.get("PendingWindowInDays");
        let days = days
            .and_then(Value::as_i64)
            .unwrap_or(DEFAULT_WAITING_PERIOD);
        if !WAITING_PERIOD.contains(&days) {
            return Err(Refusal::validation("PendingWindowInDays must be 7 to 30"));
        }
        if matches!(key.state, KeyState::PendingDeletion { .. }) {
            return Err(key.invalid_state());
        }
        key.state = KeyState::PendingDeletion { days };
        Ok(json!({
            "KeyId": key.arn(),
            "KeyState": "PendingDeletion",
            "PendingWindowInDays": days,
        }))
    }

    pub(super) fn cancel_key_deletion(&mut self, request: &Request<'_>) -> Result<Value, Refusal> {
        let key = self.keys.find(request.region, request.text("KeyId")?)?;
        if !matches!(key.state, KeyState::PendingDeletion { .. }) {
            return Err(key.invalid_state());
        }
        key.state = KeyState::Disabled;
        Ok(json!({ "KeyId": key.arn() }))
    }

    pub(super) fn rotate_key_on_demand(&mut self, request: &Request<'_>) -> Result<Value, Refusal> {
        let key = self.keys.find(request.region, request.text("KeyId")?)?;
        key.usable()?;
        let (id, arn) = (key.id.clone(), key.arn());
        self.keys.rotate(&id);
        Ok(json!({ "KeyId": arn }))
    }

    pub(super) fn put_key_policy(&mut self, request: &Request<'_>) -> Result<Value, Refusal> {
        let policy = Policy::parse(request.text("Policy")?)?;
        let key = self.keys.find(request.region, request.text("KeyId")?)?;
        key.policy = policy;
        Ok(json!({}))
    }
}

fn policy(request: &Request<'_>) -> Result<Policy, Refusal> {
    match request.body.get("Policy").and_then(Value::as_str) {
        Some(policy) => Policy::parse(policy),
        None => Ok(Policy::default()),
    }
}
