//! Lower-case hexadecimal.
//!
//! Invariant: what was written reads back as itself, and nothing else is read. Absent: secrets.

use core::fmt::{self, Write};

/// Writes bytes where they are printed.
pub(crate) fn write_hex(out: &mut impl Write, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(bytes.len().saturating_mul(2));
    let _ = write_hex(&mut hex, bytes); // a String takes everything
    hex
}

/// Lower case only, so that bytes have one form.
pub(crate) fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => digit.checked_sub(b'0'),
        b'a'..=b'f' => digit.checked_sub(b'a' - 10),
        _ => None,
    };
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let bytes = pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    bytes.collect::<Option<_>>().filter(|_| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_written_is_read() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(&to_hex(&all)), Some(all));
        for no_hex in ["0", "0A", "0g", "0 ", "-1", "é"] {
            assert_eq!(from_hex(no_hex), None, "{no_hex}");
        }
    }
}
