//! `doctor`, and that it tells what is wrong from what is well.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::{
    on_each_database,
    place::{Kind, Place, Program, Rows},
    soaking::people,
};

on_each_database! {
    each_check_finds_what_is_wrong
    indexes_that_are_missing_or_go_are_named
    envelopes_that_no_model_names_are_found
}

fn state(found: &Value, check: &str) -> Vec<(String, String)> {
    let checks = found["checks"].as_array().unwrap().iter();
    let of = checks.filter(|entry| entry["check"] == check);
    of.map(|entry| {
        let text = |name: &str| entry[name].as_str().unwrap().to_owned();
        (text("state"), text("text"))
    })
    .collect()
}

/// Of a check with one answer.
fn is(found: &Value, check: &str, word: &str, text: &str) {
    let states = state(found, check);
    assert!(
        matches!(&states[..], [(state, said)] if state == word && said.contains(text)),
        "{check} is not {word} with {text:?}: {found}"
    );
}

const INDEX: &str = "CREATE INDEX notes_fp ON notes (owner, text_fp)";

/// The answers of `indexes`, and what a release finds.
async fn indexes(place: &Place, release: &'static str) -> Vec<(String, String)> {
    let mut command = place.command(Program::Release(release), &["doctor", "--json"]);
    state(&place.ended(&mut command).await.json(), "indexes")
}

/// Of which a shred would know nothing, and a rotation neither.
async fn envelopes_that_no_model_names_are_found(kind: Kind) {
    let place = Place::new(kind).await;
    let look = async || {
        let mut command = place.command(Program::Application, &["doctor", "--json"]);
        place.ended(&mut command).await.json()
    };
    let bytes = match kind {
        Kind::Postgres => "bytea",
        Kind::MariaDb | Kind::Sqlite => "blob",
    };
    // As long as an envelope of no text, and the last byte of which one begins.
    let value = |first: &str, more: usize| match kind {
        Kind::Postgres => format!("'\\x{first}{}'", "00".repeat(more)),
        Kind::MariaDb | Kind::Sqlite => format!("x'{first}{}'", "00".repeat(more)),
    };
    let (envelope, last) = (value("fa", 44), value("fd", 90));
    let others = [value("f9", 44), value("fe", 44), value("fa", 43)];
    let tables = format!(
        "CREATE TABLE exports (id int, bytes {bytes}, other {bytes}); CREATE TABLE pictures (bytes {bytes}); \
         CREATE TABLE empty (bytes {bytes})"
    );
    place.execute(&tables).await;
    for (n, other) in others.iter().enumerate() {
        place
            .execute(&format!("INSERT INTO exports VALUES ({n}, NULL, {other})"))
            .await;
    }
    // One of three begins so, by chance.
    let pictures = format!(
        "INSERT INTO pictures VALUES ({}), ({}), ({envelope})",
        others[0], others[1]
    );
    place.execute(&pictures).await;
    is(&look().await, "unnamed", "ok", "");

    place
        .execute(&format!("UPDATE exports SET bytes = {last} WHERE id = 2"))
        .await;
    place
        .execute(&format!("ALTER TABLE notes ADD COLUMN draft {bytes}"))
        .await;
    place
        .execute(&format!(
            "INSERT INTO notes (id, owner, text, draft) VALUES (1, 7, {envelope}, {envelope})"
        ))
        .await;
    let found = state(&look().await, "unnamed");
    assert_eq!(found.len(), 2, "{found:?}");
    let named = |table: &str, says: &str| {
        found.iter().any(|(state, text)| {
            state == "failed" && text.contains(&format!("{table}: ")) && text.contains(says)
        })
    };
    assert!(named(".exports.bytes", "names its table"), "{found:?}");
    assert!(named(".notes.draft", "names it, and"), "{found:?}");
}

/// A column that was not looked at is a finding, too.
#[tokio::test]
async fn what_the_role_may_not_read_is_said() {
    let place = Place::new(Kind::Postgres).await;
    let Rows::Postgres(rows) = &place.rows else {
        unreachable!()
    };
    let role = format!("reader_of_{}", rows.name());
    let made = format!(
        "CREATE TABLE hidden (bytes bytea); CREATE ROLE {role} LOGIN; GRANT SELECT ON notes TO {role}"
    );
    place.execute(&made).await;
    let url = rows
        .url()
        .replace("postgres://postgres@", &format!("postgres://{role}@"));
    assert!(
        url.contains(&role),
        "the role of the server's URL is another"
    );
    let mut command = place.command(Program::Application, &["doctor", "--json"]);
    command.env("DATABASE_URL", url);
    let found = place.ended(&mut command).await.json();
    let gone = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    place.execute(&gone).await;
    is(
        &found,
        "unnamed",
        "warning",
        "hidden.bytes: this role may not read it",
    );
}

