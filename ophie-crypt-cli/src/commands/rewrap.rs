//! `keys rewrap`: wrapped keys under the present master key.

use ophie_crypt::{Models, Rotation, Which};
use serde_json::json;

use super::{all_owners, count, keys::living, rotate::chain};
use crate::{
    arguments::Unwraps,
    error::{Error, Exit},
    output::Report,
    owner::OwnerName,
    world::World,
};

pub(super) async fn rewrap(
    world: &World,
    owner: Option<OwnerName>,
    unwraps: &Unwraps,
) -> Result<Report, Error> {
    let keys = world.keys().await?;
    let kek = world.master().await?.kek;
    let owners = match owner {
        Some(owner) => {
            living(&*keys.rotation, &owner.0).await?;
            vec![owner.0]
        }
        None => {
            all_owners(
                &*keys.rotation,
                &Which::WrappedElsewhere { kek: kek.clone() },
            )
            .await?
        }
    };
    if unwraps.dry_run {
        let text = format!("to be wrapped anew under {kek}: {} owners", owners.len());
        let json = json!({"kek": kek, "owners": count(owners.len()), "done": 0, "failures": [],
            "interrupted": false, "dry_run": true});
        return Ok(Report::fine(text, json));
    }
    let unlocked = world.unlock(&keys, unwraps.reason.as_deref()).await?;
    // No row is read or written.
    let rows = world.keys_database(false).await?.rows(Models::new());
    let rotation = Rotation::new(unlocked.keyring.clone(), keys.rotation.clone(), rows);
    let bar = world
        .output
        .progress("wrapping anew", Some(count(owners.len())));
    let (mut done, mut failures, mut lines) = (0_u64, Vec::new(), Vec::new());
    for owner in &owners {
        if world.stop.is_asked() {
            break;
        }
        match rotation.rewrap(owner).await {
            Ok(()) => done = done.saturating_add(1),
            Err(error) => {
                let (name, why) = (OwnerName(owner.clone()).to_string(), chain(&error));
                lines.push(format!("{name}: {why}"));
                failures.push(json!({"owner": name, "failure": why}));
            }
        }
        bar.done(1);
    }
    drop((bar, rotation));
    unlocked.close().await;
    let (all, failed) = (count(owners.len()), count(failures.len()));
    let interrupted = done.saturating_add(failed) < all;
    lines.push(format!(
        "{done} of {all} owners are wrapped under {kek}, {failed} failed"
    ));
    if interrupted {
        lines.push("stopped between two owners; the same command goes on from here".to_owned());
    }
    let json = json!({"kek": kek, "owners": all, "done": done, "failures": failures,
        "interrupted": interrupted, "dry_run": false});
    let exit = match (interrupted, failed) {
        (true, _) => Exit::Interrupted,
        (false, 0) => Exit::Fine,
        (false, _) => Exit::Findings,
    };
    Ok(Report::fine(lines.join("\n"), json).ends(exit))
}
