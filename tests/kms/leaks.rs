//! What error texts and traces say: no context, no blob, no key.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use ophie_crypt::{Kms, KmsCall, KmsError};
use ophie_crypt_tests::strict_kms::Fault;

use super::{Fixture, HERE, context, make};

/// Everything that anyone could print of an error.
fn all_texts(error: &KmsError) -> String {
    let mut texts = format!("{error} {error:?} {error:#?}");
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        write!(texts, " {error} {error:?} {error:#?}").expect("a string takes all");
        source = error.source();
    }
    texts
}

fn base64(bytes: &[u8]) -> String {
    aws_smithy_types::base64::encode(bytes)
}

#[tokio::test(start_paused = true)]
async fn errors_say_nothing_of_contexts_blobs_and_keys() {
    let Fixture { server, kms, .. } = Fixture::new().await;
    let (dek, wrapped) = make(&kms, "canary").await;
    let of = |app, owner| KmsCall::new(context(app, owner, 73_573));
    let owner = context("x", "canary", 1).pairs()[2].1.to_owned();
    let blob = base64(wrapped.as_bytes());
    let needles = [
        "needle",
        "canary",
        "73573",
        owner.as_str(),
        &blob[..24],
        &base64(dek.expose_secret())[..24],
        "scripted",
        "arn:aws:iam",
    ];
    let mut searched = 0;
    for fault in [
        None, // the wrong context
        Some(Fault::Error("AccessDeniedException", 400)),
        Some(Fault::Error("ThrottlingException", 400)),
        Some(Fault::Error("a made-up code with needle", 400)),
        Some(Fault::Error("KMSInternalException", 500)),
        Some(Fault::Page(502)),
        Some(Fault::CutBody),
        Some(Fault::CorruptBody),
        Some(Fault::ShortBody),
        Some(Fault::OtherKey),
        Some(Fault::Hang),
        Some(Fault::Refuse),
    ] {
        for rewrap in [false, true] {
            server.script(HERE, fault.clone());
            // Where the answer is to be falsified there must be one.
            let call = match &fault {
                None | Some(Fault::Error(..)) => of("needle", "canary"),
                _ => KmsCall::new(context("ophie", "canary", 1)),
            };
            let error = if rewrap {
                kms.rewrap_dek(&wrapped, &call).await.map(drop)
            } else {
                kms.unwrap_dek(&wrapped, &call).await.map(drop)
            };
            let texts = all_texts(&error.unwrap_err());
            for needle in needles {
                assert!(!texts.contains(needle), "{needle} in {texts}");
            }
            searched += 1;
        }
    }
    assert_eq!(searched, 24);
}

/// The SDK's own errors do say it: the search above could have found it.
#[tokio::test]
async fn the_sdk_itself_does_print_them() {
    let Fixture { server, arn, .. } = Fixture::new().await;
    server.script(HERE, [Fault::Error("AccessDeniedException", 400)]);
    let client = server.client(HERE, super::APP);
    let decrypt = client
        .decrypt()
        .key_id(arn)
        .encryption_context("owner", "canary");
    let blob = aws_sdk_kms::primitives::Blob::new([7; 64]);
    let error = decrypt.ciphertext_blob(blob).send().await.unwrap_err();
    assert!(format!("{error:?}").contains("canary"));
}

/// All events at TRACE, the SDK's included.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut sink = self.0.lock().map_err(|_| std::io::ErrorKind::Other)?;
        sink.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn traces_hold_no_key() {
    let sink = Sink::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer({
            let sink = sink.clone();
            move || sink.clone()
        })
        .finish();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let dek = tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(async {
            let Fixture { kms, .. } = Fixture::new().await;
            let (dek, wrapped) = make(&kms, "ada").await;
            kms.unwrap_dek(&wrapped, &super::call("ada")).await.unwrap();
            kms.rewrap_dek(&wrapped, &super::call("ada")).await.unwrap();
            dek
        })
    });
    let trace = String::from_utf8_lossy(&sink.0.lock().unwrap()).into_owned();
    assert!(trace.contains("GenerateDataKey"), "nothing was traced");
    let key = dek.expose_secret();
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let debug = format!("{:?}", &key[..8]);
    for needle in [
        &base64(key)[..20],
        &hex[..16],
        debug.trim_matches(['[', ']']),
    ] {
        assert!(!trace.contains(needle), "a key in the trace");
    }
}
