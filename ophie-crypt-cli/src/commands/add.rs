//! `migrate add`: a migration of the application's own tables, for people to read and to run.
//!
//! Invariant: nothing in the database is changed, and no file is written over. Absent: the statements (`ophie_crypt_sql`).

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::{
    arguments::Add, clock, database::Database, error::Error, output::Report, world::World,
};

pub(super) async fn add(world: &World, add: &Add) -> Result<Report, Error> {
    world.needs_models()?;
    let rows = world.rows_database().await?;
    let models = world.application.models.clone();
    let soaks = {
        let mut columns = models.iter().flat_map(|model| model.columns());
        columns.any(|info| info.twin().is_some())
    };
    if soaks && !rows.has_soaks().await? {
        return Err(Error::NoSoakTables);
    }
    // The fence looks at the keys, but on SQLite, where it looks at the form alone.
    let elsewhere = world.config.setting("keys_url").is_some();
    let reaches_keys = !elsewhere || matches!(rows, Database::Sqlite(_));
    let changes = rows
        .changes(models, !add.without_fence && reaches_keys)
        .await?;
    let number = add.number.unwrap_or_else(|| clock::number(clock::now()));
    let [up, down] = files(add, number);
    let (up_sql, down_sql) = (
        head(&rows, true) + &changes.up,
        head(&rows, false) + &changes.down,
    );
    let mut lines = Vec::new();
    if changes.is_empty() {
        lines.push("the tables have all that the models ask for".to_owned());
    } else if add.dry_run {
        lines.push(format!(
            "-- {}\n{up_sql}\n-- {}\n{down_sql}",
            up.display(),
            down.display()
        ));
    } else {
        write(&up, &up_sql)?;
        write(&down, &down_sql)?;
        lines.push(format!(
            "wrote {} and {}: read them, then run them as you run your migrations",
            up.display(),
            down.display()
        ));
    }
    if !add.without_fence && !reaches_keys {
        lines.push("without the write fence: the keys are in another database, which triggers do not reach".to_owned());
    }
    let files = match changes.is_empty() {
        true => Vec::new(),
        false => vec![up.display().to_string(), down.display().to_string()],
    };
    let json = json!({"database": rows.name(), "files": files, "up": up_sql, "down": down_sql, "dry_run": add.dry_run});
    Ok(Report::fine(lines.join("\n"), json))
}

/// Up and down.
fn files(add: &Add, number: u64) -> [PathBuf; 2] {
    let name = format!("{number}_{}", add.name);
    ["up", "down"].map(|way| match add.diesel {
        true => add.folder.join(&name).join(format!("{way}.sql")),
        false => add.folder.join(format!("{name}.{way}.sql")),
    })
}

fn head(rows: &Database, up: bool) -> String {
    let what = match up {
        true => {
            "what the tables lack for the models. It needs the library's own tables: `ophie-crypt migrate`"
        }
        false => "the way back",
    };
    format!(
        "-- Made by `ophie-crypt migrate add` for {} as it was then: {what}.\n-- Read it before you run it.\n",
        rows.name()
    )
}

fn write(path: &Path, sql: &str) -> Result<(), Error> {
    let failed = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(sql.as_bytes()))
        .map_err(failed)
}
