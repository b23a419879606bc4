//! Calls for one owner, and their answers in a word or two.
//!
//! Invariant: an answer's word holds nothing random, so that two servers can be compared.

use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use ophie_crypt::{
    AwsKms, Dek, EncryptionContext, GeneratedDek, Kms, KmsCall, KmsError, WrappedDek,
};

use super::super::context;

pub(super) const DONE: &str = "done";
pub(super) const SAME: &str = "the same key";

pub(super) fn ada() -> EncryptionContext {
    context("ophie", "ada", 1)
}

pub(super) fn call_of_ada() -> KmsCall {
    KmsCall::new(ada())
}

/// Of an ARN. moto knows keys by it where they are managed.
pub(super) fn id(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

pub(super) async fn make(kms: &AwsKms) -> Result<GeneratedDek, KmsError> {
    answered(async || kms.make_dek(&call_of_ada()).await).await
}

pub(super) async fn rewrap(kms: &AwsKms, wrapped: &WrappedDek) -> Result<WrappedDek, KmsError> {
    answered(async || kms.rewrap_dek(wrapped, &call_of_ada()).await).await
}

pub(super) async fn unwrap(kms: &AwsKms, wrapped: &WrappedDek, dek: &Dek) -> String {
    compare(
        &answered(async || kms.unwrap_dek(wrapped, &call_of_ada()).await).await,
        dek,
    )
}

/// The machine may be too busy for the two seconds of an attempt; that is not how an emulator answers.
pub(super) async fn answered<T>(
    attempt: impl AsyncFn() -> Result<T, KmsError>,
) -> Result<T, KmsError> {
    for _ in 0..10 {
        match attempt().await {
            Err(error) if cause(&error).contains("no answer in time") => {}
            settled => return settled,
        }
    }
    attempt().await
}

pub(super) fn compare(answer: &Result<Dek, KmsError>, expected: &Dek) -> String {
    match answer {
        Ok(dek) if dek.expose_secret() == expected.expose_secret() => SAME.to_owned(),
        Ok(_) => "another key".to_owned(),
        Err(_) => word(answer),
    }
}

pub(super) fn word<T>(answer: &Result<T, KmsError>) -> String {
    answer.as_ref().map_or_else(cause, |_| DONE.to_owned())
}

/// `AWS KMS OPERATION: CODE, HTTP status STATUS, request id ID; ADVICE` without what is usual or random.
fn cause(error: &KmsError) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string);
    let source = source.expect("what the KMS said");
    let (_, said) = source.split_once(": ").expect("an operation in front");
    let said = said.split("; ").next().unwrap_or(said);
    let said = said.split(", request id").next().unwrap_or(said);
    said.replace(", HTTP status 400", "")
}

/// The same of an answer of the SDK.
pub(super) fn code<T, E: ProvideErrorMetadata>(answer: &Result<T, SdkError<E>>) -> String {
    match answer {
        Ok(_) => DONE.to_owned(),
        Err(SdkError::ServiceError(error)) => {
            let code = error.err().code().unwrap_or("an error without a code");
            match error.raw().status().as_u16() {
                400 => code.to_owned(),
                status => format!("{code}, HTTP status {status}"),
            }
        }
        Err(_) => "no answer".to_owned(),
    }
}
