//! The golden files in `vectors/` through the public API: each gives exactly what it expects, and every change
//! to one that opens is rejected.
//!
//! Invariant: the numbers of files and changes are constants, so that a lost file or an empty loop is seen; a
//! file is never changed, so a number only grows. Absent: how the files were made (`vectors/cases.py`).

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "a test: what goes wrong here is seen"
)]

#[path = "golden/codecs.rs"]
mod codecs;
#[cfg(feature = "python")]
#[path = "golden/differential.rs"]
mod differential;
#[path = "golden/file.rs"]
mod file;
#[path = "golden/given.rs"]
mod given;
#[path = "golden/kept.rs"]
mod kept;
#[path = "golden/places.rs"]
mod places;
#[path = "golden/reader.rs"]
mod reader;
#[path = "golden/transplants.rs"]
mod transplants;

use std::{collections::BTreeSet, fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use sha2::{Digest, Sha256};

use self::{
    file::{Vector, hex, load, names},
    reader::{DIFFERS, Reader},
};

const FILES: usize = 280;

/// What follows from the files that open.
const DERIVED: Derived = Derived {
    cut_short: 8_330,
    flipped: 66_640,
    lengthened: 124,
};

/// Dates and times that chrono holds and the crate `time` does not: years of five digits, leap seconds.
const BEYOND_TIME: [&str; 4] = [
    "value_date_after_year_9999",
    "value_time_leap_second",
    "value_time_leap_second_of_any_minute",
    "value_timestamp_leap_second",
];

const SPEC: &str = include_str!("../ophie-crypt/SPEC.md");

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

#[tokio::test]
async fn every_file_gives_what_it_expects() {
    let vectors = load(&folder());
    for vector in &vectors {
        let found = Reader::new(vector).await.read(&vector.stored).await;
        let expected = vector.field("expect");
        assert_eq!(found.err().unwrap_or("opens"), expected, "{}", vector.name);
    }
    assert_eq!(vectors.len(), FILES);
}

/// Where the two crates differ, `time` rejects and does not round.
#[tokio::test]
async fn the_crate_time_reads_the_same_dates_and_times() {
    let (mut read, mut beyond) = (0, Vec::new());
    for vector in &load(&folder()) {
        match (reader::read_as_time(vector).await, vector.field("expect")) {
            (None, _) => {}
            (Some(Err("codec")), "opens") => beyond.push(vector.name.clone()),
            (Some(found), expected) => {
                assert_eq!(found.err().unwrap_or("opens"), expected, "{}", vector.name);
                read += 1;
            }
        }
    }
    assert_eq!((read, beyond), (23, BEYOND_TIME.map(str::to_owned).into()));
}

#[tokio::test]
async fn every_change_to_a_file_that_opens_is_rejected() {
    let mut derived = Derived::default();
    for vector in &load(&folder()) {
        if vector.field("expect") == "opens" {
            derived.check(vector).await;
        }
    }
    assert_eq!(derived, DERIVED);
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Derived {
    cut_short: usize,
    flipped: usize,
    lengthened: usize,
}

impl Derived {
    async fn check(&mut self, vector: &Vector) {
        let mut reader = Reader::new(vector).await;
        let stored = &vector.stored;
        for len in 0..stored.len() {
            expect(&mut reader, vector, &stored[..len], len).await;
            self.cut_short += 1;
        }
        let longer = [&stored[..], &[0]].concat();
        expect(&mut reader, vector, &longer, stored.len()).await;
        self.lengthened += 1;
        for bit in 0..stored.len() * 8 {
            let mut flipped = stored.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            expect(&mut reader, vector, &flipped, bit / 8).await;
            self.flipped += 1;
        }
    }
}

/// Reads bytes that were changed from offset `at` on.
async fn expect(reader: &mut Reader<'_>, vector: &Vector, changed: &[u8], at: usize) {
    let reason = match vector.field("what") {
        "value" => of_value(changed, at),
        "sidecar" => of_sidecar(&vector.stored, changed),
        "index key" | "older key" => "wrong key",
        "receipt" => "rejected",
        "fingerprint" if changed.len() == 17 => DIFFERS,
        "fingerprint" => "not a fingerprint",
        _ if of_share_id(vector, changed, at) => "no share",
        _ => "refused",
    };
    let (name, found) = (&vector.name, reader.read(changed).await);
    assert_eq!(
        found,
        Err(reason),
        "{name}, from byte {at}: {}",
        hex(changed)
    );
}

/// Whether only the name of the second share changed.
fn of_share_id(vector: &Vector, changed: &[u8], at: usize) -> bool {
    let in_two = vector.get("share id").is_some();
    in_two && changed.len() == vector.stored.len() && (1..17).contains(&at)
}

fn of_value(changed: &[u8], at: usize) -> &'static str {
    let is_form = |byte| (0xFA..=0xFD).contains(byte);
    match at {
        _ if changed.len() < 45 || !changed.first().is_some_and(is_form) => "not an envelope",
        0 => "row binding",
        1..17 => "unknown key",
        _ => "rejected",
    }
}

/// One character holds bits of two bytes: what counts is where the envelope changed.
fn of_sidecar(stored: &[u8], changed: &[u8]) -> &'static str {
    let envelope = |text: &[u8]| BASE64.decode(text.strip_prefix(b"ophie1.")?).ok();
    let before = envelope(stored).unwrap();
    let Some(after) = envelope(changed) else {
        return "not an envelope";
    };
    let same = before.iter().zip(&after).take_while(|(a, b)| a == b);
    of_value(&after, same.count())
}

