//! `keys rotate`: new generations, and rows sealed anew under them.
//!
//! Invariant: it stops between two pages or two owners, and the same call goes on from there.

use core::time::Duration;
use std::sync::Arc;

use ophie_crypt::{
    CanonicalId, DekState, Progress, Rotation, RotationPolicy, RowStore, WaitsFor, Which,
};
use serde_json::{Value, json};

use super::{
    all_owners, count,
    keys::{living, waits_for},
};
use crate::{
    arguments::Unwraps,
    database::Keys,
    error::{Error, Exit},
    output::Report,
    owner::OwnerName,
    world::World,
};

/// Between two looks at what is waited for.
const PAUSE: Duration = Duration::from_secs(5);

/// Whose, and how.
pub(super) struct Job {
    /// One owner; without one, all who are due.
    pub(super) owner: Option<OwnerName>,
    pub(super) older_than: Duration,
    pub(super) wait: bool,
    pub(super) batch: u32,
}

/// How far one owner is.
struct Outcome {
    owner: CanonicalId,
    sum: Progress,
    failure: Option<String>,
}

pub(super) async fn rotate(world: &World, job: &Job, unwraps: &Unwraps) -> Result<Report, Error> {
    world.needs_models()?;
    let keys = world.keys().await?;
    let (begin, go_on) = owners(&keys, job).await?;
    if unwraps.dry_run {
        let text = format!("to begin: {}, to go on: {}", begin.len(), go_on.len());
        let json = json!({"begin": names(&begin), "go_on": names(&go_on), "dry_run": true});
        return Ok(Report::fine(text, json));
    }
    let unlocked = world.unlock(&keys, unwraps.reason.as_deref()).await?;
    let rows = world
        .rows_database()
        .await?
        .rows(world.application.models.clone());
    let bar = world
        .output
        .progress("sealing anew", total(&keys, &*rows, &go_on).await?);
    let (stop, shown) = (world.stop.clone(), bar.handle());
    let last = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let rotation = Rotation::new(unlocked.keyring.clone(), keys.rotation.clone(), rows)
        .page(job.batch)
        .watch(move |_, progress| {
            let seen = values(progress);
            let before = last.swap(seen, std::sync::atomic::Ordering::SeqCst);
            shown.done(seen.saturating_sub(before.min(seen)));
            stop.batch_is_done();
        });
    let mut outcomes: Vec<Outcome> = Vec::new();
    for owner in begin {
        if world.stop.is_asked() {
            break;
        }
        let failure = rotation
            .begin(&owner)
            .await
            .err()
            .map(|error| chain(&error));
        outcomes.push(Outcome::new(owner, failure));
    }
    outcomes.extend(go_on.into_iter().map(|owner| Outcome::new(owner, None)));
    loop {
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.goes_on()) {
            let Some(advanced) = world
                .stop
                .unless_asked(rotation.advance(&outcome.owner))
                .await
            else {
                break;
            };
            match advanced {
                Ok(progress) => outcome.add(&progress),
                Err(error) => outcome.failure = Some(chain(&error)),
            }
        }
        let waiting = outcomes.iter().any(Outcome::goes_on);
        if !(job.wait && waiting) || world.stop.is_asked() {
            break;
        }
        bar.says("waiting".to_owned());
        world.stop.sleep(PAUSE).await;
    }
    drop((bar, rotation));
    unlocked.close().await;
    Ok(report(&outcomes, world.stop.is_asked()))
}

/// Whose rotation is to begin, and whose goes on.
async fn owners(keys: &Keys, job: &Job) -> Result<(Vec<CanonicalId>, Vec<CanonicalId>), Error> {
    let Some(owner) = &job.owner else {
        let due = Which::Due(RotationPolicy::default().older_than(job.older_than));
        let due = all_owners(&*keys.rotation, &due).await?;
        let mut rotating = all_owners(&*keys.rotation, &Which::Rotating).await?;
        rotating.retain(|owner| !due.contains(owner));
        return Ok((due, rotating));
    };
    let record = living(&*keys.rotation, &owner.0).await?;
    let under_way = |state| matches!(state, DekState::Announced | DekState::Draining);
    let owner = vec![owner.0.clone()];
    Ok(
        match record.deks().iter().any(|dek| under_way(dek.state())) {
            true => (Vec::new(), owner),
            false => (owner, Vec::new()),
        },
    )
}

