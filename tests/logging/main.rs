//! What drivers log and hand to observers: statements, events, errors, at the most talkative setting of each. No
//! plaintext and no owner of ours is among it; what is no secret is, or these tests would see nothing.
//!
//! Absent: what servers log (`leaks`), `debug_query` (`diesel/paths/shown.rs`).

#[cfg(test)]
mod capture;
#[cfg(test)]
#[allow(unnameable_types, reason = "`table!` wants a public model")]
mod diesel;
#[cfg(test)]
mod sqlx;

/// What is sealed.
const CANARY: &str = "canary-4711-sealed";
/// The same, as it is fingerprinted.
const NORMALIZED: &str = "4711-sealed";
/// What stands beside it in the clear.
const PLAIN: &str = "plain-0815";
/// Whose it is.
const OWNER: i64 = 8_274_650_913;
