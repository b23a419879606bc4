//! Checkers of the house rules: each returns what it found, so that a bad sample at the end shows that it can
//! fail.
//!
//! Absent: the rules (`architecture`).

use std::fs;
use std::path::{Path, PathBuf};

/// A source file of a published crate; its path is relative to the repository.
pub(super) struct Source {
    path: String,
    text: String,
}

const LONGEST_FILE: usize = 450;

/// Lines of code with one of `words` outside the files that `home` admits.
pub(super) fn strays(
    sources: &[Source],
    words: &[&str],
    home: impl Fn(&str) -> bool,
) -> Vec<String> {
    let away = sources.iter().filter(|source| !home(&source.path));
    away.flat_map(|source| {
        code(&source.text)
            .filter(|(_, line)| words.iter().any(|word| holds(line, word)))
            .map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim()))
    })
    .collect()
}

pub(super) fn overlong(sources: &[Source]) -> Vec<String> {
    let lengths = sources
        .iter()
        .map(|source| (&source.path, source.text.lines().count()));
    lengths
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .map(|(path, lines)| format!("{path}: {lines} lines, at most {LONGEST_FILE}"))
        .collect()
}

/// A `lib.rs` may open with a file that it includes as its documentation instead.
pub(super) fn undocumented(sources: &[Source]) -> Vec<String> {
    let opens = |source: &&Source| {
        !(source.text.starts_with("//!") || source.text.starts_with("#![doc = include_str!("))
    };
    sources
        .iter()
        .filter(opens)
        .map(|source| source.path.clone())
        .collect()
}

/// The files that a `lib.rs` includes as its documentation.
pub(super) fn included(lib: &str) -> Vec<&str> {
    let calls = lib.split("#![doc = include_str!(\"").skip(1);
    calls
        .filter_map(|rest| rest.split_once('"'))
        .map(|(path, _)| path)
        .collect()
}

/// Programs without a message and messages without a program; no program at all is a finding too.
pub(super) fn unpaired(names: &[String]) -> Vec<String> {
    let stem = |name: &String, end: &str| name.strip_suffix(end).map(str::to_owned);
    let programs: Vec<_> = names.iter().filter_map(|name| stem(name, ".rs")).collect();
    let messages: Vec<_> = names
        .iter()
        .filter_map(|name| stem(name, ".stderr"))
        .collect();
    let silent = programs
        .iter()
        .filter(|name| !messages.contains(name))
        .map(|name| format!("{name}.rs"));
    let stale = messages
        .iter()
        .filter(|name| !programs.contains(name))
        .map(|name| format!("{name}.stderr"));
    let empty = programs.is_empty().then(|| "no program".to_owned());
    silent.chain(stale).chain(empty).collect()
}

/// Test targets of a manifest that no `test_targets` line of the script names. One only prints.
pub(super) fn outside_suites(manifest: &str, script: &str) -> Vec<String> {
    let named: Vec<_> = script
        .lines()
        .filter_map(|line| line.split_once("test_targets "))
        .flat_map(|(_, names)| names.split(|c: char| !(c.is_alphanumeric() || c == '_')))
        .collect();
    manifest
        .split("[[test]]")
        .skip(1)
        .filter_map(|table| table.split_once("name = \"")?.1.split_once('"'))
        .map(|(name, _)| name)
        .filter(|name| *name != "without_servers" && !named.contains(name))
        .map(str::to_owned)
        .collect()
}

/// Actions of a workflow that are not pinned by a whole commit hash.
pub(super) fn unpinned(workflow: &str) -> Vec<String> {
    let uses = workflow.lines().filter_map(|line| {
        let line = line.trim().trim_start_matches("- ");
        line.strip_prefix("uses:").map(str::trim)
    });
    uses.filter(|action| {
        let commit = action.split_once('@').map_or("", |(_, commit)| commit);
        let commit = commit.split_once(' ').map_or(commit, |(commit, _)| commit);
        commit.len() != 40 || !commit.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
    .map(str::to_owned)
    .collect()
}

/// Numbered lines without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| {
            (
                number,
                line.split_once(" // ").map_or(line, |(code, _)| code),
            )
        })
}

/// Whether `word` stands in `line` and is not part of a longer identifier.
fn holds(line: &str, word: &str) -> bool {
    let identifier = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        let (before, rest) = line.split_at(start);
        let after = rest.strip_prefix(word).unwrap_or(rest);
        let longer = word.ends_with(identifier) && after.starts_with(identifier);
        !(longer || before.ends_with(identifier))
    })
}

// Reading the repository.

pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the repository")
        .to_owned()
}