/// Values under draining generations, for the bar.
async fn total(
    keys: &Keys,
    rows: &dyn RowStore,
    owners: &[CanonicalId],
) -> Result<Option<u64>, Error> {
    let [owner] = owners else {
        return Ok(None); // counting would take as long as all the rest
    };
    let record = living(&*keys.rotation, owner).await?;
    let moment = rows.moment().await?;
    let mut total: u64 = 0;
    for dek in record
        .deks()
        .iter()
        .filter(|dek| dek.state() == DekState::Draining)
    {
        for column in rows.models().sealed_columns() {
            let counted = rows
                .count_under(Some(owner), &column, dek.key_id(), moment)
                .await?;
            total = total.saturating_add(counted.unwrap_or(0));
        }
    }
    Ok((total > 0).then_some(total))
}

impl Outcome {
    fn new(owner: CanonicalId, failure: Option<String>) -> Self {
        let mut sum = Progress::default();
        sum.waits_for = Some(WaitsFor::Announcement);
        Self {
            owner,
            sum,
            failure,
        }
    }

    fn add(&mut self, progress: &Progress) {
        let resealed = self.sum.resealed.saturating_add(progress.resealed);
        let reindexed = self.sum.reindexed.saturating_add(progress.reindexed);
        self.sum = *progress;
        self.sum.resealed = resealed;
        self.sum.reindexed = reindexed;
    }

    /// Rows that this program cannot change.
    fn is_stuck(&self) -> bool {
        let Progress {
            failed,
            row_bound,
            duplicates,
            refused,
            ..
        } = self.sum;
        [failed, row_bound, duplicates, refused]
            .iter()
            .any(|rows| *rows > 0)
    }

    fn goes_on(&self) -> bool {
        self.failure.is_none() && self.sum.waits_for.is_some() && !self.is_stuck()
    }

    fn text(&self) -> String {
        let Progress {
            resealed,
            reindexed,
            row_bound,
            failed,
            duplicates,
            refused,
            left,
            ..
        } = self.sum;
        let name = OwnerName(self.owner.clone());
        let mut text =
            format!("{name}: {resealed} values sealed anew, {reindexed} fingerprints made anew");
        if let Some(waits) = self.sum.waits_for {
            text.push_str(&format!(", waits for {}, {left} left", waits_for(waits)));
        }
        if self.is_stuck() {
            text.push_str(&format!(
                "; {failed} do not open, {row_bound} are bound to their rows: the application must write those anew; \
                 {duplicates} have a fingerprint that is there already: remove one row of each pair; {refused} are refused by \
                 the database: see the log"
            ));
        }
        if let Some(failure) = &self.failure {
            text.push_str(&format!("; failed: {failure}"));
        }
        text
    }

    fn json(&self) -> Value {
        let sum = self.sum;
        json!({"owner": OwnerName(self.owner.clone()).to_string(), "resealed": sum.resealed,
            "reindexed": sum.reindexed, "duplicates": sum.duplicates, "refused": sum.refused,
            "row_bound": sum.row_bound, "failed": sum.failed, "left": sum.left,
            "waits_for": sum.waits_for.map(waits_for), "failure": self.failure})
    }
}

fn report(outcomes: &[Outcome], interrupted: bool) -> Report {
    const MOST: usize = 20;
    let waiting = outcomes.iter().filter(|outcome| outcome.goes_on()).count();
    let bad = |outcome: &&Outcome| outcome.failure.is_some() || outcome.is_stuck();
    let bad = outcomes.iter().filter(bad).count();
    let told = outcomes.iter().filter(|outcome| {
        outcomes.len() <= MOST || outcome.failure.is_some() || outcome.is_stuck()
    });
    let mut lines: Vec<_> = told.map(Outcome::text).collect();
    lines.push(format!(
        "{} owners, {waiting} to go on with, {bad} with failures",
        outcomes.len()
    ));
    if interrupted {
        lines.push("stopped between two batches; the same command goes on from here".to_owned());
    }
    let owners: Vec<_> = outcomes.iter().map(Outcome::json).collect();
    let json = json!({"owners": owners, "waiting": count(waiting), "failed": count(bad), "interrupted": interrupted});
    let exit = match (interrupted, bad, waiting) {
        (true, ..) => Exit::Interrupted,
        (_, 1.., _) => Exit::Findings,
        (_, 0, 1..) => Exit::Waiting,
        (_, 0, 0) => Exit::Fine,
    };
    Report::fine(lines.join("\n"), json).ends(exit)
}

fn values(progress: &Progress) -> u64 {
    let done = progress.resealed.saturating_add(progress.row_bound);
    done.saturating_add(progress.failed)
}

fn names(owners: &[CanonicalId]) -> Vec<String> {
    let names = owners
        .iter()
        .map(|owner| OwnerName(owner.clone()).to_string());
    names.collect()
}

/// An error and its causes, in a line.
pub(super) fn chain(error: &dyn core::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
