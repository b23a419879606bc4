//! Bindings that are nearly each other: every way to cut one text into the parts of a binding.
//!
//! Invariant: no two of some 60,000, which are 50 million pairs of one text, have the same bytes; framings that look
//! much the same collide on these very texts, so the test can fail. Absent: PAE's examples (`binding`).

use std::collections::{HashMap, hash_map::Entry};

use super::*;
use crate::hazmat::fill_random;

/// Parts: owner, table, column, codec, row. Or table, column, index, normaliser, normal form.
type Cut = [&'static str; 5];

type Framing = fn(&str) -> String;

/// Characters of a text, and what they are taken from: digits and letters that framings write, NUL, two bytes.
const LENGTH_OF_TEXT: usize = 12;
const ALPHABET: [&str; 4] = ["1", "1\0|2", "t1i0", "\u{1}\0a\u{7f}é"];
const TEXTS_OF_EACH: u8 = 8;
/// Four cuts anywhere, also at one place: 12 + 4 over 4.
const CUTS: usize = 1_820;

/// A length as PAE writes it, within a part; parts that begin with a length in decimal; parts that end as they begin.
const TEXTS: [&str; 4] = [
    "\u{2}\0\0\0\0\0\0\0abcd",
    "111\u{b}\0\0\0\0\0\0\0\u{1}",
    "1a11b111c111",
    "|t||i|||u||t",
];

fn texts() -> Vec<&'static str> {
    let mut texts = TEXTS.to_vec();
    for alphabet in ALPHABET {
        let letters: Vec<char> = alphabet.chars().collect();
        for _ in 0..TEXTS_OF_EACH {
            let mut random = [0; LENGTH_OF_TEXT];
            fill_random(&mut random).unwrap();
            let pick = |byte: &u8| letters[usize::from(*byte) % letters.len()];
            texts.push(random.iter().map(pick).collect::<String>().leak());
        }
    }
    texts
}

fn cuts(text: &'static str) -> Vec<Cut> {
    let mut ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    ends.push(text.len());
    let mut cuts = Vec::new();
    for (i, a) in ends.iter().enumerate() {
        for (j, b) in ends.iter().enumerate().skip(i) {
            for (k, c) in ends.iter().enumerate().skip(j) {
                for d in ends.iter().skip(k) {
                    cuts.push([
                        &text[..*a],
                        &text[*a..*b],
                        &text[*b..*c],
                        &text[*c..*d],
                        &text[*d..],
                    ]);
                }
            }
        }
    }
    cuts
}

/// How many of all cuts have the bytes of another.
fn collisions(encode: impl Fn(&Cut) -> Vec<Vec<u8>>) -> usize {
    let (mut seen, mut collisions) = (HashMap::new(), 0);
    for text in texts() {
        let cuts = cuts(text);
        assert_eq!(cuts.len(), CUTS, "{text:?}");
        for cut in cuts {
            for (kind, bytes) in encode(&cut).into_iter().enumerate() {
                match seen.entry(bytes) {
                    Entry::Vacant(place) => drop(place.insert((kind, cut))),
                    Entry::Occupied(place) if *place.get() != (kind, cut) => collisions += 1,
                    Entry::Occupied(_) => {}
                }
            }
        }
    }
    collisions
}

fn of_value([owner, table, column, codec, row]: &Cut, bound: bool) -> Vec<u8> {
    let row = CanonicalId::text(row);
    let binding = Binding {
        owner: &CanonicalId::text(owner),
        column: &ColumnRef::new("table", "column").with_ids(table, column),
        codec: Codec::new(codec),
        row: bound.then_some(&row),
    };
    binding.with_value(&[0xFB; HEADER_LEN], <[u8]>::to_vec)
}

fn of_fingerprint([table, column, index, normalizer, normalized]: &Cut) -> Vec<u8> {
    let column = ColumnRef::new("table", "column").with_ids(table, column);
    let index = ColumnRef::new("table", "index").with_ids("table", index);
    with_fingerprint(
        &column,
        &index,
        normalizer,
        normalized.as_bytes(),
        <[u8]>::to_vec,
    )
}

#[test]
fn different_places_have_different_bytes() {
    let collide = collisions(|cut| {
        let mut all = vec![of_value(cut, true), of_fingerprint(cut)];
        let [.., row] = cut;
        if row.is_empty() {
            all.push(of_value(cut, false));
        }
        all
    });
    assert_eq!(collide, 0);
}

/// What is easily written instead, on the same cuts.
#[test]
fn other_framings_collide() {
    let framings: [(&str, Framing); 4] = [
        ("nothing", str::to_owned),
        ("a delimiter", |part| format!("{part}|")),
        ("a length in decimal", |part| {
            format!("{}{part}", part.len())
        }),
        ("a length in decimal behind it", |part| {
            format!("{part}{}", part.len())
        }),
    ];
    for (name, framing) in framings {
        let collide = collisions(|cut| vec![cut.map(framing).concat().into_bytes()]);
        assert!(
            collide > 0,
            "{name} does not collide: the cuts are too tame"
        );
    }
}
