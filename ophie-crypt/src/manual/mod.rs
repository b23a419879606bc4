#![doc = include_str!("index.md")]

#[doc = include_str!("cloudtrail.md")]
pub mod cloudtrail {}

#[doc = include_str!("comparison.md")]
pub mod comparison {}

#[doc = include_str!("deletion.md")]
pub mod deletion {}

#[doc = include_str!("fingerprints.md")]
pub mod fingerprints {}

/// Which key protects which, where it lies, and how it ends.
///
// The drawing in the page itself, as rustdoc takes no files along.
#[doc = include_str!("keys.svg")]
///
#[doc = include_str!("keys.md")]
pub mod keys {}

/// How a column of plaintext becomes an encrypted one while the application runs, and the way back.
///
// The drawing in the page itself, as rustdoc takes no files along.
#[doc = include_str!("soak.svg")]
///
#[doc = include_str!("migrating.md")]
pub mod migrating {}

#[doc = include_str!("performance.md")]
pub mod performance {}

#[doc = include_str!("restore.md")]
pub mod restore {}

#[doc = include_str!("session.md")]
pub mod session {}

#[doc = include_str!("threats.md")]
pub mod threats {}

#[doc = include_str!("two_shares.md")]
pub mod two_shares {}
