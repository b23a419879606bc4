//! `keys`: owners, and the making and destroying of their keys.

use core::time::Duration;
use std::sync::Arc;

use ophie_crypt::{
    CanonicalId, DekBlob, DekRecord, IndexKeyRecord, OwnerRecord, Rotation, RotationError,
    SessionError, Shreds, WaitsFor,
};
use serde_json::{Value, json};

use super::{everyone, rewrap, rotate, watched::Watched};
use crate::{
    arguments::{Keys, Unwraps},
    confirm::confirm,
    error::{Error, Exit},
    output::Report,
    owner::OwnerName,
    world::{World, days_of, is_in_two_shares},
};

pub(super) async fn run(world: &World, command: Keys) -> Result<Report, Error> {
    match command {
        Keys::List {
            owner,
            limit,
            after,
        } => list(world, owner, limit, after).await,
        Keys::Provision { owner, unwraps } => provision(world, &owner, &unwraps).await,
        Keys::Rotate {
            owner,
            due: _,
            older_than_days,
            wait,
            batch,
            unwraps,
        } => {
            let job = rotate::Job {
                owner,
                older_than: days_of(older_than_days),
                wait,
                batch,
            };
            rotate::rotate(world, &job, &unwraps).await
        }
        Keys::Rewrap {
            owner,
            all: _,
            unwraps,
        } => rewrap::rewrap(world, owner, &unwraps).await,
        Keys::Shred {
            owner,
            yes_shred,
            dry_run,
        } => shred(world, &owner, yes_shred, dry_run).await,
        Keys::Destroy {
            owner,
            retired_days,
            yes_destroy,
            unwraps,
        } => destroy(world, &owner, retired_days, yes_destroy, &unwraps).await,
    }
}

