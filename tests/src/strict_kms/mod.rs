//! A strict AWS KMS in this process, behind the real SDK as its HTTP client.
//!
//! It refuses what AWS documents as refused: emulators are each wrong somewhere. It speaks KMS's own
//! protocol (JSON 1.1), so that the SDK signs, sends, retries, times out and parses as in earnest.
//! Invariant: a blob opens only under its key material and its whole encryption context. Absent:
//! signatures (any access key is believed, and is the caller's name), IAM policies, aliases, asymmetric keys.

mod access;
mod admin;
mod connector;
mod fault;
mod grants;
mod keys;
mod operations;
mod policy;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use aws_sdk_kms::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_kms::{Client, Config};

pub use self::fault::Fault;
use self::keys::Keys;

/// The account of all keys.
pub const ACCOUNT: &str = "111122223333";

/// KMS in all regions of one account. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct StrictKms {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    keys: Keys,
    faults: HashMap<String, VecDeque<Fault>>,
    log: Vec<Entry>,
}

/// One request, as the strict KMS saw it. The order in the log is the order of arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Where it arrived.
    pub region: String,
    /// The access key that signed it.
    pub principal: String,
    /// `Decrypt`, say.
    pub operation: String,
    /// The encryption context; of a `ReEncrypt`, that of the source.
    pub context: BTreeMap<String, String>,
    /// The id that the answer has, or would have had.
    pub request_id: String,
    /// The error's code, if it was refused. A fault may have hidden the outcome from the caller.
    pub outcome: Result<(), String>,
    /// The fault that was put upon it.
    pub fault: Option<Fault>,
}

impl StrictKms {
    /// Without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A client of the real SDK for a region, signing as `principal`. Its settings are the SDK's defaults:
    /// three attempts, no time-out of an attempt.
    #[must_use]
    pub fn client(&self, region: &str, principal: &str) -> Client {
        Client::from_conf(
            Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new(region.to_owned()))
                .credentials_provider(Credentials::new(principal, "secret", None, None, "strict"))
                .http_client(self.clone())
                .build(),
        )
    }

    /// Makes a symmetric key that every principal may use; the ARN.
    ///
    /// # Panics
    ///
    /// If the request fails.
    pub async fn make_key(&self, region: &str) -> String {
        self.make(region, false).await
    }

    /// Makes a multi-Region key with replicas in `others`; the ARNs, in this order.
    ///
    /// # Panics
    ///
    /// If a request fails.
    pub async fn make_multi_region_key(&self, region: &str, others: &[&str]) -> Vec<String> {
        let client = self.client(region, "admin");
        let mut arns = vec![self.make(region, true).await];
        for other in others {
            let replica = client
                .replicate_key()
                .key_id(arns.first().expect("the primary"))
                .replica_region(*other)
                .send()
                .await
                .expect("the key is replicated");
            let metadata = replica.replica_key_metadata.expect("metadata");
            arns.push(metadata.arn.expect("an ARN"));
        }
        arns
    }

    async fn make(&self, region: &str, multi_region: bool) -> String {
        let client = self.client(region, "admin");
        let made = client.create_key().multi_region(multi_region).send().await;
        let metadata = made.expect("the key is made").key_metadata;
        metadata.expect("metadata").arn.expect("an ARN")
    }

    /// Puts faults upon the next requests that arrive in a region, one each, after those already there.
    pub fn script(&self, region: &str, faults: impl IntoIterator<Item = Fault>) {
        let mut state = self.state();
        let script = state.faults.entry(region.to_owned()).or_default();
        script.extend(faults);
    }

    /// Lets days go by: keys whose waiting period is over are gone for good.
    pub fn pass_days(&self, days: i64) {
        self.state().keys.pass_days(days);
    }

    /// All requests so far.
    #[must_use]
    pub fn log(&self) -> Vec<Entry> {
        self.state().log.clone()
    }

    /// All requests of an operation so far.
    #[must_use]
    pub fn log_of(&self, operation: &str) -> Vec<Entry> {
        let mut log = self.log();
        log.retain(|entry| entry.operation == operation);
        log
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panicked in here")
    }
}

/// An error as AWS answers it.
#[derive(Debug)]
struct Refusal {
    code: &'static str,
    status: u16,
    message: String,
}

impl Refusal {
    /// A client's mistake: nearly all have status 400.
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            status: 400,
            message: message.into(),
        }
    }

    fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message)
    }
}
