//! The command's reference, the README of its crate, against the command.

use std::{collections::BTreeSet, path::Path};

use crate::place::{Kind, Place};

fn reference() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ophie-crypt-cli/README.md");
    std::fs::read_to_string(path).unwrap()
}

/// Words that begin with `--`.
fn flags(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words
        .filter(|word| word.starts_with("--") && word.len() > 2 && !word.starts_with("---"))
        .map(str::to_owned)
        .collect()
}

/// Each subcommand, by its words, with the flags that its own help lists.
async fn commands(place: &Place) -> Vec<(Vec<String>, BTreeSet<String>)> {
    let mut found = Vec::new();
    let mut open = vec![Vec::<String>::new()];
    while let Some(words) = open.pop() {
        let mut arguments: Vec<_> = words.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = place.stock(&arguments).await.ends(0).out;
        if let Some((_, list)) = help.split_once("\nCommands:\n") {
            let names = list.lines().take_while(|line| !line.is_empty());
            let names = names.filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
            for name in names.filter(|name| *name != "help") {
                let mut words = words.clone();
                words.push(name.to_owned());
                open.push(words);
            }
        }
        let lines = help.lines().map(str::trim_start);
        let own = lines.filter(|line| line.starts_with('-'));
        let own = own
            .flat_map(|line| flags(line).into_iter().take(1))
            .filter(|flag| flag != "--help");
        found.push((words, own.collect()));
    }
    found
}

#[tokio::test]
async fn each_subcommand_and_flag_is_described_and_no_other() {
    let place = Place::empty(Kind::Sqlite).await;
    let reference = reference();
    let commands = commands(&place).await;
    assert!(commands.len() > 18, "{commands:?}");
    let mut all = BTreeSet::from(["--help".to_owned(), "--version".to_owned()]);
    let shared = commands
        .iter()
        .find(|(words, _)| words.is_empty())
        .unwrap()
        .1
        .clone();
    let (_, rest) = reference.split_once("\n# Configuration\n").unwrap();
    let (section, _) = rest.split_once("\n# ").unwrap();
    for flag in &shared {
        assert!(
            flags(section).contains(flag) || flag == "--version",
            "{flag} is not described"
        );
    }
    for (words, own) in &commands {
        all.extend(own.iter().cloned());
        if words.is_empty()
            || words
                .iter()
                .any(|word| ["keys", "audit", "restore", "index", "soak"].contains(&word.as_str()))
                && words.len() == 1
        {
            continue;
        }
        let head = format!("\n## `{}`\n", words.join(" "));
        let (_, rest) = reference
            .split_once(&head)
            .unwrap_or_else(|| panic!("the reference lacks {head}"));
        let section = rest
            .split("\n## ")
            .next()
            .unwrap()
            .split("\n# ")
            .next()
            .unwrap();
        let own: BTreeSet<_> = own.difference(&shared).cloned().collect();
        let said = flags(section.split("```").next().unwrap());
        let missing: Vec<_> = own.difference(&said).collect();
        assert!(missing.is_empty(), "{head} lacks {missing:?}");
    }
    let unknown: Vec<_> = flags(&reference)
        .into_iter()
        .filter(|flag| !all.contains(flag))
        .collect();
    // Of cargo's.
    let unknown: Vec<_> = unknown
        .iter()
        .filter(|flag| !["--path", "--bin"].contains(&flag.as_str()))
        .collect();
    assert!(
        unknown.is_empty(),
        "the reference names {unknown:?}, which there are not"
    );
}

#[tokio::test]
async fn documented_shapes_are_what_is_printed() {
    let place = Place::new(Kind::Sqlite).await;
    place.fill(7, 1).await;
    let installation = place.stock(&["status", "--json"]).await.json()["installation"]
        .as_str()
        .unwrap()
        .to_owned();
    let runs: [(&str, Vec<&str>); 13] = [
        ("migrate", vec![]),
        ("status", vec![]),
        ("keys list", vec![]),
        ("keys provision", vec!["--owner", "int:9", "--reason", "x"]),
        ("keys rotate", vec!["--owner", "int:7", "--reason", "x"]),
        ("keys rewrap", vec!["--owner", "int:7", "--reason", "x"]),
        ("audit tail", vec![]),
        ("audit verify", vec![]),
        (
            "index plan",
            vec!["notes", "plain", "--owner-column", "owner"],
        ),
        ("doctor", vec![]),
        ("report", vec![]),
        (
            "keys shred",
            vec!["--owner", "int:9", "--yes-shred", "int:9"],
        ),
        ("sweep", vec![]),
    ];
    let restore = (
        "restore replay",
        vec!["--yes-restore", installation.as_str()],
    );
    let destroy = (
        "keys destroy",
        vec![
            "--owner",
            "int:7",
            "--yes-destroy",
            "int:7",
            "--reason",
            "x",
        ],
    );
    let adopt = (
        "restore adopt",
        vec!["--yes-restore", installation.as_str()],
    );
    for (command, more) in runs.into_iter().chain([restore, adopt, destroy]) {
        let words: Vec<_> = command.split(' ').chain(more).chain(["--json"]).collect();
        let printed = place.run(&words).await.json();
        is_documented(command, &printed);
    }
}

/// That the reference shows this shape under this command.
pub(crate) fn is_documented(command: &str, printed: &serde_json::Value) {
    let reference = reference();
    let head = format!("\n## `{command}`\n");
    let (_, section) = reference
        .split_once(&head)
        .unwrap_or_else(|| panic!("no {head}"));
    let (_, block) = section.split_once("```json\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let documented: serde_json::Value =
        serde_json::from_str(block).unwrap_or_else(|error| panic!("{command}: {error}"));
    assert_eq!(shape(printed), shape(&documented), "{command}: {printed}");
}

/// Names of fields, at every depth; of a list, those of its first entry, or nothing of an empty one.
fn shape(value: &serde_json::Value) -> Vec<String> {
    let mut names = Vec::new();
    if let Some(fields) = value.as_object() {
        names.extend(fields.keys().cloned());
        names.sort();
    }
    names
}
