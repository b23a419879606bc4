//! Codecs of the standard library's types and of `Uuid`.

use zeroize::{Zeroize, Zeroizing};

use super::{Codec, CodecError, PlainBuf, Plaintext, wipe};

/// UTF-8; the empty string is a value like any other.
impl Plaintext for String {
    const CODEC: Codec = Codec::TEXT;

    fn size_hint(&self) -> usize {
        self.len()
    }

    fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
        out.extend(self.as_bytes());
        Ok(())
    }

    fn decode(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
        Self::from_utf8(core::mem::take(&mut *bytes)).map_err(|error| {
            wipe(&mut error.into_bytes());
            CodecError::new("not UTF-8")
        })
    }

    fn wipe(&mut self) {
        wipe(&mut core::mem::take(self).into_bytes());
    }
}

/// The bytes as they are.
impl Plaintext for Vec<u8> {
    const CODEC: Codec = Codec::new("bytes");

    fn size_hint(&self) -> usize {
        self.len()
    }

    fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
        out.extend(self);
        Ok(())
    }

    fn decode(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
        Ok(core::mem::take(&mut *bytes))
    }

    fn wipe(&mut self) {
        wipe(self);
    }
}

/// All bytes at once, if there are exactly `N`.
pub(super) fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], CodecError> {
    bytes
        .try_into()
        .map_err(|_| CodecError::new("wrong length"))
}

/// Integers of all widths share one codec, 8 bytes big-endian, so that a column may be widened.
const INTEGER: Codec = Codec::new("int");

macro_rules! integers {
    ($($ty:ty),*) => {$(
        /// 8 bytes, big-endian, two's complement; a value that is too large for the type is an error.
        impl Plaintext for $ty {
            const CODEC: Codec = INTEGER;

            fn size_hint(&self) -> usize {
                8
            }

            fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
                out.extend(&i64::from(*self).to_be_bytes());
                Ok(())
            }

            fn decode(bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
                i64::from_be_bytes(exactly(&bytes)?)
                    .try_into()
                    .map_err(|_| CodecError::new("an integer too large for the field's type"))
            }

            fn wipe(&mut self) {
                self.zeroize();
            }
        }
    )*};
}

integers!(i16, i32, i64);

/// IEEE 754, 8 bytes, big-endian; NaN keeps its bits.
impl Plaintext for f64 {
    const CODEC: Codec = Codec::new("f64");

    fn size_hint(&self) -> usize {
        8
    }

    fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
        out.extend(&self.to_bits().to_be_bytes());
        Ok(())
    }

    fn decode(bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
        Ok(Self::from_bits(u64::from_be_bytes(exactly(&bytes)?)))
    }

    fn wipe(&mut self) {
        self.zeroize();
    }
}

/// One byte, 0 or 1.
impl Plaintext for bool {
    const CODEC: Codec = Codec::new("bool");

    fn size_hint(&self) -> usize {
        1
    }

    fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
        out.extend(&[(*self).into()]);
        Ok(())
    }

    fn decode(bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
        match exactly(&bytes)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(CodecError::new("neither 0 nor 1")),
        }
    }

    fn wipe(&mut self) {
        self.zeroize();
    }
}

/// Its 16 bytes.
#[cfg(feature = "uuid")]
impl Plaintext for uuid::Uuid {
    const CODEC: Codec = Codec::new("uuid");

    fn size_hint(&self) -> usize {
        16
    }

    fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
        out.extend(self.as_bytes());
        Ok(())
    }

    fn decode(bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
        exactly(&bytes).map(Self::from_bytes)
    }

    fn wipe(&mut self) {
        *self = Self::nil(); // `Uuid` lets nobody at its bytes; the optimiser may drop this write
    }
}
