//! What the associated data says about where a value belongs.
//!
//! Invariant: different places give different bytes; every part is length-prefixed and the number of
//! parts is fixed (PAE, as PASETO defines it). Absent: keys, ciphers.

use smallvec::SmallVec;
use zeroize::Zeroize;

use crate::{column::ColumnRef, envelope::HEADER_LEN, owner::CanonicalId, plaintext::Codec};

/// Pre-authentication encoding: the number of parts, then each part behind its length, all lengths
/// 64-bit little-endian with the top bit clear.
///
/// Source: PASETO, "Common implementation details", PAE.
pub(crate) fn pae<const N: usize>(parts: [&[u8]; N]) -> Pae {
    with_pae(parts, |bytes| Pae::from_slice(bytes))
}

/// The same, lent from the stack: moving it would cost a value as much as making it.
#[inline]
fn with_pae<const N: usize, R>(parts: [&[u8]; N], look: impl FnOnce(&mut [u8]) -> R) -> R {
    let len = parts.iter().fold(LENGTH, |sum, part| {
        sum.saturating_add(LENGTH).saturating_add(part.len())
    });
    let (mut stack, mut heap) = ([0; ON_STACK], Vec::new());
    let out = if let Some(out) = stack.get_mut(..len) {
        out
    } else {
        heap.resize(len, 0);
        heap.as_mut_slice()
    };
    let mut rest = put(out, &length(N));
    for part in parts {
        rest = put(rest, &length(part.len()));
        rest = put(rest, part);
    }
    look(out)
}

/// Writes to the front of `out`, which was made long enough, and gives the rest.
#[inline]
fn put<'a>(out: &'a mut [u8], bytes: &[u8]) -> &'a mut [u8] {
    let (front, rest) = out.split_at_mut(bytes.len());
    front.copy_from_slice(bytes);
    rest
}

/// Associated data that is kept for a moment.
pub(crate) type Pae = SmallVec<[u8; ON_STACK]>;

/// Longer than this only with very long names.
const ON_STACK: usize = 256;
const LENGTH: usize = 8;

fn length(len: usize) -> [u8; LENGTH] {
    let len =
        u64::try_from(len).expect("no slice is longer than 2^63 bytes, so the top bit is clear");
    len.to_le_bytes()
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
    /// Looks at the associated data of a value under this header.
    #[inline]
    pub(crate) fn with_value<R>(
        &self,
        header: &[u8; HEADER_LEN],
        look: impl FnOnce(&[u8]) -> R,
    ) -> R {
        let parts = [
            b"ophie-crypt/v1/value".as_slice(),
            header,
            self.owner.as_bytes(),
            self.column.table_id().as_bytes(),
            self.column.id().as_bytes(),
            self.codec.id().as_bytes(),
            self.row.map_or(&[], CanonicalId::as_bytes),
        ];
        with_pae(parts, |aad| look(aad))
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

/// The associated data of an older DEK sealed under its owner's newest.
pub(crate) fn older_dek(header: &[u8; HEADER_LEN], owner: &CanonicalId, generation: u32) -> Pae {
    pae([
        b"ophie-crypt/v1/dek",
        header,
        owner.as_bytes(),
        &generation.to_be_bytes(),
    ])
}

/// Looks at the message of a fingerprint, which holds the normalised text; wipes it then.
pub(crate) fn with_fingerprint<R>(
    column: &ColumnRef,
    index: &ColumnRef,
    normalizer: &str,
    normalized: &[u8],
    look: impl FnOnce(&[u8]) -> R,
) -> R {
    let parts = [
        b"ophie-crypt/v1/index",
        column.table_id().as_bytes(),
        column.id().as_bytes(),
        index.id().as_bytes(),
        normalizer.as_bytes(),
        normalized,
    ];
    with_pae(parts, |message| wiping(message, look))
}

fn wiping<R>(message: &mut [u8], look: impl FnOnce(&[u8]) -> R) -> R {
    let looked = look(message);
    message.zeroize();
    looked
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    reason = "counts and cuts, far from any limit"
)]
mod injective;

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    reason = "lengths, far from any limit"
)]
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

    /// PAE once more, by itself.
    fn framed(parts: &[&[u8]]) -> Vec<u8> {
        let length = |len: usize| u64::try_from(len).unwrap().to_le_bytes();
        let mut out = length(parts.len()).to_vec();
        for part in parts {
            out.extend(length(part.len()));
            out.extend(*part);
        }
        out
    }

    #[test]
    fn a_value_is_bound_to_each_part_of_its_place() {
        let (ada, row) = (CanonicalId::text("ada"), CanonicalId::integer(7));
        let column = ColumnRef::new("people", "name_ct").with_ids("persons", "name");
        let header = [0xFB; HEADER_LEN];
        for (row, bytes) in [(None, &b""[..]), (Some(&row), b"i\0\0\0\0\0\0\0\x07")] {
            let binding = Binding {
                owner: &ada,
                column: &column,
                codec: Codec::TEXT,
                row,
            };
            let label = &b"ophie-crypt/v1/value"[..];
            let parts = [label, &header, b"tada", b"persons", b"name", b"text", bytes];
            binding.with_value(&header, |aad| assert_eq!(aad, framed(&parts)));
        }
    }

    #[test]
    fn a_fingerprint_is_of_its_index_column_and_normaliser() {
        let column = ColumnRef::new("people", "name_ct").with_ids("persons", "name");
        let index = ColumnRef::new("people", "name_fp").with_ids("persons", "by_name");
        let label = &b"ophie-crypt/v1/index"[..];
        let parts = [label, b"persons", b"name", b"by_name", b"name/1", b"mom"];
        with_fingerprint(&column, &index, "name/1", b"mom", |message| {
            assert_eq!(message, framed(&parts));
        });
    }

    /// As SPEC.md has them: releases read each other's.
    #[test]
    fn keys_are_bound_to_owner_and_generation() {
        let header = [0xFA; HEADER_LEN];
        let ada = CanonicalId::text("ada");
        let bound =
            |label: &[u8], generation: &[u8]| framed(&[label, &header, b"tada", generation]);
        let dek = older_dek(&header, &ada, 0x0102_0304);
        assert_eq!(dek.as_slice(), bound(b"ophie-crypt/v1/dek", &[1, 2, 3, 4]));
        let index = index_key(&header, &ada, 5);
        assert_eq!(index.as_slice(), bound(b"ophie-crypt/v1/index-key", &[5]));
    }

    #[test]
    fn what_is_longer_than_the_stack_has_room_for_is_the_same() {
        for len in [ON_STACK - 16, ON_STACK - 15, 5_000] {
            let long = vec![7; len];
            let made = pae([&long]);
            let (front, rest) = made.split_at(16);
            assert_eq!(front[..8], 1_u64.to_le_bytes());
            assert_eq!(front[8..], u64::try_from(len).unwrap().to_le_bytes());
            assert_eq!(rest, long);
        }
    }

    #[test]
    fn the_message_of_a_fingerprint_is_wiped() {
        let mut message = *b"Mom";
        let looked = wiping(&mut message, <[u8]>::to_vec);
        assert_eq!((looked.as_slice(), message), (b"Mom".as_slice(), [0; 3]));
    }

    #[test]
    fn moving_a_boundary_changes_the_bytes() {
        assert_ne!(pae([b"ab", b"c"]), pae([b"a", b"bc"]));
        assert_ne!(pae([b"ab", b""]), pae([b"", b"ab"]));
    }
}