async fn indexes_that_are_missing_or_go_are_named(kind: Kind) {
    let place = Place::new(kind).await;
    let found = indexes(&place, "").await;
    assert!(
        matches!(&found[..], [(state, text)] if state == "warning"
            && text.starts_with("notes.text_fp: no index") && text.contains("(owner, text_fp)")),
        "{found:?}"
    );
    // Behind another column than the owner, it finds nothing.
    place
        .execute("CREATE INDEX notes_other ON notes (id, text_fp)")
        .await;
    assert_eq!(indexes(&place, "").await, found);
    place.execute(INDEX).await;
    let found = indexes(&place, "").await;
    assert!(
        matches!(&found[..], [(state, _)] if state == "ok"),
        "{found:?}"
    );
    // A plaintext column that is to go, and what is unique by it.
    people(&place).await;
    let unique = |found: &[(String, String)]| {
        let named = found.iter().filter(|(state, text)| {
            state == "warning" && text.starts_with("people.name: the unique index `")
        });
        named.count()
    };
    assert_eq!(unique(&indexes(&place, "soaking").await), 0);
    place
        .execute("CREATE INDEX people_owner ON people (owner, name)")
        .await;
    assert_eq!(unique(&indexes(&place, "soaking").await), 0);
    place
        .execute("CREATE UNIQUE INDEX people_name ON people (owner, name)")
        .await;
    let found = indexes(&place, "soaking").await;
    assert!(
        unique(&found) == 1 && found.iter().any(|(_, text)| text.contains("`people_name`")),
        "{found:?}"
    );
    if kind == Kind::Postgres {
        let more = "ALTER TABLE people ADD CONSTRAINT of_owner UNIQUE (name, owner); \
                    CREATE UNIQUE INDEX folded ON people (owner, lower(name))";
        place.execute(more).await;
        assert_eq!(unique(&indexes(&place, "soaking").await), 3);
    }
}

/// Models name tables with their schemas, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_another_schema_is_looked_at() {
    for kind in [Kind::MariaDb, Kind::Postgres] {
        let place = Place::new(kind).await;
        place.execute(INDEX).await;
        let bytes = match kind {
            Kind::Postgres => "bytea",
            _ => "blob",
        };
        // No other test has a schema of this name, but on MariaDB it would be theirs, too.
        let schema = format!(
            "CREATE SCHEMA elsewhere; \
             CREATE TABLE elsewhere.notes (id bigint PRIMARY KEY, owner bigint NOT NULL, text {bytes})"
        );
        place.execute(&schema).await;
        let look = async || {
            let mut command = place.command(Program::Release("elsewhere"), &["doctor", "--json"]);
            place.ended(&mut command).await.json()
        };
        let lacks = look().await;
        place
            .execute("ALTER TABLE elsewhere.notes ADD COLUMN text_fp varchar(17)")
            .await;
        let other = look().await;
        let well = match kind {
            Kind::Postgres => {
                "ALTER TABLE elsewhere.notes DROP COLUMN text_fp, ADD COLUMN text_fp bytea; \
                 CREATE INDEX notes_fp ON elsewhere.notes (owner, text_fp)"
            }
            _ => "ALTER TABLE elsewhere.notes MODIFY text_fp binary(17), ADD KEY (owner, text_fp)",
        };
        place.execute(well).await;
        let well = look().await;
        let gone = match kind {
            Kind::Postgres => "DROP SCHEMA elsewhere CASCADE",
            _ => "DROP SCHEMA elsewhere",
        };
        place.execute(gone).await;
        is(
            &lacks,
            "models",
            "failed",
            "elsewhere.notes.text_fp: there is no such column",
        );
        is(&other, "models", "failed", "elsewhere.notes.text_fp: it is");
        is(
            &other,
            "indexes",
            "warning",
            "elsewhere.notes.text_fp: no index",
        );
        is(&well, "models", "ok", "");
        is(&well, "indexes", "ok", "");
        is(
            &look().await,
            "models",
            "failed",
            "elsewhere.notes.*: there is no such table",
        );
    }
}

/// What prints plans is loaded into each session, or it is not there.
#[tokio::test]
async fn plans_in_the_log_are_named() {
    let place = Place::new(Kind::Postgres).await;
    let Rows::Postgres(rows) = &place.rows else {
        unreachable!()
    };
    let set = |setting: &str| {
        let name = rows.name();
        let sql = format!("ALTER DATABASE \"{name}\" SET {setting}");
        let place = &place;
        async move { place.execute(&sql).await }
    };
    let named = async || {
        let found = place.run(&["doctor", "--json"]).await.json();
        let logs = state(&found, "logs").into_iter();
        let mut named: Vec<_> = logs
            .filter_map(|(_, text)| Some(text.strip_prefix("auto_explain.")?.to_owned()))
            .collect();
        named.sort();
        named
    };
    assert!(named().await.is_empty());
    set("session_preload_libraries = 'auto_explain'").await;
    assert!(named().await.is_empty());
    set("auto_explain.log_min_duration = 0").await;
    let found = named().await;
    assert!(
        found[0].starts_with("log_min_duration = 0 prints plans"),
        "{found:?}"
    );
    set("auto_explain.log_min_duration = -1").await;
    assert!(named().await.is_empty());
}

