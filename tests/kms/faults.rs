//! Each scripted fault: one request, and refused or unavailable as it must.

use std::time::Duration;

use aws_sdk_kms::config::retry::RetryConfig;
use ophie_crypt::{AwsKms, Kms, KmsError};
use ophie_crypt_tests::strict_kms::Fault;

use super::{APP, Fixture, HERE, assert_refused, assert_same, assert_unavailable, call, make};

/// What an attempt must come to, and whether there is a request id to note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Refused,
    Unavailable,
}

use Outcome::{Refused, Unavailable};

fn faults() -> Vec<(Fault, Outcome, bool)> {
    let mut faults = vec![
        (Fault::Refuse, Unavailable, false),
        (Fault::Reset, Unavailable, false),
        (Fault::LostAnswer, Unavailable, false),
        (Fault::Hang, Unavailable, false),
        (Fault::Delay(Duration::from_secs(3)), Unavailable, false),
        (Fault::CutBody, Unavailable, true),
        (Fault::ShortBody, Unavailable, true),
        (Fault::CorruptBody, Unavailable, true),
        (Fault::OtherKey, Refused, true),
        (Fault::Without("KeyId"), Refused, true),
    ];
    for code in [
        "AccessDeniedException",
        "DisabledException",
        "DryRunOperationException",
        "IncorrectKeyException",
        "InvalidCiphertextException",
        "InvalidGrantTokenException",
        "InvalidKeyUsageException",
        "KMSInvalidStateException",
        "NotFoundException",
        "OfTheFutureException",
        "UnrecognizedClientException",
        "ValidationException",
    ] {
        faults.push((Fault::Error(code, 400), Refused, true));
    }
    for (code, status) in [
        ("DependencyTimeoutException", 400),
        ("DependencyTimeoutException", 500),
        ("DependencyTimeoutException", 503),
        ("InternalFailure", 500),
        ("KMSInternalException", 500),
        ("KeyUnavailableException", 500),
        ("LimitExceededException", 400),
        ("OfTheFutureException", 500),
        ("ServiceUnavailableException", 503),
        ("ThrottlingException", 400),
        ("TooManyRequestsException", 429),
    ] {
        faults.push((Fault::Error(code, status), Unavailable, true));
    }
    for status in [500, 502, 503, 504, 429] {
        faults.push((Fault::Page(status), Unavailable, false));
    }
    for status in [400, 403, 404, 407] {
        faults.push((Fault::Page(status), Refused, false));
    }
    faults
}

#[tokio::test(start_paused = true)]
async fn each_fault_is_one_request_and_of_its_kind() {
    let Fixture { server, kms, .. } = Fixture::new().await;
    let (dek, wrapped) = make(&kms, "ada").await;
    let mut before = server.log().len();
    for (fault, outcome, has_id) in faults() {
        for operation in 0..3 {
            server.script(HERE, [fault.clone()]);
            let call = call("ada");
            let error = match operation {
                0 => kms.make_dek(&call).await.map(drop),
                1 => kms.unwrap_dek(&wrapped, &call).await.map(drop),
                _ => kms.rewrap_dek(&wrapped, &call).await.map(drop),
            }
            .unwrap_err();
            let seen = match error {
                KmsError::Refused { .. } => Refused,
                KmsError::Unavailable { .. } => Unavailable,
                _ => panic!("a new kind of error"),
            };
            assert_eq!(seen, outcome, "{fault:?}: {error:?}");

            let log = server.log();
            assert_eq!(log.len(), before + 1, "{fault:?}: not one request");
            before = log.len();
            let id = has_id.then(|| log[before - 1].request_id.clone());
            assert_eq!(call.request_id(), id, "{fault:?}");
        }
    }
    // And it was the faults.
    assert_same(&dek, &kms.unwrap_dek(&wrapped, &call("ada")).await.unwrap());
}

