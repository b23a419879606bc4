//! The file of a ledger.
//!
//! Invariant: what is read is, line by line, what stands there, up to the first line that does not follow. Then nothing
//! is added, and nothing of the file changes. Without damage, whole lines stay for good: only one that was not ended is
//! ended or taken away, and what is appended stands behind the rest.

use std::{fs, path::Path};

use ophie_crypt::{FileLedger, Ledger, LedgerEntry, LedgerError, LedgerHead};

use crate::{
    golden::file::hex,
    targets::{folder, wait},
};

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let (mut head, mut file) = (LedgerHead::EMPTY, String::new());
    let mut seeds = vec![Vec::new()];
    let payloads: [(&str, &[u8]); 5] = [
        ("installation", &[1; 24]),
        ("note", b""),
        ("audit-heads", &[2; 56]),
        ("shred", &[3; 44]),
        ("0-z", b"\0 \n\xFF"),
    ];
    for (kind, payload) in payloads {
        head = head.next(kind, payload);
        file.push_str(&line(&LedgerEntry::new(kind, payload, head)));
        seeds.push(file.clone().into());
        seeds.push(file.trim_end().into());
    }
    // Other forms of the same entries.
    let (first, rest) = file.split_once('\n').unwrap();
    let other = [
        format!("0{first}"),
        format!("+{first}"),
        format!("{first} "),
        first.to_uppercase(),
    ];
    seeds.extend(other.map(|first| format!("{first}\n{rest}").into()));
    seeds.push(file.replace('\n', "\r\n").into());
    seeds
}

pub(crate) fn run(input: &[u8]) {
    let folder = folder();
    let path = folder.path().join("ledger");
    fs::write(&path, input).unwrap();
    let ledger = FileLedger::open(&path).unwrap();

    let entries = read(&ledger, input);
    let whole = input
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let lines: Vec<_> = input[..whole]
        .split_inclusive(|byte| *byte == b'\n')
        .collect();
    let sound = sound(&lines);
    assert_eq!(entries.len(), sound);
    for (entry, line) in entries.iter().zip(&lines) {
        assert_eq!(self::line(entry).as_bytes(), *line);
    }

    let last = entries
        .last()
        .map_or(LedgerHead::EMPTY, |entry| *entry.head());
    match wait(ledger.head()) {
        Ok(head) => {
            assert_eq!(sound, lines.len(), "damage was passed over");
            grows(&ledger, &path, input, whole, last, head);
        }
        Err(error) => {
            refuses(&error, sound);
            refuses(&wait(ledger.append(&last, "note", b"")).unwrap_err(), sound);
            assert_eq!(
                fs::read(&path).unwrap(),
                input,
                "a damaged ledger was changed"
            );
        }
    }
}

fn read(ledger: &FileLedger, input: &[u8]) -> Vec<LedgerEntry> {
    match wait(ledger.read(0, usize::MAX)) {
        Ok(entries) => entries,
        Err(error) => {
            refuses(&error, 0);
            assert!(!input.is_empty());
            Vec::new()
        }
    }
}

/// Says where the damage is. A panic within would be told as `Unavailable`.
fn refuses(error: &LedgerError, sound: usize) {
    let LedgerError::Damaged { position } = error else {
        panic!("{error:?}");
    };
    assert_eq!(usize::try_from(*position).unwrap(), sound + 1);
}

fn grows(
    ledger: &FileLedger,
    path: &Path,
    input: &[u8],
    whole: usize,
    last: LedgerHead,
    head: LedgerHead,
) {
    let after = fs::read(path).unwrap();
    if head == last {
        assert_eq!(after, input[..whole]);
    } else {
        assert_eq!(after, [input, b"\n"].concat());
        assert_eq!(head.position(), last.position() + 1);
    }
    let again = wait(ledger.append(&LedgerHead::new(head.position(), [0xEE; 32]), "note", b"x"));
    assert!(matches!(again, Err(LedgerError::Moved { head: at }) if at == head));
    let new = wait(ledger.append(&head, "note", b"x")).unwrap();
    let entry = LedgerEntry::new("note", b"x", new);
    assert!(entry.follows(&head));
    assert_eq!(
        fs::read(path).unwrap(),
        [&after, line(&entry).as_bytes()].concat()
    );
}

/// How many lines follow from each other, in the one form that they are written in.
fn sound(lines: &[&[u8]]) -> usize {
    let mut head = LedgerHead::EMPTY;
    let follows = |line: &&&[u8]| {
        let follows = next(&head, line);
        head = follows.unwrap_or(head);
        follows.is_some()
    };
    lines.iter().take_while(follows).count()
}

fn next(head: &LedgerHead, line: &[u8]) -> Option<LedgerHead> {
    let text = core::str::from_utf8(line).ok()?;
    let mut parts = text.split(' ').skip(1);
    let (kind, digits) = (parts.next()?, parts.next()?.as_bytes());
    let payload = digits.chunks(2).map(|two| {
        let two = core::str::from_utf8(two).ok()?;
        u8::from_str_radix(two, 16).ok()
    });
    let payload = payload.collect::<Option<Vec<u8>>>()?;
    let next = head.next(kind, &payload);
    let entry = LedgerEntry::new(kind, payload, next);
    (self::line(&entry) == text).then_some(next)
}

fn line(entry: &LedgerEntry) -> String {
    let (payload, head) = (hex(entry.payload()), entry.head());
    format!(
        "{} {} {payload} {}\n",
        head.position(),
        entry.kind(),
        hex(head.hash())
    )
}
