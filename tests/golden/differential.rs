//! Fresh random values: what Rust writes the Python reader opens, and what the Python writer writes Rust opens.
//! Neither was written from the other; both change each value that opens, and count.
//!
//! Invariant: a missing Python is an error. Absent: rejects that no writer makes (the golden files).

use core::fmt::Write;
use std::{fs, path::Path, process::Command, sync::Arc};

use ophie_crypt::{
    CanonicalId, EncryptionContext, KeyStore, Kms, KmsCall, LocalKms, MemoryKeyStore, MemoryShares,
    Normalizer, ShareId, ShareStore, TwoShareKms,
};
use ophie_crypt_tests::variable;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    DERIVED, FILES,
    codecs::{Shown, Task, with_raw_type, with_type},
    file::{hex, load},
    folder,
    given::{Given, PURPOSE, keyring, parts},
    places::{INDEXES, PLACES, index, place_of},
    reader::Reader,
};

const CASES: usize = 300;

#[tokio::test]
async fn python_opens_what_rust_wrote() {
    let written = TempDir::new().unwrap();
    for n in 0..CASES {
        let file = Writer::new().case().await;
        fs::write(written.path().join(format!("random_{n:04}")), file).unwrap();
    }
    let said = python("reader.py", &[&text(written.path())]);
    assert!(
        said.ends_with(&format!("\n{CASES} passed, 0 failed\n")),
        "{said}"
    );
}

#[tokio::test]
async fn rust_opens_what_python_wrote() {
    let written = TempDir::new().unwrap();
    python("writer.py", &[&CASES.to_string(), &text(written.path())]);
    let vectors = load(written.path());
    for vector in &vectors {
        let found = Reader::new(vector).await.read(&vector.stored).await;
        assert_eq!(found, Ok(()), "{}: {:#?}", vector.name, vector.fields);
    }
    assert_eq!(vectors.len(), CASES);
}

#[test]
fn python_derives_as_many_cases_from_the_golden_files() {
    let said = python("reader.py", &[]);
    let derived = format!(
        "derived and rejected: {} cut short, {} flipped, {} lengthened\n{FILES} passed, 0 failed\n",
        DERIVED.cut_short, DERIVED.flipped, DERIVED.lengthened
    );
    assert_eq!(said, derived);
}

