//! JSON of any serde type.

use core::fmt;

use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use super::{Codec, CodecError, PlainBuf, Plaintext, wipe};

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
/// JSON `null` is a value; SQL NULL is `Option<Encrypted<Json<T>, C>>`. Arrays and objects nest at most 127
/// deep, which is what serde_json reads. A value that cannot be read back from its JSON, as one that nests
/// deeper or a NaN, is not sealed; each seal reads what it wrote. A NaN in an `Option<f64>` becomes `None`.
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
    const CODEC: Codec = Codec::JSON;

    fn size_hint(&self) -> usize {
        256 // the buffer grows, and wipes what it outgrows
    }

    fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
        let start = out.len();
        serde_json::to_writer(&mut *out, &self.0)
            .map_err(|_| CodecError::new("a value that serde cannot write as JSON"))?;
        // What would not open must not be sealed; serde can write more than it reads.
        let json = out.as_slice().get(start..).unwrap_or_default();
        serde_json::from_slice::<T>(json).map(drop).map_err(|_| {
            CodecError::new("a value that cannot be read back from its JSON: a NaN or infinity, or nested more than 127 deep?")
        })
    }

    fn decode(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
        let read = serde_json::from_slice(&bytes);
        wipe(&mut bytes);
        read.map(Json)
            .map_err(|_| CodecError::new("JSON that does not fit the field's type"))
    }

    fn wipe(&mut self) {}
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn round_trip<T: Serialize + DeserializeOwned>(value: T) -> Result<T, CodecError> {
        let mut out = PlainBuf::default();
        Json(value).encode(&mut out)?;
        Json::decode(Zeroizing::new(out.as_slice().to_vec())).map(|read| read.0)
    }

    /// By default serde_json may miss by one unit in the last place: by one in five of these.
    #[test]
    fn numbers_read_back_as_themselves() {
        let mut bits = 1_u64;
        for _ in 0..10_000 {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            let number = f64::from_bits(bits);
            if number.is_finite() {
                assert_eq!(round_trip(number).unwrap().to_bits(), number.to_bits());
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_written() {
        let nested = |depth| (0..depth).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
        assert_eq!(round_trip(nested(127)), Ok(nested(127)));
        let mut out = PlainBuf::default();
        assert!(Json(nested(128)).encode(&mut out).is_err());
        for number in [f64::NAN, f64::INFINITY] {
            assert!(Json(number).encode(&mut out).is_err());
        }
    }
}
