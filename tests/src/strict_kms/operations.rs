//! Requests, and the operations that use a key.
//!
//! Invariant: AWS's order of checks: form and sizes, key, permission, state, dry run, and only then the
//! cipher. Absent: operations that manage keys (`admin`, `grants`).

use aws_smithy_types::base64;
use serde_json::{Value, json};

use super::keys::{Context, Keys, random};
use super::{Refusal, State};

/// AWS's limits, in bytes.
const MAX_CONTEXT: usize = 8192;
const MAX_DATA_KEY: usize = 1024;
const MAX_PLAINTEXT: usize = 4096;
const MAX_BLOB: usize = 6144;

/// A request, as far as it is understood for all operations alike.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) region: &'a str,
    pub(super) principal: &'a str,
    pub(super) operation: &'a str,
    pub(super) body: &'a Value,
}

impl Request<'_> {
    pub(super) fn text(&self, name: &str) -> Result<&str, Refusal> {
        self.optional_text(name)
            .ok_or_else(|| Refusal::validation(format!("{name} must not be null")))
    }

    fn optional_text(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Value::as_str)
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        self.body.get(name).and_then(Value::as_bool) == Some(true)
    }

    fn bytes(&self, name: &str, max: usize) -> Result<Vec<u8>, Refusal> {
        let bytes = base64::decode(self.text(name)?)
            .map_err(|_| Refusal::new("SerializationException", "not base64"))?;
        if bytes.is_empty() || bytes.len() > max {
            let message = format!("{name} must have a length of 1 to {max}");
            return Err(Refusal::validation(message));
        }
        Ok(bytes)
    }

    /// The context under `name`; empty if there is none.
    fn context(&self, name: &str) -> Result<Context, Refusal> {
        let context = self.body.get(name).map(read_context).transpose()?;
        let context = context.unwrap_or_default();
        if json!(context).to_string().len() > MAX_CONTEXT {
            let message = format!("{name} must be at most {MAX_CONTEXT} bytes");
            return Err(Refusal::validation(message));
        }
        Ok(context)
    }

    /// For the log, which takes any request.
    pub(super) fn context_for_log(&self) -> Context {
        let names = ["EncryptionContext", "SourceEncryptionContext"];
        let mut found = names.iter().filter_map(|name| self.body.get(*name));
        found
            .next()
            .and_then(|context| read_context(context).ok())
            .unwrap_or_default()
    }

    /// The key that `name` names, if this request may do `action` with it under `context`.
    fn key(
        &self,
        keys: &mut Keys,
        name: &str,
        action: &str,
        context: &Context,
    ) -> Result<KeyName, Refusal> {
        let same_key = self.same_key(keys);
        let key = keys.find(self.region, name)?;
        key.allows(self, action, context, same_key)?;
        key.usable()?;
        Ok(KeyName {
            id: key.id.clone(),
            arn: key.arn(),
        })
    }

    /// Of `ReEncrypt`, whether it ends under the key where it began.
    fn same_key(&self, keys: &mut Keys) -> Option<bool> {
        let destination = self.optional_text("DestinationKeyId")?;
        let blob = self.bytes("CiphertextBlob", MAX_BLOB).ok()?;
        let source = keys.maker(&blob)?.to_owned();
        let destination = keys.find(self.region, destination).ok()?;
        Some(destination.id == source)
    }

    /// As `key`, of the key that made a blob; `name`, if given, must be that one.
    fn maker(
        &self,
        keys: &mut Keys,
        blob: &[u8],
        name: Option<&str>,
        action: &str,
        context: &Context,
    ) -> Result<KeyName, Refusal> {
        let maker = keys.maker(blob).map(str::to_owned);
        let named = name.or(maker.as_deref()).ok_or_else(invalid_ciphertext)?;
        let key = self.key(keys, named, action, context)?;
        match maker {
            Some(maker) if maker == key.id => Ok(key),
            Some(_) => Err(Refusal::new(
                "IncorrectKeyException",
                "The key ID in the request does not identify a CMK that can perform this operation.",
            )),
            None => Err(invalid_ciphertext()),
        }
    }

    fn end_dry_run(&self) -> Result<(), Refusal> {
        if self.flag("DryRun") {
            return Err(Refusal::new(
                "DryRunOperationException",
                "The request would have succeeded, but the DryRun option is set.",
            ));
        }
        Ok(())
    }
}

struct KeyName {
    id: String,
    arn: String,
}

pub(super) fn read_context(value: &Value) -> Result<Context, Refusal> {
    let pairs = value.as_object().into_iter().flatten();
    let pairs = pairs.map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    let context: Option<Context> = pairs.collect();
    context.ok_or_else(|| Refusal::new("SerializationException", "not a map of strings"))
}

