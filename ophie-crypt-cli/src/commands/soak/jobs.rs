//! What is done with rows: sealed, compared, emptied, and given their plaintext back.
//!
//! Invariant: the audit is closed however a job ends, and a job that was stopped says what is left. Absent: the jobs
//! themselves (`ophie_crypt::soak`).

use core::time::Duration;

use ophie_crypt::{
    Keyring,
    soak::{Gate, Rows, SoakJobError, SoakState, Soaker},
};
use serde_json::json;

use super::{Column, Told, column::stops, no_step, step, unmet, unmet_of};
use crate::{
    arguments::{At, Batches, Unwraps},
    error::Error,
    output::{Progress, Report},
    world::{Unlocked, World},
};

/// So many wrong rows are named for people.
const NAMED: usize = 20;

/// How rows are worked on.
pub(super) struct Job {
    batch: u32,
    workers: u32,
    pause: Duration,
    max_lag: Option<u64>,
    wait: bool,
    dry_run: bool,
    pub(super) reason: Option<String>,
}

impl Job {
    pub(super) fn new(batches: &Batches, wait: bool, unwraps: Unwraps) -> Self {
        Self {
            reason: unwraps.reason,
            ..Self::without_keys(batches, wait, unwraps.dry_run)
        }
    }

    pub(super) const fn without_keys(batches: &Batches, wait: bool, dry_run: bool) -> Self {
        Self {
            batch: batches.batch,
            workers: 1,
            pause: Duration::from_millis(batches.pause_ms),
            max_lag: batches.max_lag_ms,
            wait,
            dry_run,
            reason: None,
        }
    }

    pub(super) fn with(self, workers: u32) -> Self {
        Self { workers, ..self }
    }

    /// What works, stops between two batches when that is asked for, and shows how far it is.
    fn soaker(
        &self,
        world: &World,
        column: &Column,
        keyring: Option<&Keyring>,
        bar: &Progress,
    ) -> Result<Soaker, Error> {
        let soaker = match keyring {
            Some(keyring) => Soaker::new(keyring, column.store.clone()),
            None => column.looker()?,
        };
        stops(world, &soaker);
        Ok(self.set_up(soaker, bar))
    }

    /// In batches, whose progress shows on this bar.
    fn set_up(&self, soaker: Soaker, bar: &Progress) -> Soaker {
        let shown = bar.handle();
        let mut soaker = soaker.batch(self.batch).workers(self.workers);
        soaker = soaker.pause(self.pause);
        if let Some(millis) = self.max_lag {
            soaker = soaker.max_lag(Duration::from_millis(millis));
        }
        soaker.watch(move |progress| shown.at(progress.done, progress.total))
    }

    async fn unlock(&self, world: &World) -> Result<Unlocked, Error> {
        let keys = world.keys().await?;
        world.unlock(&keys, self.reason.as_deref()).await
    }
}

pub(super) async fn backfill(
    world: &World,
    at: &At,
    job: &Job,
    without_provisioning: bool,
) -> Result<Report, Error> {
    let mut column = Column::find(world, &at.column).await?;
    let mut told = Told::of_job(&column, job.dry_run);
    let to = (SoakState::Backfill, "backfill");
    let begins = !column.state().is_filled();
    let there = !begins || step(world, &mut column, to, job.wait, &mut told).await?;
    if job.dry_run || !there {
        told.left = Some(column.count(Rows::Pending).await?);
        return Ok(told.report(&column));
    }
    let unlocked = job.unlock(world).await?;
    let bar = world.output.progress("sealing", Some(0));
    let mut soaker = job.soaker(world, &column, Some(&unlocked.keyring), &bar)?;
    if without_provisioning {
        soaker = soaker.without_provisioning();
    }
    let filled = soaker.backfill(column.table(), column.name()).await;
    told.waited(&soaker);
    drop((bar, soaker));
    unlocked.close().await;
    let filled = filled?;
    (told.done, told.left) = (Some(filled.written), Some(filled.pending));
    told.interrupted = filled.stopped;
    told.line(format!(
        "{} rows sealed, {} pending",
        filled.written, filled.pending
    ));
    if filled.pending > 0 && !filled.stopped {
        told.line("their owners have no keys or were shredded, or others hold them or write them without ciphertext");
    }
    Ok(told.report(&column))
}

