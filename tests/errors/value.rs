//! A plaintext that goes wrong in each way in which one can.

use ophie_crypt::{Codec, CodecError, MAX_PLAINTEXT_LEN, PlainBuf, Plaintext};
use zeroize::Zeroizing;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Picky {
    Fine,
    /// It has no encoding.
    Unwritable,
    /// What it writes is none of its encodings.
    Unreadable,
    /// It says that it is longer than any value may be.
    Huge,
}

impl Plaintext for Picky {
    const CODEC: Codec = Codec::new("tests/picky");

    fn size_hint(&self) -> usize {
        match self {
            Self::Huge => MAX_PLAINTEXT_LEN.saturating_add(1),
            _ => 1,
        }
    }

    fn encode(&self, out: &mut PlainBuf) -> Result<(), CodecError> {
        match self {
            Self::Unwritable => return Err(CodecError::new("it is unwritable")),
            Self::Unreadable => out.extend(b"?"),
            Self::Fine | Self::Huge => out.extend(b"!"),
        }
        Ok(())
    }

    fn decode(bytes: Zeroizing<Vec<u8>>) -> Result<Self, CodecError> {
        match bytes.as_slice() {
            b"!" => Ok(Self::Fine),
            _ => Err(CodecError::new("it is unreadable")),
        }
    }

    fn wipe(&mut self) {
        *self = Self::Fine;
    }
}
