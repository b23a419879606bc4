//! The normalisers' Unicode steps against Unicode's own tests, and their results against pinned ones.
//!
//! `NormalizationTest` of the Unicode version that the tables have now; the digests over the code points
//! that Unicode 18.0.0 assigns, which no later version may normalise otherwise.

use std::{
    collections::HashSet,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
};

use super::*;
use crate::hazmat::{data_key::IndexKey, prf::PrfKey};

const TABLES_CHANGED: &str = "the Unicode tables of assigned characters changed, so stored fingerprints would no longer be \
     found: keep the old tables, or add a new version of the normaliser; do not update this digest";

fn data(name: &str) -> String {
    let path = format!("{}/unicode/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Code points assigned in Unicode 18.0.0.
fn assigned() -> Vec<char> {
    let text = data("assigned-18.0.0.txt");
    let ranges = text.lines().map(|line| {
        let (first, last) = line.split_once("..").unwrap();
        scalar(first)..=scalar(last)
    });
    ranges.flatten().collect()
}

fn scalar(hex: &str) -> char {
    char::from_u32(u32::from_str_radix(hex, 16).unwrap()).unwrap()
}

fn every_scalar() -> impl Iterator<Item = char> {
    '\0'..=char::MAX
}

/// UAX #15's conformance test, both clauses, for the two forms that the normalisers use.
#[test]
fn nfc_and_nfkc_are_unicodes() {
    let (mut lines, mut part, mut in_part_1) = (0, "", HashSet::new());
    let text = data("NormalizationTest-18.0.0.txt");
    for line in text.lines() {
        if line.starts_with('@') {
            part = line;
            continue;
        }
        let fields: Vec<String> = line
            .split_terminator(';')
            .map(|field| field.split(' ').map(scalar).collect())
            .collect();
        let [c1, c2, c3, c4, c5] = fields.as_slice() else {
            panic!("not five fields: {line}")
        };
        for source in [c1, c2, c3] {
            assert_eq!(*nfc(source), *c2, "{line}");
        }
        for source in [c4, c5] {
            assert_eq!(*nfc(source), *c4, "{line}");
        }
        for source in [c1, c2, c3, c4, c5] {
            assert_eq!(*nfkc(source), *c4, "{line}");
        }
        if part == "@Part1" {
            in_part_1.extend(c1.chars());
        }
        lines += 1;
    }
    assert_eq!((lines, in_part_1.len()), (20_171, 17_154));

    let mut unlisted = 0;
    for c in every_scalar().filter(|c| !in_part_1.contains(c)) {
        let text = c.encode_utf8(&mut [0; 4]).to_owned();
        assert_eq!(
            (&*nfc(&text), &*nfkc(&text)),
            (&text, &text),
            "U+{:04X}",
            u32::from(c)
        );
        unlisted += 1;
    }
    assert_eq!(unlisted, 0x11_0000 - 0x800 - 17_154);
}

/// HMAC-SHA-256 under an empty key over the normal forms of all assigned characters, each behind its
/// length in one byte. Unicode's stability policies promise that they stay; this holds the tables to it.
/// Characters assigned later may be added to, never changed: add a digest for them beside this one.
#[test]
fn normal_forms_of_all_characters_are_pinned() {
    let characters = assigned();
    assert_eq!(characters.len(), 310_341);
    let digest = |normalizer: Normalizer| {
        let mut all = Vec::new();
        for c in &characters {
            let form = normalizer.apply(c.encode_utf8(&mut [0; 4]));
            all.push(u8::try_from(form.len()).unwrap());
            all.extend_from_slice(form.as_bytes());
        }
        let tag = PrfKey::new(b"").tag(&all);
        tag.map(|byte| format!("{byte:02x}")).concat()
    };
    assert_eq!(
        digest(Normalizer::Name),
        "a2c532b3cbca35df51ad9a8c53134f79e58f514db34a1753b433ecc83b99c60b",
        "{TABLES_CHANGED}"
    );
    assert_eq!(
        digest(Normalizer::Email),
        "b9d91e7c1b99ada78868e40f0d0896461e7866e5e48ba2713940dc14502a0a49",
        "{TABLES_CHANGED}"
    );
}

/// The two sets that SPEC.md lists are the ones in use: no policy of Unicode's promises that they stay.
#[test]
fn dropped_and_white_space_are_those_of_the_spec() {
    let spec = include_str!("../../SPEC.md");
    let listed = |heading: &str| -> Vec<char> {
        let (_, rest) = spec.split_once(heading).unwrap();
        let block = rest.split("```").nth(1).unwrap();
        block
            .split_whitespace()
            .flat_map(|range| {
                let range = range.strip_prefix("U+").unwrap();
                let (first, last) = range.split_once("..U+").unwrap_or((range, range));
                scalar(first)..=scalar(last)
            })
            .collect()
    };
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let dropped: Vec<_> = every_scalar().filter(|c| ignorable.contains(*c)).collect();
    let white: Vec<_> = every_scalar().filter(|c| c.is_whitespace()).collect();
    assert_eq!(
        (dropped.len(), white.len()),
        (4_174, 25),
        "{TABLES_CHANGED}"
    );
    assert_eq!(
        dropped,
        listed("#### Default-ignorable code points"),
        "{TABLES_CHANGED}"
    );
    assert_eq!(white, listed("#### White space"), "{TABLES_CHANGED}");
}

#[test]
fn normal_forms_of_single_characters_are_their_own() {
    for c in every_scalar() {
        idempotent(c.encode_utf8(&mut [0; 4]));
    }
}

/// Sequences of the characters that normalising moves: marks, what folds, what is dropped, white space.
#[test]
fn normal_forms_of_sequences_are_their_own() {
    let mut kinds = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    for c in every_scalar() {
        let text = c.encode_utf8(&mut [0; 4]).to_owned();
        let joins = *nfc(&format!("a{text}\u{316}")) != format!("a{text}\u{316}");
        if c.is_whitespace() {
            kinds[0].push(c);
        } else if ignorable.contains(c) {
            kinds[1].push(c);
        } else if joins {
            kinds[2].push(c);
        } else if *fold(&text, |_| false) != text {
            kinds[3].push(c);
        }
    }
    let mut random = Random(1);
    for _ in 0..20_000 {
        let len = 2 + random.below(6);
        let text: String = (0..len)
            .map(|_| {
                let kind = &kinds[random.below(4)];
                if random.below(3) == 0 {
                    ['a', 'É', 'ι', '\u{345}'][random.below(4)]
                } else {
                    kind[random.below(kind.len())]
                }
            })
            .collect();
        idempotent(&text);
    }
}

fn idempotent(text: &str) {
    for normalizer in [Normalizer::Email, Normalizer::Name] {
        let once = normalizer.apply(text);
        assert_eq!(
            normalizer.apply(&once),
            once,
            "{normalizer:?} of {}",
            text.escape_unicode()
        );
    }
}

/// ASCII takes a short cut; a dropped character at the end makes the same text take the long way.
#[test]
fn the_short_cut_for_ascii_changes_nothing() {
    let mut random = Random(2);
    for _ in 0..2_000 {
        let len = random.below(12);
        let text: String = (0..len)
            .map(|_| char::from(u8::try_from(random.below(128)).unwrap()))
            .collect();
        for normalizer in [Normalizer::Email, Normalizer::Name] {
            assert_eq!(
                normalizer.apply(&text),
                normalizer.apply(&format!("{text}\u{ad}")),
                "{text:?}"
            );
        }
    }
}

/// What a user types, and what it is found by.
#[test]
fn what_a_user_types_is_found_however_it_is_typed() {
    for (typed, form) in [
        ("Ada Lovelace", "ada lovelace"),
        ("  ada\t LOVELACE\n", "ada lovelace"),
        ("Ada\u{a0}Straße", "ada strasse"),
        ("\u{ad}A\u{200d}da", "ada"),
        (" ", ""),
    ] {
        assert_eq!(Normalizer::Name.apply(typed), form, "{typed:?}");
    }
    assert_eq!(
        Normalizer::Email.apply(" Ada@Example.ORG "),
        "ada@example.org"
    );
    assert_eq!(Normalizer::Exact.apply(" Ada "), " Ada ");
}

/// Or an index whose normaliser was changed would find by chance what it cannot find.
#[test]
fn a_normaliser_is_a_part_of_its_fingerprints() {
    let keys = IndexKeys {
        writing: IndexKey::new(1, &[7; 32]),
        other: None,
        several: false,
    };
    let all = [Normalizer::Email, Normalizer::Exact, Normalizer::Name];
    let (name, index) = (
        ColumnRef::new("people", "name"),
        ColumnRef::new("people", "name_fp"),
    );
    let fingerprints = all.map(|normalizer| {
        let indexed = IndexedColumn::new(index, name, normalizer);
        keys.fingerprints(&indexed, b"ada").unwrap().0
    });
    assert_eq!(HashSet::from(fingerprints).len(), all.len());
    assert_eq!(all.map(Normalizer::id), ["email/1", "exact/1", "name/1"]);
}

#[test]
fn fingerprints_that_differ_have_other_hashes() {
    let index = ColumnRef::new("people", "name_fp");
    let hashes = [[7; 17], [7; 17], [8; 17]].map(|bytes| {
        let fingerprint = Fingerprint::load(index, &bytes).unwrap();
        BuildHasherDefault::<DefaultHasher>::default().hash_one(fingerprint)
    });
    assert!(hashes[0] == hashes[1] && hashes[1] != hashes[2]);
}

/// Marsaglia's xorshift64: the same sequence every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}
