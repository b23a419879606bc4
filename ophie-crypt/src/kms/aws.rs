//! The master key in AWS KMS.
//!
//! Invariant: one call is one request, to one region, under the whole encryption context and a key that
//! is named by its ARN; the answer is used only if it names the same key. Absent: retries, total time
//! and audit (`keyring`), grants, key policies and making keys (the operator's).

mod arn;
mod builder;
mod failure;
#[cfg(test)]
mod tests;

use core::{fmt, time::Duration};
use std::collections::HashMap;

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_sdk_kms::{
    Client,
    config::{Builder as Config, Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
    primitives::Blob,
    types::DataKeySpec,
};
#[cfg(test)]
use aws_sdk_kms::{
    config::http::HttpResponse, error::ErrorMetadata, operation::decrypt::DecryptOutput,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use zeroize::Zeroizing;

pub use self::builder::{AwsKmsBuilder, AwsKmsError};
use self::{
    arn::KeyArn,
    failure::{Failure, What, word},
};
use super::{GeneratedDek, Kms, KmsCall, KmsError, WrappedDek};
use crate::hazmat::data_key::Dek;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// A master key in AWS KMS: a symmetric key for `ENCRYPT_DECRYPT`, single-Region or multi-Region.
///
/// ```no_run
/// use ophie_crypt::{AwsKms, Keyring, MemoryKeyStore};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let kms = AwsKms::from_env("arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab").await?;
/// let keyring = Keyring::builder().kms(kms).key_store(MemoryKeyStore::new()).build()?;
/// # Ok(())
/// # }
/// ```
///
/// With clients of your own, and a multi-Region key in two regions:
///
/// ```
/// # use aws_sdk_kms::config::{BehaviorVersion, Region};
/// use aws_sdk_kms::{Client, Config};
/// use ophie_crypt::AwsKms;
///
/// let client = |region: &'static str| {
///     Client::from_conf(
///         // and your credentials, HTTP client, endpoint
///         Config::builder()
///             .behavior_version(BehaviorVersion::latest())
///             .region(Region::from_static(region))
///             .build(),
///     )
/// };
/// let arn = |region| format!("arn:aws:kms:{region}:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab");
/// let kms = AwsKms::builder()
///     .key(client("eu-central-1"), arn("eu-central-1"))
///     .replica(client("eu-west-1"), arn("eu-west-1"))
///     .build()?;
/// # Ok::<(), ophie_crypt::AwsKmsError>(())
/// ```
///
/// **One call, one request.** The SDK's retries are switched off for these calls, also in a client of
/// yours, and its time-outs set (1 s to connect, 2 s in all): the keyring retries, and audits each attempt.
/// The first attempt goes to the key's own region, the second to its first replica, and so on, round and
/// round. An error that no retry can mend is final in every region.
///
/// **Encryption context**: `app`, `owner` (in hex) and `generation`, the same in all calls for a DEK; `app`,
/// `purpose` and `writer` for an audit key. AWS KMS refuses a wrapped key under any other.
///
/// # Permissions
///
/// The application needs this and nothing else on the key. `app` is the name that
/// [`KeyringBuilder::app`](crate::KeyringBuilder::app) gives; without it, `ophie-crypt`:
///
/// ```json
/// {
///   "Effect": "Allow",
///   "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
///   "Resource": "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
///   "Condition": {
///     "StringEquals": { "kms:EncryptionContext:app": "ophie" },
///     "ForAllValues:StringEquals": { "kms:EncryptionContextKeys": ["app", "owner", "generation"] }
///   }
/// }
/// ```
///
/// With a [`ChainedAudit`](crate::ChainedAudit), it also needs to make audit keys:
///
/// ```json
/// {
///   "Effect": "Allow",
///   "Action": "kms:GenerateDataKey",
///   "Resource": "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
///   "Condition": {
///     "StringEquals": { "kms:EncryptionContext:app": "ophie", "kms:EncryptionContext:purpose": "audit" },
///     "ForAllValues:StringEquals": { "kms:EncryptionContextKeys": ["app", "purpose", "writer"] }
///   }
/// }
/// ```
///
/// It must not be able to decrypt one, which is how its own past is out of its reach. Only the auditor's
/// role may:
///
/// ```json
/// {
///   "Effect": "Allow",
///   "Action": "kms:Decrypt",
///   "Resource": "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
///   "Condition": {
///     "StringEquals": { "kms:EncryptionContext:app": "ophie", "kms:EncryptionContext:purpose": "audit" },
///     "ForAllValues:StringEquals": { "kms:EncryptionContextKeys": ["app", "purpose", "writer"] }
///   }
/// }
/// ```
///
/// The Terraform module `deploy/terraform/aws-kms` of the repository makes a key with a policy that also asks for each of
/// these keys by a `Null` condition: `ForAllValues` alone holds where they are missing.
///
/// List each region's ARN of a multi-Region key. Moving keys here from another kind of KMS ([`MovingKms`](crate::MovingKms))
/// needs `kms:Encrypt`, for the role that moves, while it moves. Moving wrapped keys to another KMS key needs
/// `kms:ReEncryptFrom` on the old and `kms:ReEncryptTo` on the new one: give them to the role that moves,
/// while it moves.
///
/// # Security
///
/// - Do not allow the application `kms:Encrypt`: whoever can wrap a DEK of their own choice can prepare
///   two that share a key id, with some 2^64 work, or plant a DEK that they know. `GenerateDataKey` lets
///   AWS choose. `kms:ReEncryptTo` is as good as `kms:Encrypt`, by way of a key in an account of their own.
/// - CloudTrail shows the context: an owner must be an opaque id.
/// - Keep the SDK's own targets (`aws_smithy_runtime`) above TRACE. There it prints requests, and answers
///   that it cannot parse, with whatever they hold.
/// - The DEK comes over TLS, in the clear within it. An endpoint with `http://` (from `AWS_ENDPOINT_URL`,
///   say) has none: for tests on one machine only.
/// - The plaintext that the SDK hands over is wiped here. What the SDK's HTTP and JSON layers have left in
///   freed memory is not: only an allocator that zeroes on free reaches it.
#[derive(Clone)]
pub struct AwsKms {
    /// The present key: its own region first. Never empty.
    present: Vec<RegionalKey>,
    /// Keys for unwrapping only.
    former: Vec<RegionalKey>,
}

impl AwsKms {
    /// With your own clients, replicas or former keys.
    pub fn builder() -> AwsKmsBuilder {
        AwsKmsBuilder::default()
    }

    /// With the credentials that the environment gives, as AWS's own tools find them, and the ARN's region.
    ///
    /// Without SSO and credential processes; pass your own client to [`AwsKms::builder`] for those. It
    /// asks AWS nothing: a key that is missing or forbidden shows at the first call.
    ///
    /// # Errors
    ///
    /// [`AwsKmsError::NotAKeyArn`].
    pub async fn from_env(arn: impl Into<String>) -> Result<Self, AwsKmsError> {
        let arn = read_arn(&arn.into())?;
        let client = Self::client_from_env(arn.region()).await;
        Self::builder().key(client, arn.as_str()).build()
    }

    /// A client for a region with the credentials that the environment gives, as [`AwsKms::from_env`]
    /// has it: for replicas and former keys.
    ///
    /// TLS by rustls and ring, with the root certificates of the machine.
    pub async fn client_from_env(region: &str) -> Client {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .http_client(http)
            .load()
            .await;
        Client::new(&config)
    }

    /// The key that `wrapped` names, in each of its regions; at least one.
    fn holders(&self, wrapped: &WrappedDek) -> Result<Vec<&RegionalKey>, KmsError> {
        let kek = KeyArn::parse(wrapped.kek()).ok_or_else(|| {
            KmsError::refused(
                "the wrapped key does not name an AWS KMS key; unwrap it with the KMS that made it",
            )
        })?;
        let all = self.present.iter().chain(&self.former);
        let holders: Vec<_> = all.filter(|key| key.arn.same_key(&kek)).collect();
        if holders.is_empty() {
            return Err(KmsError::refused(format!(
                "the key was wrapped under {kek}, which is not configured; add it with `AwsKmsBuilder::former`"
            )));
        }
        Ok(holders)
    }
}

#[async_trait]
impl Kms for AwsKms {
    async fn make_dek(&self, call: &KmsCall) -> Result<GeneratedDek, KmsError> {
        let key = pick(&self.present.iter().collect::<Vec<_>>(), call)?;
        let operation = Operation::new("GenerateDataKey", call);
        let answer = key
            .client
            .generate_data_key()
            .key_id(key.arn.as_str())
            .key_spec(DataKeySpec::Aes256)
            .set_encryption_context(Some(context(call)))
            .customize()
            .config_override(one_attempt())
            .send()
            .await;
        let mut answer = operation.settle(answer)?;
        let dek = operation.take_dek(answer.plaintext.take())?;
        operation.expect(&key.arn, answer.key_id())?;
        let wrapped = operation.take_wrapped(&key.arn, answer.ciphertext_blob)?;
        Ok(GeneratedDek { dek, wrapped })
    }

    async fn unwrap_dek(&self, wrapped: &WrappedDek, call: &KmsCall) -> Result<Dek, KmsError> {
        let key = pick(&self.holders(wrapped)?, call)?;
        let operation = Operation::new("Decrypt", call);
        let answer = key
            .client
            .decrypt()
            .key_id(key.arn.as_str())
            .ciphertext_blob(Blob::new(wrapped.as_bytes()))
            .set_encryption_context(Some(context(call)))
            .customize()
            .config_override(one_attempt())
            .send()
            .await;
        let mut answer = operation.settle(answer)?;
        let dek = operation.take_dek(answer.plaintext.take())?;
        operation.expect(&key.arn, answer.key_id())?;
        Ok(dek)
    }

    async fn rewrap_dek(
        &self,
        wrapped: &WrappedDek,
        call: &KmsCall,
    ) -> Result<WrappedDek, KmsError> {
        let holders = self.holders(wrapped)?;
        let routes: Vec<_> = self
            .present
            .iter()
            .filter_map(|to| {
                let from = holders
                    .iter()
                    .find(|from| from.arn.region() == to.arn.region());
                from.map(|from| (*from, to))
            })
            .collect();
        let (from, to) = pick(&routes, call)?;
        let operation = Operation::new("ReEncrypt", call);
        let answer = to
            .client
            .re_encrypt()
            .source_key_id(from.arn.as_str())
            .destination_key_id(to.arn.as_str())
            .ciphertext_blob(Blob::new(wrapped.as_bytes()))
            .set_source_encryption_context(Some(context(call)))
            .set_destination_encryption_context(Some(context(call)))
            .customize()
            .config_override(one_attempt())
            .send()
            .await;
        let answer = operation.settle(answer)?;
        operation.expect(&from.arn, answer.source_key_id())?;
        operation.expect(&to.arn, answer.key_id())?;
        operation.take_wrapped(&to.arn, answer.ciphertext_blob)
    }

    async fn wrap_dek(&self, dek: &Dek, call: &KmsCall) -> Result<WrappedDek, KmsError> {
        let key = pick(&self.present.iter().collect::<Vec<_>>(), call)?;
        let operation = Operation::new("Encrypt", call);
        let answer = key
            .client
            .encrypt()
            .key_id(key.arn.as_str())
            .plaintext(Blob::new(dek.expose_secret()))
            .set_encryption_context(Some(context(call)))
            .customize()
            .config_override(one_attempt())
            .send()
            .await;
        let answer = operation.settle(answer)?;
        operation.expect(&key.arn, answer.key_id())?;
        operation.take_wrapped(&key.arn, answer.ciphertext_blob)
    }

    fn holds(&self, kek: &str) -> bool {
        self.holders(&WrappedDek::new(kek, [])).is_ok()
    }
}

/// A key in one region, and a client for that region.
#[derive(Clone, Debug)]
struct RegionalKey {
    client: Client,
    arn: KeyArn,
}

impl RegionalKey {
    fn new((client, arn): (Client, String)) -> Result<Self, AwsKmsError> {
        let arn = read_arn(&arn)?;
        let region = client.config().region().map(ToString::to_string);
        if region.as_deref() != Some(arn.region()) {
            return Err(AwsKmsError::OtherRegion {
                arn: arn.to_string(),
                region,
            });
        }
        Ok(Self { client, arn })
    }
}

fn read_arn(given: &str) -> Result<KeyArn, AwsKmsError> {
    KeyArn::parse(given).ok_or_else(|| AwsKmsError::NotAKeyArn {
        given: given.to_owned(),
    })
}

/// The attempt's turn: the first attempt takes the first, and so on, round and round.
fn pick<T: Copy>(from: &[T], call: &KmsCall) -> Result<T, KmsError> {
    let turn = usize::try_from(call.attempt().saturating_sub(1)).unwrap_or(usize::MAX);
    let turn = turn.checked_rem(from.len());
    turn.and_then(|turn| from.get(turn)).copied().ok_or_else(|| {
        KmsError::refused("AWS KMS re-encrypts within one region only, and the wrapped key's region is not one of the present key's; give that key, or the present one, in a region that both have")
    })
}

fn context(call: &KmsCall) -> HashMap<String, String> {
    let pairs = call.context().pairs();
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// What holds for these calls whatever the client's own settings are.
fn one_attempt() -> Config {
    Config::new()
        .retry_config(RetryConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .build(),
        )
}

/// One request, and how its answer is read.
struct Operation<'a> {
    name: &'static str,
    call: &'a KmsCall,
}

impl<'a> Operation<'a> {
    const fn new(name: &'static str, call: &'a KmsCall) -> Self {
        Self { name, call }
    }

    /// Notes the request id and reads the error, of which only harmless words are kept.
    fn settle<A: RequestId, E: ProvideErrorMetadata>(
        &self,
        answer: Result<A, SdkError<E>>,
    ) -> Result<A, KmsError> {
        if let Some(id) = answer.request_id().and_then(word) {
            self.call.note_request_id(id);
        }
        answer.map_err(|error| {
            self.failure(match &error {
                SdkError::ConstructionFailure(_) => What::Unsent,
                SdkError::TimeoutError(_) => What::Timeout,
                SdkError::ResponseError(_) => What::Unreadable,
                SdkError::ServiceError(answer) => What::Answer {
                    code: answer.err().code().and_then(word),
                    status: answer.raw().status().as_u16(),
                },
                // Not by `is_io()`: a reset connection is not one.
                _ => What::Unanswered,
            })
        })
    }

    /// The SDK's copy is wiped.
    fn take_dek(&self, plaintext: Option<Blob>) -> Result<Dek, KmsError> {
        let bytes = plaintext.map(|blob| Zeroizing::new(blob.into_inner()));
        let bytes = bytes.ok_or_else(|| self.failure(What::Unreadable))?;
        Dek::from_slice(&bytes).map_err(|_| self.failure(What::NoKey))
    }

    fn take_wrapped(&self, kek: &KeyArn, blob: Option<Blob>) -> Result<WrappedDek, KmsError> {
        let bytes = blob.map(Blob::into_inner).filter(|bytes| !bytes.is_empty());
        let bytes = bytes.ok_or_else(|| self.failure(What::Unreadable))?;
        Ok(WrappedDek::new(kek.as_str(), bytes))
    }

    fn expect(&self, key: &KeyArn, named: Option<&str>) -> Result<(), KmsError> {
        if named == Some(key.as_str()) {
            return Ok(());
        }
        Err(self.failure(What::OtherKey))
    }

    fn failure(&self, what: What) -> KmsError {
        Failure {
            operation: self.name,
            what,
            request_id: self.call.request_id(),
        }
        .into_error()
    }
}

impl fmt::Debug for AwsKms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arns =
            |keys: &[RegionalKey]| keys.iter().map(|key| key.arn.clone()).collect::<Vec<_>>();
        f.debug_struct("AwsKms")
            .field("present", &arns(&self.present))
            .field("former", &arns(&self.former))
            .finish()
    }
}