pub(super) async fn verify(world: &World, at: &At, job: &Job) -> Result<Report, Error> {
    let mut column = Column::find(world, &at.column).await?;
    let mut told = Told::of_job(&column, job.dry_run);
    told.more("wrong_rows", json!(0));
    told.more("wrong", json!([]));
    if column.state() == SoakState::Backfill {
        let to = (SoakState::Verify, "verify");
        if !step(world, &mut column, to, job.wait, &mut told).await? {
            return Ok(told.report(&column));
        }
    }
    if !column.state().is_filled() {
        return Err(no_step(&column, "verify"));
    }
    if job.dry_run {
        told.left = Some(column.count(Rows::All).await?);
        return Ok(told.report(&column));
    }
    let unlocked = job.unlock(world).await?;
    let bar = world.output.progress("comparing", Some(0));
    let soaker = job.soaker(world, &column, Some(&unlocked.keyring), &bar)?;
    let verified = soaker.verify(column.table(), column.name()).await;
    told.waited(&soaker);
    drop((bar, soaker));
    unlocked.close().await;
    let verified = verified?;
    told.done = Some(verified.rows);
    told.interrupted = !verified.complete;
    told.findings = verified.wrong_rows > 0;
    told.line(format!(
        "{} rows, {} of them pending, {} wrong",
        verified.rows, verified.pending, verified.wrong_rows
    ));
    for wrong in verified.wrong.iter().take(NAMED) {
        told.line(format!("  {wrong}"));
    }
    let wrong = verified.wrong.iter();
    let wrong: Vec<_> = wrong
        .map(|row| json!({"key": row.key, "wrong": row.wrong.to_string()}))
        .collect();
    told.more("wrong_rows", json!(verified.wrong_rows));
    told.more("wrong", json!(wrong));
    Ok(told.report(&column))
}

pub(super) async fn retire(world: &World, at: &At, job: &Job) -> Result<Report, Error> {
    let mut column = Column::find(world, &at.column).await?;
    let mut told = Told::of_job(&column, job.dry_run);
    let to = (SoakState::Retired, "retire");
    let there = step(world, &mut column, to, job.wait, &mut told).await?;
    if there && !job.dry_run {
        // Until a process knows the state, it writes plaintext.
        let of: fn(&Gate) -> bool = |gate| *gate == Gate::Acknowledged;
        let stepper = column.stepper(world)?;
        let dropped = SoakState::Dropped;
        unmet_of(world, &stepper, &column, dropped, job.wait, &mut told, of).await?;
    }
    if job.dry_run || !there || !told.unmet.is_empty() {
        told.left = Some(column.count(Rows::WithTwin).await?);
        return Ok(told.report(&column));
    }
    let bar = world.output.progress("emptying", Some(0));
    let soaker = job.soaker(world, &column, None, &bar)?;
    let emptied = soaker.null_out(column.table(), column.name()).await?;
    told.waited(&soaker);
    drop((bar, soaker));
    let left = column.count(Rows::WithTwin).await?;
    (told.done, told.left) = (Some(emptied), Some(left));
    told.interrupted = left > 0 && world.stop.is_asked();
    told.line(format!(
        "{emptied} rows without plaintext now, {left} with it"
    ));
    Ok(told.report(&column))
}

