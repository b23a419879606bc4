//! The policies of `deploy/terraform/aws-kms`, asked by the library itself.
//!
//! Invariant: they are the golden files that `terraform test` proves to be what the module renders. Absent: operations
//! that manage a key, which the strict KMS lets anyone do (`tests/terraform` decides those too).

use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{DataKeySpec, GrantOperation};
use ophie_crypt::{AwsKms, EncryptionContext, Kms, KmsCall, WriterId};
use ophie_crypt_tests::strict_kms::StrictKms;

use super::{HERE, assert_refused, assert_same, call, context, make};

macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!(
            "../../deploy/terraform/aws-kms/modules/policy/tests/",
            $name,
            ".json"
        ))
    };
}

const LEAST: &str = golden!("least");
const COMPLETE: &str = golden!("complete");
const MOVING: &str = golden!("moving");
const DENIED: &str = "AccessDeniedException";

/// A key under one of the policies.
struct Key {
    server: StrictKms,
    arn: String,
}

impl Key {
    async fn under(policy: &str) -> Self {
        Self::on(StrictKms::new(), policy).await
    }

    async fn on(server: StrictKms, policy: &str) -> Self {
        let arn = server.make_key(HERE).await;
        let put = server.client(HERE, "admin").put_key_policy().key_id(&arn);
        put.policy(policy).send().await.expect("a policy it knows");
        Self { server, arn }
    }

    fn client(&self, role: &str) -> aws_sdk_kms::Client {
        self.server.client(HERE, &principal(role))
    }

    fn for_role(&self, role: &str) -> AwsKms {
        let kms = AwsKms::builder().key(self.client(role), &self.arn);
        kms.build().expect("one key")
    }
}

fn principal(role: &str) -> String {
    match role {
        "root" => "arn:aws:iam::111122223333:root".to_owned(),
        "namesake" => "arn:aws:iam::444455556666:role/ophie-api".to_owned(),
        role => format!("arn:aws:iam::111122223333:role/{role}"),
    }
}

fn audit_call() -> KmsCall {
    let writer = WriterId::from_bytes([7; 16]);
    KmsCall::new(EncryptionContext::audit("ophie", writer))
}

#[tokio::test]
async fn the_application_does_what_it_needs_under_each_policy() {
    for policy in [LEAST, COMPLETE, MOVING] {
        let key = Key::under(policy).await;
        let api = key.for_role("ophie-api");
        let (dek, wrapped) = make(&api, "ada").await;
        assert_same(&dek, &api.unwrap_dek(&wrapped, &call("ada")).await.unwrap());
        let audit = api.make_dek(&audit_call()).await.unwrap();
        assert_refused(api.unwrap_dek(&audit.wrapped, &audit_call()).await, DENIED);
        assert_refused(api.rewrap_dek(&wrapped, &call("ada")).await, DENIED);
        let other = KmsCall::new(context("other", "ada", 1));
        assert_refused(api.make_dek(&other).await, DENIED);
    }
}

/// Null conditions: `ForAllValues` alone lets through a context that lacks keys.
#[tokio::test]
async fn a_context_that_lacks_or_exceeds_a_key_is_refused() {
    let key = Key::under(COMPLETE).await;
    let client = key.client("ophie-api");
    for whole in [call("ada"), audit_call()] {
        let whole = whole.context().pairs();
        let generate = |pairs: &[(&str, &str)]| {
            let generate = client.generate_data_key().key_id(&key.arn);
            let generate = generate.key_spec(DataKeySpec::Aes256);
            pairs.iter().fold(generate, |generate, (name, value)| {
                generate.encryption_context(*name, *value)
            })
        };
        generate(&whole).send().await.expect("the whole is allowed");
        let lacking = (0..whole.len()).map(|left_out| {
            let mut pairs = whole.clone();
            pairs.remove(left_out);
            pairs
        });
        let more = [&whole[..], &[("more", "1")]].concat();
        for pairs in lacking.chain([more, vec![("app", "ophie")], Vec::new()]) {
            let refused = generate(&pairs).send().await.expect_err("a refusal");
            let code = refused
                .into_service_error()
                .meta()
                .code()
                .map(str::to_owned);
            assert_eq!(code.as_deref(), Some(DENIED), "{pairs:?}");
        }
    }
}