async fn each_check_finds_what_is_wrong(kind: Kind) {
    let place = Place::new(kind).await;
    place.execute(INDEX).await;
    let well = place.run(&["doctor", "--json"]).await;
    let found = well.json();
    for check in [
        "database", "tables", "clock", "kms", "ledger", "models", "indexes",
    ] {
        is(&found, check, "ok", "");
    }
    let logs = state(&found, "logs");
    match kind {
        // The servers of the tests log all that they can.
        Kind::Postgres => {
            for name in [
                "log_statement = all",
                "log_min_duration_statement = 0",
                "log_parameter_max_length_on_error = -1",
                "log_error_verbosity = default",
            ] {
                assert!(
                    logs.iter()
                        .any(|(state, text)| state == "warning" && text.starts_with(name)),
                    "{name}: {logs:?}"
                );
            }
        }
        Kind::MariaDb => assert!(
            logs.iter()
                .any(|(state, text)| state == "warning" && text.starts_with("general_log = ON")),
            "{logs:?}"
        ),
        Kind::Sqlite => is(&found, "logs", "ok", "no setting"),
    }
    let expected = if kind == Kind::Sqlite { 0 } else { 1 };
    assert_eq!(well.code, expected, "{found}");
    is(
        &place.stock(&["doctor", "--json"]).await.json(),
        "models",
        "absent",
        "knows no models",
    );

    let text = match kind {
        Kind::MariaDb => "longtext",
        Kind::Postgres | Kind::Sqlite => "text",
    };
    // In one call: SQLite looks for duplicates in what a connection remembers of the table.
    let without = match kind {
        Kind::MariaDb => "DROP INDEX notes_fp ON notes",
        Kind::Postgres | Kind::Sqlite => "DROP INDEX notes_fp",
    };
    let changed = format!(
        "{without}; ALTER TABLE notes DROP COLUMN text_fp; ALTER TABLE notes RENAME COLUMN text TO text_was; ALTER TABLE notes ADD COLUMN text {text}"
    );
    place.execute(&changed).await;
    std::fs::set_permissions(
        place.path("master.key"),
        std::fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    std::fs::write(place.path("ledger"), "no ledger\n").unwrap();
    let found = place.run(&["doctor", "--json"]).await.ends(1).json();
    let models = state(&found, "models");
    assert_eq!(models.len(), 2, "{models:?}");
    assert!(
        models
            .iter()
            .any(|(_, text)| text.starts_with("notes.text: it is") && text.contains("should be")),
        "{models:?}"
    );
    assert!(
        models
            .iter()
            .any(|(_, text)| text == "notes.text_fp: there is no such column"),
        "{models:?}"
    );
    is(&found, "kms", "failed", "mode 0640");
    is(&found, "ledger", "failed", "ledger");
    place.execute("DROP TABLE notes").await;
    is(
        &place.run(&["doctor", "--json"]).await.ends(1).json(),
        "models",
        "failed",
        "there is no such table",
    );
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let place = Place::empty(Kind::Postgres).await;
    let mut command = place.command(Program::Application, &["doctor", "--json"]);
    command
        .env_remove("OPHIE_CRYPT_KMS")
        .env_remove("OPHIE_CRYPT_LEDGER");
    let found = place.ended(&mut command).await.ends(1).json();
    is(&found, "tables", "failed", "run `ophie-crypt migrate`");
    is(&found, "kms", "absent", "no KMS");
    is(&found, "ledger", "absent", "a restore would bring");
    let mut command = place.command(Program::Application, &["doctor"]);
    command.env(
        "DATABASE_URL",
        "postgres://ops:canary-pass-word@127.0.0.1:1/app",
    );
    place
        .ended(&mut command)
        .await
        .ends(1)
        .says("failed   database")
        .says("failed   models");
    // Passwords that others may read.
    let file = place.path("with-password.toml");
    std::fs::write(
        &file,
        "keys_url = \"postgres://ops:canary-pass-word@127.0.0.1:1/app\"\n",
    )
    .unwrap();
    for (mode, word) in [(0o640, "warning"), (0o600, "ok")] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let mut command = place.command(Program::Application, &["doctor", "--json"]);
        command.env("OPHIE_CRYPT_CONFIG", &file);
        let ended = place.ended(&mut command).await.ends(1);
        is(&ended.json(), "file", word, &format!("{mode:04o}"));
    }
    // Keys in the application's own file.
    let sqlite = Place::new(Kind::Sqlite).await;
    let mut command = sqlite.command(Program::Application, &["doctor", "--json"]);
    command.env_remove("OPHIE_CRYPT_KEYS_URL");
    is(
        &sqlite.ended(&mut command).await.ends(1).json(),
        "sqlite",
        "failed",
        "keys_url",
    );
}
