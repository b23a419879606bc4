//! The tool that moves a column, from state to state.
//!
//! Invariant: a step waits for its gates, and a job is told what to do next by the database alone, so that it may be killed
//! anywhere and begun again anywhere. Absent: SQL (`store`), gates (`gates`), what is done with rows (`backfill`,
//! `verify`, `jobs`).

use core::{
    fmt,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};
use std::sync::Arc;

use tokio::{task::yield_now, time::sleep};

use super::{
    Gate, Heartbeat, SoakColumn, SoakJobError, SoakMigration, SoakRow, SoakState, SoakStore,
    admission::admission, deaths::Deaths, lag::Lag,
};
use crate::{column::ColumnRef, keyring::Keyring};

/// Moves columns from plaintext to ciphertext, and back.
///
/// Every job goes on where the last one stopped, whoever ran it: it may be killed. Several processes may run the backfill
/// of one column.
///
/// ```no_run
/// use ophie_crypt::{Keyring, soak::{SoakState, SoakStore, Soaker}};
///
/// # async fn example(keyring: Keyring, models: impl SoakStore) -> Result<(), Box<dyn std::error::Error>> {
/// let soaker = Soaker::new(&keyring, models);
/// soaker.expand("people", "name_ct").await?;
/// // deploy the release whose field is a `Soak`, then:
/// soaker.step("people", "name_ct", SoakState::DualWrite).await?;
/// soaker.step("people", "name_ct", SoakState::Backfill).await?;
/// let done = soaker.backfill("people", "name_ct").await?;
/// println!("{} rows sealed, {} left", done.written, done.pending);
/// # Ok(()) }
/// ```
///
/// # Security
///
/// Its role owns the tables, and its process holds keys of many owners.
#[derive(Clone)]
pub struct Soaker {
    pub(super) keyring: Keyring,
    pub(super) store: Arc<dyn SoakStore>,
    pub(super) batch: u32,
    pub(super) workers: u32,
    pub(super) pause: Duration,
    max_lag: Option<Duration>,
    lag: Arc<Lag>,
    pub(super) provisions: bool,
    stop: SoakStop,
    watch: Option<Watch>,
    pub(super) deaths: Arc<Deaths>,
}

/// Hears of batches.
type Watch = Arc<dyn Fn(&SoakProgress) + Send + Sync>;

/// Stops jobs between two batches.
///
/// ```
/// let stop = ophie_crypt::soak::SoakStop::default();
/// stop.stop();
/// assert!(stop.is_stopped());
/// ```
#[derive(Clone, Debug, Default)]
pub struct SoakStop(Arc<AtomicBool>);

impl SoakStop {
    /// From now on.
    pub fn stop(&self) {
        self.0.store(true, Relaxed);
    }

    /// Whether it was said.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// How far a job is, for a progress bar: after each batch.
///
/// ```
/// let progress = ophie_crypt::soak::SoakProgress::default();
/// assert_eq!((progress.done, progress.total), (0, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SoakProgress {
    /// Rows that it is done with.
    pub done: u64,
    /// Rows that there were when it began.
    pub total: u64,
}

/// How far a column is, and who knows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SoakStatus {
    /// What the database says.
    pub row: SoakRow,
    /// Processes, also those that live no longer.
    pub heartbeats: Vec<Heartbeat>,
}

impl Soaker {
    /// Over the application's tables.
    #[must_use]
    pub fn new(keyring: &Keyring, store: impl SoakStore) -> Self {
        Self {
            keyring: keyring.clone(),
            store: Arc::new(store),
            batch: 500,
            workers: 1,
            pause: Duration::from_millis(5),
            max_lag: None,
            lag: Arc::default(),
            provisions: true,
            stop: SoakStop::default(),
            watch: None,
            deaths: Arc::default(),
        }
    }

    /// How many rows one transaction takes: 500 by default.
    #[must_use]
    pub fn batch(mut self, rows: u32) -> Self {
        self.batch = rows.clamp(1, 5_000);
        self
    }

    /// How many transactions of a backfill are under way at a time: 1 by default, 16 at most, and 1 on SQLite, which has one
    /// writer. Each has a connection: while the database writes what one has sealed, the next one seals. Beside them, up to
    /// eight owners' keys are fetched at a time. Rows that a first pass has left are met again by each of them for itself,
    /// where MariaDB has them wait for one another.
    #[must_use]
    pub fn workers(mut self, count: u32) -> Self {
        self.workers = count.clamp(1, 16);
        self
    }

