//! A test vector as SPEC.md's "Test vectors" describes it: fields, and the stored bytes.
//!
//! Invariant: a line that is no field, a field that stands twice and a digit that is no hex are errors.
//! Absent: what the fields mean (`reader`).

use std::{collections::BTreeMap, fs, path::Path};

use ophie_crypt::CanonicalId;
use uuid::Uuid;

pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) stored: Vec<u8>,
}

impl Vector {
    fn parse(name: &str, text: &str) -> Self {
        let (head, body) = text.split_once("\n\n").expect("an empty line");
        let mut fields = BTreeMap::new();
        for line in head.lines() {
            let (field, text) = line.split_once(':').expect("a field and a colon");
            let text = text.strip_prefix(' ').unwrap_or(text);
            let before = fields.insert(field.to_owned(), text.to_owned());
            assert_eq!(before, None, "{name}: {field} stands twice");
        }
        Self {
            name: name.to_owned(),
            fields,
            stored: bytes(&body.replace('\n', "")),
        }
    }

    pub(crate) fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    pub(crate) fn field(&self, field: &str) -> &str {
        self.get(field)
            .unwrap_or_else(|| panic!("{} has no field {field}", self.name))
    }

    pub(crate) fn hex(&self, field: &str) -> Vec<u8> {
        bytes(self.field(field))
    }

    /// A DEK or a key id.
    pub(crate) fn array<const N: usize>(&self, field: &str) -> [u8; N] {
        self.hex(field)
            .try_into()
            .unwrap_or_else(|_| panic!("{}: {field} is not {N} bytes", self.name))
    }

    pub(crate) fn number<N: std::str::FromStr>(&self, field: &str) -> N {
        self.field(field)
            .parse()
            .unwrap_or_else(|_| panic!("{}: {field} is no such number", self.name))
    }

    pub(crate) fn id(&self, field: &str) -> CanonicalId {
        let (kind, id) = self.field(field).split_once(' ').expect("a kind of id");
        match kind {
            "integer" => CanonicalId::integer(id.parse().expect("an integer")),
            "text" => CanonicalId::text(id),
            "uuid" => CanonicalId::uuid(id.parse::<Uuid>().expect("a UUID").as_bytes()),
            _ => panic!("{}: an id of kind {kind}", self.name),
        }
    }
}

/// All vectors of a folder, by name.
pub(crate) fn load(folder: &Path) -> Vec<Vector> {
    names(folder)
        .iter()
        .map(|name| {
            let text = fs::read_to_string(folder.join(name)).expect("a vector in UTF-8");
            Vector::parse(name, &text)
        })
        .collect()
}

/// Everything in the folder but programs and the list of digests.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder of vectors");
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".py") && !["SHA256SUMS", "__pycache__"].contains(&&**name))
        .collect();
    names.sort();
    names
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    assert!(
        hex.is_ascii() && hex.len().is_multiple_of(2),
        "half a byte: {hex}"
    );
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
        .collect()
}
