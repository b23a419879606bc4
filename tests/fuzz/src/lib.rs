//! Targets for fuzzing: what each makes of bytes that nobody meant for it.
//!
//! Invariant: a target is one function of bytes, the same under `cargo test` and under libFuzzer (`libfuzzer/`), and
//! asserts more than that nothing panics: its module says what. Absent: when they run (`fuzz.rs`).

// The command's file has unit tests, which run in the command.
#![cfg(not(any(test, doctest)))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "a test: what goes wrong here is seen"
)]

mod arguments;
mod bytes;
#[allow(
    dead_code,
    clippy::missing_errors_doc,
    reason = "the command uses the rest"
)]
#[path = "../../../ophie-crypt-cli/src/config.rs"]
mod config;
mod engine;
mod forge;
mod golden;
mod targets;
mod world;

pub use self::engine::smoke;

/// Something to give bytes to.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Target {
    /// Its name, and that of its folder of crashes.
    pub name: &'static str,
    /// Panics if what it guards does not hold for these bytes.
    pub run: fn(&[u8]),
    /// Bytes that get far, to be changed.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many changed inputs a short run tries.
    pub inputs: usize,
}

macro_rules! targets {
    ($($name:ident: $inputs:literal;)+) => {
        /// All of them.
        pub const TARGETS: &[Target] = &[$(Target {
            name: stringify!($name),
            run: targets::$name::run,
            seeds: targets::$name::seeds,
            inputs: $inputs,
        }),+];
    };
}

targets! {
    codecs: 20_000;
    configuration: 15_000;
    differential: 2_000;
    envelope: 8_000;
    kms: 1_200;
    ledger: 1_500;
    local_key: 1_500;
    normalisers: 2_000;
    pae: 1_300;
    pinecone: 500;
    sidecar: 8_000;
}

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Target {
    let found = TARGETS.iter().find(|target| target.name == name);
    *found.unwrap_or_else(|| {
        let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        panic!("no target '{name}'; there are: {}", names.join(" "))
    })
}
