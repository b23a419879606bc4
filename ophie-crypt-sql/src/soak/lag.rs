//! How far replicas are behind.
//!
//! Invariant: it is asked of the primary, which changes nothing. Absent: who waits for them (the core).

use core::time::Duration;

use ophie_crypt::ModelError;

use crate::{
    Cells, Dialect, Driver, Failure, Record, Statement,
    models::{ModelTables, error},
    run::read,
};

/// NULL of a replica that has applied everything, and of all of them to a role that may not look. One that stands still ages
/// with each of its answers, ten seconds apart; one that is cut off is not there.
const BEHIND: &str = "SELECT CAST(extract(epoch FROM max(replay_lag)) * 1000000 AS bigint) AS micros \
                      FROM pg_catalog.pg_stat_replication";

impl<D: Driver> ModelTables<D> {
    /// See [`SoakStore::lag`](ophie_crypt::soak::SoakStore::lag).
    ///
    /// # Errors
    ///
    /// [`ModelError`].
    pub async fn lag(&self) -> Result<Option<Duration>, ModelError> {
        if D::DIALECT != Dialect::Postgres {
            return Ok(None); // neither a primary of MariaDB's nor a file knows of any
        }
        let statement = Statement::new(D::DIALECT, BEHIND);
        let rows: Vec<Behind> = read(&self.driver, statement).await.map_err(error)?;
        Ok(rows.into_iter().next().and_then(|row| row.0))
    }
}

struct Behind(Option<Duration>);

impl Record for Behind {
    fn read(cells: &dyn Cells) -> Result<Self, Failure> {
        let micros = cells.int("micros")?.map(u64::try_from);
        Ok(Self(
            micros.map(|micros| Duration::from_micros(micros.unwrap_or(0))),
        ))
    }
}
