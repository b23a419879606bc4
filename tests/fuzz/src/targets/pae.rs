//! Where a value belongs, as bytes: the library's encoding beside another one, with ids of any length.
//!
//! Invariant: what the library seals at a place opens under the other encoder's bytes of that place, and the other way
//! round; what belongs to another place does not open, nor does what was sealed under another framing of the same parts:
//! one part more, two of them in one, lengths that are big-endian or decimal, no count.

use std::sync::LazyLock;

use ophie_crypt::{
    CanonicalId, ColumnRef, MemoryKeyStore,
    adapter::{open_in, seal_in},
};

use crate::{
    bytes::Bytes,
    forge,
    golden::given::{Given, PURPOSE, keyring},
    targets::wait,
};

const PLAINTEXT: &str = "slept badly";

/// Ids are cut from it: names of columns live for ever. Few different characters, so that some are equal.
static TEXT: LazyLock<String> = LazyLock::new(|| {
    let character = |n: usize| char::from(b"ab\0t1"[n * n % 7 % 5]);
    (0..2_000).map(character).collect()
});

#[derive(Debug, PartialEq, Eq)]
struct Place {
    owner: &'static str,
    table: &'static str,
    column: &'static str,
    row: Option<&'static str>,
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let bound = [1, 0, 3, 1, 2, 2, 3, 1];
    let long = [0, 3, 9, 200, 2, 250, 7, 255];
    let unbound = [0, 1, 0, 2, 0, 3, 0, 0];
    vec![
        vec![],
        [bound, bound].concat(),
        [bound, unbound].concat(),
        [long, long].concat(),
        [long, bound].concat(),
        // One boundary moved.
        [[0, 0, 1, 0, 2, 2, 1, 0], [0, 0, 1, 0, 1, 1, 2, 0]].concat(),
    ]
}

pub(crate) fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    let (at, other) = (Place::read(&mut bytes), Place::read(&mut bytes));
    let keyring = keyring(Given(forge::DEK), MemoryKeyStore::new());
    let owner = CanonicalId::text(at.owner);
    let session = wait(keyring.open_or_provision(&owner, PURPOSE)).unwrap();
    let (column, row) = (at.column(), at.row.map(CanonicalId::text));
    let opens = |envelope: &[u8]| {
        let opened = open_in::<String>(&session, column, row.as_ref(), envelope);
        opened.is_ok_and(|text| text == PLAINTEXT)
    };

    let sealed = seal_in(&session, column, row.as_ref(), &PLAINTEXT.to_owned()).unwrap();
    assert!(opens(&sealed), "{at:?}");
    let header = at.header();
    let aad = at.with_parts(&header, forge::pae);
    let opened = forge::opened(&sealed, &aad);
    assert_eq!(opened.as_deref(), Some(PLAINTEXT.as_bytes()), "{at:?}");
    for place in [&at, &other] {
        let header = place.header();
        let aad = place.with_parts(&header, forge::pae);
        let forged = forge::under(&header, &aad, PLAINTEXT.as_bytes());
        assert_eq!(opens(&forged), *place == at, "{place:?} at {at:?}");
    }
    for (name, framing) in FRAMINGS {
        let aad = at.with_parts(&header, framing);
        let forged = forge::under(&header, &aad, PLAINTEXT.as_bytes());
        assert!(!opens(&forged), "{name}: {at:?}");
    }
}

impl Place {
    fn read(bytes: &mut Bytes<'_>) -> Self {
        let bound = bytes.byte() % 2 == 1;
        let mut id = |least: usize| {
            let (start, len) = (bytes.number() % 8, bytes.number());
            // Short ones mostly; others beyond what is put together on the stack.
            let len = if len < 128 { len % 5 } else { (len - 127) * 5 };
            &TEXT[start..start + len.max(least)]
        };
        Self {
            owner: id(1),
            table: id(0),
            column: id(0),
            row: bound.then(|| id(0)),
        }
    }

    fn column(&self) -> ColumnRef {
        ColumnRef::new(self.table, self.column)
    }

    fn header(&self) -> [u8; 17] {
        forge::header(if self.row.is_some() { 0xFB } else { 0xFA })
    }

    fn with_parts(&self, header: &[u8], framing: impl FnOnce(&[&[u8]]) -> Vec<u8>) -> Vec<u8> {
        let owner = format!("t{}", self.owner);
        let row = self.row.map(|row| format!("t{row}")).unwrap_or_default();
        framing(&[
            b"ophie-crypt/v1/value",
            header,
            owner.as_bytes(),
            self.table.as_bytes(),
            self.column.as_bytes(),
            b"text",
            row.as_bytes(),
        ])
    }
}

type Framing = fn(&[&[u8]]) -> Vec<u8>;

const FRAMINGS: [(&str, Framing); 5] = [
    ("one part more", |parts| {
        forge::pae(&[parts, &[b""]].concat())
    }),
    ("two in one", |parts| {
        let [label, header, owner, table, column, codec, row] = parts else {
            panic!("seven parts")
        };
        forge::pae(&[
            label,
            header,
            owner,
            &[*table, *column].concat(),
            codec,
            row,
        ])
    }),
    ("big-endian", |parts| {
        let length = |len: usize| u64::try_from(len).unwrap().to_be_bytes().to_vec();
        framed(parts, Some(length(parts.len())), length)
    }),
    ("decimal", |parts| {
        let length = |len: usize| len.to_string().into_bytes();
        framed(parts, Some(length(parts.len())), length)
    }),
    ("no count", |parts| {
        framed(parts, None, |len| {
            u64::try_from(len).unwrap().to_le_bytes().to_vec()
        })
    }),
];

fn framed(parts: &[&[u8]], count: Option<Vec<u8>>, length: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let mut out = count.unwrap_or_default();
    for part in parts {
        out.extend(length(part.len()));
        out.extend(*part);
    }
    out
}
