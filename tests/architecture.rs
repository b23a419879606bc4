//! House rules that the compiler cannot hold, read from the sources.
//!
//! Rules about code skip comments. Each rule is one test whose message says what to do; at the end, a
//! bad sample shows of each checker that it can fail.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file of a published crate; its path is relative to the repository.
struct Source {
    path: String,
    text: String,
}

const LONGEST_FILE: usize = 450;

#[test]
fn ciphers_stay_in_hazmat() {
    expect_none(
        strays(
            &sources(),
            &["aes_gcm", "aws_lc_rs", "hkdf", "hmac", "ring::", "sha2"],
            |path| path.starts_with("ophie-crypt/src/hazmat/"),
        ),
        "ciphers, MACs and key derivation are used in ophie-crypt/src/hazmat/ only; add a function there and call it",
    );
}

#[test]
fn the_aws_sdk_stays_in_its_file() {
    expect_none(
        strays(&sources(), &["aws_sdk_kms"], |path| {
            path.ends_with("/kms/aws.rs")
        }),
        "kms/aws.rs is the only file that knows the AWS SDK; speak to the `Kms` trait",
    );
}

#[test]
fn the_scope_is_the_only_ambient_state() {
    expect_none(
        strays(&sources(), &["thread_local", "task_local"], |path| {
            path == "ophie-crypt/src/scope.rs"
        }),
        "ambient state lives in ophie-crypt/src/scope.rs only; pass the value as an argument",
    );
}

#[test]
fn the_clock_is_read_in_one_file() {
    let words = [
        "Instant::now",
        "SystemTime::now",
        "Utc::now",
        "OffsetDateTime::now_utc",
    ];
    expect_none(
        strays(&sources(), &words, |path| path.ends_with("/clock.rs")),
        "clock.rs is the only file that reads the time; ask a `Moment` for its age",
    );
}

#[test]
fn what_loom_tries_out_takes_its_locks_from_one_file() {
    let tried = [
        "/budget.rs",
        "/flight.rs",
        "/held.rs",
        "/owners.rs",
        "/session.rs",
    ];
    expect_none(
        strays(&sources(), &["std::sync", "std::{"], |path| {
            !(path.starts_with("ophie-crypt/src/") && tried.iter().any(|file| path.ends_with(file)))
        }),
        "take locks from `crate::sync`, and name each module of `std` alone; loom sees no others",
    );
}

#[test]
fn each_orm_stays_in_its_adapter() {
    expect_none(
        strays(&sources(), &["sqlx::"], |path| {
            path.starts_with("ophie-crypt-sqlx/")
        }),
        "SQLx belongs in ophie-crypt-sqlx; let it implement a trait of the core",
    );
    expect_none(
        strays(&sources(), &["diesel::"], |path| {
            path.starts_with("ophie-crypt-diesel/")
        }),
        "Diesel belongs in ophie-crypt-diesel; let it implement a trait of the core",
    );
}

#[test]
fn diesels_internals_stay_its_own() {
    expect_none(
        strays(&sources(), &["diesel::internal"], |_| false),
        "`diesel::internal` changes in any release; write against the documented traits",
    );
}

#[test]
fn only_the_derive_parses_rust() {
    expect_none(
        strays(&sources(), &["syn::"], |path| {
            path.starts_with("ophie-crypt-derive/")
        }),
        "syn belongs in ophie-crypt-derive",
    );
}

#[test]
fn nothing_is_unfinished() {
    expect_none(
        strays(&sources(), &["todo!(", "unimplemented!(", "dbg!("], |_| {
            false
        }),
        "finish the code, or return an error that says what is missing",
    );
}

#[test]
fn nothing_is_unsafe() {
    expect_none(
        strays(&sources(), &["unsafe"], |_| false),
        "find a safe way; the workspace forbids `unsafe`",
    );
}

#[test]
fn files_are_short() {
    let mut sources = sources();
    collect("tests", &mut sources);
    collect("examples", &mut sources);
    expect_none(overlong(&sources), "split the file by what it is about");
}

#[test]
fn files_say_what_lives_in_them() {
    expect_none(
        undocumented(&sources()),
        "open the file with `//!`: what lives here, its invariant, what is absent",
    );
}

#[test]
fn the_readme_is_the_front_page() {
    let root = root();
    let folder = root.join("ophie-crypt/src");
    let pages: Vec<String> = included(&read(&folder.join("lib.rs")))
        .into_iter()
        .map(|path| read(&folder.join(path)))
        .collect();
    assert!(
        pages.contains(&read(&root.join("README.md"))),
        "ophie-crypt/src/lib.rs shows another front page; include README.md, or a file equal to it, as its documentation"
    );
}

#[test]
fn every_rejected_program_has_its_message() {
    expect_none(
        unpaired(&names(&root().join("tests/ui/fail"))),
        "a program in tests/ui/fail stands beside the .stderr that it must cause; \
         write it with TRYBUILD=overwrite cargo test -p ophie-crypt-tests --test ui, and read it",
    );
}

#[test]
fn every_test_target_is_in_a_suite() {
    let tests = root().join("tests");
    expect_none(
        outside_suites(&read(&tests.join("Cargo.toml")), &read(&tests.join("run"))),
        "add the test target to a `test_targets` line of tests/run, or it never runs there",
    );
}

#[test]
fn integration_tests_stand_in_one_package() {
    let own = crates()
        .into_iter()
        .filter(|name| root().join(name).join("tests").exists())
        .collect();
    expect_none(
        own,
        "tests/run does not run a crate's own tests/ folder; move the file to tests/",
    );
}

// Checkers: each returns what it found, so that a bad sample can be tried on it.

/// Lines of code with one of `words` outside the files that `home` admits.
fn strays(sources: &[Source], words: &[&str], home: impl Fn(&str) -> bool) -> Vec<String> {
    let away = sources.iter().filter(|source| !home(&source.path));
    away.flat_map(|source| {
        code(&source.text)
            .filter(|(_, line)| words.iter().any(|word| holds(line, word)))
            .map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim()))
    })
    .collect()
}

fn overlong(sources: &[Source]) -> Vec<String> {
    let lengths = sources
        .iter()
        .map(|source| (&source.path, source.text.lines().count()));
    lengths
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .map(|(path, lines)| format!("{path}: {lines} lines, at most {LONGEST_FILE}"))
        .collect()
}

/// A `lib.rs` may open with a file that it includes as its documentation instead.
fn undocumented(sources: &[Source]) -> Vec<String> {
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
fn included(lib: &str) -> Vec<&str> {
    let calls = lib.split("#![doc = include_str!(\"").skip(1);
    calls
        .filter_map(|rest| rest.split_once('"'))
        .map(|(path, _)| path)
        .collect()
}

/// Programs without a message and messages without a program; no program at all is a finding too.
fn unpaired(names: &[String]) -> Vec<String> {
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
fn outside_suites(manifest: &str, script: &str) -> Vec<String> {
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

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the repository")
        .to_owned()
}

/// The published crates, by their folders.
fn crates() -> Vec<String> {
    let crates: Vec<_> = names(&root())
        .into_iter()
        .filter(|name| name.starts_with("ophie-crypt"))
        .collect();
    assert!(crates.len() >= 3, "found only {crates:?}");
    crates
}

fn sources() -> Vec<Source> {
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

fn collect(folder: &str, sources: &mut Vec<Source>) {
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

fn names(folder: &Path) -> Vec<String> {
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

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn expect_none(found: Vec<String>, advice: &str) {
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
}
