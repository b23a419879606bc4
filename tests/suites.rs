//! Says at the end of a plain `cargo test` what it did not run, and which command does.

#![allow(
    clippy::print_stdout,
    reason = "a message to whoever ran `cargo test` is all this does"
)]

/// The table of suites stands in the script only.
const RUN: &str = include_str!("run");

/// A plain `cargo test` runs all of this suite.
const COVERED: &str = "core";

fn main() {
    // Quiet under `tests/run`, which turns the feature on, and where a filter chose other tests.
    if cfg!(feature = "servers") || std::env::args().len() > 1 {
        return;
    }
    println!(
        "\nWithout servers, these were left out or ran in part; `tests/run` runs everything and starts what it needs:"
    );
    for line in table() {
        println!("  tests/run {line}");
    }
    println!();
}

/// The lines `NAME HELP` of the table, without the column of needs.
fn table() -> Vec<String> {
    let (_, rest) = RUN
        .split_once("\nSUITES='\n")
        .expect("tests/run begins its table with SUITES='");
    let (table, _) = rest
        .split_once("\n'\n")
        .expect("tests/run ends its table with '");
    table
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(' ')?;
            let (_, help) = rest.trim_start().split_once(' ')?;
            (name != COVERED).then(|| format!("{name:<12}{}", help.trim_start()))
        })
        .collect()
}