/// AWS sends no message with it.
fn invalid_ciphertext() -> Refusal {
    Refusal::new("InvalidCiphertextException", "")
}

impl State {
    pub(super) fn answer(&mut self, request: &Request<'_>) -> Result<Value, Refusal> {
        match request.operation {
            "CancelKeyDeletion" => self.cancel_key_deletion(request),
            "CreateGrant" => self.create_grant(request),
            "CreateKey" => self.create_key(request),
            "Decrypt" => self.decrypt(request),
            "DescribeKey" => self.describe_key(request),
            "DisableKey" => self.disable_key(request),
            "EnableKey" => self.enable_key(request),
            "Encrypt" => self.encrypt(request),
            "GenerateDataKey" => self.generate_data_key(request),
            "PutKeyPolicy" => self.put_key_policy(request),
            "ReEncrypt" => self.re_encrypt(request),
            "ReplicateKey" => self.replicate_key(request),
            "RevokeGrant" => self.revoke_grant(request),
            "RotateKeyOnDemand" => self.rotate_key_on_demand(request),
            "ScheduleKeyDeletion" => self.schedule_key_deletion(request),
            other => Err(Refusal::new("UnknownOperationException", other)),
        }
    }

    fn generate_data_key(&mut self, request: &Request<'_>) -> Result<Value, Refusal> {
        let spec = request.optional_text("KeySpec");
        let length = request.body.get("NumberOfBytes").and_then(Value::as_u64);
        let length = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        let length = match (spec, length) {
            (Some("AES_256"), None) => 32,
            (Some("AES_128"), None) => 16,
            (None, Some(length)) if (1..=MAX_DATA_KEY).contains(&length) => length,
            _ => return Err(Refusal::validation("KeySpec, or NumberOfBytes up to 1024")),
        };
        let context = request.context("EncryptionContext")?;
        let name = request.text("KeyId")?;
        let key = request.key(&mut self.keys, name, "GenerateDataKey", &context)?;
        request.end_dry_run()?;
        let plaintext: Vec<u8> = random::<1024>().into_iter().take(length).collect();
        Ok(json!({
            "CiphertextBlob": base64::encode(self.keys.wrap(&key.id, &plaintext, &context)),
            "KeyId": key.arn,
            "Plaintext": base64::encode(plaintext),
        }))
    }

    fn encrypt(&mut self, request: &Request<'_>) -> Result<Value, Refusal> {
        let plaintext = request.bytes("Plaintext", MAX_PLAINTEXT)?;
        let context = request.context("EncryptionContext")?;
        let name = request.text("KeyId")?;
        let key = request.key(&mut self.keys, name, "Encrypt", &context)?;
        request.end_dry_run()?;
        Ok(json!({
            "CiphertextBlob": base64::encode(self.keys.wrap(&key.id, &plaintext, &context)),
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "KeyId": key.arn,
        }))
    }

    fn decrypt(&mut self, request: &Request<'_>) -> Result<Value, Refusal> {
        let blob = request.bytes("CiphertextBlob", MAX_BLOB)?;
        let context = request.context("EncryptionContext")?;
        let name = request.optional_text("KeyId");
        let key = request.maker(&mut self.keys, &blob, name, "Decrypt", &context)?;
        let plaintext = self.keys.unwrap(&key.id, &blob, &context);
        let plaintext = plaintext.ok_or_else(invalid_ciphertext)?;
        request.end_dry_run()?;
        Ok(json!({
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "KeyId": key.arn,
            "Plaintext": base64::encode(plaintext),
        }))
    }

    fn re_encrypt(&mut self, request: &Request<'_>) -> Result<Value, Refusal> {
        let blob = request.bytes("CiphertextBlob", MAX_BLOB)?;
        let before = request.context("SourceEncryptionContext")?;
        let after = request.context("DestinationEncryptionContext")?;
        let source = request.optional_text("SourceKeyId");
        let source = request.maker(&mut self.keys, &blob, source, "ReEncryptFrom", &before)?;
        let destination = request.text("DestinationKeyId")?;
        let destination = request.key(&mut self.keys, destination, "ReEncryptTo", &after)?;
        let plaintext = self.keys.unwrap(&source.id, &blob, &before);
        let plaintext = plaintext.ok_or_else(invalid_ciphertext)?;
        request.end_dry_run()?;
        let blob = self.keys.wrap(&destination.id, &plaintext, &after);
        Ok(json!({
            "CiphertextBlob": base64::encode(blob),
            "DestinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "KeyId": destination.arn,
            "SourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "SourceKeyId": source.arn,
        }))
    }
}
