//! The log of reviews: `reviews/` names every file on which encryption rests, with the SHA-256 of what was read.
//!
//! Invariant: the newest entry that names a file has its present bytes, so each change of one needs an entry more,
//! also in a clone without network or history. Absent: whether a review was a good one.

use std::{collections::BTreeMap, fs, process::Command};

use sha2::{Digest, Sha256};

use crate::checkers::{crates, names, read, root};

/// Where one of these stands in a path below a published crate's `src`, the file is guarded.
const WORDS: [&str; 7] = [
    "binding", "budget", "envelope", "hazmat", "scope", "shred", "soak",
];
/// The check, what calls it, and what reads files for it: who changes these needs an entry too.
const CHECK: [&str; 3] = [
    "tests/architecture.rs",
    "tests/architecture/checkers.rs",
    "tests/architecture/reviews.rs",
];
const FOLDER: &str = "reviews";
const QUESTIONS: [&str; 4] = ["Changed:", "Could go wrong:", "Noticed by:", "Read by:"];
const REMOVED: &str = "removed";
/// Shorter than any honest answer.
const SHORTEST_ANSWER: usize = 20;

/// Guarded files by path, each with its SHA-256 in hexadecimal.
pub(super) type Files = BTreeMap<String, String>;

/// An entry by its file's name.
pub(super) type Entries = BTreeMap<String, String>;

fn is_guarded(path: &str) -> bool {
    let in_crate = || {
        let (name, rest) = path.split_once("/src/")?;
        let prose = rest.starts_with("manual/");
        Some(name.starts_with("ophie-crypt") && !prose && WORDS.iter().any(|w| rest.contains(w)))
    };
    path.starts_with("migrations/") || CHECK.contains(&path) || in_crate().unwrap_or(false)
}

/// The lines that no entry has yet, ready to be written into one.
pub(super) fn unreviewed(files: &Files, entries: &Entries) -> Vec<String> {
    // By path: the newest number that names it, and what the entries of that number say.
    let mut newest: BTreeMap<&str, (&str, Vec<&str>)> = BTreeMap::new();
    for (name, text) in entries {
        let number = number(name);
        for (state, path) in lines(text).filter_map(Result::ok) {
            let known = newest.entry(path).or_default();
            if known.0 != number {
                *known = (number, Vec::new()); // names are sorted: a higher one
            }
            known.1.push(state);
        }
    }
    let present = files
        .iter()
        .map(|(path, hash)| (path.as_str(), hash.as_str()));
    let gone = newest
        .keys()
        .filter(|path| !files.contains_key(**path))
        .map(|path| (*path, REMOVED));
    present
        .chain(gone)
        .filter(|(path, now)| {
            // Two entries of one number that differ: nobody has read what became of both.
            newest
                .get(path)
                .is_none_or(|(_, states)| states.iter().any(|state| state != now))
        })
        .map(|(path, now)| format!("  {now}  {path}"))
        .collect()
}

/// What is wrong with the entries themselves.
pub(super) fn malformed(entries: &Entries) -> Vec<String> {
    let of_one = entries.iter().flat_map(|(name, text)| {
        let numbered = number(name).parse::<u32>().is_ok() && name.ends_with(".md");
        let name_wrong = (!numbered).then(|| "is not called NNNN-WHAT.md".to_owned());
        let untitled = (!text.starts_with("# ")).then(|| "has no title".to_owned());
        let unanswered = QUESTIONS
            .iter()
            .filter(|question| answer(text, question).chars().count() < SHORTEST_ANSWER)
            .map(|question| format!("leaves \"{question}\" unanswered"));
        let empty = lines(text)
            .next()
            .is_none()
            .then(|| "names no file".to_owned());
        let strange = lines(text).filter_map(|line| match line {
            Ok((_, path)) => (!is_guarded(path)).then(|| format!("names {path}, no guarded file")),
            Err(line) => Some(format!("has a line that is no hash and path: {line}")),
        });
        let all = name_wrong
            .into_iter()
            .chain(untitled)
            .chain(unanswered)
            .chain(empty)
            .chain(strange);
        all.map(move |what| format!("{name} {what}"))
    });
    of_one.collect()
}

/// `NNNN` of `NNNN-WHAT.md`.
fn number(name: &str) -> &str {
    match name.split_once('-') {
        Some((number, _)) if number.len() == 4 => number,
        _ => "",
    }
}

