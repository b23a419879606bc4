//! Names of AWS KMS keys, as far as this crate must understand them.
//!
//! Invariant: it names one key in one region; aliases, which can be pointed elsewhere, are none.
//! Absent: which keys are configured (`aws`).

use core::fmt;

/// `arn:PARTITION:kms:REGION:ACCOUNT:key/ID`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct KeyArn {
    whole: String,
    partition: String,
    region: String,
    account: String,
    id: String,
}

impl KeyArn {
    pub(super) fn parse(whole: &str) -> Option<Self> {
        let mut parts = whole.splitn(6, ':');
        let mut part = || parts.next().filter(|part| plain(part)).map(str::to_owned);
        let (arn, partition, service, region, account) =
            (part()?, part()?, part()?, part()?, part()?);
        let id = parts.next()?.strip_prefix("key/").filter(|id| plain(id))?;
        (arn == "arn" && service == "kms").then(|| Self {
            whole: whole.to_owned(),
            partition,
            region,
            account,
            id: id.to_owned(),
        })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.whole
    }

    pub(super) fn region(&self) -> &str {
        &self.region
    }

    /// Whether both name the same key material: one key, or two regions of a multi-Region key.
    pub(super) fn same_key(&self, other: &Self) -> bool {
        self == other || (self.is_multi_region() && self.in_region(&other.region) == *other)
    }

    /// Whether `other` is this multi-Region key in another region.
    pub(super) fn is_replica_of(&self, other: &Self) -> bool {
        self.region != other.region && self.same_key(other)
    }

    /// AWS gives ids with this prefix to multi-Region keys alone, and the same id in each region.
    fn is_multi_region(&self) -> bool {
        self.id.starts_with("mrk-")
    }

    fn in_region(&self, region: &str) -> Self {
        let Self {
            partition,
            account,
            id,
            ..
        } = self;
        Self {
            whole: format!("arn:{partition}:kms:{region}:{account}:key/{id}"),
            region: region.to_owned(),
            ..self.clone()
        }
    }
}

/// The alphabet of its parts, so that a name from a database is safe to print.
fn plain(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=64).contains(&part.len()) && part.bytes().all(plain)
}

impl fmt::Debug for KeyArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.whole.fmt(f)
    }
}

impl fmt::Display for KeyArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.whole.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::KeyArn;

    const HERE: &str = "arn:aws:kms:eu-central-1:111122223333:key/mrk-0123";

    fn arn(whole: &str) -> KeyArn {
        KeyArn::parse(whole).expect("a key ARN")
    }

    #[test]
    fn only_key_arns_are_read() {
        assert_eq!(arn(HERE).region(), "eu-central-1");
        assert_eq!(arn(HERE).to_string(), HERE);
        assert_eq!(format!("{:?}", arn(HERE)), format!("{HERE:?}"));
        assert_eq!(
            arn("arn:aws-cn:kms:cn-north-1:1:key/a").as_str(),
            "arn:aws-cn:kms:cn-north-1:1:key/a"
        );
        let long = format!("{HERE}{}", "0".repeat(64));
        for other in [
            "",
            "0123",
            "alias/ophie",
            "arn:aws:kms:eu-central-1:111122223333:alias/ophie",
            "arn:aws:s3:eu-central-1:111122223333:key/0123",
            "arn:aws:kms::111122223333:key/0123",
            "arn:aws:kms:eu-central-1:111122223333:key/",
            "arn:aws:kms:eu-central-1:111122223333:key/01:23",
            "arn:aws:kms:eu-central-1:111122223333:key/01\n23",
            " arn:aws:kms:eu-central-1:111122223333:key/0123",
            &long,
        ] {
            assert!(KeyArn::parse(other).is_none(), "{other}");
        }
    }

    #[test]
    fn only_multi_region_keys_are_the_same_elsewhere() {
        let there = HERE.replace("eu-central-1", "eu-west-1");
        assert!(arn(HERE).same_key(&arn(HERE)));
        assert!(arn(HERE).same_key(&arn(&there)));
        assert!(arn(HERE).is_replica_of(&arn(&there)));
        assert!(!arn(HERE).is_replica_of(&arn(HERE)));
        for other in [
            HERE.replace("0123", "0124"),
            there.replace("111122223333", "111122224444"),
            there.replace("arn:aws:", "arn:aws-cn:"),
        ] {
            assert!(!arn(HERE).same_key(&arn(&other)), "{other}");
        }
        let single = HERE.replace("mrk-", "");
        assert!(!arn(&single).same_key(&arn(&there.replace("mrk-", ""))));
    }
}
