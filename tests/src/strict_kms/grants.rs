//! Grants: what a key lets one principal do, bound to an encryption context.
//!
//! Invariant: a grant allows and never denies; a revoked one allows nothing from then on (AWS: within
//! minutes). Absent: grant tokens, retiring.

use serde_json::{Value, json};

use super::keys::{Context, random};
use super::operations::{Request, read_context};
use super::{Refusal, State};

#[derive(Clone, Debug)]
pub(super) struct Grant {
    grantee: String,
    operations: Vec<String>,
    constraint: Constraint,
}

#[derive(Clone, Debug)]
enum Constraint {
    None,
    Equals(Context),
    Subset(Context),
}

impl Grant {
    pub(super) fn allows(&self, principal: &str, operation: &str, context: &Context) -> bool {
        let constraint = match &self.constraint {
            Constraint::None => true,
            Constraint::Equals(wanted) => wanted == context,
            Constraint::Subset(wanted) => wanted
                .iter()
                .all(|(key, value)| context.get(key) == Some(value)),
        };
        self.grantee == principal
            && self.operations.iter().any(|one| one == operation)
            && constraint
    }

    fn parse(request: &Request<'_>) -> Result<Self, Refusal> {
        let constraints = request.body.get("Constraints").unwrap_or(&Value::Null);
        let of = |name| constraints.get(name).map(read_context).transpose();
        let constraint = match (
            of("EncryptionContextEquals")?,
            of("EncryptionContextSubset")?,
        ) {
            (None, None) => Constraint::None,
            (Some(context), None) => Constraint::Equals(context),
            (None, Some(context)) => Constraint::Subset(context),
            (Some(_), Some(_)) => return Err(Refusal::validation("one constraint only")),
        };
        let operations = request.body.get("Operations").and_then(Value::as_array);
        let operations = operations.into_iter().flatten();
        Ok(Self {
            grantee: request.text("GranteePrincipal")?.to_owned(),
            operations: operations
                .filter_map(|one| one.as_str().map(str::to_owned))
                .collect(),
            constraint,
        })
    }
}

impl State {
    pub(super) fn create_grant(&mut self, request: &Request<'_>) -> Result<Value, Refusal> {
        let grant = Grant::parse(request)?;
        let key = self.keys.find(request.region, request.text("KeyId")?)?;
        key.usable()?;
        let id: String = random::<32>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        key.grants.insert(id.clone(), grant);
        Ok(json!({ "GrantId": id, "GrantToken": id }))
    }

    pub(super) fn revoke_grant(&mut self, request: &Request<'_>) -> Result<Value, Refusal> {
        let key = self.keys.find(request.region, request.text("KeyId")?)?;
        let id = request.text("GrantId")?;
        match key.grants.remove(id) {
            Some(_) => Ok(json!({})),
            None => Err(Refusal::new("NotFoundException", format!("no grant {id}"))),
        }
    }
}
