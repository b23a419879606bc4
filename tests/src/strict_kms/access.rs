//! Whether a request is allowed.
//!
//! Invariant: a denial of the policy goes before a grant; without either, no. Absent: key states (`keys`).

use super::Refusal;
use super::keys::{Context, Key};
use super::operations::Request;
use super::policy::{Asked, Verdict};

impl Key {
    /// `action` as policies name it, without `kms:`; grants name operations, which for `ReEncrypt` are two too.
    pub(super) fn allows(
        &self,
        request: &Request<'_>,
        action: &str,
        context: &Context,
        same_key: Option<bool>,
    ) -> Result<(), Refusal> {
        let policy_action = format!("kms:{action}");
        let verdict = self.policy.judge(&Asked {
            principal: request.principal,
            action: &policy_action,
            context,
            same_key,
        });
        let mut grants = self.grants.values();
        let allowed = match verdict {
            Verdict::Allowed => true,
            Verdict::Denied => false,
            Verdict::Silent => grants.any(|one| one.allows(request.principal, action, context)),
        };
        if allowed {
            return Ok(());
        }
        // As AWS does, it names the caller and the resource; and the context, so that a leak would show.
        let message = format!(
            "User: {} is not authorized to perform: {policy_action} on resource: {} with context {context:?}",
            request.principal,
            self.arn(),
        );
        Err(Refusal::new("AccessDeniedException", message))
    }
}
