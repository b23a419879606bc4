//! Sessions, keys, budgets and soaks of ophie-crypt under every interleaving of a few threads.
//!
//! Invariant: what is tried out are the library's own files, word for word. What they import from elsewhere in
//! it is replaced: the standard library's locks by loom's, keys by ones that show whether they were wiped.
//! Absent: the executor that runs fetches, tokio's channels (`models` stands in for them), the clock.

// The library's files have unit tests and examples, which run in the library (`cargo test --doc` runs also what `doctest = false` says not to).
#![cfg(not(any(test, doctest)))]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::missing_panics_doc,
    clippy::print_stdout,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "tests: what goes wrong here is seen"
)]

pub mod models;
#[allow(dead_code, reason = "what the library's files name, they need")]
mod stand_ins;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use stand_ins::{clock, column, error, hazmat, keyring, owner, soak, store, sync, value};

macro_rules! of_the_library {
    ($($name:ident = $path:literal;)*) => {$(
        #[path = $path]
        #[allow(dead_code, unreachable_pub, reason = "the models do not use all of it")]
        mod $name;
    )*};
}

of_the_library! {
    budget = "../../../ophie-crypt/src/budget.rs";
    flight = "../../../ophie-crypt/src/keyring/flight.rs";
    held = "../../../ophie-crypt/src/held.rs";
    known = "../../../ophie-crypt/src/soak/known.rs";
    owners = "../../../ophie-crypt/src/keyring/owners.rs";
    session = "../../../ophie-crypt/src/session.rs";
}

/// Runs a model under every interleaving in which threads are preempted at most `preemptions` times, and
/// says how many those were.
///
/// # Panics
///
/// If the model fails in one of them; or if there were so few that its threads cannot have met.
pub fn check(name: &str, preemptions: usize, model: fn()) {
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&runs);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        counter.fetch_add(1, Relaxed);
        model();
    });
    let runs = runs.load(Relaxed);
    println!("{name}: {runs} interleavings");
    assert!(runs >= 10, "only {runs} interleavings of {name}");
}
