//! `status`: how far tables, keys, shreds, ledger and soaks are.

use ophie_crypt::{
    CanonicalId, Models, RotationPolicy, Shred, ShredStore, Shreds, StoreError, Which,
    soak::SoakRow,
};
use ophie_crypt_sql::Migration;
use serde_json::{Value, json};

use super::{PAGE, all_owners, count, everyone, hex};
use crate::{error::Error, output::Report, world::World};

/// So often in a row a shred fails before it is a dead letter.
const STUCK_AFTER: u32 = 10;

pub(super) async fn status(world: &World) -> Result<Report, Error> {
    let database = world.keys_database(false).await?;
    let version = database.schema_version().await?;
    let newest = Migration::all(database.dialect()).last();
    let newest = newest.map_or(0, Migration::number);
    if version == 0 {
        let text = "the library's tables are missing; run `ophie-crypt migrate`".to_owned();
        let json = json!({"database": database.name(), "schema_version": 0, "newest_schema_version": newest,
            "installation": null, "epoch": null, "owners": null, "shreds": null, "ledger": null, "soaks": null});
        return Ok(Report::fine(text, json));
    }
    let keys = database.keys();
    let installation = keys.shreds.installation().await?;
    let living = count(all_owners(&*keys.rotation, &everyone()).await?.len());
    let due = Which::Due(RotationPolicy::default());
    let due = count(all_owners(&*keys.rotation, &due).await?.len());
    let rotating = count(all_owners(&*keys.rotation, &Which::Rotating).await?.len());
    let shreds = all_shreds(&*keys.shreds, Shreds::All).await?;
    let undone = shreds
        .iter()
        .filter(|shred| shred.done_at.is_none())
        .count();
    let stuck = all_shreds(&*keys.shreds, Shreds::Stuck(STUCK_AFTER)).await?;
    let (shreds, undone, stuck) = (count(shreds.len()), count(undone), count(stuck.len()));
    let ledger = match world.ledger().await? {
        Some(ledger) => Some(ledger.head().await?.position()),
        None => None,
    };
    let soaks = soaks(world).await?;
    let known = installation.ledger.position();
    let id = hex(&installation.id);
    let end = ledger.map_or_else(
        || "not configured".to_owned(),
        |end| format!("ends at entry {end}"),
    );
    let mut text = format!(
        "database: {}, tables at {version} of {newest}\n\
         installation: {id}, epoch {}\n\
         owners: {living} living, {due} due for rotation, {rotating} rotating\n\
         shreds: {shreds}, {undone} not done, {stuck} stuck\n\
         ledger: {end}; the database knows of entry {known}",
        database.name(),
        installation.epoch,
    );
    for soak in soaks.iter().flatten() {
        text.push_str(&format!(
            "\nsoak: {}.{} (plaintext {}.{}) is in the state {}",
            soak.table, soak.column, soak.table, soak.twin, soak.state
        ));
    }
    let soaks = soaks.map(|soaks| soaks.iter().map(soak).collect::<Vec<_>>());
    let json = json!({
        "database": database.name(),
        "schema_version": version,
        "newest_schema_version": newest,
        "installation": id,
        "epoch": installation.epoch,
        "owners": {"living": living, "due": due, "rotating": rotating},
        "shreds": {"all": shreds, "undone": undone, "stuck": stuck},
        "ledger": {"end": ledger, "known": known},
        "soaks": soaks,
    });
    Ok(Report::fine(text, json))
}

/// Columns in a soak; `None` where nobody said where the rows are, or where their tables are not there.
async fn soaks(world: &World) -> Result<Option<Vec<SoakRow>>, Error> {
    if world.config.rows_url().is_err() {
        return Ok(None);
    }
    let rows = world.rows_database().await?;
    match rows.has_soaks().await? {
        true => Ok(Some(rows.soaks(Models::new()).soaks().await?)),
        false => Ok(None),
    }
}

fn soak(soak: &SoakRow) -> Value {
    json!({"table": soak.table, "column": soak.column, "twin": soak.twin, "state": soak.state.as_str(),
        "version": soak.version, "admits_old": soak.admits_old, "filled": soak.filled})
}

/// Of all pages.
pub(super) async fn all_shreds(
    store: &dyn ShredStore,
    which: Shreds,
) -> Result<Vec<Shred>, StoreError> {
    let mut all: Vec<Shred> = Vec::new();
    loop {
        let after: Option<&CanonicalId> = all.last().map(|shred| &shred.owner);
        let page = store.shreds(which, after, PAGE).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}
