//! The section on the key store itself: which it is, and whether its tables are this release's.

use ophie_crypt_sql::Migration;

use super::{
    super::hex,
    Facts,
    section::{Block, Looked, Section},
};
use crate::error::Error;

pub(super) fn begin() -> Section {
    Section::new(
        "installation",
        "Installation",
        "Which key store this is. The epoch counts its restores and declared clones; the ledger is the list outside the \
         database that remembers shreds and audit checkpoints.",
    )
}

pub(super) async fn fill(facts: &Facts<'_>, section: Section) -> Result<Section, Error> {
    let version = facts.database.schema_version().await?;
    let newest = Migration::all(facts.database.dialect()).last();
    let newest = newest.map_or(0, Migration::number);
    let section = section
        .field("schema_version", version)
        .field("newest_schema_version", newest);
    if version != newest {
        let why = match version {
            0 => "the library's tables are missing; run `ophie-crypt migrate`".to_owned(),
            _ => format!(
                "the library's tables are at {version}, and this program knows {newest}: nothing of them is read; migrate, or take \
                 the program of their release"
            ),
        };
        return Ok(section.looked(Looked::Failed(why)));
    }
    let keys = facts.database.keys();
    let installation = keys.shreds.installation().await?;
    let known = installation.ledger.position();
    let id = hex(&installation.id);
    let unguarded = known > 0 && facts.world.config.setting("ledger").is_none();
    let facts = vec![
        ("Installation", id.clone().into()),
        ("Epoch", installation.epoch.to_string().into()),
        (
            "Tables",
            format!("version {version}, the newest that this program knows").into(),
        ),
        (
            "Ledger entry known to the database",
            known.to_string().into(),
        ),
    ];
    Ok(section
        .field("installation", id)
        .field("epoch", installation.epoch)
        .field("ledger_known", known)
        .finds(unguarded, || {
            "the database knows a ledger, and none is configured here: nothing was compared with it"
                .to_owned()
        })
        .with(Block::Facts(facts)))
}
