//! Watch, hooks and jobs over a table in memory.
//!
//! Absent: SQL and triggers, which the suite `soak` has.

mod model;
mod rows;
mod script;
mod steps;
mod survivors;
mod table;
mod values;
mod words;

pub(super) use self::{
    model::{NAME, NOTE},
    table::{Said, Table},
};
