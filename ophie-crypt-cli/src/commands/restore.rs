//! `restore`: after a database was put back, cloned, or lost its ledger.

use ophie_crypt::{restore_adopt, restore_replay};
use serde_json::json;

use super::hex;
use crate::{
    arguments::{Restore, Settle},
    confirm::confirm,
    error::Error,
    output::Report,
    world::World,
};

pub(super) async fn run(world: &World, command: Restore) -> Result<Report, Error> {
    let (settle, adopts) = match command {
        Restore::Replay(settle) => (settle, false),
        Restore::Adopt(settle) => (settle, true),
    };
    run_one(world, &settle, adopts).await
}

async fn run_one(world: &World, settle: &Settle, adopts: bool) -> Result<Report, Error> {
    let keys = world.keys().await?;
    let ledger = world.needed_ledger().await?;
    let stop = &world.stop;
    let before = stop.or_left(keys.shreds.installation()).await?;
    let (id, end, known) = (
        hex(&before.id),
        stop.or_left(ledger.head()).await?.position(),
        before.ledger.position(),
    );
    let (mut destroyed, mut after) = (None, before);
    if !settle.dry_run {
        let what = match adopts {
            true => format!("to begin a new history of installation {id} with this ledger"),
            false => format!(
                "to destroy again in installation {id} what the ledger names, and to raise its epoch,"
            ),
        };
        let yes = settle.yes_restore.as_deref();
        confirm(world, world.keys_url()?, &what, "--yes-restore", &id, yes).await?;
        // Left anywhere, it is as after kill -9: nothing opens before the ledger has the epoch, and the same call goes on.
        let bar = world.output.progress("settling", None);
        match adopts {
            true => drop(stop.or_left(restore_adopt(&*keys.shreds, &*ledger)).await?),
            false => {
                let replayed = restore_replay(&*keys.shreds, &*ledger);
                destroyed = Some(super::count(stop.or_left(replayed).await?));
            }
        }
        drop(bar);
        after = keys.shreds.installation().await?;
    }
    let (now, epoch) = (hex(&after.id), after.epoch);
    let mut text = format!(
        "installation {now}: epoch {epoch}, was {}; the ledger ends at entry {end}, the database knew of entry {known}",
        before.epoch
    );
    if after.id != before.id {
        text.push_str(&format!(
            "; with a ledger of its own it is another than {id}"
        ));
    }
    if let Some(destroyed) = destroyed {
        text.push_str(&format!(
            "; the keys of {destroyed} owners were destroyed again"
        ));
    }
    if !settle.dry_run {
        text.push_str("; no key seals before it is rotated: `ophie-crypt keys rotate --due`");
    }
    let json = json!({"installation": now, "installation_before": id, "epoch_before": before.epoch, "epoch": epoch,
        "ledger": {"end": end, "known": known}, "destroyed": destroyed, "dry_run": settle.dry_run});
    Ok(Report::fine(text, json))
}
