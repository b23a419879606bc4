//! One key: contexts, blobs, states, rotation, permissions, former keys.

use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::GrantOperation;
use ophie_crypt::{AwsKms, AwsKmsError, EncryptionContext, Kms, KmsCall, WrappedDek, WriterId};
use serde_json::json;

use super::{APP, Fixture, HERE, THERE, assert_refused, assert_same, call, context, make};

#[tokio::test]
async fn a_key_comes_back_under_its_context() {
    let Fixture { server, arn, kms } = Fixture::new().await;
    let making = call("ada");
    let made = kms.make_dek(&making).await.unwrap();
    assert_eq!(made.wrapped.kek(), arn);

    let opening = call("ada");
    let dek = kms.unwrap_dek(&made.wrapped, &opening).await.unwrap();
    assert_same(&made.dek, &dek);

    let log = server.log();
    let [_, generated, decrypted] = &log[..] else {
        panic!("CreateKey and two calls, not {log:?}");
    };
    let pairs = [("app", "ophie"), ("generation", "1"), ("owner", "74616461")];
    for (entry, call, operation) in [
        (generated, &making, "GenerateDataKey"),
        (decrypted, &opening, "Decrypt"),
    ] {
        assert_eq!(entry.operation, operation);
        assert_eq!(entry.principal, APP);
        assert!(entry.context.iter().map(|(k, v)| (&**k, &**v)).eq(pairs));
        assert_eq!(call.request_id().as_ref(), Some(&entry.request_id));
    }
}

#[tokio::test]
async fn another_context_is_refused() {
    let Fixture { kms, .. } = Fixture::new().await;
    let (_, wrapped) = make(&kms, "ada").await;
    for other in [
        context("ophie", "eve", 1),
        context("ophie", "ada", 2),
        context("other", "ada", 1),
    ] {
        let call = KmsCall::new(other);
        assert_refused(
            kms.unwrap_dek(&wrapped, &call).await,
            "InvalidCiphertextException",
        );
        assert!(call.request_id().is_some());
        assert_refused(
            kms.rewrap_dek(&wrapped, &call).await,
            "InvalidCiphertextException",
        );
    }
}

#[tokio::test]
async fn a_key_that_the_context_lacks_or_exceeds_is_refused() {
    let Fixture { server, arn, kms } = Fixture::new().await;
    let client = server.client(HERE, APP);
    let pairs = [("app", "ophie"), ("generation", "1"), ("owner", "74616461")];
    let whole = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    for changed in [
        whole[1..].to_vec(),
        whole[..2].to_vec(),
        Vec::new(),
        [&whole[..], &[("extra".into(), "1".into())]].concat(),
    ] {
        let blob = client
            .encrypt()
            .key_id(&arn)
            .plaintext(Blob::new([7; 32]))
            .set_encryption_context(Some(changed.into_iter().collect()))
            .send()
            .await
            .unwrap()
            .ciphertext_blob
            .unwrap();
        let wrapped = WrappedDek::new(&arn, blob.into_inner());
        let result = kms.unwrap_dek(&wrapped, &call("ada")).await;
        assert_refused(result, "InvalidCiphertextException");
    }
}

#[tokio::test]
async fn a_flipped_bit_is_refused_wherever_it_is() {
    let Fixture { kms, .. } = Fixture::new().await;
    let (_, wrapped) = make(&kms, "ada").await;
    let whole = wrapped.as_bytes();
    for index in 0..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[index] ^= 1 << (index % 8);
        let changed = WrappedDek::new(wrapped.kek(), bytes);
        let result = kms.unwrap_dek(&changed, &call("ada")).await;
        assert_refused(result, "InvalidCiphertextException");
    }
    for len in 0..whole.len() {
        let cut = WrappedDek::new(wrapped.kek(), &whole[..len]);
        assert!(kms.unwrap_dek(&cut, &call("ada")).await.is_err());
    }
}

#[tokio::test]
async fn a_disabled_key_is_refused_until_it_is_enabled() {
    let fixture = Fixture::new().await;
    let Fixture { arn, kms, .. } = &fixture;
    let (dek, wrapped) = make(kms, "ada").await;
    fixture
        .admin()
        .disable_key()
        .key_id(arn)
        .send()
        .await
        .unwrap();
    assert_refused(kms.make_dek(&call("ada")).await, "DisabledException");
    assert_refused(
        kms.unwrap_dek(&wrapped, &call("ada")).await,
        "DisabledException",
    );
    assert_refused(
        kms.rewrap_dek(&wrapped, &call("ada")).await,
        "DisabledException",
    );
    fixture
        .admin()
        .enable_key()
        .key_id(arn)
        .send()
        .await
        .unwrap();
    assert_same(&dek, &kms.unwrap_dek(&wrapped, &call("ada")).await.unwrap());
}

