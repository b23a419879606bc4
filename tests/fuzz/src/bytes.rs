//! Reads choices out of an input, so that changing a byte changes one choice.
//!
//! Invariant: an input that is over reads as zeros; the first of each choice is what gets furthest.

pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    pub(crate) fn number(&mut self) -> usize {
        self.byte().into()
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.number() % from.len()]
    }

    /// As many as a first byte says.
    pub(crate) fn some(&mut self) -> &'a [u8] {
        let len = self.number();
        self.take(len)
    }

    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        front
    }
}
