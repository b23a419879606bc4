//! Scripted faults: what may happen to a request on its way, in KMS, or to its answer.
//!
//! Invariant: each is what a caller of the real service can meet. Absent: when they strike (`StrictKms::script`).

use std::time::Duration;

use aws_smithy_types::base64;
use serde_json::{Value, json};

use super::keys::random;

/// What happens to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The right answer, later. The clock is tokio's.
    Delay(Duration),
    /// No answer, ever; nothing is done.
    Hang,
    /// No connection; nothing is done.
    Refuse,
    /// The connection is reset; nothing is done.
    Reset,
    /// It is done, and the connection is reset before the answer.
    LostAnswer,
    /// AWS's error of this code and status; nothing is done.
    Error(&'static str, u16),
    /// An error page of something in between, with this status; nothing is done.
    Page(u16),
    /// It is done, and the connection breaks within the answer's body.
    CutBody,
    /// It is done, and the answer ends early, though the connection ends well.
    ShortBody,
    /// It is done, and a byte of the answer's JSON is another.
    CorruptBody,
    /// It is done, and the answer names another key.
    OtherKey,
    /// It is done, and the answer holds another key's plaintext.
    OtherPlaintext,
    /// It is done, and the answer's plaintext has this length.
    PlaintextOf(usize),
    /// It is done, and the answer lacks this field.
    Without(&'static str),
}

impl Fault {
    /// AWS's answer to too many requests.
    pub const THROTTLE: Self = Self::Error("ThrottlingException", 400);

    /// Whether KMS gets to see the request.
    pub(super) fn lets_through(&self) -> bool {
        !matches!(
            self,
            Self::Hang | Self::Refuse | Self::Reset | Self::Error(..) | Self::Page(_)
        )
    }

    /// What it makes of a good answer.
    pub(super) fn falsify(&self, answer: &mut Value) {
        let Some(fields) = answer.as_object_mut() else {
            return;
        };
        match self {
            Self::OtherKey => {
                for name in ["KeyId", "SourceKeyId"] {
                    if let Some(Value::String(arn)) = fields.get_mut(name) {
                        arn.push('0');
                    }
                }
            }
            Self::OtherPlaintext => {
                let _ = fields.insert("Plaintext".into(), json!(base64::encode(random::<32>())));
            }
            Self::PlaintextOf(length) => {
                let bytes = vec![7; *length];
                let _ = fields.insert("Plaintext".into(), json!(base64::encode(bytes)));
            }
            Self::Without(name) => {
                let _ = fields.remove(*name);
            }
            _ => {}
        }
    }

    /// What it makes of an answer's bytes.
    pub(super) fn disfigure(&self, mut body: Vec<u8>) -> Vec<u8> {
        match self {
            Self::ShortBody | Self::CutBody => body.truncate(body.len() / 2),
            Self::CorruptBody => {
                if let Some(byte) = body.first_mut() {
                    *byte ^= 1;
                }
            }
            _ => {}
        }
        body
    }
}
