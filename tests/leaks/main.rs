//! Plaintexts and keys are planted, driven through the whole library, and searched for in a dump of the database,
//! in the server's log at its most talkative, in this process's log at TRACE, and in every error and `Debug`
//! text on the way: none of them may be there. On MariaDB the files of the tables are searched as well.
//!
//! Controls: what must be in those places (a plain column, an envelope, statements) is searched for by the same
//! function, so that a search that finds nothing means something.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "a test: what goes wrong here is seen"
)]

mod mariadb;
mod postgres;
mod search;
mod texts;