#[test]
fn sha256sums_lists_every_file_as_it_was_made() {
    let list = fs::read_to_string(folder().join("SHA256SUMS")).unwrap();
    let listed: BTreeSet<_> = list.lines().map(str::to_owned).collect();
    let found: BTreeSet<_> = names(&folder())
        .iter()
        .map(|name| {
            let bytes = fs::read(folder().join(name)).unwrap();
            format!("{}  {name}", hex(&Sha256::digest(bytes)))
        })
        .collect();
    assert_eq!((list.lines().count(), listed.len()), (FILES, FILES));
    assert_eq!(
        found, listed,
        "a golden file was changed, lost or not listed"
    );
}

/// So that a codec, a normaliser, a form or a reason cannot be added to SPEC.md without files.
#[test]
fn everything_that_the_spec_names_occurs() {
    let vectors = load(&folder());
    let of = |field: &str| -> BTreeSet<&str> {
        vectors
            .iter()
            .filter_map(|vector| vector.get(field))
            .collect()
    };

    let mut codecs = first_cells("\n## Codecs\n", 1);
    codecs.insert("my-app/point");
    assert_eq!(of("codec"), codecs);
    assert_eq!(codecs.len(), 12);
    let opens = |vector: &&Vector| vector.field("expect") == "opens";
    for codec in codecs {
        let mut forms = vectors
            .iter()
            .filter(opens)
            .filter(|vector| vector.field("what") == "value" && vector.field("codec") == codec);
        assert!(forms.next().is_some(), "no value of codec {codec} opens");
    }

    let normalisers = SPEC
        .split("**`")
        .skip(1)
        .filter_map(|rest| rest.split('`').next());
    assert_eq!(of("normaliser"), normalisers.collect());
    assert_eq!(of("normaliser").len(), 3);

    let forms: BTreeSet<_> = vectors
        .iter()
        .filter(|vector| vector.field("what") == "value" && opens(vector))
        .map(|vector| format!("0x{:02X}", vector.stored[0]))
        .collect();
    let in_spec = first_cells("\n| form | padded | row-bound |\n", 0);
    assert_eq!(
        forms,
        in_spec.iter().map(|form| (*form).to_owned()).collect()
    );
    assert_eq!(forms.len(), 4);

    let reasons = [
        "codec",
        "no share",
        "not a fingerprint",
        "not an envelope",
        "refused",
        "rejected",
        "row binding",
        "unknown key",
        "wrong key",
    ];
    for reason in reasons {
        assert!(
            SPEC.contains(&format!("`{reason}`")),
            "SPEC.md does not say `{reason}`"
        );
    }
    assert_eq!(of("expect"), reasons.into_iter().chain(["opens"]).collect());

    let kinds = |field| -> BTreeSet<_> {
        of(field)
            .into_iter()
            .map(|id| id.split(' ').next().unwrap())
            .collect()
    };
    assert_eq!(kinds("owner"), BTreeSet::from(["integer", "text", "uuid"]));
    assert_eq!(kinds("row"), BTreeSet::from(["integer", "text", "uuid"]));

    for vector in &vectors {
        let what = vector.field("what").replace(' ', "_");
        assert!(
            vector.name.starts_with(&what),
            "{} is of {what}",
            vector.name
        );
        let (_, fields) = SPEC.split_once("\n## Test vectors\n").unwrap();
        for field in vector.fields.keys() {
            assert!(
                fields.contains(&format!("`{field}`")),
                "SPEC.md has no field {field}"
            );
        }
    }
}

/// The texts in backticks that open the rows of SPEC.md's next table after `heading`.
fn first_cells(heading: &str, heads: usize) -> BTreeSet<&'static str> {
    let (_, rest) = SPEC.split_once(heading).unwrap();
    let rows = rest
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .skip(heads + 1);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| line.split('`').nth(1).unwrap())
        .collect()
}
