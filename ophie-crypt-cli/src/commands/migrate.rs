//! `migrate`: the library's own tables.

use ophie_crypt_sql::Migration;
use serde_json::json;

use crate::{
    database::Database,
    error::Error,
    output::{Output, Report},
    world::World,
};

/// What is missing: for people as it is, for programs as one object.
pub(super) async fn print(world: &World) -> Result<Option<Report>, Error> {
    let database = world.keys_database(false).await?;
    let from = database.schema_version().await?;
    if world.output.is_json() {
        let missing = missing(&database, from);
        let missing: Vec<_> = missing
            .map(|migration| json!({"migration": migration.name(), "sql": migration.up()}))
            .collect();
        let json = json!({"database": database.name(), "from": from, "missing": missing});
        return Ok(Some(Report::fine(String::new(), json)));
    }
    for migration in missing(&database, from) {
        let text = format!("-- {}\n{}\n", migration.name(), migration.up().trim_end());
        Output::raw(text.as_bytes());
    }
    Ok(None)
}

pub(super) async fn migrate(
    world: &World,
    dry_run: bool,
    create_ledger: bool,
) -> Result<Report, Error> {
    let database = world.keys_database(!dry_run).await?;
    let from = database.schema_version().await?;
    let names: Vec<_> = missing(&database, from).map(Migration::name).collect();
    if create_ledger {
        world.config.needed("ledger")?;
    }
    if !dry_run {
        world.stop.unless_stopped()?;
        database.migrate().await?;
        if world.config.setting("keys_url").is_some()
            && world.config.setting("database_url").is_some()
        {
            world.rows_database().await?.migrate_rows().await?;
        }
        if create_ledger {
            world.create_ledger().await?;
        }
    }
    let to = database.schema_version().await?;
    let text = match (names.is_empty(), dry_run) {
        (true, _) => format!("the tables are up to date, at {to}"),
        (false, true) => format!("missing: {}", names.join(", ")),
        (false, false) => format!("the tables were brought from {from} to {to}"),
    };
    let json = json!({"database": database.name(), "from": from, "to": to, "migrations": names, "dry_run": dry_run});
    Ok(Report::fine(text, json))
}

fn missing(database: &Database, done: i64) -> impl Iterator<Item = &'static Migration> {
    let all = Migration::all(database.dialect()).iter();
    all.filter(move |migration| migration.number() > done)
}
