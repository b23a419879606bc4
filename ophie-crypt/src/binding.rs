//! What the associated data says about where a value belongs.
//!
//! Invariant: different places give different bytes; every part is length-prefixed and the number of
//! parts is fixed (PAE, as PASETO defines it). Absent: keys, ciphers.

use smallvec::SmallVec;

use crate::{column::ColumnRef, envelope::HEADER_LEN, owner::CanonicalId, plaintext::Codec};

/// Pre-authentication encoding: the number of parts, then each part behind its length, all lengths
/// 64-bit little-endian with the top bit clear.
///
/// Source: PASETO, "Common implementation details", PAE.
pub(crate) fn pae<const N: usize>(parts: [&[u8]; N]) -> Pae {
    let len = parts.iter().fold(LENGTH, |sum, part| {
        sum.saturating_add(LENGTH).saturating_add(part.len())
    });
    let mut out = if len <= ON_STACK {
        Pae::from_buf_and_len([0; ON_STACK], len)
    } else {
        Pae::from_elem(0, len)
    };
    let mut rest = put(&mut out, &length(N));
    for part in parts {
        rest = put(rest, &length(part.len()));
        rest = put(rest, part);
    }
    out
}

/// Writes to the front of `out`, which was made long enough, and gives the rest.
#[inline]
fn put<'a>(out: &'a mut [u8], bytes: &[u8]) -> &'a mut [u8] {
    let (front, rest) = out.split_at_mut(bytes.len());
    front.copy_from_slice(bytes);
    rest
}

/// Associated data on the stack; longer than this only with very long names.
pub(crate) type Pae = SmallVec<[u8; ON_STACK]>;

const ON_STACK: usize = 256;
const LENGTH: usize = 8;

fn length(len: usize) -> [u8; LENGTH] {
    u64::try_from(len)
        .map(|len| len & (u64::MAX >> 1))
        .unwrap_or(u64::MAX >> 1) // no part is that long
        .to_le_bytes()
}

/// Where a sealed value belongs.
#[derive(Clone, Copy)]
pub(crate) struct Binding<'a> {
    pub(crate) owner: &'a CanonicalId,
    pub(crate) column: &'a ColumnRef,
    pub(crate) codec: Codec,
    /// The row, for row-bound values.
    pub(crate) row: Option<&'a CanonicalId>,
}

impl Binding<'_> {
    /// The associated data of a value under this header.
    pub(crate) fn value(&self, header: &[u8; HEADER_LEN]) -> Pae {
        pae([
            b"ophie-crypt/v1/value",
            header,
            self.owner.as_bytes(),
            self.column.table_id().as_bytes(),
            self.column.id().as_bytes(),
            self.codec.id().as_bytes(),
            self.row.map_or(&[], CanonicalId::as_bytes),
        ])
    }
}

/// The associated data of an index key sealed under its owner's DEK.
pub(crate) fn index_key(header: &[u8; HEADER_LEN], owner: &CanonicalId, generation: u8) -> Pae {
    pae([
        b"ophie-crypt/v1/index-key",
        header,
        owner.as_bytes(),
        &[generation],
    ])
}

/// The message of a fingerprint.
pub(crate) fn fingerprint(
    column: &ColumnRef,
    index: &ColumnRef,
    normalizer: &str,
    normalized: &[u8],
) -> Pae {
    pae([
        b"ophie-crypt/v1/index",
        column.table_id().as_bytes(),
        column.id().as_bytes(),
        index.id().as_bytes(),
        normalizer.as_bytes(),
        normalized,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the PASETO specification.
    #[test]
    fn pae_is_pasetos() {
        assert_eq!(pae([]).as_slice(), b"\0\0\0\0\0\0\0\0");
        assert_eq!(pae([b""]).as_slice(), b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(
            pae([b"test"]).as_slice(),
            b"\x01\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0test"
        );
    }

    #[test]
    fn moving_a_boundary_changes_the_bytes() {
        assert_ne!(pae([b"ab", b"c"]), pae([b"a", b"bc"]));
        assert_ne!(pae([b"ab", b""]), pae([b"", b"ab"]));
    }
}
