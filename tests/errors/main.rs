//! Each error of a hook, made by a real query and found again, typed, inside the ORM's error.
//!
//! Which errors there are is read from the core's source, so that a new variant without a case fails here.
//! Absent: what the drivers of PostgreSQL and MariaDB do with an error on its way, which is theirs to pass on
//! (`sqlx/`, `diesel/`).

#[cfg(test)]
#[allow(
    unnameable_types,
    unreachable_pub,
    reason = "`table!` wants a public model"
)]
mod diesel;
#[cfg(test)]
mod labels;
#[cfg(test)]
#[path = "../../ophie-crypt/src/passed_on.rs"]
mod passed_on;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod sqlx;
#[cfg(test)]
#[allow(unnameable_types, unreachable_pub, reason = "part of a public model")]
mod value;
