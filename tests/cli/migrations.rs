//! `migrate add`: its files through SQLx's migrator and through Diesel's harness, up, in use, and down.

use diesel::{Connection, MysqlConnection, PgConnection, SqliteConnection};
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use sqlx::migrate::{MigrateError, Migrator};

use crate::{
    on_each_database,
    place::{Ended, Kind, Place, Program, Rows},
    reference::is_documented,
    soaking::{ROWS, people},
};

on_each_database! {
    files_go_up_and_down_with_sqlx
    files_go_up_and_down_with_diesel
}

/// With people in plaintext, and notes that have no encrypted column.
async fn before(kind: Kind) -> Place {
    let place = Place::new(kind).await;
    people(&place).await;
    for column in ["text", "text_fp"] {
        place
            .execute(&format!("ALTER TABLE notes DROP COLUMN {column}"))
            .await;
    }
    as_before(&place).await;
    place
}

async fn as_before(place: &Place) {
    for column in ["text", "text_fp"] {
        place
            .tried(&format!("SELECT {column} FROM notes AS n"))
            .await
            .unwrap_err();
    }
    for column in ["name_ct", "name_fp"] {
        place
            .tried(&format!("SELECT {column} FROM people AS p"))
            .await
            .unwrap_err();
    }
    let named = "SELECT count(*) FROM people WHERE name IS NOT NULL";
    assert_eq!(place.count(named).await, ROWS);
    assert_eq!(
        place.count("SELECT count(*) FROM ophie_crypt_soaks").await,
        0
    );
    place.execute("UPDATE people SET name = name").await;
}

async fn run(place: &Place, words: &[&str]) -> Ended {
    let words = [words, &["--json"]].concat();
    place
        .ended(&mut place.command(Program::Release("soaking"), &words))
        .await
}

/// Files in this folder, once.
async fn written(place: &Place, folder: &str, more: &[&str]) {
    let add = ["migrate", "add", "--folder", folder, "--number", "7"];
    let add = [&add[..], more].concat();
    let dry = run(place, &[&add[..], &["--dry-run"]].concat())
        .await
        .ends(0)
        .json();
    assert!(!place.path(folder).exists(), "{dry}");
    let wrote = run(place, &add).await.ends(0).json();
    is_documented("migrate add", &wrote);
    assert_eq!((&wrote["up"], &wrote["files"]), (&dry["up"], &dry["files"]));
    let up = wrote["files"][0].as_str().unwrap();
    let text = std::fs::read_to_string(place.path(up)).unwrap();
    assert_eq!(text, wrote["up"].as_str().unwrap());
    run(place, &add).await.ends(3).says("was not written");
}

/// What the files made holds, and lacks nothing more.
async fn in_use(place: &Place) {
    place.fill(7, 3).await;
    place.fill(8, 1).await;
    assert_eq!(place.readable(7).await, 3);
    // An index key of nobody's, what is no envelope, and on servers another owner's envelope.
    let x = |hex: &str| match place.kind {
        Kind::Postgres => format!("'\\x{hex}'"),
        _ => format!("x'{hex}'"),
    };
    for column in ["text", "text_fp"] {
        let short = format!(
            "INSERT INTO notes (owner, {column}) VALUES (7, {})",
            x("fafafa")
        );
        place.tried(&short).await.unwrap_err();
    }
    let moved = place
        .tried("UPDATE notes SET owner = 7 WHERE owner = 8")
        .await;
    assert_eq!(moved.is_err(), place.kind != Kind::Sqlite, "the fence");
    let add = ["migrate", "add", "--dry-run"];
    let more = run(place, &add).await.ends(0).json();
    let up = more["up"].as_str().unwrap();
    assert!(
        !up.contains("ADD COLUMN") && !up.contains("CREATE INDEX") && !up.contains("soak"),
        "{up}"
    );
    let without = run(place, &[&add[..], &["--without-fence"]].concat())
        .await
        .ends(0)
        .json();
    assert_eq!(without["files"], serde_json::json!([]), "{without}");

    let soak = |word: &'static str, more: &'static [&'static str]| async move {
        let words = [&["soak", word, "people.name"], more].concat();
        run(place, &words).await.ends(0).json()
    };
    let plan = run(place, &["plan"]).await.ends(0).json();
    assert_eq!(plan["columns"][0]["state"], "expand");
    soak("dual-write", &[]).await;
    assert_eq!(soak("backfill", &["--reason", "x"]).await["done"], ROWS);
    place
        .execute("UPDATE people SET name = 'changed' WHERE k = 1")
        .await; // the guard is up
    assert_eq!(soak("backfill", &["--reason", "x"]).await["done"], 1);
}

