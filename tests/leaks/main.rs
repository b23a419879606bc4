//! Plaintexts and keys are planted, driven through the whole library with both ORMs on each database, and searched for in
//! dumps, in the files of the server, in its logs at their most talkative, in this process's log at TRACE, in what is
//! counted, and in every error, panic and `Debug` text on the way: none of them may be there.
//!
//! Controls: what must be in those places (a plain column, an envelope, statements) is searched for by the same
//! function, so that a search that finds nothing means something. Absent: the command (`cli`), memory and core dumps
//! (`memory`), the examples' files (`tests/run quickstart`).

#![allow(
    clippy::arithmetic_side_effects,
    clippy::duplicate_mod,
    clippy::indexing_slicing,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "a test: what goes wrong here is seen; the same life on each database"
)]

#[cfg(test)]
mod debug;
#[cfg(test)]
#[allow(
    unnameable_types,
    unreachable_pub,
    reason = "`table!` wants a public model"
)]
mod diesel;
#[cfg(test)]
mod mariadb;
#[cfg(test)]
#[path = "../../ophie-crypt/src/passed_on.rs"]
mod passed_on;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod search;
#[cfg(test)]
mod sqlite;
#[cfg(test)]
mod texts;
