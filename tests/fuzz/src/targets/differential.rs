//! The reader of SPEC.md in Python beside the library: neither was written from the other.
//!
//! Invariant: both open the same bytes, to the same plaintext and value, and refuse the others for the same reason;
//! both make the same normal form of a text, and of what Unicode calls its equals. Left out is what SPEC.md leaves to
//! the reader: which years a type holds; in JSON depth, range, lone surrogates and names that stand twice.

use core::cell::RefCell;
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use ophie_crypt::Normalizer;
use serde_json::{Value, json};

use crate::{
    bytes::Bytes,
    forge::{self, FORMS, OWNER, Place, ROW},
    golden::{
        codecs::{Shown, Task, with_raw_type, with_type},
        file::hex,
        places::place_of,
    },
    world::{reason, row, with_session},
};

const CODECS: [(&str, Option<&str>); 14] = [
    ("bool", None),
    ("bytes", None),
    ("date", None),
    ("f64", None),
    ("int", Some("i16")),
    ("int", Some("i32")),
    ("int", Some("i64")),
    ("json", None),
    ("my-app/point", None),
    ("text", None),
    ("time", None),
    ("timestamp", None),
    ("timestamptz", None),
    ("uuid", None),
];
/// Places to change that a short envelope and a long one both have.
const LAST: u8 = 254;
const BEHIND: u8 = 255;
const NORMALISERS: [Normalizer; 2] = [Normalizer::Name, Normalizer::Email];

/// Each plaintext of the golden files, under each form, as a value and as a sidecar; each text that is normalised.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let mut put = |kind: usize, rest: &[&[u8]]| {
        seeds.push([&[u8::try_from(kind).unwrap()], &rest.concat()[..]].concat());
    };
    for vector in crate::golden::vectors() {
        let plaintext = vector.get("plaintext").map(|_| vector.hex("plaintext"));
        if let (Some(_), Some(plaintext)) = (vector.get("normaliser"), &plaintext) {
            put(2, &[&[0], plaintext]);
            put(2, &[&[1], plaintext]);
        }
        let of = |codec: &&(&str, Option<&str>)| vector.get("codec") == Some(codec.0);
        let codec = CODECS.iter().position(|codec| of(&codec));
        let (Some(codec), Some(plaintext)) = (codec, plaintext) else {
            continue;
        };
        for form in 0..8 {
            let padding: &[u8] = if form % 4 < 2 { b"" } else { b"\x80\0\0" };
            // Bound where the form is: it opens.
            let head = [u8::try_from(codec).unwrap(), form % 4, form % 2, 0];
            put((form / 4).into(), &[&head, &plaintext, padding]);
        }
    }
    for codec in [1, 9] {
        for (at, to) in [
            (LAST, b'B'),
            (LAST, b'_'),
            (BEHIND, b' '),
            (BEHIND, b'='),
            (BEHIND, b'A'),
            (0, 0xFB),
        ] {
            for len in 0..3 {
                let (what, plaintext) = (usize::from(at != 0), &b"ab"[..len]);
                put(what, &[&[codec, 0, 0, 1, at, to], plaintext]);
            }
        }
    }
    seeds
}

pub(crate) fn run(input: &[u8]) {
    let mut bytes = Bytes(input);
    match bytes.byte() % 3 {
        2 => normal_form(&mut bytes),
        0 => value("value", &mut bytes),
        _ => value("sidecar", &mut bytes),
    }
}

fn normal_form(bytes: &mut Bytes<'_>) {
    let normaliser = bytes.pick(&NORMALISERS);
    let text = String::from_utf8_lossy(bytes.0);
    let said = ask(&json!({ "normaliser": normaliser.id(), "text": text }));
    for (name, text) in said.as_object().unwrap() {
        let text = text.as_str().unwrap();
        let made = if name == "form" {
            text.to_owned()
        } else {
            normaliser.apply(text)
        };
        assert_eq!(
            normaliser.apply(&String::from_utf8_lossy(bytes.0)),
            made,
            "{name}: {text:?}"
        );
    }
}