#[tokio::test]
async fn a_key_is_refused_before_and_after_its_deletion() {
    let fixture = Fixture::new().await;
    let Fixture { server, arn, kms } = &fixture;
    let (_, wrapped) = make(kms, "ada").await;
    let deletion = fixture.admin().schedule_key_deletion().key_id(arn);
    deletion.pending_window_in_days(7).send().await.unwrap();
    let result = kms.unwrap_dek(&wrapped, &call("ada")).await;
    assert_refused(result, "KMSInvalidStateException");
    server.pass_days(7);
    let result = kms.unwrap_dek(&wrapped, &call("ada")).await;
    assert_refused(result, "NotFoundException");
}

#[tokio::test]
async fn rotated_material_still_unwraps() {
    let fixture = Fixture::new().await;
    let Fixture { arn, kms, .. } = &fixture;
    let (dek, before) = make(kms, "ada").await;
    fixture
        .admin()
        .rotate_key_on_demand()
        .key_id(arn)
        .send()
        .await
        .unwrap();
    assert_same(&dek, &kms.unwrap_dek(&before, &call("ada")).await.unwrap());
    let after = kms.rewrap_dek(&before, &call("ada")).await.unwrap();
    assert_ne!(
        before.as_bytes()[..17],
        after.as_bytes()[..17],
        "the same material"
    );
    assert_same(&dek, &kms.unwrap_dek(&after, &call("ada")).await.unwrap());
}

#[tokio::test]
async fn a_former_key_unwraps_and_is_left_behind() {
    let Fixture { server, arn, kms } = Fixture::new().await;
    let (dek, wrapped) = make(&kms, "ada").await;
    let next_arn = server.make_key(HERE).await;
    let client = || server.client(HERE, APP);

    let next = AwsKms::builder().key(client(), &next_arn);
    let stranger = next.clone().build().unwrap();
    let before = server.log().len();
    let result = stranger.unwrap_dek(&wrapped, &call("ada")).await;
    assert_refused(result, "AwsKmsBuilder::former");
    let result = stranger.rewrap_dek(&wrapped, &call("ada")).await;
    assert_refused(result, &arn);
    assert_eq!(server.log().len(), before, "AWS was asked");

    let kms = next.former(client(), &arn).build().unwrap();
    assert_same(&dek, &kms.unwrap_dek(&wrapped, &call("ada")).await.unwrap());
    assert_eq!(make(&kms, "bob").await.1.kek(), next_arn);
    let moving = call("ada");
    let moved = kms.rewrap_dek(&wrapped, &moving).await.unwrap();
    assert_eq!(moved.kek(), next_arn);
    let log = server.log_of("ReEncrypt");
    assert_eq!(log.len(), 1);
    assert_eq!(moving.request_id().as_ref(), Some(&log[0].request_id));
    assert_same(
        &dek,
        &stranger.unwrap_dek(&moved, &call("ada")).await.unwrap(),
    );
}

/// A writer of the database can put any name there.
#[tokio::test]
async fn the_stored_name_of_the_key_is_not_believed() {
    let Fixture { server, kms, .. } = Fixture::new().await;
    let (_, wrapped) = make(&kms, "ada").await;
    let before = server.log().len();
    for name in ["", "alias/ophie", "local:00", "arn:aws:kms:x:1:key/\n"] {
        let renamed = WrappedDek::new(name, wrapped.as_bytes());
        let result = kms.unwrap_dek(&renamed, &call("ada")).await;
        assert_refused(result, "does not name an AWS KMS key");
    }
    assert_eq!(server.log().len(), before, "AWS was asked");

    let two = server.make_key(HERE).await;
    let client = || server.client(HERE, APP);
    let kms = AwsKms::builder()
        .key(client(), wrapped.kek())
        .former(client(), &two);
    let kms = kms.build().unwrap();
    let renamed = WrappedDek::new(two, wrapped.as_bytes());
    let result = kms.unwrap_dek(&renamed, &call("ada")).await;
    assert_refused(result, "IncorrectKeyException");
}

