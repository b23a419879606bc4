//! Which keys an [`AwsKms`] has, checked.
//!
//! Invariant: the present key is one key, in regions that differ; each client speaks to its key's region.
//! Absent: any request to AWS.

use super::{AwsKms, Client, RegionalKey};

/// Builds an [`AwsKms`].
///
/// ```
/// let error = ophie_crypt::AwsKms::builder().build().unwrap_err();
/// assert!(error.to_string().contains("call `key`"));
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct AwsKmsBuilder {
    key: Option<(Client, String)>,
    replicas: Vec<(Client, String)>,
    former: Vec<(Client, String)>,
}

/// The keys of an [`AwsKms`] do not fit.
///
/// ```
/// use ophie_crypt::{AwsKms, AwsKmsError};
/// # use aws_sdk_kms::{Client, Config, config::{BehaviorVersion, Region}};
/// # let config = Config::builder().behavior_version(BehaviorVersion::latest());
/// # let client = Client::from_conf(config.region(Region::from_static("eu-central-1")).build());
///
/// let error = AwsKms::builder().key(client, "alias/ophie").build().unwrap_err();
/// assert!(matches!(error, AwsKmsError::NotAKeyArn { .. }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AwsKmsError {
    /// No key was given.
    #[error("no KMS key; call `key` with a client and the key's ARN")]
    NoKey,
    /// An alias, a bare id, or no ARN at all. An alias can be pointed to another key.
    #[error(
        "{given:?} is not the ARN of a KMS key; give arn:aws:kms:REGION:ACCOUNT:key/ID, not an alias"
    )]
    NotAKeyArn {
        /// What was given.
        given: String,
    },
    /// The client speaks to another region than the key's, or to none.
    #[error(
        "the client for {arn} has the region {region:?}; make it with the region that the ARN names"
    )]
    OtherRegion {
        /// The key.
        arn: String,
        /// The client's region.
        region: Option<String>,
    },
    /// A replica that is not the key in another region.
    #[error(
        "{arn} is not a replica of {key}; a replica has the same account and the same id, which begins with mrk-, in a region of its own"
    )]
    NotAReplica {
        /// The alleged replica.
        arn: String,
        /// The key.
        key: String,
    },
}

impl AwsKmsBuilder {
    /// The present key, by its ARN, and a client for its region.
    pub fn key(mut self, client: Client, arn: impl Into<String>) -> Self {
        self.key = Some((client, arn.into()));
        self
    }

    /// The same multi-Region key in another region, for when the first does not answer. The order counts.
    pub fn replica(mut self, client: Client, arn: impl Into<String>) -> Self {
        self.replicas.push((client, arn.into()));
        self
    }

    /// A key that was the present one: it unwraps what was wrapped under it, and wraps nothing.
    /// Again for each of its regions.
    pub fn former(mut self, client: Client, arn: impl Into<String>) -> Self {
        self.former.push((client, arn.into()));
        self
    }

    /// Ready for use. It asks AWS nothing.
    ///
    /// # Errors
    ///
    /// [`AwsKmsError`].
    pub fn build(self) -> Result<AwsKms, AwsKmsError> {
        let key = self.key.ok_or(AwsKmsError::NoKey)?;
        let mut present = vec![RegionalKey::new(key)?];
        for replica in self.replicas {
            let replica = RegionalKey::new(replica)?;
            if let Some(key) = present
                .iter()
                .find(|key| !replica.arn.is_replica_of(&key.arn))
            {
                return Err(AwsKmsError::NotAReplica {
                    arn: replica.arn.to_string(),
                    key: key.arn.to_string(),
                });
            }
            present.push(replica);
        }
        let former = self.former.into_iter().map(RegionalKey::new);
        Ok(AwsKms {
            present,
            former: former.collect::<Result<_, _>>()?,
        })
    }
}
