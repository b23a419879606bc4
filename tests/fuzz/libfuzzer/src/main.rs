//! One target under libFuzzer: the one that `OPHIE_CRYPT_FUZZ` names. `../long` builds and starts it.
//!
//! Absent: the targets (`ophie_crypt_fuzz_tests`).

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use ophie_crypt_fuzz_tests::{Target, target};

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(
    init: {
        let chosen = target(&std::env::var("OPHIE_CRYPT_FUZZ").expect("a target's name"));
        let seeds = std::env::var("OPHIE_CRYPT_FUZZ_SEEDS").expect("a folder for seeds");
        for (n, seed) in (chosen.seeds)().iter().enumerate() {
            std::fs::write(format!("{seeds}/seed-{n:04}"), seed).expect("a seed is written");
        }
        TARGET.set(chosen).expect("it starts once");
    },
    |input: &[u8]| {
        (TARGET.get().expect("it has started").run)(input);
    }
);
