//! What works on every database, by theme. Each file is compiled once for each.

mod both;
mod indexes;
mod insert;
#[allow(
    dead_code,
    unnameable_types,
    reason = "rows have more columns than each test looks at; `table!` wants public models"
)]
pub(crate) mod models;
mod query;
mod refused;
mod sessions;
mod shown;
mod update;
pub(crate) mod world;
