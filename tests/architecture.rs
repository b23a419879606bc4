//! House rules that the compiler cannot hold, read from the sources.
//!
//! Rules about code skip comments. Each rule is one test whose message says what to do. Absent: how the
//! sources are searched (`checkers`, `items`), what is public (`api`), and what the log of reviews holds (`reviews`).

#[path = "architecture/api.rs"]
mod api;
#[path = "architecture/checkers.rs"]
mod checkers;
#[path = "architecture/claims.rs"]
mod claims;
#[path = "architecture/items.rs"]
mod items;
#[path = "architecture/reviews.rs"]
mod reviews;

use checkers::{
    collect, crates, expect_none, included, names, outside_suites, overlong, read, root, sources,
    strays, undocumented, unpaired, unpinned,
};
use claims::{Tests, cited, unknown};

#[test]
fn ciphers_stay_in_hazmat() {
    expect_none(
        strays(
            &sources(),
            &["aes_gcm", "aws_lc_rs", "hkdf", "hmac", "sha2"],
            |path| path.starts_with("ophie-crypt/src/hazmat/"),
        ),
        "ciphers, MACs and key derivation are used in ophie-crypt/src/hazmat/ only; add a function there and call it",
    );
    // TLS names whose ciphers it takes.
    expect_none(
        strays(&sources(), &["ring::"], |path| {
            path.starts_with("ophie-crypt/src/hazmat/")
                || path == "ophie-crypt-pinecone/src/http.rs"
        }),
        "ring is used in ophie-crypt/src/hazmat/ only, and where TLS is set up",
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
fn http_is_spoken_in_one_file() {
    expect_none(
        strays(
            &sources(),
            &["hyper_rustls", "hyper_util", "rustls::"],
            |path| path == "ophie-crypt-pinecone/src/http.rs",
        ),
        "ophie-crypt-pinecone/src/http.rs is the only file that makes requests; add a `Call` and let it ask",
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
        "/known.rs",
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
                || path.starts_with("ophie-crypt-cli/src/database/")
        }),
        "SQLx belongs in ophie-crypt-sqlx; let it implement a trait of the core, or ask the command's `Database`",
    );
    expect_none(
        strays(&sources(), &["diesel::"], |path| {
            path.starts_with("ophie-crypt-diesel/")
        }),
        "Diesel belongs in ophie-crypt-diesel; let it implement a trait of the core",
    );
}

#[test]
fn statements_stand_in_one_crate() {
    expect_none(
        strays(
            &sources(),
            &["ophie_crypt_deks", "ophie_crypt_audit_records"],
            |path| path.starts_with("ophie-crypt-sql/"),
        ),
        "statements on the library's tables belong in ophie-crypt-sql, where every driver has them",
    );
}

#[test]
fn the_command_prints_in_one_module() {
    expect_none(
        strays(
            &sources(),
            &["stdout()", "stderr()", "stdin()", "indicatif"],
            |path| {
                !path.starts_with("ophie-crypt-cli/")
                    || path.starts_with("ophie-crypt-cli/src/output/")
            },
        ),
        "ophie-crypt-cli/src/output/ is all that prints, and takes secrets out; give back a `Report`",
    );
}

#[test]
fn only_the_command_has_a_command_line() {
    expect_none(
        strays(
            &sources(),
            &["clap::", "indicatif::", "toml::", "ophie_crypt_cli::"],
            |path| path.starts_with("ophie-crypt-cli/"),
        ),
        "arguments, progress and configuration belong in ophie-crypt-cli, which nothing imports",
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

const MANUAL: &str = "ophie-crypt/src/manual";

/// The pages of the manual, by name and text; without the list of them.
fn pages() -> Vec<(String, String)> {
    let folder = root().join(MANUAL);
    let pages: Vec<_> = names(&folder)
        .into_iter()
        .filter_map(|file| Some(file.strip_suffix(".md")?.to_owned()))
        .filter(|name| name != "index")
        .map(|name| {
            let text = read(&folder.join(format!("{name}.md")));
            (name, text)
        })
        .collect();
    assert!(pages.len() > 5, "found only {pages:?}");
    pages
}

#[test]
fn claims_name_tests_that_exist() {
    let tests = Tests::read();
    let others = ["README", "CONTRIBUTING", "ophie-crypt/src/manual/index"].map(|name| {
        let text = read(&root().join(format!("{name}.md")));
        (name.to_owned(), text)
    });
    let mut found = Vec::new();
    for (name, text) in pages().into_iter().chain(others) {
        if cited(&text).is_empty() {
            found.push(format!("{name}.md names no test"));
        }
        let unknown = unknown(&text, &tests).into_iter();
        found.extend(unknown.map(|test| format!("{name}.md: {test}")));
    }
    expect_none(
        found,
        "a claim names the test that holds it, as *`target::function`*; rename it there too, or write the test",
    );
}

#[test]
fn every_page_of_the_manual_is_found() {
    let root = root();
    let index = read(&root.join(MANUAL).join("index.md"));
    let modules = read(&root.join(MANUAL).join("mod.rs"));
    let readme = read(&root.join("README.md"));
    let mut found = Vec::new();
    for (name, _) in pages() {
        for (place, text, link) in [
            ("index.md", &index, format!("(crate::manual::{name})")),
            ("README.md", &readme, format!("({MANUAL}/{name}.md)")),
            ("mod.rs", &modules, format!("include_str!(\"{name}.md\")")),
        ] {
            if !text.contains(&link) {
                found.push(format!("{place} lacks {link}"));
            }
        }
    }
    expect_none(
        found,
        "link each page of the manual from its list and from the README, and show it in the docs",
    );
}

#[test]
fn every_rejected_program_has_its_message() {
    expect_none(
        unpaired(&names(&root().join("tests/ui/fail"))),
        "a program in tests/ui/fail stands beside the .stderr that it must cause; \
         write it with TRYBUILD=overwrite cargo test -p ophie-crypt-ui-tests, and read it",
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

#[test]
fn actions_are_pinned() {
    let folder = root().join(".github/workflows");
    let found = names(&folder)
        .into_iter()
        .flat_map(|name| unpinned(&read(&folder.join(name))))
        .collect();
    expect_none(
        found,
        "a tag can be moved to other code; name the commit, and the tag behind it as a comment",
    );
}

#[test]
fn encryption_changes_only_with_a_review() {
    let entries = reviews::entries();
    expect_none(
        reviews::malformed(&entries),
        "an entry has what reviews/README.md asks for",
    );
    expect_none(
        reviews::unreviewed(&reviews::guarded(), &entries),
        &format!(
            "encryption rests on these files, and no entry has them as they are; read what changed, answer the \
             questions of reviews/README.md in {}, and end it with these lines",
            reviews::next(&entries)
        ),
    );
}

#[test]
fn no_review_is_taken_back() {
    expect_none(
        reviews::deleted(),
        "entries stay, also when a change is reverted; bring them back, and add one about the revert",
    );
}

#[test]
fn the_public_api_changes_only_in_view() {
    let write = std::env::var_os("API").is_some_and(|value| value == "overwrite");
    expect_none(
        api::changed(write),
        "the public API is not as tests/api says; if that is meant, run \
         API=overwrite cargo test -p ophie-crypt-tests --test architecture public_api, and read what it changed there",
    );
}
