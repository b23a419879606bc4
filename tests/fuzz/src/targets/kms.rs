//! Answers of AWS KMS: any status, headers and body, through the real SDK.
//!
//! Invariant: a key is taken only from a success whose JSON names the key that was asked for and holds 32 bytes, not all
//! zero, and a wrapped key only if there is one; a sound answer is taken. An error is one of the two of `KmsError`, of a
//! server's failure the one that may pass; it quotes no word of the body and holds no control character.

use aws_sdk_kms::{
    Client, Config,
    config::{BehaviorVersion, Credentials, Region},
};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::{base64, body::SdkBody};
use ophie_crypt::{
    AwsKms, CanonicalId, Dek, EncryptionContext, Kms, KmsCall, KmsError, WrappedDek,
};
use serde_json::{Map, Value, json};

use crate::{
    bytes::Bytes,
    targets::{told, wait},
};

const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd";
const FORMER: &str = "arn:aws:kms:eu-central-1:111122223333:key/former";
const SAID: &str = "canary-of-the-server";

/// Four operations, each soundly answered, with each field of another kind, and with an error; a page that is none of
/// AWS's.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for operation in 0..4 {
        for field in 0..4 {
            for kind in 0..8 {
                let mut fields = [0; 4];
                fields[field] = kind;
                seeds.push([&[operation, 0, 0, 0], &fields[..]].concat());
            }
        }
        for status in [3, 4, 8, 11] {
            seeds.push(vec![operation, status, 0, 2, 9, 9, 9, 9, 9, 9, 9, 9, 9]);
        }
        seeds.push([&[operation, 0, 0, 1], &b"<html>a page</html>"[..]].concat());
        let sound = json!({ "KeyId": ARN, "SourceKeyId": FORMER, "Plaintext": key(5), "CiphertextBlob": "AAAA" });
        seeds.push([&[operation, 0, 0, 1], sound.to_string().as_bytes()].concat());
    }
    seeds
}

fn key(byte: u8) -> String {
    base64::encode([byte; 32])
}

pub(crate) fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let operation = bytes.number() % 4;
    let answer = Answer::read(&mut bytes);
    let kms = AwsKms::builder().key(client(answer.clone()), ARN);
    let kms = kms.former(client(answer.clone()), FORMER).build().unwrap();
    let owner = CanonicalId::text("ada");
    let call = KmsCall::new(EncryptionContext::new("ophie", &owner, 1));
    let wrapped = WrappedDek::new(FORMER, [1, 2, 3]);
    let taken = match operation {
        0 => wait(kms.make_dek(&call))
            .map(|made| Taken::new(ARN, None, Some(&made.dek), Some(&made.wrapped))),
        1 => wait(kms.unwrap_dek(&wrapped, &call))
            .map(|dek| Taken::new(FORMER, None, Some(&dek), None)),
        2 => wait(kms.rewrap_dek(&wrapped, &call))
            .map(|to| Taken::new(ARN, Some(FORMER), None, Some(&to))),
        _ => {
            let dek = Dek::from_slice(&[6; 32]).unwrap();
            wait(kms.wrap_dek(&dek, &call)).map(|to| Taken::new(ARN, None, None, Some(&to)))
        }
    };
    if let Some(id) = call.request_id() {
        assert!(id.bytes().all(|byte| byte.is_ascii_graphic()), "{id:?}");
    }
    match taken {
        Ok(taken) => answer.gives(&taken),
        Err(error) => answer.explains(&error, operation),
    }
}

/// What the library took from an answer, and which keys it had asked for.
struct Taken {
    key: &'static str,
    source: Option<&'static str>,
    plaintext: Option<Vec<u8>>,
    wrapped: Option<Vec<u8>>,
}

impl Taken {
    fn new(
        key: &'static str,
        source: Option<&'static str>,
        dek: Option<&Dek>,
        wrapped: Option<&WrappedDek>,
    ) -> Self {
        if let Some(wrapped) = wrapped {
            assert_eq!(wrapped.kek(), ARN);
        }
        Self {
            key,
            source,
            plaintext: dek.map(|dek| dek.expose_secret().to_vec()),
            wrapped: wrapped.map(|wrapped| wrapped.as_bytes().to_vec()),
        }
    }
}

#[derive(Clone, Debug)]
struct Answer {
    status: u16,
    id: Vec<u8>,
    body: Vec<u8>,
    /// As AWS answers; for the operation whose number it is, or for all.
    sound: bool,
}

impl Answer {
    fn read(bytes: &mut Bytes<'_>) -> Self {
        const STATUSES: [u16; 12] = [200, 200, 200, 400, 500, 201, 204, 302, 403, 404, 429, 503];
        let status = match bytes.number() {
            given if given < 12 => STATUSES[given],
            given => 100 + 2 * u16::try_from(given).unwrap(),
        };
        let id = bytes.some().to_vec();
        let (body, sound) = match bytes.byte() % 4 {
            1 => (bytes.take(bytes.0.len()).to_vec(), false),
            _ => fields(bytes),
        };
        Self {
            status,
            id,
            body,
            sound: sound && status == 200,
        }
    }

