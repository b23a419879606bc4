//! The normalisers of blind indexes.
//!
//! Invariant: each is idempotent; what SPEC.md has it drop or fold may be put in, doubled or changed anywhere without
//! changing the result; `exact/1` changes nothing. Against the Python reader: `differential`.

use ophie_crypt::Normalizer;

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = crate::golden::vectors()
        .iter()
        .filter(|vector| vector.get("normaliser").is_some())
        .map(|vector| vector.hex("plaintext"))
        .collect();
    seeds.push("ΆͅΐΣς ſtraße ﬃ İi ǰ 가 ﾊﾞ ậ Ⅷ ㎢".into());
    seeds.push(
        "q\u{323}\u{307} a\u{345}\u{301} \u{1100}\u{1161}\u{11a8} \u{ffa0}\u{3164}\u{e0001}".into(),
    );
    seeds
}

pub(crate) fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    assert_eq!(Normalizer::Exact.apply(&text), text);
    for normalizer in [Normalizer::Name, Normalizer::Email] {
        let form = normalizer.apply(&text);
        let same = |other: &str, why: &str| {
            assert_eq!(
                normalizer.apply(other),
                form,
                "{} of {other:?}: {why}",
                normalizer.id()
            );
        };
        same(&form, "idempotent");
        same(&format!("\u{3000}\t{text}\u{a0} "), "white space around it");
        same(&doubled(&text), "white space doubled");
        same(&swapped(&text), "the case of ASCII letters");
        if !text.chars().any(iota_subscript) {
            same(&strewn(&text), "a soft hyphen behind each character");
        }
    }
    let email = Normalizer::Email.apply(&text);
    let closed: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    if !text.chars().any(iota_subscript) {
        assert_eq!(
            Normalizer::Email.apply(&closed),
            email,
            "{text:?} without white space"
        );
    }
    assert!(!email.contains(char::is_whitespace), "{email:?}");
    let name = Normalizer::Name.apply(&text);
    let words: Vec<_> = name.split(' ').collect();
    assert!(name.is_empty() || !words.contains(&""), "{name:?}");
}

fn doubled(text: &str) -> String {
    let twice = |c: char| core::iter::repeat_n(c, 1 + usize::from(c.is_whitespace()));
    text.chars().flat_map(twice).collect()
}

fn swapped(text: &str) -> String {
    let swap = |c: char| {
        if c.is_ascii_lowercase() {
            c.to_ascii_uppercase()
        } else {
            c.to_ascii_lowercase()
        }
    };
    text.chars().map(swap).collect()
}

fn strewn(text: &str) -> String {
    text.chars().flat_map(|c| [c, '\u{ad}']).collect()
}

/// It is a mark that folds to a letter, so what stands around it orders itself only while it is one.
fn iota_subscript(c: char) -> bool {
    matches!(c, '\u{345}' | '\u{37a}' | '\u{1f80}'..='\u{1fff}')
}
