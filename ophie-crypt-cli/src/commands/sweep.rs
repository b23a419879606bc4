//! `sweep`: what shreds leave to be done, and rows whose horizon has passed.
//!
//! Invariant: it reaches what the application named, and nothing is noted as done that it could not reach. Absent: the
//! steps themselves (`ophie_crypt::Shredder`), who watches them (`watched`).

use core::time::Duration;
use std::sync::Arc;

use ophie_crypt::{ShredStore, Shredder, Shreds, StoreError, Worked};
use serde_json::json;

use super::{count, status::all_shreds, watched::Watched};
use crate::{
    error::{Error, Exit},
    output::Report,
    owner::OwnerName,
    world::World,
};

pub(super) async fn sweep(world: &World, dry_run: bool) -> Result<Report, Error> {
    world.needs_models()?;
    let keys = world.keys().await?;
    let ledger = world.needed_ledger().await?;
    let horizon = world.horizon()?;
    if dry_run {
        let (due, sweepable) = waiting(&*keys.shreds, horizon).await?;
        let text = format!("{due} shreds to finish, {sweepable} owners behind the horizon");
        let json = json!({"due": due, "sweepable": sweepable, "dry_run": true});
        return Ok(Report::fine(text, json));
    }
    let rows = world
        .rows_database()
        .await?
        .rows(world.application.models.clone());
    let shreds = match world.output.is_watched() {
        true => {
            let (due, sweepable) = waiting(&*keys.shreds, horizon).await?;
            Some(due.saturating_add(sweepable))
        }
        false => None,
    };
    let watched = Watched::new(world, rows, "shreds", shreds);
    let mut shredder = Shredder::builder(Arc::clone(&keys.shreds), ledger)
        .horizon(horizon)
        .rows(watched);
    for (name, vectors) in &world.application.vectors {
        shredder = shredder.vectors(Arc::clone(name), Arc::clone(vectors));
    }
    if let Some((shares, backups_kept)) = &world.application.shares {
        shredder = shredder.shares(Arc::clone(shares), *backups_kept);
    }
    let shredder = shredder.build();
    let worked = match world.stop.unless_asked(shredder.work()).await {
        Some(worked) => worked?,
        None => Worked::default(),
    };
    let swept = match world.stop.unless_asked(shredder.sweep()).await {
        Some(swept) => swept?,
        None => Worked::default(),
    };
    let stuck = shredder.stuck().await?;
    // One that failed is tried again later, and one that was left off five minutes after; neither is due just now.
    let mut undone = all_shreds(&*keys.shreds, Shreds::All).await?;
    undone.retain(|shred| shred.done_at.is_none());
    let interrupted = world.stop.is_asked();
    let mut lines = vec![
        format!(
            "shreds: {} done now, {} failed, {} to be done",
            worked.done,
            worked.failed,
            undone.len()
        ),
        format!(
            "swept: {} owners, {} rows, {} failed",
            swept.done, swept.rows, swept.failed
        ),
    ];
    let mut letters = Vec::new();
    for shred in &stuck {
        let name = OwnerName(shred.owner.clone()).to_string();
        let failure = shred.failure.clone().unwrap_or_default();
        lines.push(format!(
            "stuck: {name}, tried {} times: {failure:?}",
            shred.attempts
        ));
        letters.push(json!({"owner": name, "attempts": shred.attempts, "failure": failure}));
    }
    if interrupted {
        lines.push("stopped between two batches; the same command goes on from here".to_owned());
    }
    let json = json!({
        "worked": {"done": worked.done, "failed": worked.failed},
        "swept": {"owners": swept.done, "failed": swept.failed, "rows": swept.rows},
        "undone": count(undone.len()), "stuck": letters, "interrupted": interrupted,
    });
    let bad = worked.failed > 0 || swept.failed > 0 || !stuck.is_empty();
    let exit = match (interrupted, bad, undone.is_empty()) {
        (true, ..) => Exit::Interrupted,
        (_, true, _) => Exit::Findings,
        (_, _, false) => Exit::Waiting,
        (_, _, true) => Exit::Fine,
    };
    Ok(Report::fine(lines.join("\n"), json).ends(exit))
}

/// Shreds to finish, and owners behind the horizon.
async fn waiting(store: &dyn ShredStore, horizon: Duration) -> Result<(u64, u64), StoreError> {
    let due = all_shreds(store, Shreds::Due).await?;
    let after = i64::try_from(horizon.as_micros()).unwrap_or(i64::MAX);
    let sweepable = all_shreds(store, Shreds::Sweepable { after, again: 0 }).await?;
    Ok((count(due.len()), count(sweepable.len())))
}