/// The published crates, by their folders.
pub(super) fn crates() -> Vec<String> {
    let crates: Vec<_> = names(&root())
        .into_iter()
        .filter(|name| name.starts_with("ophie-crypt"))
        .collect();
    assert!(crates.len() >= 3, "found only {crates:?}");
    crates
}

pub(super) fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    for name in crates() {
        let before = sources.len();
        collect(&format!("{name}/src"), &mut sources);
        assert!(
            sources.len() > before,
            "{name} has no sources; rules about them would hold of nothing"
        );
    }
    sources
}

pub(super) fn collect(folder: &str, sources: &mut Vec<Source>) {
    for name in names(&root().join(folder)) {
        let path = format!("{folder}/{name}");
        let file = root().join(&path);
        if file.is_dir() {
            collect(&path, sources);
        } else if name.ends_with(".rs") {
            sources.push(Source {
                text: read(&file),
                path,
            });
        }
    }
}

pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("a readable folder")
                .file_name()
                .into_string()
                .expect("a name in UTF-8")
        })
        .collect();
    names.sort();
    names
}

pub(super) fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

pub(super) fn expect_none(found: Vec<String>, advice: &str) {
    assert!(found.is_empty(), "{advice}:\n  {}", found.join("\n  "));
}

mod bad_samples {
    use super::*;

    fn sample(text: &str) -> [Source; 1] {
        [Source {
            path: "ophie-crypt/src/sample.rs".into(),
            text: text.into(),
        }]
    }

    #[test]
    fn a_stray_word() {
        let bad = sample("//! Sample.\nuse hmac::Mac;\n");
        assert_eq!(
            strays(&bad, &["hmac"], |_| false),
            ["ophie-crypt/src/sample.rs:2: use hmac::Mac;"]
        );
        assert!(strays(&bad, &["hmac"], |path| path.ends_with("sample.rs")).is_empty());
        assert_eq!(strays(&sample("dbg!(1);"), &["dbg!("], |_| false).len(), 1);
        assert_eq!(
            strays(
                &sample("let t = std::time::Instant::now();"),
                &["Instant::now"],
                |_| false
            )
            .len(),
            1
        );
        assert_eq!(
            strays(
                &sample("fn f() { unsafe_code(); unsafe {} }"),
                &["unsafe"],
                |_| false
            )
            .len(),
            1
        );
    }

    #[test]
    fn a_word_in_a_comment_or_a_longer_word_is_none() {
        let good = sample("    /// As hmac.\nlet my_hmac = 1; // hmac\nhmac_key(&hmacs);\n");
        assert!(strays(&good, &["hmac"], |_| false).is_empty());
    }

    #[test]
    fn a_long_file() {
        assert_eq!(
            overlong(&sample(&"\n".repeat(LONGEST_FILE))),
            Vec::<String>::new()
        );
        assert_eq!(
            overlong(&sample(&"\n".repeat(LONGEST_FILE.saturating_add(1)))).len(),
            1
        );
    }

    #[test]
    fn a_file_without_an_opening() {
        assert_eq!(undocumented(&sample("use std::fmt;\n//! Late.\n")).len(), 1);
        assert!(undocumented(&sample("//! Sample.\n")).is_empty());
    }

    #[test]
    fn no_front_page() {
        assert!(included("//! Another page.\n").is_empty());
        assert_eq!(
            included("#![doc = include_str!(\"../README.md\")]\n"),
            ["../README.md"]
        );
    }

    #[test]
    fn a_program_without_message_and_the_reverse() {
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            unpaired(&names(&["a.rs", "a.stderr", "b.rs", "c.stderr"])),
            ["b.rs", "c.stderr"]
        );
        assert_eq!(unpaired(&[]), ["no program"]);
    }

    #[test]
    fn a_target_outside_the_suites() {
        let manifest = "[[test]]\nname = \"ui\"\n\n[[test]]\nname = \"new\"\n\n[[test]]\nname = \"without_servers\"\n";
        assert_eq!(
            outside_suites(manifest, "suite_core() { test_targets ui web; }"),
            ["new"]
        );
        assert!(outside_suites(manifest, "    test_targets ui new\n").is_empty());
    }
    #[test]
    fn an_action_behind_a_tag() {
        let pinned = format!("    - uses: a/b@{} # v7\n", "0a".repeat(20));
        assert!(unpinned(&pinned).is_empty());
        assert_eq!(unpinned("  - uses: a/b@v7\n"), ["a/b@v7"]);
        assert_eq!(unpinned("    uses: a/b\n").len(), 1);
        assert_eq!(unpinned(&pinned.replace("0a0a ", "0a ")).len(), 1);
    }
}
