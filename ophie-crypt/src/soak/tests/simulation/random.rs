//! Numbers that a seed repeats.

/// Xorshift, 64 bits.
#[derive(Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) const fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % end
    }

    pub(super) fn index(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap();
        self.below(end).try_into().unwrap()
    }

    pub(super) const fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    pub(super) fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.index(values.len())]
    }
}