/// What a program beside the vectors prints.
fn python(program: &str, arguments: &[&str]) -> String {
    let run = Command::new(variable("OPHIE_CRYPT_TEST_PYTHON"))
        .arg(folder().join(program))
        .args(arguments)
        .output()
        .expect("Python runs");
    let said = String::from_utf8(run.stdout).expect("Python prints UTF-8");
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{program}: {said}{errors}");
    said
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// Writes one file.
struct Writer {
    file: String,
    random: Random,
}

impl Writer {
    fn new() -> Self {
        let seed = Uuid::new_v4().as_u64_pair().1;
        Self {
            file: "expect: opens\n".to_owned(),
            random: Random(seed),
        }
    }

    fn put(&mut self, field: &str, value: &str) {
        writeln!(self.file, "{field}: {value}").unwrap();
    }

    fn put_all(&mut self, fields: &[(&str, &str)]) {
        fields
            .iter()
            .for_each(|(field, value)| self.put(field, value));
    }

    fn end(mut self, stored: &[u8]) -> String {
        writeln!(self.file, "\n{}", hex(stored)).unwrap();
        self.file
    }

    async fn case(mut self) -> String {
        match self.random.below(10) {
            0 => self.wrapped_key().await,
            1 => self.keys(false).await,
            2..5 => self.keys(true).await,
            _ => self.value().await,
        }
    }

    async fn value(mut self) -> String {
        let (table, column) = self.random.pick(PLACES);
        let (codec, integer) = self.random.pick(CODECS);
        let owner = self.id("owner");
        let row = (self.random.below(3) == 0).then(|| self.id("row"));
        let dek = self.random.bytes();
        let what = self.random.pick(&["value", "value", "sidecar"]);
        self.put_all(&[("what", what), ("table", table), ("column", column)]);
        self.put_all(&[("codec", codec), ("dek", &hex(&dek))]);
        if let Some(integer) = integer {
            self.put("type", integer);
        }
        let keyring = keyring(Given(dek), MemoryKeyStore::new());
        let session = keyring.open_or_provision(&owner, PURPOSE).await.unwrap();
        let at = (what, table, column, &session, row.as_ref());
        let plaintext = self.random.plaintext(codec, integer);
        self.put("plaintext", &hex(&plaintext));
        let (stored, value) = with_type(codec, integer, Seal(at, &plaintext));
        let sealed = with_raw_type(codec, OpenRaw(at, &stored));
        assert_eq!(sealed, hex(&plaintext), "a {codec} did not keep its bytes");
        if let Some(value) = value.filter(|_| !codec.contains('/')) {
            self.put("value", &value);
        }
        self.end(&stored)
    }

    /// An index key that the library made, or a fingerprint under one: the index key stays unknown, so
    /// Python opens it.
    async fn keys(mut self, fingerprint: bool) -> String {
        let (owner, dek) = (self.id("owner"), self.random.bytes());
        let store = Arc::new(MemoryKeyStore::new());
        let keyring = keyring(Given(dek), Arc::clone(&store));
        let session = keyring.open_or_provision(&owner, PURPOSE).await.unwrap();
        let record = store.load(&owner).await.unwrap().unwrap();
        let (dek, generation) = (hex(&dek), parts(&record).2.generation().to_string());
        self.put_all(&[("dek", &dek), ("generation", &generation)]);
        if !fingerprint {
            self.put("what", "index key");
            return self.end(parts(&record).2.sealed());
        }
        let (table, column, by) = self.random.pick(INDEXES);
        let normaliser =
            self.random
                .pick(&[Normalizer::Exact, Normalizer::Name, Normalizer::Email]);
        let value = self.random.text();
        self.put_all(&[
            ("what", "fingerprint"),
            ("table", table),
            ("column", column),
            ("index", by),
        ]);
        self.put_all(&[("codec", "text"), ("normaliser", normaliser.id())]);
        self.put("normal form", &hex(normaliser.apply(&value).as_bytes()));
        self.put("plaintext", &hex(value.as_bytes()));
        self.put("sealed index key", &hex(parts(&record).2.sealed()));
        let made = (index::<String>(table, column, by, normaliser.id()).make)(value, &session);
        self.end(&made)
    }

    async fn wrapped_key(mut self) -> String {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("master.key");
        let kms = LocalKms::open_or_create(&path).unwrap();
        let (owner, app) = (
            self.id("owner"),
            self.random.pick(&["ophie-crypt", "приложение"]),
        );
        let generation = u32::try_from(self.random.next() >> 32).unwrap().max(1);
        let context = EncryptionContext::new(app, &owner, generation);
        let (mut kek, call) = (kms.kek(), KmsCall::new(context));
        let made = if self.random.below(2) == 0 {
            kms.make_dek(&call).await.unwrap()
        } else {
            let shares = Arc::new(MemoryShares::new());
            kek = TwoShareKms::kek(&kek);
            let two = TwoShareKms::new(kms, Arc::clone(&shares));
            let made = two.make_dek(&call).await.unwrap();
            let id = ShareId::from_bytes(made.wrapped.as_bytes()[1..17].try_into().unwrap());
            let second = shares.get(&owner, generation, id).await.unwrap().unwrap();
            self.put("share id", &id.to_string());
            self.put("second share", &hex(second.expose_secret()));
            made
        };
        let dek = *made.dek.expose_secret();
        let store = Arc::new(MemoryKeyStore::new());
        keyring(Given(dek), Arc::clone(&store))
            .provision(&owner)
            .await
            .unwrap();
        let record = store.load(&owner).await.unwrap().unwrap();
        let key_id = parts(&record).0.key_id();
        self.put_all(&[("what", "wrapped key"), ("app", app), ("kek", &kek)]);
        self.put("generation", &generation.to_string());
        self.put("master key", &hex(&fs::read(path).unwrap()));
        self.put("key id", &key_id.to_string());
        self.put("dek", &hex(&dek));
        self.end(made.wrapped.as_bytes())
    }

    /// An owner or row, and its field.
    fn id(&mut self, field: &str) -> CanonicalId {
        let number = i64::from_ne_bytes(self.random.next().to_ne_bytes());
        let uuid = Uuid::new_v4();
        match self.random.below(3) {
            0 => {
                self.put(field, &format!("integer {number}"));
                CanonicalId::integer(number)
            }
            1 => {
                self.put(field, &format!("uuid {uuid}"));
                CanonicalId::uuid(uuid.as_bytes())
            }
            _ => {
                self.put(field, &format!("text жe\u{308} {number}"));
                CanonicalId::text(&format!("жe\u{308} {number}"))
            }
        }
    }
}

type At<'a> = (
    &'a str,
    &'a str,
    &'a str,
    &'a ophie_crypt::Session,
    Option<&'a CanonicalId>,
);

struct Seal<'a>(At<'a>, &'a [u8]);

