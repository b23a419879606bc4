//! Random interleavings of a soak in memory, against a plain map: writers old and new, several tools, heartbeats, time that
//! passes, crashes, partitions and suspensions, shreds; everyone lets others go first before and after each statement.
//!
//! The jobs, watches, sessions and hooks are the library's. The table is one in memory, whose triggers are a reference that
//! the real ones are compared with, shape by shape; what statements and locks do is told anew after the library's SQL, and is
//! tried on real databases by the suite `soak`.
//!
//! Invariant: what any live process reads is what was written last; of the states that live there are two at most, and
//! these are adjacent. A seed that failed is named; with `OPHIE_CRYPT_TEST_SIMULATION` it runs alone, and
//! `OPHIE_CRYPT_TEST_SIMULATIONS` says how many there are. Absent: SQL.

mod barrier;
mod beginning;
mod check;
mod controls;
mod database;
mod fault;
mod happenings;
mod jobs;
mod keys;
mod model;
mod operator;
mod passed;
mod process;
mod protections;
mod random;
mod steps;
mod store;
mod turns;
mod world;
mod writers;

use std::collections::BTreeMap;

use self::{fault::Fault, keys::Keys, protections::Without, turns::TURNS};
use super::super::SoakState;

/// Unless something else is said.
const SIMULATIONS: u64 = 500;
/// As many have one set of keys.
const TOGETHER: u64 = 250;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Of these seeds, what fails first; and what was seen how often.
fn simulate(
    seeds: core::ops::Range<u64>,
    state: Option<SoakState>,
    without: Without,
) -> (Option<(u64, Fault)>, BTreeMap<String, u64>) {
    let mut seen = BTreeMap::<String, u64>::new();
    let mut next = seeds.start;
    while next < seeds.end {
        let end = seeds.end.min(next + TOGETHER);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        let failed = runtime.unwrap().block_on(async {
            let base = Keys::new().await;
            for seed in next..end {
                let (done, counts) = turns::run(&base, seed, state, without).await;
                for (what, count) in counts.0 {
                    *seen.entry(what).or_default() += count;
                }
                if let Err(fault) = done {
                    return Some((seed, fault));
                }
            }
            None
        });
        if failed.is_some() {
            return (failed, seen);
        }
        next = end;
    }
    (None, seen)
}

#[test]
fn every_promise_holds_in_every_interleaving() {
    let count = number("OPHIE_CRYPT_TEST_SIMULATIONS").unwrap_or(SIMULATIONS);
    let seeds = match number("OPHIE_CRYPT_TEST_SIMULATION") {
        Some(seed) => seed..seed + 1,
        None => {
            let first = number("OPHIE_CRYPT_TEST_SIMULATED").unwrap_or_default() + 1;
            first..first + count
        }
    };
    let all = seeds.end - seeds.start;
    let (failed, seen) = simulate(seeds, None, Without::default());
    if let Some((seed, fault)) = failed {
        panic!("seed {seed}: {fault}");
    }
    if all >= SIMULATIONS {
        for state in SoakState::ALL {
            assert!(seen.contains_key(state.as_str()), "{state}: {seen:?}");
        }
    }
    if all > SIMULATIONS {
        eprintln!("{all} interleavings of {TURNS} turns: {seen:?}");
    }
}