/// The policy that the documentation of `AwsKms` gives, and one denied owner.
#[tokio::test]
async fn the_documented_policy_is_enough_and_no_more() {
    let fixture = Fixture::new().await;
    let Fixture { server, arn, kms } = &fixture;
    let policy = json!({ "Statement": [
        {
            "Effect": "Allow",
            "Principal": { "AWS": APP },
            "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
            "Resource": "*",
            "Condition": {
                "StringEquals": { "kms:EncryptionContext:app": "ophie" },
                "ForAllValues:StringEquals": { "kms:EncryptionContextKeys": ["app", "owner", "generation"] },
            },
        },
        { "Effect": "Allow", "Principal": "mover", "Action": "kms:ReEncrypt*" },
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "kms:*",
            "Resource": "*",
            "Condition": { "StringEquals": { "kms:EncryptionContext:owner": "74657665" } },
        },
    ]});
    let (_, of_eve) = make(kms, "eve").await;
    let put = fixture.admin().put_key_policy().key_id(arn);
    put.policy(policy.to_string()).send().await.unwrap();

    let (_, wrapped) = make(kms, "ada").await;
    kms.unwrap_dek(&wrapped, &call("ada")).await.unwrap();
    let result = kms.rewrap_dek(&wrapped, &call("ada")).await;
    assert_refused(result, "AccessDeniedException");
    let mover = AwsKms::builder().key(server.client(HERE, "mover"), arn);
    let mover = mover.build().unwrap();
    mover.rewrap_dek(&wrapped, &call("ada")).await.unwrap();
    let result = mover.unwrap_dek(&wrapped, &call("ada")).await;
    assert_refused(result, "AccessDeniedException");
    assert_refused(
        kms.unwrap_dek(&of_eve, &call("eve")).await,
        "AccessDeniedException",
    );
    let other_app = KmsCall::new(context("other", "ada", 1));
    assert_refused(kms.make_dek(&other_app).await, "AccessDeniedException");
    let encrypt = server.client(HERE, APP).encrypt().key_id(arn);
    let encrypt = encrypt.encryption_context("app", "ophie");
    let refused = encrypt
        .plaintext(Blob::new([7; 32]))
        .send()
        .await
        .unwrap_err();
    assert_eq!(
        refused.into_service_error().meta().code(),
        Some("AccessDeniedException")
    );
    let stranger = AwsKms::builder().key(server.client(HERE, "stranger"), arn);
    let stranger = stranger.build().unwrap();
    assert_refused(
        stranger.unwrap_dek(&wrapped, &call("ada")).await,
        "AccessDeniedException",
    );
}

/// The other half of it: who may make audit keys, and who may read them.
#[tokio::test]
async fn the_application_makes_audit_keys_and_the_auditor_alone_decrypts_them() {
    let fixture = Fixture::new().await;
    let Fixture { server, arn, kms } = &fixture;
    let audit = json!({
        "StringEquals": { "kms:EncryptionContext:app": "ophie", "kms:EncryptionContext:purpose": "audit" },
        "ForAllValues:StringEquals": { "kms:EncryptionContextKeys": ["app", "purpose", "writer"] },
    });
    let policy = json!({ "Statement": [
        {
            "Effect": "Allow",
            "Principal": APP,
            "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
            "Condition": {
                "StringEquals": { "kms:EncryptionContext:app": "ophie" },
                "ForAllValues:StringEquals": { "kms:EncryptionContextKeys": ["app", "owner", "generation"] },
            },
        },
        { "Effect": "Allow", "Principal": APP, "Action": "kms:GenerateDataKey", "Condition": audit },
        { "Effect": "Allow", "Principal": "auditor", "Action": "kms:Decrypt", "Condition": audit },
    ]});
    let put = fixture.admin().put_key_policy().key_id(arn);
    put.policy(policy.to_string()).send().await.unwrap();
    let auditor = AwsKms::builder().key(server.client(HERE, "auditor"), arn);
    let auditor = auditor.build().unwrap();
    let call = |byte| {
        let writer = WriterId::from_bytes([byte; 16]);
        KmsCall::new(EncryptionContext::audit("ophie", writer))
    };

    let made = kms.make_dek(&call(1)).await.unwrap();
    let denied = "AccessDeniedException";
    assert_refused(kms.unwrap_dek(&made.wrapped, &call(1)).await, denied);
    assert_refused(kms.rewrap_dek(&made.wrapped, &call(1)).await, denied);
    let key = auditor.unwrap_dek(&made.wrapped, &call(1)).await.unwrap();
    assert_same(&made.dek, &key);
    // Under an owner's context, which the application may decrypt, it is no key.
    let as_owner = kms.unwrap_dek(&made.wrapped, &super::call("ada")).await;
    assert_refused(as_owner, "InvalidCiphertextException");
    let other = auditor.unwrap_dek(&made.wrapped, &call(2)).await;
    assert_refused(other, "InvalidCiphertextException");
    // A key of another length, which the application may have made: asking again would not help.
    let short = server.client(HERE, APP).generate_data_key().key_id(arn);
    let short = call(1)
        .context()
        .pairs()
        .into_iter()
        .fold(short.number_of_bytes(16), |short, (name, value)| {
            short.encryption_context(name, value)
        });
    let short = short.send().await.unwrap().ciphertext_blob.unwrap();
    let short = WrappedDek::new(arn, short.into_inner());
    let opened = auditor.unwrap_dek(&short, &call(1)).await;
    assert_refused(opened, "no key of 32 bytes");
    // The auditor makes none, and opens no owner's key.
    assert_refused(auditor.make_dek(&call(1)).await, denied);
    let (_, of_ada) = make(kms, "ada").await;
    let opened = auditor.unwrap_dek(&of_ada, &super::call("ada")).await;
    assert_refused(opened, denied);
}

