//! JSON of any serde type.

use core::fmt;

use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use super::{Codec, CodecError, PlainBuf, Plaintext};

/// A value that is stored as encrypted JSON.
///
/// ```
/// use ophie_crypt::Json;
///
/// let mood = Json(vec!["calm", "tired"]);
/// assert_eq!(mood.0.len(), 2);
/// assert_eq!(format!("{mood:?}"), "Json([REDACTED])");
/// ```
///
/// JSON `null` is a value; SQL NULL is `Option<Encrypted<Json<T>, C>>`.
///
/// # Security
///
/// The encoded bytes are wiped. The value itself is only dropped: serde types have no common way to
/// be overwritten. Keep long secrets in a `String` column, or wipe inside `T`'s own `Drop`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[allow(
    clippy::exhaustive_structs,
    reason = "a wrapper to construct and match, as sqlx's is"
)]
pub struct Json<T>(pub T);

impl<T> From<T> for Json<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> fmt::Debug for Json<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Json([REDACTED])")
    }
}

/// JSON text. Errors name no value: serde's own messages may quote one and are dropped.
impl<T: Serialize + DeserializeOwned> Plaintext for Json<T> {
    const CODEC: Codec = Codec::new("json");

    fn size_hint(&self) -> usize {
        256 // the buffer grows, and wipes what it outgrows
    }

    fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
        serde_json::to_writer(out, &self.0)
            .map_err(|_| CodecError::new("a value that serde cannot write as JSON"))
    }

    fn decode(bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
        serde_json::from_slice(&bytes)
            .map(Json)
            .map_err(|_| CodecError::new("JSON that does not fit the field's type"))
    }

    fn wipe(&mut self) {}
}