    /// How long jobs rest between two batches, each worker by itself: 5 milliseconds by default.
    #[must_use]
    pub const fn pause(mut self, time: Duration) -> Self {
        self.pause = time;
        self
    }

    /// Has jobs wait between two batches while the slowest replica is further behind than this. The database is asked once a
    /// second at most; without an answer they go on. By default they do not ask.
    ///
    /// PostgreSQL knows it (`replay_lag` in `pg_stat_replication`, whose rows are empty to a role without `pg_monitor`); the
    /// other databases do not.
    #[must_use]
    pub const fn max_lag(mut self, time: Duration) -> Self {
        self.max_lag = Some(time);
        self
    }

    /// How long the jobs of this tool and of its clones have waited for replicas.
    #[must_use]
    pub fn waited_for_replicas(&self) -> Duration {
        self.lag.waited()
    }

    /// Passes over rows of owners who have no keys, instead of provisioning these.
    #[must_use]
    pub const fn without_provisioning(mut self) -> Self {
        self.provisions = false;
        self
    }

    /// Hears of every batch.
    #[must_use]
    pub fn watch(mut self, watch: impl Fn(&SoakProgress) + Send + Sync + 'static) -> Self {
        self.watch = Some(Arc::new(watch));
        self
    }

    /// What stops the jobs of this tool and of its clones.
    #[must_use]
    pub fn stop_handle(&self) -> SoakStop {
        self.stop.clone()
    }

    /// Adds the encrypted column, its fingerprints, its CHECK and the guard: from `Plain` to `Expand`.
    ///
    /// On PostgreSQL, the plaintext column takes NULL from then on; on the others it must before. It is not made `NOT NULL`
    /// again by a way back.
    ///
    /// # Errors
    ///
    /// [`SoakJobError`]; [`SoakJobError::Interrupted`] if another tool did meanwhile.
    pub async fn expand(&self, table: &str, column: &str) -> Result<(), SoakJobError> {
        let soak = self.of_model(table, column)?;
        match self.row(&soak.column()).await? {
            None => {}
            Some(row) if row.state == SoakState::Plain => {}
            Some(row) => return Err(not_now(&soak.column(), &row)),
        }
        done(self.store.expand(&soak).await?)
    }

    /// The same as SQL, and what takes it back, for people who have all changes of their tables in migrations. See
    /// [`SoakMigration`].
    ///
    /// # Errors
    ///
    /// [`SoakJobError`]; [`SoakJobError::NotNow`] if the soak is further.
    pub async fn expansion(
        &self,
        table: &str,
        column: &str,
    ) -> Result<SoakMigration, SoakJobError> {
        let soak = self.of_model(table, column)?;
        match self.row(&soak.column()).await? {
            Some(row) if row.state > SoakState::Expand => Err(not_now(&soak.column(), &row)),
            _ => Ok(self.store.expansion(&soak).await?),
        }
    }

    /// How far a column is.
    ///
    /// # Errors
    ///
    /// [`SoakJobError`].
    pub async fn status(&self, table: &str, column: &str) -> Result<SoakStatus, SoakJobError> {
        let (soak, row) = self.known(table, column).await?;
        let heartbeats = self.store.heartbeats(&soak.column()).await?;
        Ok(SoakStatus { row, heartbeats })
    }

    /// What must hold before a step and does not. A process whose heartbeat has expired by the database's clock, and which
    /// would stand in the way, is watched first for the 30 seconds that one lives, as clocks go ahead; a tool that was
    /// [stopped](Self::stop_handle) counts it among the living instead.
    ///
    /// # Errors
    ///
    /// [`SoakJobError`]; [`SoakJobError::NotNow`] if there is no such step.
    pub async fn unmet(
        &self,
        table: &str,
        column: &str,
        to: SoakState,
    ) -> Result<Vec<Gate>, SoakJobError> {
        let (soak, row) = self.known(table, column).await?;
        self.unmet_of(&soak, &row, to).await
    }

