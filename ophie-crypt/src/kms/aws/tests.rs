//! What is decided without a request. The requests themselves meet a strict KMS in the tests package.

use super::*;
use crate::{kms::EncryptionContext, owner::CanonicalId};

const HERE: &str = "arn:aws:kms:eu-central-1:111122223333:key/mrk-0123";
const THERE: &str = "arn:aws:kms:eu-west-1:111122223333:key/mrk-0123";
const FORMER: &str = "arn:aws:kms:eu-west-1:111122223333:key/9876";
const ELSEWHERE: &str = "arn:aws:kms:us-east-1:111122223333:key/5555";

fn client(region: &'static str) -> Client {
    let config = Config::new().behavior_version(BehaviorVersion::latest());
    Client::from_conf(config.region(Region::new(region)).build())
}

fn kms() -> AwsKms {
    AwsKms::builder()
        .key(client("eu-central-1"), HERE)
        .replica(client("eu-west-1"), THERE)
        .former(client("us-east-1"), ELSEWHERE)
        .build()
        .unwrap()
}

fn call() -> KmsCall {
    KmsCall::new(EncryptionContext::new("app", &CanonicalId::text("ada"), 7))
}

fn text(error: &KmsError) -> String {
    core::error::Error::source(error).unwrap().to_string()
}

#[test]
fn a_wrapped_key_is_unwrapped_under_a_key_that_is_configured() {
    let kms = kms();
    for kek in [HERE, THERE, ELSEWHERE] {
        assert!(kms.holds(kek), "{kek}");
    }
    for kek in [FORMER, "local:00", "alias/ophie"] {
        assert!(!kms.holds(kek), "{kek}");
    }
    let of = |kek| kms.holders(&WrappedDek::new(kek, [1])).unwrap().len();
    assert_eq!((of(HERE), of(ELSEWHERE)), (2, 1));
    let printed = format!("{kms:?}");
    assert!(
        printed.starts_with("AwsKms {") && printed.contains(HERE),
        "{printed}"
    );
}

#[test]
fn keys_that_do_not_fit_are_refused_before_any_request() {
    let missing = AwsKms::builder()
        .replica(client("eu-west-1"), THERE)
        .build();
    assert_eq!(missing.unwrap_err(), AwsKmsError::NoKey);
    let other = AwsKms::builder().key(client("eu-west-1"), HERE).build();
    assert!(matches!(other, Err(AwsKmsError::OtherRegion { .. })));
    let key = || AwsKms::builder().key(client("eu-central-1"), HERE);
    let twice = key().replica(client("eu-central-1"), HERE).build();
    assert!(matches!(twice, Err(AwsKmsError::NotAReplica { .. })));
    let error = key()
        .replica(client("eu-west-1"), FORMER)
        .build()
        .unwrap_err();
    let said = format!("{FORMER} is not a replica of {HERE}");
    assert!(error.to_string().starts_with(&said), "{error}");
    let error = key().former(client("eu-west-1"), "alias/old").build();
    assert!(matches!(error, Err(AwsKmsError::NotAKeyArn { .. })));
}

/// A region that does not answer is not asked again at once.
#[test]
fn each_attempt_takes_the_next_region() {
    let regions = ["eu-central-1", "eu-west-1"];
    let taken = [1, 2, 3].map(|attempt| {
        let context = call().context().clone();
        pick(&regions, &KmsCall::attempt_of(context, attempt)).unwrap()
    });
    assert_eq!(taken, ["eu-central-1", "eu-west-1", "eu-central-1"]);
    assert!(pick::<&str>(&[], &call()).unwrap_err().is_final());
}

/// AWS re-encrypts within one region: of two that have none in common it is not asked.
#[tokio::test]
async fn a_key_of_another_region_is_not_wrapped_anew() {
    let (kms, wrapped) = (kms(), WrappedDek::new(ELSEWHERE, [1]));
    let error = kms.rewrap_dek(&wrapped, &call()).await.unwrap_err();
    assert!(error.is_final(), "{error:?}");
    assert!(text(&error).contains("within one region only"), "{error:?}");
}

#[test]
fn the_whole_context_is_sent() {
    let pairs = [("app", "app"), ("generation", "7"), ("owner", "74616461")];
    let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(context(&call()), HashMap::from(pairs));
}

/// It may come from anybody who answers under the endpoint's name.
#[test]
fn an_answer_counts_if_it_is_of_the_key_that_was_asked() {
    let (call, key) = (call(), KeyArn::parse(HERE).unwrap());
    let operation = Operation::new("Decrypt", &call);
    operation.expect(&key, Some(HERE)).unwrap();
    for named in [Some(THERE), Some(""), None] {
        let error = operation.expect(&key, named).unwrap_err();
        assert!(error.is_final() && text(&error).contains("another key"));
    }
    let wrapped = operation.take_wrapped(&key, Some(Blob::new([1]))).unwrap();
    assert_eq!(wrapped, WrappedDek::new(HERE, [1]));
    for blob in [Some(Blob::new([])), None] {
        let error = operation.take_wrapped(&key, blob).unwrap_err();
        assert!(!error.is_final() && text(&error).contains("cannot be read"));
    }
    let dek = operation.take_dek(Some(Blob::new([7; 32]))).unwrap();
    assert_eq!(dek.expose_secret(), &[7; 32]);
    for (blob, says) in [
        (Some(Blob::new([7; 31])), "no key of 32 bytes"),
        (None, "cannot be read"),
    ] {
        let error = operation.take_dek(blob).unwrap_err();
        assert!(text(&error).contains(says), "{error:?}");
    }
}

/// Each way to fail has its own text, and says whether another attempt can help.
#[test]
fn an_error_says_what_happened_and_what_to_do() {
    type Answer = Result<DecryptOutput, SdkError<ErrorMetadata>>;
    let raw = |status: u16| {
        let mut raw = HttpResponse::new(status.try_into().unwrap(), "".into());
        raw.headers_mut().insert("x-amzn-requestid", "0b5e-1");
        raw
    };
    let code = |code| ErrorMetadata::builder().code(code).build();
    let cases: [(Answer, bool, &str); 5] = [
        (
            Err(SdkError::construction_failure("x")),
            true,
            "AWS KMS Decrypt: the request cannot be built; check the client's region",
        ),
        (
            Err(SdkError::timeout_error("x")),
            false,
            "AWS KMS Decrypt: no answer in time; check the network",
        ),
        (
            Err(SdkError::response_error("x", raw(200))),
            false,
            "AWS KMS Decrypt: the answer cannot be read, request id 0b5e-1; check what stands between",
        ),
        (
            Err(SdkError::service_error(
                code("AccessDeniedException"),
                raw(400),
            )),
            true,
            "AWS KMS Decrypt: AccessDeniedException, HTTP status 400, request id 0b5e-1; allow the operation",
        ),
        (
            Err(SdkError::service_error(code("two words"), raw(503))),
            false,
            "AWS KMS Decrypt: an error without a code, HTTP status 503, request id 0b5e-1; AWS documents",
        ),
    ];
    for (answer, is_final, says) in cases {
        let call = call();
        let error = Operation::new("Decrypt", &call).settle(answer).unwrap_err();
        assert!(text(&error).starts_with(says), "{}", text(&error));
        assert_eq!(error.is_final(), is_final, "{says}");
        assert_eq!(call.request_id().is_some(), says.contains("request id"));
    }
    let call = call();
    assert!(
        Operation::new("Decrypt", &call)
            .settle::<_, ErrorMetadata>(Ok(DecryptOutput::builder().build()))
            .is_ok()
    );
}