/// From `backfill`.
async fn goes_back(place: &Place) {
    for state in ["dual-write", "expand"] {
        let back = run(place, &["soak", "back", "people.name"])
            .await
            .ends(0)
            .json();
        assert_eq!(back["state"], state);
    }
}

async fn files_go_up_and_down_with_sqlx(kind: Kind) {
    async fn ran(place: &Place, migrator: &Migrator, up: bool) -> Result<(), MigrateError> {
        match (&place.rows, up) {
            (Rows::MariaDb(rows), true) => migrator.run(rows.pool()).await,
            (Rows::Postgres(rows), true) => migrator.run(rows.pool()).await,
            (Rows::Sqlite(rows), true) => migrator.run(rows.pool()).await,
            (Rows::MariaDb(rows), false) => migrator.undo(rows.pool(), 0).await,
            (Rows::Postgres(rows), false) => migrator.undo(rows.pool(), 0).await,
            (Rows::Sqlite(rows), false) => migrator.undo(rows.pool(), 0).await,
        }
    }
    let place = before(kind).await;
    written(&place, "sqlx", &[]).await;
    assert!(place.path("sqlx/7_encrypted_columns.down.sql").is_file());
    let mut migrator = Migrator::new(place.path("sqlx")).await.unwrap();
    migrator.set_locking(false); // one that fails goes back to the pool with its lock
    ran(&place, &migrator, true).await.unwrap();
    in_use(&place).await;
    // Ciphertext is not dropped under a soak that has gone on, nor anything else.
    ran(&place, &migrator, false).await.unwrap_err();
    assert_eq!(place.readable(7).await, 3);
    let sealed = "SELECT count(*) FROM people WHERE name_ct IS NOT NULL";
    assert_eq!(place.count(sealed).await, ROWS);
    goes_back(&place).await;
    if kind == Kind::MariaDb {
        // What a migration that failed leaves there is for people to settle.
        place
            .execute("UPDATE _sqlx_migrations SET success = 1")
            .await;
    }
    ran(&place, &migrator, false).await.unwrap();
    as_before(&place).await;
    ran(&place, &migrator, true).await.unwrap();
    ran(&place, &migrator, false).await.unwrap();
    as_before(&place).await;
}

fn harness<C: Connection + MigrationHarness<C::Backend>>(url: &str, place: &Place, up: bool) {
    let files = FileBasedMigrations::from_path(place.path("diesel")).unwrap();
    let mut connection = C::establish(url).unwrap();
    let ran = match up {
        true => connection
            .run_pending_migrations(files)
            .map(|done| done.len()),
        false => connection
            .revert_all_migrations(files)
            .map(|done| done.len()),
    };
    assert_eq!(ran.unwrap(), 1);
}

async fn files_go_up_and_down_with_diesel(kind: Kind) {
    let place = before(kind).await;
    written(&place, "diesel", &["--diesel", "--name", "names"]).await;
    assert!(place.path("diesel/7_names/down.sql").is_file());
    let run = |up| match &place.rows {
        Rows::MariaDb(rows) => harness::<MysqlConnection>(rows.url(), &place, up),
        Rows::Postgres(rows) => harness::<PgConnection>(rows.url(), &place, up),
        Rows::Sqlite(rows) => {
            harness::<SqliteConnection>(&rows.path().display().to_string(), &place, up);
        }
    };
    run(true);
    in_use(&place).await;
    goes_back(&place).await;
    run(false);
    as_before(&place).await;
}