async fn list(
    world: &World,
    owner: Option<OwnerName>,
    limit: u32,
    after: Option<OwnerName>,
) -> Result<Report, Error> {
    let keys = world.keys().await?;
    let after = after.map(|owner| owner.0);
    let one_more = limit.saturating_add(1);
    let mut owners = match owner {
        Some(owner) => vec![owner.0],
        None => {
            let living = keys
                .rotation
                .owners(&everyone(), after.as_ref(), one_more)
                .await?;
            let shreds = keys
                .shreds
                .shreds(Shreds::All, after.as_ref(), one_more)
                .await?;
            let mut all = living;
            all.extend(shreds.into_iter().map(|shred| shred.owner));
            all.sort();
            all.dedup();
            all
        }
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = owners.len() > limit;
    owners.truncate(limit);
    let (mut lines, mut listed) = (Vec::new(), Vec::new());
    for owner in &owners {
        let Some(record) = keys.rotation.load(owner).await? else {
            continue;
        };
        let name = OwnerName(owner.clone()).to_string();
        lines.push(format!("{name}  {}", generations(&record)));
        listed.push(entry(&name, &record));
    }
    let next = owners.last().filter(|_| more);
    let next = next.map(|owner| OwnerName(owner.clone()).to_string());
    if lines.is_empty() {
        lines.push("no owners".to_owned());
    }
    if let Some(next) = &next {
        lines.push(format!("more: --after {next}"));
    }
    let json = json!({"owners": listed, "next": next});
    Ok(Report::fine(lines.join("\n"), json))
}

fn generations(record: &OwnerRecord) -> String {
    if record.is_shredded() {
        return "shredded".to_owned();
    }
    let deks = record.deks().iter();
    let deks = deks.map(|dek| format!("{} {}", dek.generation(), dek.state().as_str()));
    deks.collect::<Vec<_>>().join(", ")
}

fn entry(name: &str, record: &OwnerRecord) -> Value {
    let generations: Vec<_> = record.deks().iter().map(generation).collect();
    let index_keys: Vec<_> = record
        .index_keys()
        .iter()
        .map(|key| key.generation())
        .collect();
    let state = match record.is_shredded() {
        true => "shredded",
        false => "living",
    };
    json!({"owner": name, "state": state, "version": record.version(),
        "generations": generations, "index_keys": index_keys})
}

fn generation(dek: &DekRecord) -> Value {
    let kek = match dek.blob() {
        DekBlob::Wrapped(wrapped) => Some(wrapped.kek()),
        _ => None,
    };
    json!({"generation": dek.generation(), "state": dek.state().as_str(),
        "key_id": dek.key_id().to_string(), "kek": kek})
}

async fn provision(world: &World, owner: &OwnerName, unwraps: &Unwraps) -> Result<Report, Error> {
    let keys = world.keys().await?;
    let record = keys.rotation.load(&owner.0).await?;
    let had = match &record {
        Some(record) if record.is_shredded() => {
            return Err(SessionError::Shredded.into());
        }
        record => record.is_some(),
    };
    if !unwraps.dry_run {
        let unlocked = world.unlock(&keys, unwraps.reason.as_deref()).await?;
        let done = unlocked.keyring.provision(&owner.0).await;
        unlocked.close().await;
        done?;
    }
    let text = match (had, unwraps.dry_run) {
        (true, _) => format!("{owner} had keys already; they stay"),
        (false, true) => format!("{owner} has no keys yet"),
        (false, false) => format!("{owner} has keys now"),
    };
    let made = !had && !unwraps.dry_run;
    let json = json!({"owner": owner.to_string(), "had_keys": had, "made": made, "dry_run": unwraps.dry_run});
    Ok(Report::fine(text, json))
}

async fn shred(
    world: &World,
    owner: &OwnerName,
    yes: Option<OwnerName>,
    dry_run: bool,
) -> Result<Report, Error> {
    let keys = world.keys().await?;
    let record = keys.rotation.load(&owner.0).await?;
    let record = record.ok_or(ophie_crypt::ShredError::UnknownOwner)?;
    let (shredded, generations) = (record.is_shredded(), record.deks().len());
    let name = owner.to_string();
    if dry_run {
        let text = match shredded {
            true => format!("{name} is shredded already"),
            false => format!("the keys of {name} would be destroyed: {generations} generations"),
        };
        let json = json!({"owner": name, "was_shredded": shredded, "shred": null, "dry_run": true});
        return Ok(Report::fine(text, json));
    }
    let what = format!("to destroy all keys of {name}, and with them what was sealed under them,");
    let yes = yes.map(|owner| owner.to_string());
    confirm(
        world,
        world.keys_url()?,
        &what,
        "--yes-shred",
        &name,
        yes.as_deref(),
    )
    .await?;
    let id = keys.rotation.shred(&owner.0).await?;
    let id = id.ok_or(ophie_crypt::ShredError::UnknownOwner)?.to_string();
    let text = format!(
        "the keys of {name} are destroyed, by shred {id}; rows, vectors and the ledger's entry are the work of the \
         application's `Shredder`, or of `ophie-crypt sweep`, and there is no receipt before"
    );
    let json = json!({"owner": name, "was_shredded": shredded, "shred": id, "dry_run": false});
    Ok(Report::fine(text, json))
}

async fn destroy(
    world: &World,
    owner: &OwnerName,
    retired_days: Option<u32>,
    yes: Option<OwnerName>,
    unwraps: &Unwraps,
) -> Result<Report, Error> {
    world.needs_models()?;
    let Some(sidecars) = &world.application.sidecars else {
        return Err(RotationError::Sidecars.into());
    };
    let keys = world.keys().await?;
    let record = living(&*keys.rotation, &owner.0).await?;
    if is_in_two_shares(&record) && world.application.shares.is_none() {
        return Err(Error::TwoShares);
    }
    let retired = record.deks().iter();
    let retired = retired.filter(|dek| dek.state() == ophie_crypt::DekState::Retired);
    let retired: Vec<_> = retired.map(DekRecord::generation).collect();
    let index_keys = record.index_keys().iter();
    let index_keys = index_keys.filter(|key| key.state() == ophie_crypt::IndexKeyState::Retired);
    let index_keys: Vec<_> = index_keys.map(IndexKeyRecord::generation).collect();
    let retired_for: Duration = match retired_days {
        Some(days) => days_of(days),
        None => world.horizon()?,
    };
    let name = owner.to_string();
    if unwraps.dry_run {
        let text =
            format!("retired generations of {name}: {retired:?}, of its index key {index_keys:?}");
        let json = json!({"owner": name, "retired": retired, "retired_index_keys": index_keys, "destroyed": 0, "left": null, "waits_for": null, "dry_run": true});
        return Ok(Report::fine(text, json));
    }
    let beside = match sidecars.is_empty() {
        true => ", and any sidecar under them, of which the application says that there is none,",
        false => "",
    };
    let what = format!(
        "to destroy the retired keys {retired:?} and index keys {index_keys:?} of {name}{beside}"
    );
    let yes = yes.map(|owner| owner.to_string());
    confirm(
        world,
        world.keys_url()?,
        &what,
        "--yes-destroy",
        &name,
        yes.as_deref(),
    )
    .await?;
    let unlocked = world.unlock(&keys, unwraps.reason.as_deref()).await?;
    let rows = world
        .rows_database()
        .await?
        .rows(world.application.models.clone());
    // Each generation is looked for in the owner's rows, and then in everybody's.
    let models = &world.application.models;
    let twice = retired.len().saturating_mul(2);
    let of_deks = models.sealed_columns().count().saturating_mul(twice);
    let of_index = models.indexed_columns().count();
    let of_index = of_index.saturating_mul(index_keys.len());
    let counts = super::count(of_deks.saturating_add(of_index));
    let rows = Watched::new(world, rows, "looking for values", Some(counts));
    let mut rotation = Rotation::new(unlocked.keyring.clone(), keys.rotation.clone(), rows);
    rotation = rotation.without_sidecars();
    for sidecars in sidecars {
        rotation = rotation.sidecars(Arc::clone(sidecars));
    }
    let destroying = rotation.destroy(&owner.0, retired_for);
    let done = world.stop.unless_asked(destroying).await;
    drop(rotation);
    unlocked.close().await;
    let progress = done.ok_or(Error::Interrupted)??;
    let waits = progress.waits_for.map(waits_for);
    let mut text = format!("{} generations of {name} are destroyed", progress.destroyed);
    if let Some(waits) = waits {
        text.push_str(&format!(
            "; the rest waits for {waits}, {} values are left",
            progress.left
        ));
    }
    let json = json!({"owner": name, "retired": retired, "retired_index_keys": index_keys, "destroyed": progress.destroyed,
        "left": progress.left, "waits_for": waits, "dry_run": false});
    let exit = match waits {
        Some(_) => Exit::Waiting,
        None => Exit::Fine,
    };
    Ok(Report::fine(text, json).ends(exit))
}

/// An owner's keys.
///
/// # Errors
///
/// [`Error`], of an owner who has none or is shredded.
pub(super) async fn living(
    store: &dyn ophie_crypt::RotationStore,
    owner: &CanonicalId,
) -> Result<OwnerRecord, Error> {
    let record = store.load(owner).await?;
    let record = record.ok_or(SessionError::UnknownOwner)?;
    if record.is_shredded() {
        return Err(SessionError::Shredded.into());
    }
    Ok(record)
}

/// A word for what is waited for.
pub(super) const fn waits_for(what: WaitsFor) -> &'static str {
    match what {
        WaitsFor::Announcement => "announcement",
        WaitsFor::Horizon => "horizon",
        WaitsFor::Leases => "leases",
        WaitsFor::Sidecars => "sidecars",
        WaitsFor::Transactions => "transactions",
        WaitsFor::Values => "values",
        WaitsFor::Writers => "writers",
        _ => "something",
    }
}
