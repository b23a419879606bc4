//! The short run: crashes of the past, seeds, and seeds changed at random.
//!
//! Invariant: an input that fails is kept in a file before the test ends. Absent: coverage, which the long run has.

use std::{fs, panic, path::Path};

use crate::Target;

/// Runs a target over its crashes, its seeds and as many changed seeds as it asks for; an input that fails goes to the
/// folder `kept`.
pub fn smoke(target: Target, kept: &Path) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("crashes")
        .join(target.name);
    let files = fs::read_dir(folder).into_iter().flatten();
    for file in files {
        check(target, &fs::read(file.unwrap().path()).unwrap(), kept);
    }
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{} has no seeds", target.name);
    for seed in &seeds {
        check(target, seed, kept);
    }
    let mut random = Random::new();
    for _ in 0..target.inputs {
        check(target, &random.changed(&seeds), kept);
    }
}

fn check(target: Target, input: &[u8], kept: &Path) {
    let Err(panic) = panic::catch_unwind(|| (target.run)(input)) else {
        return;
    };
    let path = kept.join(format!("crash-{}", target.name));
    fs::write(&path, input).unwrap();
    let name = target.name;
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
    panic!(
        "{}; the input is {}: mend what it shows, and keep it in tests/fuzz/crashes/{name}",
        said.unwrap_or("a panic"),
        path.display()
    );
}

/// SplitMix64, from a new seed each run: a failing input is kept, so nothing has to be run again to see it.
pub(crate) struct Random(u64);

impl Random {
    fn new() -> Self {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).unwrap();
        Self(u64::from_ne_bytes(seed))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap();
        usize::try_from(self.next() % end).unwrap()
    }

    fn byte(&mut self) -> u8 {
        const TELLING: [u8; 12] = [
            0, 1, b'\n', b' ', b'"', b'0', 0x7F, 0x80, 0xFA, 0xFB, 0xFD, 0xFF,
        ];
        match self.below(3) {
            0 => TELLING[self.below(TELLING.len())],
            _ => self.next().to_le_bytes()[0],
        }
    }

    /// A part of the bytes, mostly a short one.
    fn part(&mut self, len: usize) -> core::ops::Range<usize> {
        let start = self.below(len + 1);
        let most = if self.below(4) == 0 { len } else { 9 };
        start..(start + self.below(most)).min(len)
    }

    fn changed(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(4) {
            self.change(&mut input, seeds);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(input.len());
        let part = self.part(input.len());
        match self.below(9) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            1 | 2 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = self.byte();
                }
            }
            3 => {
                let step = self.byte() % 4;
                if let Some(byte) = input.get_mut(at) {
                    *byte = byte.wrapping_add(step).wrapping_sub(2);
                }
            }
            4 => drop(input.drain(part)),
            5 => {
                let new: Vec<_> = (0..self.below(6)).map(|_| self.byte()).collect();
                drop(input.splice(at..at, new));
            }
            6 => {
                let again = input[part].to_vec();
                drop(input.splice(at..at, again));
            }
            7 => {
                let other = &seeds[self.below(seeds.len())];
                let part_of_other = self.part(other.len());
                drop(input.splice(part, other[part_of_other].iter().copied()));
            }
            _ => input.truncate(at),
        }
    }
}
