//! Numbers that a seed repeats.

/// Xorshift, 64 bits.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % end
    }

    pub(super) fn of<T: Copy>(&mut self, values: &[T]) -> T {
        let at = self.below(values.len().try_into().unwrap());
        values[usize::try_from(at).unwrap()]
    }
}