/// One step back. From `retired`, and while rows lack their plaintext in `sealed`, it comes back first.
pub(super) async fn back(world: &World, at: &At, job: &Job) -> Result<Report, Error> {
    let mut column = Column::find(world, &at.column).await?;
    let mut told = Told::of_job(&column, job.dry_run);
    let (Some(to), Some(_)) = (column.state().back(), &column.row) else {
        return Err(no_step(&column, "back"));
    };
    told.to = Some(to);
    let decrypts = match column.state() {
        SoakState::Retired => true,
        SoakState::Sealed => {
            let stepper = column.stepper(world)?;
            let unmet = stepper.unmet(column.table(), column.name(), to).await?;
            unmet.iter().any(is_seen_to)
        }
        _ => false,
    };
    let unlocked = match decrypts && !job.dry_run {
        true => Some(job.unlock(world).await?),
        false => None,
    };
    let done = step_back(world, &mut column, job, to, unlocked.as_ref(), &mut told).await;
    if let Some(unlocked) = unlocked {
        unlocked.close().await;
    }
    done?;
    if job.dry_run && decrypts {
        told.unmet.retain(|gate| !is_seen_to(gate));
        told.left = Some(column.count(Rows::Undecrypted).await?);
    }
    Ok(told.report(&column))
}

async fn step_back(
    world: &World,
    column: &mut Column,
    job: &Job,
    to: SoakState,
    unlocked: Option<&Unlocked>,
    told: &mut Told,
) -> Result<(), Error> {
    let before = unlocked.filter(|_| column.state() == SoakState::Sealed);
    let after = unlocked.filter(|_| column.state() == SoakState::Retired);
    if let Some(unlocked) = before {
        decrypt(world, column, job, unlocked, told).await?;
        compare(world, column, job, unlocked, told).await?;
    }
    let stepper = column.stepper(world)?;
    unmet(world, &stepper, column, to, job.wait, told).await?;
    if told.unmet.is_empty() && !job.dry_run && !told.interrupted {
        let empties = to == SoakState::Plain;
        let bar = empties.then(|| world.output.progress("emptying", Some(0)));
        let stepper = match &bar {
            Some(bar) => job.set_up(stepper, bar),
            None => stepper,
        };
        let stepped = stepper.step(column.table(), column.name(), to).await;
        drop(bar);
        told.waited(&stepper);
        match stepped {
            Err(SoakJobError::Stopped) => {
                told.interrupted = true;
                return Ok(());
            }
            done => done?,
        }
        column.again().await?;
        if let Some(unlocked) = after {
            decrypt(world, column, job, unlocked, told).await?;
        }
    }
    Ok(())
}

/// What `back` does itself before the plaintext counts again.
const fn is_seen_to(gate: &Gate) -> bool {
    matches!(gate, Gate::Decrypted | Gate::Verified)
}

/// Whether each row has the plaintext that its ciphertext says.
async fn compare(
    world: &World,
    column: &Column,
    job: &Job,
    unlocked: &Unlocked,
    told: &mut Told,
) -> Result<(), Error> {
    let bar = world.output.progress("comparing", Some(0));
    let soaker = job.soaker(world, column, Some(&unlocked.keyring), &bar)?;
    let verified = soaker.verify(column.table(), column.name()).await;
    told.waited(&soaker);
    drop((bar, soaker));
    let verified = verified?;
    told.interrupted |= !verified.complete;
    if verified.wrong_rows > 0 {
        told.findings = true;
        told.line(format!(
            "{} rows are wrong; `soak verify` names them",
            verified.wrong_rows
        ));
    }
    Ok(())
}

/// Gives rows their plaintext back, in `sealed`.
async fn decrypt(
    world: &World,
    column: &Column,
    job: &Job,
    unlocked: &Unlocked,
    told: &mut Told,
) -> Result<(), Error> {
    let bar = world.output.progress("opening", Some(0));
    let soaker = job.soaker(world, column, Some(&unlocked.keyring), &bar)?;
    let opened = soaker.decrypt_back(column.table(), column.name()).await;
    told.waited(&soaker);
    drop((bar, soaker));
    let opened = match opened {
        // It is at its end, and says what is left.
        Err(error @ SoakJobError::DoesNotFit { .. }) => {
            told.line(error.to_string());
            told.findings = true;
            None
        }
        opened => Some(opened?),
    };
    let left = column.count(Rows::Undecrypted).await?;
    (told.done, told.left) = (opened, Some(left));
    told.interrupted = left > 0 && world.stop.is_asked();
    let opened = opened.map_or_else(String::new, |rows| {
        format!("{rows} rows have their plaintext again, ")
    });
    told.line(format!("{opened}{left} rows have none"));
    Ok(())
}