    fn response(&self) -> HttpResponse {
        let response = http::Response::builder().status(self.status);
        let response = match http::HeaderValue::from_bytes(&self.id) {
            Ok(id) => response.header("x-amzn-requestid", id),
            Err(_) => response.header("x-amzn-requestid", "none"),
        };
        let response = response.header("content-type", "application/x-amz-json-1.1");
        let response = response.body(SdkBody::from(self.body.clone())).unwrap();
        HttpResponse::try_from(response).unwrap()
    }

    fn gives(&self, taken: &Taken) {
        assert!((200..300).contains(&self.status), "status {}", self.status);
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(body["KeyId"], taken.key);
        if let Some(source) = taken.source {
            assert_eq!(body["SourceKeyId"], source);
        }
        let field = |name: &str| base64::decode(body[name].as_str().unwrap()).unwrap();
        if let Some(plaintext) = &taken.plaintext {
            assert!(plaintext.len() == 32 && plaintext.iter().any(|byte| *byte != 0));
            assert_eq!(field("Plaintext"), *plaintext);
        }
        if let Some(wrapped) = &taken.wrapped {
            assert!(!wrapped.is_empty());
            assert_eq!(field("CiphertextBlob"), *wrapped);
        }
    }

    fn explains(&self, error: &KmsError, operation: usize) {
        // Decrypt was asked of the former key.
        assert!(!self.sound || operation == 1, "a sound answer: {error:?}");
        let passes = match error {
            KmsError::Unavailable { .. } => true,
            KmsError::Refused { .. } => false,
            other => panic!("{other:?}"),
        };
        assert!(
            passes || self.status < 500,
            "status {} is final",
            self.status
        );
        let told = told(error);
        assert!(!told.contains(SAID), "{told}");
        assert!(
            told.chars().all(|c| c == '\n' || (' '..='~').contains(&c)),
            "{told:?}"
        );
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        for field in ["Plaintext", "CiphertextBlob"] {
            let text = body[field].as_str().unwrap_or_default();
            assert!(text.len() < 8 || !told.contains(text), "{told}");
        }
    }
}

/// A body of AWS's fields, each sound, or not, or missing; and whether all are sound.
fn fields(bytes: &mut Bytes<'_>) -> (Vec<u8>, bool) {
    let mut body = Map::new();
    let mut sound = true;
    for name in ["KeyId", "SourceKeyId"] {
        let good = if name == "KeyId" { ARN } else { FORMER };
        let value = match bytes.byte() % 7 {
            0 => json!(good),
            1 => json!(FORMER),
            2 => json!(format!("{good}0")),
            3 => json!(good.to_uppercase()),
            4 => json!([good]),
            5 => json!("1234abcd"),
            _ => without(&mut sound),
        };
        sound &= value == good;
        put(&mut body, name, value);
    }
    for name in ["Plaintext", "CiphertextBlob"] {
        let value = match bytes.byte() % 8 {
            0 => json!(key(5)),
            1 => json!(key(0)),
            2 => json!(base64::encode(bytes.some())),
            3 => json!(key(5).trim_end_matches('=')),
            4 => json!(format!("{} ", key(5))),
            5 => json!(5),
            6 => json!(""),
            _ => without(&mut sound),
        };
        sound &= value == key(5);
        put(&mut body, name, value);
    }
    if bytes.byte() % 4 > 1 {
        let codes = [
            "AccessDeniedException",
            "ThrottlingException",
            "a b\u{1b}[31m",
            "Strange",
        ];
        put(&mut body, "__type", json!(bytes.pick(&codes)));
        put(&mut body, "message", json!(format!("{SAID} {SAID}")));
    }
    let mut body = Value::from(body).to_string().into_bytes();
    for _ in 0..bytes.byte() % 3 {
        let at = bytes.number() % body.len();
        sound &= core::mem::replace(&mut body[at], bytes.byte()) == body[at];
    }
    (body, sound)
}

fn without(sound: &mut bool) -> Value {
    *sound = false;
    Value::Null
}

/// Null stands for nothing at all.
fn put(body: &mut Map<String, Value>, name: &str, value: Value) {
    if !value.is_null() {
        body.insert(name.to_owned(), value);
    }
}

fn client(answer: Answer) -> Client {
    Client::from_conf(
        Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-central-1"))
            .credentials_provider(Credentials::new("app", "secret", None, None, "fuzz"))
            .http_client(Answers(answer))
            .build(),
    )
}

/// An HTTP client that has one answer to everything.
#[derive(Clone, Debug)]
struct Answers(Answer);

impl HttpClient for Answers {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Answers {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(Ok::<_, ConnectorError>(self.0.response()))
    }
}
