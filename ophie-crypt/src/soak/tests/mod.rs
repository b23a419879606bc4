//! Watch, hooks and jobs over tables in memory: one that takes any row, also such as no trigger lets through (`table`), and one
//! with triggers, locks and transactions (`simulation`).
//!
//! Absent: SQL, which the suite `soak` has.

mod guard;
mod model;
mod rows;
mod script;
mod sessions;
#[allow(
    clippy::print_stderr,
    clippy::unwrap_in_result,
    reason = "a test: what goes wrong here is seen, and a long run says how much it was"
)]
mod simulation;
mod steps;
mod survivors;
mod table;
mod values;
mod words;

use super::SoakState;

pub(super) use self::{
    model::{NAME, NOTE},
    table::{Said, Table},
};
