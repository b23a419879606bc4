//! The calls, each with the answer that AWS documents.
//!
//! Invariant: each part makes keys of its own, and goes on after an answer that is another than the
//! documented one. Absent: who is expected to answer otherwise (`table`).

use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use ophie_crypt::{AwsKms, GeneratedDek, Kms, KmsCall, WrappedDek};
use serde_json::json;

use super::super::{HERE, THERE, context};
use super::Server;
use super::answers::{
    DONE, SAME, ada, answered, call_of_ada, code, compare, id, make, rewrap, unwrap, word,
};

const CIPHERTEXT: &str = "InvalidCiphertextException";
const DISABLED: &str = "DisabledException";
const STATE: &str = "KMSInvalidStateException";
const VALIDATION: &str = "ValidationException";

pub(super) struct Line {
    pub(super) call: &'static str,
    pub(super) documented: &'static str,
    pub(super) answer: String,
}

pub(super) async fn run(server: &Server) -> Vec<Line> {
    let mut script = Script {
        server,
        here: server.client(HERE).await,
        lines: Vec::new(),
    };
    script.contexts().await;
    script.blobs().await;
    script.other_keys().await;
    script.disabled().await;
    script.deleted().await;
    script.rotated().await;
    script.replicated().await;
    script.dry_runs().await;
    script.limits().await;
    script.denied().await;
    script.lines
}

struct Script<'a> {
    server: &'a Server,
    here: Client,
    lines: Vec<Line>,
}

