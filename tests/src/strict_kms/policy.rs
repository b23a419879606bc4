//! Key policies: who may do what with a key, and under which encryption context.
//!
//! Invariant: an element, operator or condition key that is not known here is refused when the policy is
//! put, never ignored. Absent: IAM policies; a key policy that allows nobody allows nobody, and one that names an
//! account is taken to allow all of its principals.

use serde_json::{Map, Value};

use super::Refusal;
use super::keys::Context;

#[derive(Clone, Debug)]
pub(super) struct Policy {
    statements: Vec<Statement>,
}

#[derive(Clone, Debug)]
struct Statement {
    deny: bool,
    principals: Vec<String>,
    actions: Vec<String>,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug)]
struct Condition {
    operator: Operator,
    key: ConditionKey,
    values: Vec<String>,
}

#[derive(Clone, Debug)]
enum ConditionKey {
    /// `kms:EncryptionContext:KEY`.
    Context(String),
    /// `kms:EncryptionContextKeys`.
    ContextKeys,
    /// `aws:PrincipalType`.
    PrincipalType,
    /// `kms:ReEncryptOnSameKey`.
    SameKey,
}

/// What a policy is asked.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) principal: &'a str,
    /// With `kms:`.
    pub(super) action: &'a str,
    pub(super) context: &'a Context,
    /// Whether `ReEncrypt` ends under the key where it began.
    pub(super) same_key: Option<bool>,
}

#[derive(Clone, Copy, Debug)]
enum Operator {
    AllStringEquals,
    AnyStringEquals,
    Null,
    StringEquals,
    StringNotEquals,
}

/// What a policy says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed,
    Denied,
    /// Nothing: a grant may still allow it.
    Silent,
}

impl Default for Policy {
    /// Everyone of the account may do everything.
    fn default() -> Self {
        let statement = Statement {
            deny: false,
            principals: vec!["*".into()],
            actions: vec!["kms:*".into()],
            conditions: Vec::new(),
        };
        Self {
            statements: vec![statement],
        }
    }
}

impl Policy {
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let malformed = || Refusal::new("MalformedPolicyDocumentException", "see policy.rs");
        let document: Value = serde_json::from_str(text).map_err(|_| malformed())?;
        let statements = document.get("Statement").and_then(Value::as_array);
        let statements = statements.into_iter().flatten().map(Statement::parse);
        let statements: Option<Vec<_>> = statements.collect();
        let statements = statements.filter(|all| !all.is_empty());
        let statements = statements.ok_or_else(malformed)?;
        Ok(Self { statements })
    }

    /// A denial goes before everything.
    pub(super) fn judge(&self, asked: &Asked<'_>) -> Verdict {
        let matching = self.statements.iter();
        let mut verdict = Verdict::Silent;
        for statement in matching.filter(|one| one.applies(asked)) {
            if statement.deny {
                return Verdict::Denied;
            }
            verdict = Verdict::Allowed;
        }
        verdict
    }
}

impl Statement {
    fn parse(statement: &Value) -> Option<Self> {
        let statement = statement.as_object()?;
        let known = [
            "Action",
            "Condition",
            "Effect",
            "Principal",
            "Resource",
            "Sid",
        ];
        if !statement.keys().all(|key| known.contains(&key.as_str())) {
            return None;
        }
        let principal = statement.get("Principal")?;
        Some(Self {
            deny: match statement.get("Effect")?.as_str()? {
                "Allow" => false,
                "Deny" => true,
                _ => return None,
            },
            principals: strings(principal.get("AWS").unwrap_or(principal))?,
            actions: strings(statement.get("Action")?)?,
            conditions: match statement.get("Condition") {
                Some(conditions) => Condition::parse(conditions.as_object()?)?,
                None => Vec::new(),
            },
        })
    }

    fn applies(&self, asked: &Asked<'_>) -> bool {
        self.principals
            .iter()
            .any(|one| like(one, asked.principal) || is_account_of(one, asked.principal))
            && self.actions.iter().any(|one| like(one, asked.action))
            && self.conditions.iter().all(|one| one.holds(asked))
    }
}

impl Condition {
    fn parse(operators: &Map<String, Value>) -> Option<Vec<Self>> {
        let mut conditions = Vec::new();
        for (operator, keys) in operators {
            let operator = match operator.as_str() {
                "ForAllValues:StringEquals" => Operator::AllStringEquals,
                "ForAnyValue:StringEquals" => Operator::AnyStringEquals,
                "Null" => Operator::Null,
                "Bool" | "StringEquals" => Operator::StringEquals,
                "StringNotEquals" => Operator::StringNotEquals,
                _ => return None,
            };
            for (key, values) in keys.as_object()? {
                let key = match key.strip_prefix("kms:EncryptionContext:") {
                    Some(key) => ConditionKey::Context(key.to_owned()),
                    None if key == "kms:EncryptionContextKeys" => ConditionKey::ContextKeys,
                    None if key == "aws:PrincipalType" => ConditionKey::PrincipalType,
                    None if key == "kms:ReEncryptOnSameKey" => ConditionKey::SameKey,
                    None => return None,
                };
                conditions.push(Self {
                    operator,
                    key,
                    values: strings(values)?,
                });
            }
        }
        Some(conditions)
    }

    fn holds(&self, asked: &Asked<'_>) -> bool {
        let found: Vec<&str> = match &self.key {
            // AWS compares condition keys without case.
            ConditionKey::Context(key) => asked
                .context
                .iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case(key))
                .map(|(_, value)| value.as_str())
                .collect(),
            ConditionKey::ContextKeys => asked.context.keys().map(String::as_str).collect(),
            ConditionKey::PrincipalType if asked.principal.ends_with(":root") => vec!["Account"],
            ConditionKey::PrincipalType => vec!["AssumedRole"],
            ConditionKey::SameKey => asked
                .same_key
                .map(|same| if same { "true" } else { "false" })
                .into_iter()
                .collect(),
        };
        let listed = |found: &&str| self.values.iter().any(|value| value == found);
        match self.operator {
            Operator::AllStringEquals => found.iter().all(listed),
            Operator::AnyStringEquals | Operator::StringEquals => found.iter().any(listed),
            Operator::Null => found.is_empty() == self.values.iter().any(|value| value == "true"),
            Operator::StringNotEquals => !found.iter().any(listed),
        }
    }
}

/// Whether it is the account of a principal: `arn:aws:iam::ACCOUNT:root`.
fn is_account_of(pattern: &str, principal: &str) -> bool {
    let account = pattern.strip_suffix("root");
    account.is_some_and(|account| account.ends_with(':') && principal.starts_with(account))
}

/// A `*` at the end stands for anything.
fn like(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => pattern == text,
    }
}

fn strings(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(all) => all
            .iter()
            .map(|one| one.as_str().map(str::to_owned))
            .collect(),
        _ => None,
    }
}