/// Each field of an answer that is used must be there, and the key must be one.
#[tokio::test]
async fn an_answer_that_lacks_something_is_no_answer() {
    let Fixture { server, kms, .. } = Fixture::new().await;
    let (_, wrapped) = make(&kms, "ada").await;
    let fault = Fault::Without("Plaintext");
    server.script(HERE, [fault.clone(), fault]);
    assert_unavailable(kms.make_dek(&call("ada")).await, "cannot be read");
    assert_unavailable(
        kms.unwrap_dek(&wrapped, &call("ada")).await,
        "cannot be read",
    );
    // What was wrapped at another length stays so, however often one asks.
    for length in [0, 16, 31, 33] {
        let fault = Fault::PlaintextOf(length);
        server.script(HERE, [fault.clone(), fault]);
        assert_refused(kms.make_dek(&call("ada")).await, "no key of 32 bytes");
        assert_refused(
            kms.unwrap_dek(&wrapped, &call("ada")).await,
            "no key of 32 bytes",
        );
    }
    let fault = Fault::Without("CiphertextBlob");
    server.script(HERE, [fault.clone(), fault]);
    assert_unavailable(kms.make_dek(&call("ada")).await, "cannot be read");
    assert_unavailable(
        kms.rewrap_dek(&wrapped, &call("ada")).await,
        "cannot be read",
    );
    server.script(HERE, [Fault::Without("SourceKeyId")]);
    assert_refused(kms.rewrap_dek(&wrapped, &call("ada")).await, "another key");
}

/// KMS may give another key. Nothing here can tell; the keyring can, by the key id.
#[tokio::test]
async fn another_plaintext_passes_through() {
    let Fixture { server, kms, .. } = Fixture::new().await;
    let (dek, wrapped) = make(&kms, "ada").await;
    server.script(HERE, [Fault::OtherPlaintext]);
    let other = kms.unwrap_dek(&wrapped, &call("ada")).await.unwrap();
    assert!(dek.expose_secret() != other.expose_secret());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_waits_two_seconds() {
    let Fixture { server, kms, .. } = Fixture::new().await;
    for (delay, answered) in [(1_900, true), (2_100, false)] {
        server.script(HERE, [Fault::Delay(Duration::from_millis(delay))]);
        let start = tokio::time::Instant::now();
        let result = kms.make_dek(&call("ada")).await;
        assert_eq!(result.is_ok(), answered);
        // The clock stands still but for what is waited for.
        let waited = Duration::from_millis(delay.min(2_000));
        assert_eq!(
            start.elapsed().as_millis().div_ceil(10),
            waited.as_millis().div_ceil(10)
        );
    }
}

/// A user's client may have any settings of its own.
#[tokio::test(start_paused = true)]
async fn a_client_that_retries_does_not_retry_here() {
    let Fixture { server, arn, .. } = Fixture::new().await;
    let eager = [
        RetryConfig::standard().with_max_attempts(10),
        RetryConfig::adaptive().with_max_attempts(10),
    ];
    for retries in eager {
        let config = server.client(HERE, APP).config().to_builder();
        let client = aws_sdk_kms::Client::from_conf(config.retry_config(retries).build());
        let control = client.describe_key().key_id(&arn);
        server.script(HERE, [Fault::Reset]);
        control.send().await.expect("this client does retry");

        let kms = AwsKms::builder().key(client, &arn).build().unwrap();
        let before = server.log().len();
        for fault in [Fault::Reset, Fault::THROTTLE, Fault::Page(503), Fault::Hang] {
            server.script(HERE, [fault]);
            assert!(kms.make_dek(&call("ada")).await.is_err());
        }
        assert_eq!(server.log().len(), before + 4);
    }
}

/// A client that knows no credentials does not get as far as a request.
#[tokio::test]
async fn without_credentials_it_is_unavailable() {
    let Fixture { server, arn, .. } = Fixture::new().await;
    let config = aws_sdk_kms::Config::builder()
        .behavior_version(aws_sdk_kms::config::BehaviorVersion::latest())
        .region(aws_sdk_kms::config::Region::new(HERE))
        .http_client(server.clone());
    let client = aws_sdk_kms::Client::from_conf(config.build());
    let kms = AwsKms::builder().key(client, &arn).build().unwrap();
    let before = server.log().len();
    assert_unavailable(kms.make_dek(&call("ada")).await, "credentials");
    assert_eq!(server.log().len(), before);
}