/// The indented lines of an entry as state and path, as sha256sum prints them.
fn lines(text: &str) -> impl Iterator<Item = Result<(&str, &str), &str>> {
    let indented = text.lines().filter_map(|line| line.strip_prefix("    "));
    indented.map(|line| {
        let (state, path) = line.split_once("  ").ok_or(line)?;
        let hash = state.len() == 64
            && state
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if hash || state == REMOVED {
            Ok((state, path))
        } else {
            Err(line)
        }
    })
}

/// What stands behind a question, up to the next blank line or question.
fn answer(text: &str, question: &str) -> String {
    let mut rest = text
        .lines()
        .skip_while(|line| !line.starts_with(question))
        .map(str::trim);
    let first = rest
        .next()
        .and_then(|line| line.strip_prefix(question))
        .unwrap_or_default();
    let more =
        rest.take_while(|line| !line.is_empty() && !QUESTIONS.iter().any(|q| line.starts_with(q)));
    let all: Vec<_> = [first.trim()].into_iter().chain(more).collect();
    all.join(" ")
}

// Reading the repository.

pub(super) fn guarded() -> Files {
    let mut paths = Vec::new();
    for name in crates() {
        walk(&format!("{name}/src"), &mut paths);
    }
    walk("migrations", &mut paths);
    paths.extend(CHECK.map(str::to_owned));
    let guarded = paths.into_iter().filter(|path| is_guarded(path));
    guarded
        .map(|path| {
            let bytes = fs::read(root().join(&path)).expect("a readable file");
            let hash = Sha256::digest(bytes);
            let hash = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            (path, hash)
        })
        .collect()
}

fn walk(folder: &str, paths: &mut Vec<String>) {
    for name in names(&root().join(folder)) {
        let path = format!("{folder}/{name}");
        if root().join(&path).is_dir() {
            walk(&path, paths);
        } else {
            paths.push(path);
        }
    }
}

pub(super) fn entries() -> Entries {
    let folder = root().join(FOLDER);
    let names = names(&folder)
        .into_iter()
        .filter(|name| name != "README.md");
    names
        .map(|name| (name.clone(), read(&folder.join(name))))
        .collect()
}

/// The name of the next entry, but for what it is about.
pub(super) fn next(entries: &Entries) -> String {
    let last = entries.keys().filter_map(|name| number(name).parse().ok());
    let next = last.max().unwrap_or(0_u32).saturating_add(1);
    format!("{FOLDER}/{next:04}-WHAT.md")
}

/// Entries that a commit deleted. A revert takes change and entry away together, and only history tells; as much
/// of it is looked at as the clone has.
pub(super) fn deleted() -> Vec<String> {
    if !root().join(".git").exists() {
        return Vec::new(); // an archive of the sources
    }
    let log = Command::new("git")
        .args(["-c", "safe.directory=*", "-C"]) // also where another user made the clone
        .arg(root())
        .args([
            "log",
            "--diff-filter=D",
            "--no-renames",
            "--diff-merges=first-parent",
        ])
        .args(["--format=", "--name-only", "--", FOLDER])
        .output()
        .expect("git is installed");
    assert!(
        log.status.success(),
        "git log: {}",
        String::from_utf8_lossy(&log.stderr)
    );
    let paths = String::from_utf8_lossy(&log.stdout).into_owned();
    gone(&paths, |path| root().join(path).exists())
}

/// Those of the paths, one a line, that are not there again.
fn gone(paths: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let entries = paths.lines().filter(|path| path.ends_with(".md"));
    entries
        .filter(|path| !exists(path))
        .map(str::to_owned)
        .collect()
}

mod bad_samples {
    use super::*;

    const PATH: &str = "ophie-crypt/src/envelope.rs";

    fn hash(letter: char) -> String {
        letter.to_string().repeat(64)
    }

    fn files(all: &[(&str, char)]) -> Files {
        all.iter()
            .map(|(path, letter)| ((*path).to_owned(), hash(*letter)))
            .collect()
    }

    fn entry(lines: &str) -> String {
        format!(
            "# Sample\n\nChanged: what is long enough to be one.\nCould go wrong: it wraps\n\
             over two lines.\nNoticed by: the test of this very name.\nRead by: nobody but the author.\n\n{lines}\n"
        )
    }

    fn entries(all: &[(&str, char, &str)]) -> Entries {
        let line = |letter, path| match letter {
            '-' => format!("    {REMOVED}  {path}"),
            letter => format!("    {}  {path}", hash(letter)),
        };
        all.iter()
            .map(|(name, letter, path)| ((*name).to_owned(), entry(&line(*letter, path))))
            .collect()
    }

