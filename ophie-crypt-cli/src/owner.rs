//! Owners on the command line: the kind is always said, because the integer 7 is not the text `7`.
//!
//! Invariant: what is printed is read back as the same owner. Absent: which owners there are (`database`).

use core::{fmt, str::FromStr};

use ophie_crypt::{CanonicalId, OwnerKind};
use uuid::Uuid;

/// An owner as people write it: `int:42`, `text:ada`, `uuid:..`, or `hex:` and the canonical bytes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct OwnerName(pub(crate) CanonicalId);

/// It names no owner.
#[derive(Debug, thiserror::Error)]
#[error(
    "an owner is written with its kind: int:42, text:ada, uuid:67e55044-10b1-426f-9247-bb680e5fe0c8, or hex: and its canonical bytes"
)]
pub(crate) struct NotAnOwner;

impl FromStr for OwnerName {
    type Err = NotAnOwner;

    fn from_str(text: &str) -> Result<Self, NotAnOwner> {
        let (kind, id) = text.split_once(':').ok_or(NotAnOwner)?;
        let owner = match kind {
            "int" => CanonicalId::integer(id.parse().map_err(|_| NotAnOwner)?),
            "text" if !id.is_empty() => CanonicalId::text(id),
            "uuid" => CanonicalId::uuid(Uuid::try_parse(id).map_err(|_| NotAnOwner)?.as_bytes()),
            "hex" => CanonicalId::from_bytes(&bytes(id).ok_or(NotAnOwner)?),
            _ => return Err(NotAnOwner),
        };
        Ok(Self(owner))
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    if hex.is_empty() || !hex.is_ascii() {
        return None;
    }
    let digits: Option<Vec<u8>> = hex
        .chars()
        .map(|digit| digit.to_digit(16)?.try_into().ok())
        .collect();
    let digits = digits?;
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some(high.wrapping_shl(4) | low),
        _ => None,
    });
    pairs.collect()
}

/// As it is read; in hex, where it is of no kind or has characters that a terminal would act upon.
impl fmt::Display for OwnerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = || format!("hex:{}", self.0.to_hex());
        let id = self.0.as_bytes().get(1..).unwrap_or_default();
        let text = match self.0.kind() {
            Some(OwnerKind::Integer) => id
                .try_into()
                .map_or_else(|_| hex(), |id| format!("int:{}", i64::from_be_bytes(id))),
            Some(OwnerKind::Uuid) => {
                Uuid::from_slice(id).map_or_else(|_| hex(), |id| format!("uuid:{id}"))
            }
            Some(OwnerKind::Text) => match core::str::from_utf8(id) {
                Ok(id) if !id.is_empty() && id.chars().all(|c| c.is_ascii_graphic()) => {
                    format!("text:{id}")
                }
                _ => hex(),
            },
            _ => hex(),
        };
        f.write_str(&text)
    }
}

impl fmt::Debug for OwnerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerName(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        for text in [
            "int:42",
            "int:-1",
            "text:ada",
            "uuid:67e55044-10b1-426f-9247-bb680e5fe0c8",
            "hex:780102",
        ] {
            assert_eq!(text.parse::<OwnerName>().unwrap().to_string(), text);
        }
        let escape = OwnerName(CanonicalId::text("\u{1b}[2J"));
        assert_eq!(escape.to_string(), "hex:741b5b324a");
        assert_eq!(escape.to_string().parse::<OwnerName>().unwrap(), escape);
        assert_eq!(
            "hex:74616461".parse::<OwnerName>().unwrap().to_string(),
            "text:ada"
        );
    }

    #[test]
    fn what_says_no_kind_is_refused() {
        for text in [
            "42", "ada", "int:x", "int:", "text:", "uuid:1", "hex:1", "hex:zz", "hex:", "id:1",
        ] {
            text.parse::<OwnerName>().unwrap_err();
        }
    }
}
