//! The search: secrets in every form in every place, after what must be there was found.

use std::path::Path;

use crate::texts::Texts;

/// What stands in a plain column.
pub(crate) const CONTROL: &str = "plain-control-3f9c1d";

/// What was driven through the library.
pub(crate) struct Planted {
    pub(crate) canaries: Vec<String>,
    /// Plaintext of a soak, which stands in the database: for the texts of this process alone.
    pub(crate) soaking: Vec<String>,
    /// A master key, three of each of three owners, and those of an owner in two shares, of its audit and its receipt.
    pub(crate) keys: Vec<Vec<u8>>,
    /// One that is stored.
    pub(crate) envelope: Vec<u8>,
}

/// Looks through this process's texts, and through the places where a database keeps what it was given; and through others that
/// are known by a text of their own.
pub(crate) fn search(
    planted: &Planted,
    texts: &Texts,
    database: &[(&str, Vec<u8>)],
    others: &[(&str, Vec<u8>, &str)],
) {
    for (name, place, control) in others {
        assert!(
            contains(place, control.as_bytes()),
            "{name} misses {control}"
        );
    }
    for (name, place) in database {
        assert!(
            contains(place, CONTROL.as_bytes()),
            "{name} misses the plain column"
        );
        assert!(
            forms(&planted.envelope)
                .iter()
                .any(|form| contains(place, form)),
            "{name} misses the envelope"
        );
    }
    texts.add_metrics();
    let process = texts.bytes();
    for (text, what) in [
        ("INSERT INTO notes", "the statements"),
        ("[REDACTED]", "the texts of `Debug`"),
        ("cannot open notes.text", "the texts of errors"),
        ("-- binds: [", "Diesel's statements"),
        ("FinishQuery", "Diesel's events"),
        ("ophie_crypt_sessions_total", "what is counted"),
    ] {
        assert!(
            contains(&process, text.as_bytes()),
            "{what} were not collected"
        );
    }

    let mut secrets: Vec<Vec<u8>> = planted
        .canaries
        .iter()
        .map(|canary| canary.clone().into_bytes())
        .collect();
    let halves = planted.keys.iter().flat_map(|key| [&key[..16], &key[16..]]);
    secrets.extend(halves.map(<[u8]>::to_vec));
    let places = database.iter().map(|(name, place)| (*name, place));
    let others = others.iter().map(|(name, place, _)| (*name, place));
    let places: Vec<_> = places
        .chain(others)
        .chain([("this process's texts", &process)])
        .collect();
    let mut searched = 0;
    let soaking = planted
        .soaking
        .iter()
        .map(|text| (text.as_bytes(), &places[places.len() - 1..]));
    let secrets = secrets.iter().map(|secret| (&secret[..], &places[..]));
    for (secret, places) in secrets.chain(soaking) {
        for form in forms(secret) {
            for (name, place) in places {
                assert!(
                    !contains(place, &form),
                    "{name} holds a secret: {}",
                    String::from_utf8_lossy(&form)
                );
                searched += 1;
            }
        }
    }
    assert_eq!(searched, ((60 + 32) * places.len() + 6) * 5);
    assert!(places.len() > database.len());
}

/// Texts that occur nowhere else.
pub(crate) fn canaries(numbers: core::ops::Range<usize>) -> Vec<String> {
    numbers
        .map(|i| format!("canary-{i:02}-{}", uuid::Uuid::new_v4().simple()))
        .collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .fold(0_usize, |word, byte| word << 8 | usize::from(*byte))
            << (8 * (3 - chunk.len()));
        for i in 0..=chunk.len() {
            out.push(ALPHABET[word >> (18 - 6 * i) & 63].into());
        }
    }
    out
}

/// Raw, hex in both cases, base64 (whose last group depends on what follows), and as `Debug` lists bytes.
pub(crate) fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut base64 = base64(secret);
    base64.truncate(secret.len() / 3 * 4);
    let list: Vec<_> = secret.iter().map(u8::to_string).collect();
    vec![
        secret.to_vec(),
        hex(secret).into(),
        hex(secret).to_uppercase().into(),
        base64.into(),
        list.join(", ").into(),
    ]
}

pub(crate) fn contains(place: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(place, needle).is_some()
}

/// A log, from where it ended when the test began: what other tests planted is not searched for.
pub(crate) struct Log {
    path: String,
    from: usize,
}

impl Log {
    pub(crate) fn new(path: String) -> Self {
        let from = std::fs::read(&path).unwrap().len();
        Self { path, from }
    }

    pub(crate) fn since(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap().split_off(self.from)
    }
}

/// What the files of a folder hold whose names are such.
pub(crate) fn files(folder: &Path, which: impl Fn(&str) -> bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() && which(&file.file_name().to_string_lossy()) {
            // One may go while it is looked at.
            bytes.extend(std::fs::read(file.path()).unwrap_or_default());
        }
    }
    bytes
}