impl Script<'_> {
    async fn contexts(&mut self) {
        let (arn, kms) = self.server.key().await;
        let made = make(&kms).await;
        self.note("GenerateDataKey", DONE, word(&made));
        let Ok(GeneratedDek { dek, wrapped }) = made else {
            return;
        };
        self.note("Decrypt", SAME, unwrap(&kms, &wrapped, &dek).await);
        let again = rewrap(&kms, &wrapped).await;
        self.note("ReEncrypt", DONE, word(&again));
        if let Ok(again) = again {
            let answer = unwrap(&kms, &again, &dek).await;
            self.note("Decrypt: re-encrypted", SAME, answer);
        }

        for (decrypt, re_encrypt, other) in [
            (
                "Decrypt: another owner",
                "ReEncrypt: another owner",
                context("ophie", "eve", 1),
            ),
            (
                "Decrypt: another generation",
                "ReEncrypt: another generation",
                context("ophie", "ada", 2),
            ),
            (
                "Decrypt: another app",
                "ReEncrypt: another app",
                context("other", "ada", 1),
            ),
        ] {
            let other = move || KmsCall::new(other.clone());
            let answer = answered(async || kms.unwrap_dek(&wrapped, &other()).await).await;
            self.note(decrypt, CIPHERTEXT, word(&answer));
            let answer = answered(async || kms.rewrap_dek(&wrapped, &other()).await).await;
            self.note(re_encrypt, CIPHERTEXT, word(&answer));
        }

        let ada = ada();
        let whole = ada.pairs();
        let less = whole.iter().copied().skip(1).collect();
        let more = [&whole[..], &[("extra", "1")]].concat();
        for (call, documented, pairs) in [
            ("Decrypt: encrypted under these pairs", DONE, whole),
            ("Decrypt: encrypted without one", CIPHERTEXT, less),
            ("Decrypt: encrypted without any", CIPHERTEXT, Vec::new()),
            ("Decrypt: encrypted with one more", CIPHERTEXT, more),
        ] {
            let encrypt = self.here.encrypt().key_id(&arn);
            let mut encrypt = encrypt.plaintext(Blob::new([7; 32]));
            for (key, value) in pairs {
                encrypt = encrypt.encryption_context(key, value);
            }
            let blob = encrypt
                .send()
                .await
                .ok()
                .and_then(|made| made.ciphertext_blob);
            if let Some(blob) = blob {
                let wrapped = WrappedDek::new(&arn, blob.into_inner());
                let answer =
                    answered(async || kms.unwrap_dek(&wrapped, &call_of_ada()).await).await;
                self.note(call, documented, word(&answer));
            }
        }
    }

    async fn blobs(&mut self) {
        let (arn, kms) = self.server.key().await;
        let GeneratedDek { dek, wrapped } = make(&kms).await.expect("a DEK");
        let changed = |change: fn(&mut Vec<u8>)| {
            let mut bytes = wrapped.as_bytes().to_vec();
            change(&mut bytes);
            bytes
        };
        for (call, bytes) in [
            (
                "Decrypt: first byte flipped",
                changed(|bytes| bytes.first_mut().into_iter().for_each(|byte| *byte ^= 1)),
            ),
            (
                "Decrypt: last byte flipped",
                changed(|bytes| bytes.last_mut().into_iter().for_each(|byte| *byte ^= 1)),
            ),
            (
                "Decrypt: last byte missing",
                changed(|bytes| bytes.truncate(bytes.len().saturating_sub(1))),
            ),
            ("Decrypt: one byte more", changed(|bytes| bytes.push(0))),
            ("Decrypt: sixty-four zeros", vec![0; 64]),
        ] {
            let answer = unwrap(&kms, &WrappedDek::new(&arn, bytes), &dek).await;
            self.note(call, CIPHERTEXT, answer);
        }
    }

    async fn other_keys(&mut self) {
        let (old_arn, old) = self.server.key().await;
        let (new_arn, _) = self.server.key().await;
        let GeneratedDek { dek, wrapped } = make(&old).await.expect("a DEK");
        let both = AwsKms::builder()
            .key(self.here.clone(), &new_arn)
            .former(self.here.clone(), &old_arn)
            .build()
            .expect("a key and a former one");
        let answer = unwrap(&both, &wrapped, &dek).await;
        self.note("Decrypt: under a former key", SAME, answer);
        let renamed = WrappedDek::new(&new_arn, wrapped.as_bytes());
        let answer = unwrap(&both, &renamed, &dek).await;
        self.note(
            "Decrypt: naming another key",
            "IncorrectKeyException",
            answer,
        );
        let moved = rewrap(&both, &wrapped).await;
        self.note("ReEncrypt: to another key", DONE, word(&moved));
        if let Ok(moved) = moved {
            let answer = unwrap(&both, &moved, &dek).await;
            self.note("Decrypt: re-encrypted to another key", SAME, answer);
        }

        let (account, _) = new_arn.rsplit_once('/').expect("an ARN has a /");
        let nobody = format!("{account}/00000000-0000-4000-8000-000000000000");
        let none = AwsKms::builder().key(self.here.clone(), &nobody).build();
        let none = none.expect("an ARN");
        let answer = word(&make(&none).await);
        self.note("GenerateDataKey: no such key", "NotFoundException", answer);
        let renamed = WrappedDek::new(&nobody, wrapped.as_bytes());
        let answer = unwrap(&none, &renamed, &dek).await;
        self.note("Decrypt: no such key", "NotFoundException", answer);
    }

    async fn disabled(&mut self) {
        let (arn, kms) = self.server.key().await;
        let GeneratedDek { dek, wrapped } = make(&kms).await.expect("a DEK");
        let answer = code(&self.here.disable_key().key_id(id(&arn)).send().await);
        self.note("DisableKey", DONE, answer);
        let answer = word(&make(&kms).await);
        self.note("GenerateDataKey: disabled", DISABLED, answer);
        let answer = unwrap(&kms, &wrapped, &dek).await;
        self.note("Decrypt: disabled", DISABLED, answer);
        let answer = word(&rewrap(&kms, &wrapped).await);
        self.note("ReEncrypt: disabled", DISABLED, answer);
        let answer = code(&self.here.enable_key().key_id(id(&arn)).send().await);
        self.note("EnableKey", DONE, answer);
        let answer = unwrap(&kms, &wrapped, &dek).await;
        self.note("Decrypt: enabled again", SAME, answer);
        let answer = code(&self.here.enable_key().key_id(arn).send().await);
        self.note("EnableKey: by its ARN", DONE, answer);
    }

    async fn deleted(&mut self) {
        for (call, days) in [
            ("ScheduleKeyDeletion: in 6 days", 6),
            ("ScheduleKeyDeletion: in 31 days", 31),
        ] {
            let (arn, _) = self.server.key().await;
            let request = self.here.schedule_key_deletion().key_id(id(&arn));
            let answer = code(&request.pending_window_in_days(days).send().await);
            self.note(call, VALIDATION, answer);
        }

        let (arn, kms) = self.server.key().await;
        let GeneratedDek { dek, wrapped } = make(&kms).await.expect("a DEK");
        let request = self.here.schedule_key_deletion().key_id(id(&arn));
        let answer = code(&request.pending_window_in_days(7).send().await);
        self.note("ScheduleKeyDeletion: in 7 days", DONE, answer);
        let answer = word(&make(&kms).await);
        self.note("GenerateDataKey: pending deletion", STATE, answer);
        let answer = unwrap(&kms, &wrapped, &dek).await;
        self.note("Decrypt: pending deletion", STATE, answer);
        let answer = word(&rewrap(&kms, &wrapped).await);
        self.note("ReEncrypt: pending deletion", STATE, answer);
        let answer = code(&self.here.enable_key().key_id(id(&arn)).send().await);
        self.note("EnableKey: pending deletion", STATE, answer);
        let answer = code(
            &self
                .here
                .cancel_key_deletion()
                .key_id(id(&arn))
                .send()
                .await,
        );
        self.note("CancelKeyDeletion", DONE, answer);
        let answer = unwrap(&kms, &wrapped, &dek).await;
        self.note("Decrypt: deletion cancelled", DISABLED, answer);
        let _ = self.here.enable_key().key_id(id(&arn)).send().await;
        let answer = unwrap(&kms, &wrapped, &dek).await;
        self.note("Decrypt: cancelled and enabled", SAME, answer);
    }

    async fn rotated(&mut self) {
        let (arn, kms) = self.server.key().await;
        let GeneratedDek { dek, wrapped } = make(&kms).await.expect("a DEK");
        let answer = code(
            &self
                .here
                .rotate_key_on_demand()
                .key_id(id(&arn))
                .send()
                .await,
        );
        let rotated = answer == DONE;
        self.note("RotateKeyOnDemand", DONE, answer);
        if !rotated {
            return;
        }
        let answer = unwrap(&kms, &wrapped, &dek).await;
        self.note("Decrypt: rotated since", SAME, answer);
        let again = rewrap(&kms, &wrapped).await;
        self.note("ReEncrypt: rotated since", DONE, word(&again));
        if let Ok(again) = again {
            let answer = unwrap(&kms, &again, &dek).await;
            self.note("Decrypt: re-encrypted after rotation", SAME, answer);
        }
    }

    async fn replicated(&mut self) {
        let made = self.here.create_key().multi_region(true).send().await;
        let key = made.ok().and_then(|made| made.key_metadata?.arn);
        let key = key.expect("a multi-Region key");
        let request = self.here.replicate_key().key_id(id(&key));
        let answer = request.replica_region(THERE).send().await;
        self.note("ReplicateKey", DONE, code(&answer));
        let replica = answer.ok().and_then(|made| made.replica_key_metadata?.arn);
        let Some(replica) = replica else { return };
        let name = if replica == key.replace(HERE, THERE) {
            "its name elsewhere"
        } else {
            "another name"
        };
        self.note(
            "ReplicateKey: the replica's ARN",
            "its name elsewhere",
            name,
        );

        let there = self.server.client(THERE).await;
        let kms = AwsKms::builder().key(self.here.clone(), &key);
        let Ok(kms) = kms.replica(there.clone(), &replica).build() else {
            return;
        };
        let GeneratedDek { dek, wrapped } = make(&kms).await.expect("a DEK");
        let second = || KmsCall::attempt_of(ada(), 2);
        let answer = answered(async || kms.unwrap_dek(&wrapped, &second()).await).await;
        self.note("Decrypt: at the replica", SAME, compare(&answer, &dek));
        let answer = answered(async || kms.rewrap_dek(&wrapped, &second()).await).await;
        self.note("ReEncrypt: at the replica", DONE, word(&answer));
        let made = answered(async || kms.make_dek(&second()).await).await;
        self.note("GenerateDataKey: at the replica", DONE, word(&made));
        if let Ok(GeneratedDek { dek, wrapped }) = made {
            let answer = unwrap(&kms, &wrapped, &dek).await;
            self.note("Decrypt: made at the replica", SAME, answer);
        }
        // Only with its replicas is a key's material there: a region has no other's keys.
        let (single, kms) = self.server.key().await;
        let GeneratedDek { wrapped, .. } = make(&kms).await.expect("a DEK");
        let decrypt = there.decrypt().key_id(single.replace(HERE, THERE));
        let blob = Blob::new(wrapped.as_bytes());
        let answer = decrypt.ciphertext_blob(blob).send().await;
        let call = "Decrypt: elsewhere, without a replica";
        self.note(call, "NotFoundException", code(&answer));
    }

    async fn dry_runs(&mut self) {
        let (arn, kms) = self.server.key().await;
        let GeneratedDek { wrapped, .. } = make(&kms).await.expect("a DEK");
        let generate = self.here.generate_data_key().key_id(&arn);
        let answer = generate.number_of_bytes(32).dry_run(true).send().await;
        let documented = "DryRunOperationException";
        self.note("GenerateDataKey: dry run", documented, code(&answer));
        let mut decrypt = self.here.decrypt().key_id(&arn).dry_run(true);
        for (key, value) in ada().pairs() {
            decrypt = decrypt.encryption_context(key, value);
        }
        let blob = Blob::new(wrapped.as_bytes());
        let answer = decrypt.ciphertext_blob(blob).send().await;
        self.note("Decrypt: dry run", documented, code(&answer));
    }

    async fn limits(&mut self) {
        let (arn, _) = self.server.key().await;
        let generate = |bytes| {
            self.here
                .generate_data_key()
                .key_id(&arn)
                .number_of_bytes(bytes)
        };
        let answers = [
            (
                "GenerateDataKey: 1024 bytes",
                DONE,
                code(&generate(1024).send().await),
            ),
            (
                "GenerateDataKey: 1025 bytes",
                VALIDATION,
                code(&generate(1025).send().await),
            ),
            ("GenerateDataKey: a context of 9000 bytes", VALIDATION, {
                let large = generate(32).encryption_context("k", "v".repeat(9000));
                code(&large.send().await)
            }),
        ];
        for (call, documented, answer) in answers {
            self.note(call, documented, answer);
        }
        for (call, documented, size) in [
            ("Encrypt: 4096 bytes", DONE, 4096),
            ("Encrypt: 4097 bytes", VALIDATION, 4097),
        ] {
            let encrypt = self.here.encrypt().key_id(&arn);
            let answer = encrypt.plaintext(Blob::new(vec![7; size])).send().await;
            self.note(call, documented, code(&answer));
        }
    }

    async fn denied(&mut self) {
        let (arn, kms) = self.server.key().await;
        let GeneratedDek { dek, wrapped } = make(&kms).await.expect("a DEK");
        let policy = |owner| {
            json!({ "Version": "2012-10-17", "Statement": [
                { "Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*" },
                {
                    "Effect": "Deny", "Principal": "*", "Action": "kms:Decrypt", "Resource": "*",
                    "Condition": { "StringEquals": { "kms:EncryptionContext:owner": owner } },
                },
            ]})
        };
        for (call, documented, owner) in [
            ("Decrypt: another owner is denied", SAME, "65766520"),
            (
                "Decrypt: this owner is denied",
                "AccessDeniedException",
                "74616461",
            ),
        ] {
            let put = self
                .here
                .put_key_policy()
                .key_id(&arn)
                .policy_name("default");
            let put = put.policy(policy(owner).to_string()).send().await;
            put.expect("the policy is taken");
            let answer = unwrap(&kms, &wrapped, &dek).await;
            self.note(call, documented, answer);
        }
    }

    fn note(&mut self, call: &'static str, documented: &'static str, answer: impl Into<String>) {
        self.lines.push(Line {
            call,
            documented,
            answer: answer.into(),
        });
    }
}