    /// Steps to the next state, or back to the one before, once what must hold does: see [`unmet`](Self::unmet).
    ///
    /// From `Retired` to `Dropped`, it is [`drop_twin`](Self::drop_twin); from `Plain`, [`expand`](Self::expand). To `Plain`,
    /// it empties the encrypted column and its fingerprints: in batches, and what is left while the table is locked.
    ///
    /// # Errors
    ///
    /// [`SoakJobError`]; [`SoakJobError::Gates`] names what does not hold.
    pub async fn step(&self, table: &str, column: &str, to: SoakState) -> Result<(), SoakJobError> {
        let (soak, row) = self.known(table, column).await?;
        if matches!(to, SoakState::Dropped) || matches!(row.state, SoakState::Plain) {
            return Err(not_now(&soak.column(), &row));
        }
        self.check_gates(&soak, &row, to).await?;
        if to == SoakState::Plain {
            self.empty_sealed(&soak).await?;
        }
        done(self.store.step(&soak, &row, to).await?)
    }

    /// Admits binaries that know nothing of the soak, as it does from the beginning, or admits them no longer: from then
    /// on, the guard refuses plaintext without ciphertext wherever a release writes both. Stop them first.
    ///
    /// Back from `Retired`, they are admitted once every row has its plaintext again, and a verify found it right: to them
    /// the others are NULL, and to set one to NULL would change nothing that the guard sees.
    ///
    /// # Errors
    ///
    /// [`SoakJobError`].
    pub async fn admit_old_binaries(
        &self,
        table: &str,
        column: &str,
        admit: bool,
    ) -> Result<(), SoakJobError> {
        let (soak, row) = self.known(table, column).await?;
        if row.state >= SoakState::Retired {
            return Err(not_now(&soak.column(), &row));
        }
        if admit == row.admits_old {
            return Ok(());
        }
        if admit {
            let gates = admission(row.state);
            self.check(&soak, &row, row.state, gates).await?;
        }
        done(self.store.admit_old(&soak, &row, admit).await?)
    }

    pub(super) fn tell(&self, done: u64, total: u64) {
        if let Some(watch) = &self.watch {
            watch(&SoakProgress { done, total });
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_stopped()
    }

    pub(super) const fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    /// Between two batches. A timer would make a millisecond of no pause.
    pub(super) async fn rest(&self) {
        if let Some(most) = self.max_lag {
            self.lag.wait(most, &self.stop, || self.store.lag()).await;
        }
        if self.pause.is_zero() {
            yield_now().await;
        } else {
            sleep(self.pause).await;
        }
    }

    /// A column whose model says that it soaks.
    fn of_model(&self, table: &str, column: &str) -> Result<SoakColumn, SoakJobError> {
        let found = SoakColumn::of(self.store.models(), table, column);
        found.ok_or_else(|| unknown(table, column))
    }

    /// A column of a model that the database knows, whether or not the model still says so.
    pub(super) async fn known(
        &self,
        table: &str,
        column: &str,
    ) -> Result<(SoakColumn, SoakRow), SoakJobError> {
        let rows = self.store.soaks().await?;
        let row = rows
            .into_iter()
            .find(|row| row.table == table && row.column == column)
            .ok_or_else(|| unknown(table, column))?;
        let models = self.store.models();
        let soak = SoakColumn::of(models, table, column)
            .or_else(|| SoakColumn::without_attribute(models, table, column, &row.twin))
            .ok_or_else(|| unknown(table, column))?;
        Ok((soak, row))
    }

    async fn row(&self, column: &ColumnRef) -> Result<Option<SoakRow>, SoakJobError> {
        let rows = self.store.soaks().await?;
        Ok(rows.into_iter().find(|row| row.is_of(column)))
    }
}

pub(super) fn not_now(column: &ColumnRef, row: &SoakRow) -> SoakJobError {
    SoakJobError::NotNow {
        column: *column,
        state: row.state,
    }
}

const fn done(done: bool) -> Result<(), SoakJobError> {
    if done {
        Ok(())
    } else {
        Err(SoakJobError::Interrupted)
    }
}

fn unknown(table: &str, column: &str) -> SoakJobError {
    SoakJobError::Unknown {
        table: table.to_owned(),
        column: column.to_owned(),
    }
}

impl fmt::Debug for Soaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Soaker")
            .field("batch", &self.batch)
            .field("pause", &self.pause)
            .finish_non_exhaustive()
    }
}
