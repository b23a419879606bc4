//! The strict KMS itself: it is as strict as AWS documents, where `AwsKms` never goes.

use aws_sdk_kms::error::ProvideErrorMetadata;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use aws_sdk_kms::{Client, error::SdkError};
use ophie_crypt_tests::strict_kms::StrictKms;

use super::{HERE, THERE};

/// The code and the HTTP status of a refusal.
fn refusal<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    result: Result<T, SdkError<E>>,
) -> (String, u16) {
    match result {
        Err(SdkError::ServiceError(error)) => (
            error.err().code().unwrap_or_default().to_owned(),
            error.raw().status().as_u16(),
        ),
        other => panic!("a refusal, not {other:?}"),
    }
}

#[track_caller]
fn is_refused<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    result: Result<T, SdkError<E>>,
    code: &str,
) {
    assert_eq!(refusal(result), (code.to_owned(), 400));
}

async fn one_key() -> (Client, String, Blob) {
    let server = StrictKms::new();
    let arn = server.make_key(HERE).await;
    let client = server.client(HERE, "app");
    let made = client.generate_data_key().key_id(&arn);
    let made = made.key_spec(DataKeySpec::Aes256).send().await;
    let blob = made.expect("a data key").ciphertext_blob;
    (client, arn, blob.expect("a blob"))
}

#[tokio::test]
async fn sizes_are_limited() {
    let (client, arn, _) = one_key().await;
    let encrypt = |size| {
        let request = client.encrypt().key_id(&arn);
        request.plaintext(Blob::new(vec![7; size])).send()
    };
    encrypt(4096).await.unwrap();
    is_refused(encrypt(4097).await, "ValidationException");
    is_refused(encrypt(0).await, "ValidationException");

    let generate = |bytes| {
        client
            .generate_data_key()
            .key_id(&arn)
            .number_of_bytes(bytes)
    };
    generate(1024).send().await.unwrap();
    is_refused(generate(1025).send().await, "ValidationException");
    is_refused(generate(0).send().await, "ValidationException");
    let both = generate(32).key_spec(DataKeySpec::Aes256);
    is_refused(both.send().await, "ValidationException");
    let neither = client.generate_data_key().key_id(&arn);
    is_refused(neither.send().await, "ValidationException");

    let overhead = r#"{"k":""}"#.len();
    let with_context = |size: usize| generate(32).encryption_context("k", "v".repeat(size));
    with_context(8192 - overhead).send().await.unwrap();
    let result = with_context(8193 - overhead).send().await;
    is_refused(result, "ValidationException");

    let blob = Blob::new(vec![1; 6145]);
    let result = client.decrypt().ciphertext_blob(blob).send().await;
    is_refused(result, "ValidationException");
}

#[tokio::test]
async fn a_dry_run_gives_nothing_and_checks_everything() {
    let (client, arn, blob) = one_key().await;
    let decrypt = || client.decrypt().ciphertext_blob(blob.clone()).dry_run(true);
    is_refused(decrypt().send().await, "DryRunOperationException");
    let wrong = decrypt().encryption_context("k", "v");
    is_refused(wrong.send().await, "InvalidCiphertextException");
    let generate = client.generate_data_key().key_id(&arn).number_of_bytes(32);
    is_refused(
        generate.dry_run(true).send().await,
        "DryRunOperationException",
    );
    let moved = client.re_encrypt().ciphertext_blob(blob.clone());
    let moved = moved.destination_key_id(&arn).dry_run(true);
    is_refused(moved.send().await, "DryRunOperationException");
}

#[tokio::test]
async fn key_states_follow_the_book() {
    let (client, arn, blob) = one_key().await;
    let schedule = |days| {
        let request = client.schedule_key_deletion().key_id(&arn);
        request.pending_window_in_days(days).send()
    };
    is_refused(schedule(6).await, "ValidationException");
    is_refused(schedule(31).await, "ValidationException");
    let cancel = || client.cancel_key_deletion().key_id(&arn).send();
    is_refused(cancel().await, "KMSInvalidStateException");
    schedule(7).await.unwrap();
    is_refused(schedule(7).await, "KMSInvalidStateException");
    let enable = || client.enable_key().key_id(&arn).send();
    is_refused(enable().await, "KMSInvalidStateException");

    cancel().await.unwrap();
    let described = client.describe_key().key_id(&arn).send().await.unwrap();
    let state = described.key_metadata.unwrap().key_state.unwrap();
    assert_eq!(state.as_str(), "Disabled");
    let decrypt = || client.decrypt().ciphertext_blob(blob.clone()).send();
    is_refused(decrypt().await, "DisabledException");
    enable().await.unwrap();
    decrypt().await.unwrap();
}

#[tokio::test]
async fn keys_are_found_by_their_own_names_in_their_own_region_only() {
    let (client, arn, blob) = one_key().await;
    let id = arn.rsplit('/').next().unwrap();
    client.describe_key().key_id(id).send().await.unwrap();
    let elsewhere = arn.replace(HERE, THERE);
    for name in ["alias/ophie", "0123", &elsewhere, &arn.to_uppercase()] {
        let result = client.describe_key().key_id(name).send().await;
        is_refused(result, "NotFoundException");
        let decrypt = client.decrypt().ciphertext_blob(blob.clone()).key_id(name);
        is_refused(decrypt.send().await, "NotFoundException");
    }
    let replicate = client.replicate_key().key_id(&arn).replica_region(THERE);
    is_refused(replicate.send().await, "UnsupportedOperationException");
}

#[tokio::test]
async fn what_it_does_not_know_it_refuses() {
    let (client, arn, _) = one_key().await;
    is_refused(client.list_keys().send().await, "UnknownOperationException");
    for policy in [
        "",
        r#"{"Statement":[]}"#,
        r#"{"Statement":[{"Effect":"Allow","NotPrincipal":"x","Principal":"*","Action":"kms:*"}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:*","Condition":{"StringLike":{"kms:EncryptionContext:a":"*"}}}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:*","Condition":{"StringEquals":{"kms:CallerAccount":"1"}}}]}"#,
    ] {
        let put = client.put_key_policy().key_id(&arn).policy(policy);
        is_refused(put.send().await, "MalformedPolicyDocumentException");
    }
}
