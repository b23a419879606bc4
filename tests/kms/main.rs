//! `AwsKms` against the strict KMS, through the real SDK; and the strict KMS beside two emulators.
//!
//! Invariant: what a call did is read from the strict KMS's log, not from `AwsKms`. Absent: the keyring's
//! retries; AWS itself.

#[cfg(feature = "emulators")]
mod emulators;
mod faults;
mod keys;
mod leaks;
mod moves;
mod policies;
mod regions;
mod strict;

use ophie_crypt::{
    AwsKms, CanonicalId, Dek, EncryptionContext, Kms, KmsCall, KmsError, WrappedDek,
};
use ophie_crypt_tests::strict_kms::StrictKms;

const HERE: &str = "eu-central-1";
const THERE: &str = "eu-west-1";
const APP: &str = "app";

/// A strict KMS with one key, and an `AwsKms` for it.
struct Fixture {
    server: StrictKms,
    arn: String,
    kms: AwsKms,
}

impl Fixture {
    async fn new() -> Self {
        let server = StrictKms::new();
        let arn = server.make_key(HERE).await;
        let kms = AwsKms::builder().key(server.client(HERE, APP), &arn);
        Self {
            kms: kms.build().expect("one key"),
            server,
            arn,
        }
    }

    fn admin(&self) -> aws_sdk_kms::Client {
        self.server.client(HERE, "admin")
    }
}

/// The first attempt of a call for an owner of the application.
fn call(owner: &str) -> KmsCall {
    attempt(owner, 1)
}

fn attempt(owner: &str, number: u32) -> KmsCall {
    KmsCall::attempt_of(context("ophie", owner, 1), number)
}

fn context(app: &str, owner: &str, generation: u32) -> EncryptionContext {
    EncryptionContext::new(app, &CanonicalId::text(owner), generation)
}

/// The KMS refused, with this code in the text, and a request id was noted.
#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, KmsError>, text: &str) {
    match result {
        Err(KmsError::Refused { source }) => {
            let source = source.to_string();
            assert!(source.contains(text), "{source}");
        }
        other => panic!("refused with {text}, not {other:?}"),
    }
}

#[track_caller]
fn assert_unavailable<T: std::fmt::Debug>(result: Result<T, KmsError>, text: &str) {
    match result {
        Err(KmsError::Unavailable { source }) => {
            let source = source.to_string();
            assert!(source.contains(text), "{source}");
        }
        other => panic!("unavailable with {text}, not {other:?}"),
    }
}

/// The same key; `Dek` compares with nothing.
#[track_caller]
fn assert_same(one: &Dek, other: &Dek) {
    assert!(one.expose_secret() == other.expose_secret(), "another key");
}

/// A DEK of an owner, and the same wrapped.
async fn make(kms: &AwsKms, owner: &str) -> (Dek, WrappedDek) {
    let made = kms.make_dek(&call(owner)).await.expect("a DEK");
    (made.dek, made.wrapped)
}
