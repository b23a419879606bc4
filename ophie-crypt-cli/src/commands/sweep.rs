//! `sweep`: what shreds leave to be done, and rows whose horizon has passed.
//!
//! Invariant: it reaches what the application named, and nothing is noted as done that it could not reach. Absent: the
//! steps themselves (`ophie_crypt::Shredder`).

use core::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ophie_crypt::{
    CanonicalId, ColumnRef, IndexedColumn, IndexedRow, KeyId, ModelError, ModelStore, Models,
    Reindex, Reseal, RowStore, Shredder, Shreds, Worked,
};
use serde_json::json;

use super::{count, status::all_shreds};
use crate::{
    error::{Error, Exit},
    output::{Progress, Report},
    owner::OwnerName,
    stop::Stop,
    world::World,
};

pub(super) async fn sweep(world: &World, dry_run: bool) -> Result<Report, Error> {
    world.needs_models()?;
    let keys = world.keys().await?;
    let ledger = world.needed_ledger().await?;
    let horizon = world.horizon()?;
    if dry_run {
        let due = count(all_shreds(&*keys.shreds, Shreds::Due).await?.len());
        let after = i64::try_from(horizon.as_micros()).unwrap_or(i64::MAX);
        let sweepable = Shreds::Sweepable { after, again: 0 };
        let sweepable = count(all_shreds(&*keys.shreds, sweepable).await?.len());
        let text = format!("{due} shreds to finish, {sweepable} owners behind the horizon");
        let json = json!({"due": due, "sweepable": sweepable, "dry_run": true});
        return Ok(Report::fine(text, json));
    }
    let rows = world
        .rows_database()
        .await?
        .rows(world.application.models.clone());
    let watched = Watched {
        rows,
        stop: world.stop.clone(),
        bar: world.output.progress("rows", None),
    };
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
    // One that failed is tried again later, and one that was left off a minute after; neither is due just now.
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

/// The rows, and who watches each batch of them.
struct Watched {
    rows: Arc<dyn RowStore>,
    stop: Stop,
    bar: Progress,
}

impl Watched {
    fn batch(&self, rows: u64) -> u64 {
        self.bar.done(rows);
        self.stop.batch_is_done();
        rows
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched(..)")
    }
}

#[async_trait]
impl ModelStore for Watched {
    fn models(&self) -> &Models {
        self.rows.models()
    }

    async fn sealed_under(
        &self,
        owner: &CanonicalId,
        column: &ColumnRef,
        key_id: KeyId,
        after: Option<&[u8]>,
        limit: u32,
    ) -> Result<Vec<Vec<u8>>, ModelError> {
        self.rows
            .sealed_under(owner, column, key_id, after, limit)
            .await
    }

    async fn replace(
        &self,
        owner: &CanonicalId,
        column: &ColumnRef,
        reseals: &[Reseal],
    ) -> Result<u64, ModelError> {
        self.rows.replace(owner, column, reseals).await
    }

    async fn moment(&self) -> Result<u64, ModelError> {
        self.rows.moment().await
    }

    async fn count_under(
        &self,
        owner: Option<&CanonicalId>,
        column: &ColumnRef,
        key_id: KeyId,
        since: u64,
    ) -> Result<Option<u64>, ModelError> {
        self.rows.count_under(owner, column, key_id, since).await
    }

    async fn indexed_under(
        &self,
        owner: &CanonicalId,
        column: &IndexedColumn,
        generation: u8,
        after: Option<&IndexedRow>,
        limit: u32,
    ) -> Result<Vec<IndexedRow>, ModelError> {
        let rows = &self.rows;
        rows.indexed_under(owner, column, generation, after, limit)
            .await
    }

    async fn reindex(
        &self,
        owner: &CanonicalId,
        column: &IndexedColumn,
        reindexes: &[Reindex],
    ) -> Result<u64, ModelError> {
        self.rows.reindex(owner, column, reindexes).await
    }

    async fn count_indexed(
        &self,
        owner: &CanonicalId,
        column: &ColumnRef,
        generation: u8,
        since: u64,
    ) -> Result<Option<u64>, ModelError> {
        let rows = &self.rows;
        rows.count_indexed(owner, column, generation, since).await
    }
}

#[async_trait]
impl RowStore for Watched {
    async fn bury(&self, owner: &CanonicalId) -> Result<(), ModelError> {
        self.rows.bury(owner).await
    }

    async fn writers(&self) -> Result<Vec<String>, ModelError> {
        self.rows.writers().await
    }

    async fn tombstone(
        &self,
        owner: &CanonicalId,
        table: &str,
        limit: u32,
    ) -> Result<u64, ModelError> {
        Ok(self.batch(self.rows.tombstone(owner, table, limit).await?))
    }

    async fn sweep(&self, owner: &CanonicalId, table: &str, limit: u32) -> Result<u64, ModelError> {
        Ok(self.batch(self.rows.sweep(owner, table, limit).await?))
    }
}
