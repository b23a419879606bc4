//! `doctor`, and that it tells what is wrong from what is well.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::{
    on_each_database,
    place::{Kind, Place, Program},
};

on_each_database! {
    each_check_finds_what_is_wrong
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

async fn each_check_finds_what_is_wrong(kind: Kind) {
    let place = Place::new(kind).await;
    let well = place.run(&["doctor", "--json"]).await;
    let found = well.json();
    for check in ["database", "tables", "clock", "kms", "ledger", "models"] {
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
    let changed = format!(
        "ALTER TABLE notes DROP COLUMN text_fp; ALTER TABLE notes RENAME COLUMN text TO text_was; ALTER TABLE notes ADD COLUMN text {text}"
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