    #[test]
    fn a_changed_a_new_and_a_removed_file() {
        let log = entries(&[("0001-a.md", 'a', PATH)]);
        assert!(unreviewed(&files(&[(PATH, 'a')]), &log).is_empty());
        let line = |letter| format!("  {}  {PATH}", hash(letter));
        assert_eq!(unreviewed(&files(&[(PATH, 'b')]), &log), [line('b')]);
        let new = "ophie-crypt/src/soak/mod.rs";
        assert_eq!(
            unreviewed(&files(&[(PATH, 'a'), (new, 'c')]), &log),
            [format!("  {}  {new}", hash('c'))]
        );
        assert_eq!(
            unreviewed(&files(&[]), &log),
            [format!("  {REMOVED}  {PATH}")]
        );
    }

    #[test]
    fn no_entry() {
        assert_eq!(unreviewed(&files(&[(PATH, 'a')]), &Entries::new()).len(), 1);
    }

    #[test]
    fn only_the_newest_entry_counts() {
        let log = entries(&[("0001-a.md", 'a', PATH), ("0002-b.md", 'b', PATH)]);
        assert!(unreviewed(&files(&[(PATH, 'b')]), &log).is_empty());
        assert_eq!(unreviewed(&files(&[(PATH, 'a')]), &log).len(), 1);
        let gone = entries(&[("0001-a.md", 'a', PATH), ("0002-b.md", '-', PATH)]);
        assert!(unreviewed(&files(&[]), &gone).is_empty());
        assert_eq!(unreviewed(&files(&[(PATH, 'a')]), &gone).len(), 1);
    }

    #[test]
    fn two_changes_that_were_merged() {
        let log = entries(&[("0002-a.md", 'a', PATH), ("0002-b.md", 'b', PATH)]);
        for merged in ['a', 'b', 'c'] {
            assert_eq!(unreviewed(&files(&[(PATH, merged)]), &log).len(), 1);
        }
        let read = entries(&[
            ("0002-a.md", 'a', PATH),
            ("0002-b.md", 'b', PATH),
            ("0003-c.md", 'c', PATH),
        ]);
        assert!(unreviewed(&files(&[(PATH, 'c')]), &read).is_empty());
    }

    #[test]
    fn an_entry_that_says_nothing() {
        let wrong = |name: &str, text: String| malformed(&Entries::from([(name.to_owned(), text)]));
        let line = format!("    {}  {PATH}", hash('a'));
        let good = entry(&line);
        assert_eq!(wrong("0001-a.md", good.clone()), Vec::<String>::new());
        for question in QUESTIONS {
            let without = good.replace(question, "Else:");
            assert_eq!(wrong("0001-a.md", without).len(), 1, "{question}");
        }
        let placeholder = good.replace("the test of this very name.", "…");
        assert_eq!(wrong("0001-a.md", placeholder).len(), 1);
        for name in ["1-a.md", "0001.md", "000x-a.md", "0001-a.txt"] {
            assert_eq!(wrong(name, good.clone()).len(), 1, "{name}");
        }
        assert_eq!(wrong("0001-a.md", good.replace("# ", "")).len(), 1);
        assert_eq!(wrong("0001-a.md", entry("")).len(), 1);
        for bad in [
            "    ophie-crypt/src/envelope.rs".to_owned(),
            line.replacen('a', "A", 1),
            line.replacen('a', "", 1),
            line.replace("envelope", "kms/aws"),
        ] {
            assert_eq!(wrong("0001-a.md", entry(&bad)).len(), 1, "{bad}");
        }
    }

    #[test]
    fn what_is_guarded() {
        for path in [
            "ophie-crypt/src/hazmat/aead/ring.rs",
            "ophie-crypt/src/soak.rs",
            "ophie-crypt-sql/src/soaks/guard.sql",
            "ophie-crypt-derive/src/binding.rs",
            "migrations/sqlite/1.up.sql",
            "tests/architecture/reviews.rs",
        ] {
            assert!(is_guarded(path), "{path}");
        }
        for path in [
            "ophie-crypt/src/kms/aws.rs",
            "ophie-crypt/src/manual/shred.md",
            "tests/shred/main.rs",
            "examples/src/budget.rs",
        ] {
            assert!(!is_guarded(path), "{path}");
        }
    }

    #[test]
    fn an_entry_that_was_taken_back() {
        let log = "reviews/0001-a.md\nreviews/0002-b.md\n";
        assert_eq!(
            gone(log, |path| path.contains("0001")),
            ["reviews/0002-b.md"]
        );
    }
}