#[tokio::test]
async fn each_role_does_its_own_part_and_no_other() {
    let key = Key::under(COMPLETE).await;
    let api = key.for_role("ophie-api");
    let (_, wrapped) = make(&api, "ada").await;
    let audit = api.make_dek(&audit_call()).await.unwrap().wrapped;

    // Unwraps a DEK, unwraps an audit key, rewraps, makes.
    for (role, may) in [
        ("ophie-worker", [true, false, false, true]),
        ("auditor", [false, true, false, false]),
        ("ophie-migrator", [false, false, true, false]),
        ("ophie-break-glass", [true, false, false, false]),
        ("deploy", [false; 4]),
        ("stranger", [false; 4]),
        ("root", [false; 4]),
        ("namesake", [false; 4]),
    ] {
        let kms = key.for_role(role);
        let did = [
            kms.unwrap_dek(&wrapped, &call("ada")).await.map(drop),
            kms.unwrap_dek(&audit, &audit_call()).await.map(drop),
            kms.rewrap_dek(&wrapped, &call("ada")).await.map(drop),
            kms.make_dek(&call("ada")).await.map(drop),
        ];
        assert_eq!(did.each_ref().map(Result::is_ok), may, "{role}");
        for refused in did.into_iter().filter(Result::is_err) {
            assert_refused(refused, DENIED);
        }
    }
}

#[tokio::test]
async fn without_their_statements_roles_do_nothing() {
    let key = Key::under(LEAST).await;
    let (_, wrapped) = make(&key.for_role("ophie-api"), "ada").await;
    for role in [
        "ophie-worker",
        "auditor",
        "ophie-migrator",
        "ophie-break-glass",
    ] {
        let kms = key.for_role(role);
        assert_refused(kms.unwrap_dek(&wrapped, &call("ada")).await, DENIED);
        assert_refused(kms.rewrap_dek(&wrapped, &call("ada")).await, DENIED);
    }
}

/// `within` keeps a migrator to one key: neither out of it, nor into it.
#[tokio::test]
async fn a_migrator_moves_between_keys_only_where_it_is_said() {
    for (policy, allowed) in [(COMPLETE, false), (MOVING, true)] {
        let old = Key::under(policy).await;
        let new = Key::on(old.server.clone(), policy).await;
        let (dek, wrapped) = make(&old.for_role("ophie-api"), "ada").await;
        let migrator = AwsKms::builder()
            .key(new.client("ophie-migrator"), &new.arn)
            .former(old.client("ophie-migrator"), &old.arn)
            .build()
            .unwrap();
        let moved = migrator.rewrap_dek(&wrapped, &call("ada")).await;
        if !allowed {
            assert_refused(moved, DENIED);
            continue;
        }
        let moved = new
            .for_role("ophie-api")
            .unwrap_dek(&moved.unwrap(), &call("ada"))
            .await;
        assert_same(&dek, &moved.unwrap());
        // Audit keys stay where they are.
        let audit = old
            .for_role("ophie-api")
            .make_dek(&audit_call())
            .await
            .unwrap();
        assert_refused(
            migrator.rewrap_dek(&audit.wrapped, &audit_call()).await,
            DENIED,
        );
    }
}

#[tokio::test]
async fn nobody_encrypts_not_even_by_a_grant() {
    let key = Key::under(COMPLETE).await;
    let grant = key
        .server
        .client(HERE, "admin")
        .create_grant()
        .key_id(&key.arn);
    let grant = grant.grantee_principal(principal("ophie-api"));
    grant
        .operations(GrantOperation::Encrypt)
        .send()
        .await
        .unwrap();
    for role in ["ophie-api", "ophie-migrator", "deploy", "root"] {
        let encrypt = key.client(role).encrypt().key_id(&key.arn);
        let encrypt = call("ada").context().pairs().into_iter().fold(
            encrypt.plaintext(Blob::new([7; 32])),
            |encrypt, (name, value)| encrypt.encryption_context(name, value),
        );
        let refused = encrypt.send().await.expect_err("a refusal");
        let code = refused
            .into_service_error()
            .meta()
            .code()
            .map(str::to_owned);
        assert_eq!(code.as_deref(), Some(DENIED), "{role}");
    }
}
