//! What went wrong in a call of AWS KMS, and whether trying again can mend it.
//!
//! Invariant: it holds the operation, AWS's code, the HTTP status and the request id, and no text by
//! others: the SDK's own errors can print a response with the context or a blob in it.
//! Absent: how the SDK's errors are read (`aws`), and how often to try again (`keyring`).

use core::fmt;

use super::super::KmsError;

/// The source of a [`KmsError`] of AWS KMS.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) operation: &'static str,
    pub(super) what: What,
    pub(super) request_id: Option<String>,
}

#[derive(Debug)]
pub(super) enum What {
    /// The SDK could not build the request.
    Unsent,
    /// No answer within the attempt's time.
    Timeout,
    /// No connection, no credentials, or it broke before the answer.
    Unanswered,
    /// It broke within the answer, or the answer is not one of KMS.
    Unreadable,
    /// An error by AWS; without a code, by whatever stands in between.
    Answer { code: Option<String>, status: u16 },
    /// What was wrapped is not 32 bytes, or all are zero.
    NoKey,
    /// The answer names another key than the one asked for.
    OtherKey,
}

/// Codes that pass, whatever their status: AWS sends some of them with status 400.
const PASSING: [&str; 16] = [
    "DependencyTimeoutException",
    "InternalFailure",
    "InternalServerError",
    "KMSInternalException",
    "KeyUnavailableException",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "Throttling",
    "ThrottlingException",
];

impl Failure {
    /// As the keyring wants it: may the next attempt fare better?
    pub(super) fn into_error(self) -> KmsError {
        if self.what.passes() {
            KmsError::unavailable(self)
        } else {
            KmsError::refused(self)
        }
    }
}

impl What {
    fn passes(&self) -> bool {
        match self {
            Self::Unsent | Self::NoKey | Self::OtherKey => false,
            Self::Timeout | Self::Unanswered | Self::Unreadable => true,
            Self::Answer { code, status } => {
                // Of codes that AWS adds later, the status decides: a client's mistake stays one.
                code.as_deref().is_some_and(|code| PASSING.contains(&code))
                    || !(400..500).contains(status)
                    || matches!(status, 408 | 429)
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AWS KMS {}: ", self.operation)?;
        match &self.what {
            What::Unsent => f.write_str("the request cannot be built")?,
            What::Timeout => f.write_str("no answer in time")?,
            What::Unanswered => f.write_str("no answer")?,
            What::Unreadable => f.write_str("the answer cannot be read")?,
            What::NoKey => f.write_str("it is no key of 32 bytes")?,
            What::OtherKey => f.write_str("the answer names another key")?,
            What::Answer { code, status } => {
                let code = code.as_deref().unwrap_or("an error without a code");
                write!(f, "{code}, HTTP status {status}")?;
            }
        }
        if let Some(id) = &self.request_id {
            write!(f, ", request id {id}")?;
        }
        write!(f, "; {}", self.what.advice())
    }
}

impl core::error::Error for Failure {}

impl What {
    fn advice(&self) -> &'static str {
        match self {
            Self::Unsent => "check the client's region, endpoint and credentials",
            Self::Timeout | Self::Unanswered => {
                "check the network, the endpoint, TLS and the credentials"
            }
            Self::Unreadable => "check what stands between this process and AWS",
            Self::NoKey => "find out who wrapped it: this library has AWS make keys of 32 bytes",
            Self::OtherKey => "check the endpoint; this was not the KMS, or not the key's region",
            Self::Answer { code, .. } => match code.as_deref().unwrap_or_default() {
                "AccessDeniedException" => {
                    "allow the operation, for this encryption context, in the key policy or by IAM"
                }
                "InvalidCiphertextException" => {
                    "the wrapped key was changed, or app, owner or generation are not those that it was wrapped for"
                }
                "IncorrectKeyException" => "the wrapped key was made by another KMS key",
                "DisabledException" => "enable the KMS key",
                "KMSInvalidStateException" => {
                    "see the KMS key's state; if its deletion is scheduled, cancel it"
                }
                "NotFoundException" => "check the key's ARN: region, account and id",
                "InvalidKeyUsageException" => "a symmetric key for ENCRYPT_DECRYPT is needed",
                "ExpiredTokenException" | "UnrecognizedClientException" => {
                    "check the AWS credentials"
                }
                _ => "AWS documents the code; CloudTrail has the request",
            },
        }
    }
}

/// A word of AWS, if it can be one: letters, digits and a few marks, and short. It is printed and kept.
pub(super) fn word(word: &str) -> Option<String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:=+/".contains(&byte);
    ((1..=128).contains(&word.len()) && word.bytes().all(good)).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{What, word};

    fn passes(code: Option<&str>, status: u16) -> bool {
        let code = code.map(str::to_owned);
        What::Answer { code, status }.passes()
    }

    #[test]
    fn the_code_goes_before_the_status() {
        for code in [
            "ThrottlingException",
            "LimitExceededException",
            "KMSInternalException",
        ] {
            assert!(passes(Some(code), 400), "{code}");
        }
        for code in [
            "AccessDeniedException",
            "InvalidCiphertextException",
            "OfTheFuture",
        ] {
            assert!(!passes(Some(code), 400), "{code}");
        }
    }

    #[test]
    fn the_status_decides_of_what_is_unknown() {
        for status in [200, 302, 408, 429, 500, 502, 503, 504] {
            assert!(passes(None, status), "{status}");
            assert!(passes(Some("OfTheFuture"), status), "{status}");
        }
        for status in [400, 401, 403, 404, 409, 412, 499] {
            assert!(!passes(None, status), "{status}");
        }
    }

    /// Whoever reads it knows what to look at, as long as AWS's codes are these.
    #[test]
    fn each_code_has_advice_of_its_own() {
        let advice = |code: &str| {
            let code = Some(code.to_owned());
            What::Answer { code, status: 400 }.advice()
        };
        let codes = [
            ("AccessDeniedException", "key policy"),
            ("InvalidCiphertextException", "app, owner or generation"),
            ("IncorrectKeyException", "another KMS key"),
            ("DisabledException", "enable the KMS key"),
            ("KMSInvalidStateException", "cancel it"),
            ("NotFoundException", "the key's ARN"),
            ("InvalidKeyUsageException", "ENCRYPT_DECRYPT"),
            ("ExpiredTokenException", "the AWS credentials"),
            ("UnrecognizedClientException", "the AWS credentials"),
            ("OfTheFuture", "AWS documents the code"),
        ];
        for (code, says) in codes {
            assert!(advice(code).contains(says), "{code}");
        }
    }

    #[test]
    fn words_are_short_and_plain() {
        assert_eq!(word("0b5e-1").as_deref(), Some("0b5e-1"));
        for bad in [
            "",
            "two words",
            "line\nbreak",
            "\u{1b}[31m",
            &"a".repeat(129),
        ] {
            assert_eq!(word(bad), None, "{bad:?}");
        }
    }
}