fn value(what: &str, bytes: &mut Bytes<'_>) {
    let (codec, integer) = bytes.pick(&CODECS);
    let form = bytes.pick(&FORMS);
    let (bound, changes) = (bytes.byte() % 2 == 1, bytes.byte() % 3);
    let place = Place {
        table: "memories",
        column: "value",
        codec,
    };
    let mut changed = [(0, 0); 2];
    for change in changed.iter_mut().take(changes.into()) {
        *change = (bytes.byte(), bytes.byte());
    }
    let mut stored = forge::envelope(form, place, bytes.0);
    if what == "sidecar" {
        stored = [b"ophie1.", &*base64(&stored)].concat();
    }
    for (at, to) in changed.into_iter().take(changes.into()) {
        let last = stored.len() - 1;
        match at {
            BEHIND => stored.push(to),
            LAST => stored[last] = to,
            _ => stored[usize::from(at) % (last + 1)] = to,
        }
    }

    let (plaintext, value) = opened(what, codec, integer, bound, &stored);
    let mut case = json!({
        "what": what, "table": place.table, "column": place.column, "codec": codec, "owner": format!("text {OWNER}"),
        "dek": hex(&forge::DEK), "type": integer.unwrap_or("i64"), "stored": hex(&stored),
    });
    if bound {
        case["row"] = json!(format!("text {ROW}"));
    }
    let said = ask(&case);
    let outcome = |part: Result<Option<String>, &str>| match part {
        Ok(text) => json!(text),
        Err(reason) => json!({ "refused": reason }),
    };
    let (plaintext, value) = (outcome(plaintext), outcome(value));
    let shown = format!("{case}: {plaintext} {value}; Python: {said}");
    assert_eq!(said["plaintext"], plaintext, "{shown}");
    let choice = said["choice"] == true || (value["refused"] == "codec" && !exact(codec));
    if !choice {
        assert!(same(codec, &said["value"], &value), "{shown}");
    }
}

/// Chrono's years end where the format's do not.
fn exact(codec: &str) -> bool {
    !["date", "timestamp", "timestamptz"].contains(&codec)
}

/// What is JSON is compared as what it means.
fn same(codec: &str, one: &Value, other: &Value) -> bool {
    match (one.as_str(), other.as_str()) {
        (Some(one), Some(other)) if ["json", "text"].contains(&codec) => {
            let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            means(&parsed(one), &parsed(other))
        }
        _ => one == other,
    }
}

/// Python's integers have no end and no -0, so numbers are compared as binary64 where one of them is such.
fn means(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => {
            a.as_f64() == b.as_f64()
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| means(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, a)| b.get(name).is_some_and(|b| means(a, b)))
        }
        _ => one == other,
    }
}

type Opened = Result<Option<String>, &'static str>;

/// As bytes, and as the type.
fn opened(
    what: &str,
    codec: &str,
    integer: Option<&str>,
    bound: bool,
    stored: &[u8],
) -> (Opened, Opened) {
    let open = || Open {
        what,
        bound,
        stored,
    };
    let plaintext = with_raw_type(codec, open());
    let value = with_type(codec, integer, open());
    (
        plaintext,
        value.map(|value| value.filter(|_| !codec.contains('/'))),
    )
}

struct Open<'a> {
    what: &'a str,
    bound: bool,
    stored: &'a [u8],
}

impl Task for Open<'_> {
    type Out = Opened;

    fn run<T: Shown>(self) -> Opened {
        let open = place_of::<T>(self.what, "memories", "value").open;
        let opened = with_session(|session| open(self.stored, session, row(self.bound).as_ref()));
        opened.map_err(|error| reason(&error))
    }
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(bytes).into_bytes()
}

/// The Python reader, which answers line by line for as long as this process lives.
struct Python {
    _child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

thread_local! {
    static PYTHON: RefCell<Option<Python>> = const { RefCell::new(None) };
}

fn ask(question: &Value) -> Value {
    PYTHON.with_borrow_mut(|python| {
        let python = python.get_or_insert_with(start);
        writeln!(python.to, "{question}").unwrap();
        let mut line = String::new();
        python.from.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("Python said {line:?} of {question}"))
    })
}

fn start() -> Python {
    let python = std::env::var("OPHIE_CRYPT_TEST_PYTHON").expect(
        "OPHIE_CRYPT_TEST_PYTHON is not set: run `tests/run vectors`, which prepares a Python",
    );
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/compare.py");
    let mut child = Command::new(python)
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python runs");
    Python {
        to: child.stdin.take().unwrap(),
        from: BufReader::new(child.stdout.take().unwrap()),
        _child: child,
    }
}
