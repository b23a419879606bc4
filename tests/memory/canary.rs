//! The plaintexts that are searched for: 32 letters that occur nowhere else, made from a number.

/// Made letter by letter: formatting would leave its pieces elsewhere.
pub(crate) fn canary(number: u64) -> String {
    let mut state = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut text = String::with_capacity(32);
    for _ in 0..32 {
        // xorshift64, Marsaglia 2003
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let letter = u8::try_from(state % 26).unwrap_or(0);
        text.push(char::from(b'a'.saturating_add(letter)));
    }
    text
}