impl Task for Seal<'_> {
    type Out = (Vec<u8>, Option<String>);

    fn run<T: Shown>(self) -> Self::Out {
        let Self((what, table, column, session, row), plaintext) = self;
        let value = T::decode(Zeroizing::new(plaintext.to_vec())).unwrap();
        let shown = value.show();
        let place = place_of::<T>(what, table, column);
        ((place.seal)(value, session, row), shown)
    }
}

struct OpenRaw<'a>(At<'a>, &'a [u8]);

impl Task for OpenRaw<'_> {
    type Out = String;

    fn run<T: Shown>(self) -> String {
        let Self((what, table, column, session, row), stored) = self;
        (place_of::<T>(what, table, column).open)(stored, session, row)
            .unwrap()
            .unwrap()
    }
}

const CODECS: &[(&str, Option<&str>)] = &[
    ("bool", None),
    ("bytes", None),
    ("date", None),
    ("f64", None),
    ("int", Some("i16")),
    ("int", Some("i32")),
    ("int", Some("i64")),
    ("json", None),
    ("text", None),
    ("time", None),
    ("timestamp", None),
    ("timestamptz", None),
    ("uuid", None),
    ("my-app/point", None),
];

/// Marsaglia's xorshift64, from a seed of the operating system's.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 20) % bound
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let at = self.below(of.len().try_into().unwrap());
        of[usize::try_from(at).unwrap()]
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        core::array::from_fn(|_| self.next().to_be_bytes()[0])
    }

    /// Any characters, those that normalising moves more often than their share.
    fn text(&mut self) -> String {
        const MOVED: &str = "aB 9.@\tÄéßİıſΣςﬁǅ\u{301}\u{316}\u{345}\u{308}\u{a0}\u{3000}\u{85}\u{ad}\u{200d}\u{34f}";
        let moved: Vec<char> = MOVED.chars().collect();
        let len = self.pick(&[0, 1, 5, 40]);
        let any =
            |random: &mut Self| char::from_u32(u32::try_from(random.below(0x11_0000)).unwrap());
        (0..len)
            .map(|_| match self.below(3) {
                0 => any(self).unwrap_or('x'),
                _ => self.pick(&moved),
            })
            .collect()
    }

    fn json(&mut self, depth: u32) -> Value {
        match self.below(if depth == 0 { 4 } else { 6 }) {
            0 => json!(self.text()),
            1 => json!(self.next()),
            2 => json!(f64::from_bits(self.next() & !(1 << 62))),
            3 => self
                .pick(
                    &[Value::Null, Value::Bool(true), Value::Bool(false)][..]
                        .iter()
                        .collect::<Vec<_>>(),
                )
                .clone(),
            4 => (0..self.below(4)).map(|_| self.json(depth - 1)).collect(),
            _ => (0..self.below(4))
                .map(|_| (self.text(), self.json(depth - 1)))
                .collect(),
        }
    }

    /// The bytes of a value that the type can hold.
    fn plaintext(&mut self, codec: &str, integer: Option<&str>) -> Vec<u8> {
        let days = i64::try_from(self.below(20_000_000)).unwrap() - 10_000_000;
        let seconds = u32::try_from(self.below(86_400)).unwrap();
        let leap = seconds % 60 == 59 && self.below(2) == 0;
        let nanoseconds =
            u32::try_from(self.below(1_000_000_000)).unwrap() + u32::from(leap) * 1_000_000_000;
        let number = i64::from_ne_bytes(self.next().to_ne_bytes());
        match (codec, integer) {
            ("bool", _) => vec![u8::from(leap)],
            ("date", _) => i32::try_from(days).unwrap().to_be_bytes().to_vec(),
            ("f64", _) => number.to_be_bytes().to_vec(),
            ("int", Some("i16")) => (number >> 48).to_be_bytes().to_vec(),
            ("int", Some("i32")) => (number >> 32).to_be_bytes().to_vec(),
            ("int", _) => number.to_be_bytes().to_vec(),
            ("json", _) => serde_json::to_vec(&self.json(3)).unwrap(),
            ("text", _) => self.text().into_bytes(),
            ("time", _) => [seconds, nanoseconds].map(u32::to_be_bytes).concat(),
            ("timestamp" | "timestamptz", _) => {
                let seconds = days * 86_400 + i64::from(seconds);
                [&seconds.to_be_bytes()[..], &nanoseconds.to_be_bytes()].concat()
            }
            ("uuid", _) => self.bytes::<16>().to_vec(),
            _ => {
                let len = self.pick(&[0, 1, 44, 200]);
                self.bytes::<200>()[..len].to_vec()
            }
        }
    }
}