#[tokio::test]
async fn a_grant_admits_one_owner_until_it_is_revoked() {
    let fixture = Fixture::new().await;
    let Fixture { arn, kms, .. } = &fixture;
    let (dek, of_ada) = make(kms, "ada").await;
    let (_, of_bob) = make(kms, "bob").await;
    let nobody =
        json!({ "Statement": { "Effect": "Allow", "Principal": "nobody", "Action": "kms:*" } });
    let nobody = json!({ "Statement": [nobody["Statement"]] });
    let put = fixture.admin().put_key_policy().key_id(arn);
    put.policy(nobody.to_string()).send().await.unwrap();
    assert_refused(
        kms.unwrap_dek(&of_ada, &call("ada")).await,
        "AccessDeniedException",
    );

    let constraints = aws_sdk_kms::types::GrantConstraints::builder()
        .encryption_context_subset("owner", "74616461")
        .build();
    let grant = fixture
        .admin()
        .create_grant()
        .key_id(arn)
        .grantee_principal(APP)
        .operations(GrantOperation::Decrypt)
        .constraints(constraints)
        .send()
        .await
        .unwrap();
    assert_same(&dek, &kms.unwrap_dek(&of_ada, &call("ada")).await.unwrap());
    assert_refused(
        kms.unwrap_dek(&of_bob, &call("bob")).await,
        "AccessDeniedException",
    );
    assert_refused(kms.make_dek(&call("ada")).await, "AccessDeniedException");

    let revoke = fixture.admin().revoke_grant().key_id(arn);
    revoke
        .grant_id(grant.grant_id.unwrap())
        .send()
        .await
        .unwrap();
    assert_refused(
        kms.unwrap_dek(&of_ada, &call("ada")).await,
        "AccessDeniedException",
    );
}

#[tokio::test]
async fn keys_that_do_not_fit_are_refused_at_once() {
    let server = StrictKmsArns::new().await;
    let client = |region| server.kms.client(region, APP);
    let build = |builder: ophie_crypt::AwsKmsBuilder| builder.build().unwrap_err();

    let alias = AwsKms::builder().key(client(HERE), "alias/ophie");
    assert!(matches!(build(alias), AwsKmsError::NotAKeyArn { .. }));
    let elsewhere = AwsKms::builder().key(client(THERE), &server.single);
    assert!(matches!(build(elsewhere), AwsKmsError::OtherRegion { .. }));
    assert_eq!(build(AwsKms::builder()), AwsKmsError::NoKey);
    let [multi, replica] = &server.multi;
    let key = AwsKms::builder().key(client(HERE), multi);
    key.clone().replica(client(THERE), replica).build().unwrap();
    for (region, arn) in [(HERE, multi), (HERE, &server.single), (THERE, &server.far)] {
        let error = build(key.clone().replica(client(region), arn));
        assert!(matches!(error, AwsKmsError::NotAReplica { .. }), "{error}");
    }
    let twice = key
        .replica(client(THERE), replica)
        .replica(client(THERE), replica);
    assert!(matches!(build(twice), AwsKmsError::NotAReplica { .. }));
}

struct StrictKmsArns {
    kms: ophie_crypt_tests::strict_kms::StrictKms,
    single: String,
    far: String,
    multi: [String; 2],
}

impl StrictKmsArns {
    async fn new() -> Self {
        let kms = ophie_crypt_tests::strict_kms::StrictKms::new();
        Self {
            single: kms.make_key(HERE).await,
            far: kms.make_key(THERE).await,
            multi: kms
                .make_multi_region_key(HERE, &[THERE])
                .await
                .try_into()
                .expect("two"),
            kms,
        }
    }
}
