//! Where settings come from, mistakes in them, and secrets in what is printed.
//!
//! `Place::looked_through` searches every output of every test for the canaries; here they are where they hurt.

use crate::place::{Kind, PASSWORD, Place, Program};

#[tokio::test]
async fn the_file_is_read_and_its_mistakes_are_named() {
    let place = Place::new(Kind::Sqlite).await;
    let mut command = place.command(Program::Stock, &["status"]);
    command.env_clear();
    place
        .ended(&mut command)
        .await
        .ends(2)
        .says("`database_url` is not set")
        .says("OPHIE_CRYPT_DATABASE_URL");
    let keys = place.path("keys.db").display().to_string();
    let file = |text: &str| std::fs::write(place.path("ophie-crypt.toml"), text).unwrap();
    file(&format!("# ours\ndatabase_url = \"sqlite:{keys}\"\n"));
    let mut command = place.command(Program::Stock, &["status"]);
    command.env_clear();
    place
        .ended(&mut command)
        .await
        .ends(0)
        .says("database: sqlite, tables at ");
    let url = format!("postgres://ops:{PASSWORD}@127.0.0.1:1/app");
    for (text, says) in [
        (
            format!("database_url = \"{url}\"\npasword = \"{PASSWORD}\"\n"),
            "line 2: there is no key `pasword`",
        ),
        (
            format!("\ndatabase_url = [\"{url}\"]\n"),
            "line 2: `database_url` is to be a text",
        ),
        (
            format!("database_url = {url}\n"),
            "line 1: this is not TOML",
        ),
        (
            format!("horizon_days = \"{PASSWORD}\"\n"),
            "line 1: `horizon_days` is to be a number",
        ),
    ] {
        file(&text);
        place.stock(&["status"]).await.ends(2).says(says);
        let json = place.stock(&["status", "--json"]).await.ends(2).json();
        assert_eq!(json["error"]["kind"], "config");
    }
    place
        .stock(&["status", "--config", "elsewhere.toml"])
        .await
        .ends(2)
        .says("elsewhere.toml cannot be read");
}

#[tokio::test]
async fn no_password_is_printed_however_it_fails() {
    let place = Place::new(Kind::Postgres).await;
    place
        .execute(&format!(
            "CREATE ROLE ops_{0} LOGIN PASSWORD '{PASSWORD}'",
            std::process::id()
        ))
        .await;
    let (_, rest) = place.url().split_once('@').unwrap();
    let encoded = PASSWORD.replace('-', "%2D");
    let role = format!("ops_{}", std::process::id());
    let good = format!("postgres://{role}:{encoded}@{rest}");
    // A role without rights: each question fails in the database.
    for arguments in [
        &["status"][..],
        &["doctor"],
        &["keys", "list"],
        &["audit", "verify"],
        &["migrate"],
        &["keys", "provision", "--owner", "int:7", "--reason", "x"],
    ] {
        for json in [false, true] {
            let mut command = place.command(Program::Application, arguments);
            command.env("DATABASE_URL", &good);
            if json {
                command.arg("--json");
            }
            let ended = place.ended(&mut command).await;
            assert!(
                !matches!(ended.code, 0 | 2 if arguments != ["migrate"]),
                "{ended:?}"
            );
            assert!(
                !ended.out.contains(&encoded) && !ended.err.contains(&encoded),
                "{ended:?}"
            );
        }
    }
    for url in [
        format!("postgres://{role}:{PASSWORD}@127.0.0.1:1/app"),
        format!("postgres://{role}:{PASSWORD}@127.0.0.1:port/app"),
        format!("mysql://{role}:{PASSWORD}@127.0.0.1:1/app"),
        format!("mysql://{role}:{PASSWORD}@[::1/app"),
        format!("oracle://{role}:{PASSWORD}@h/app"),
        format!("sqlite://{role}:{PASSWORD}@h/no/such/folder/app.db"),
    ] {
        for arguments in [
            vec!["status", "--database-url", &url],
            vec!["--database-url", &url, "status", "--json"],
            vec!["status", "--ledger", &url],
            vec!["--database-url", &url, "no-such-command"],
            vec!["status", &url],
            vec![&url],
            vec!["keys", "list", "--limit", &url],
            vec!["keys", "list", "--owner", &url],
        ] {
            let mut command = place.command(Program::Stock, &arguments);
            command.env_remove("DATABASE_URL");
            let ended = place.ended(&mut command).await;
            assert!(matches!(ended.code, 2 | 3), "{arguments:?}: {ended:?}");
        }
    }
    // A password that the server refuses.
    let mariadb = Place::new(Kind::MariaDb).await;
    let wrong = mariadb
        .url()
        .replacen("root@", &format!("root:{PASSWORD}@"), 1);
    for arguments in [&["status"][..], &["status", "--json"]] {
        let mut command = mariadb.command(Program::Stock, arguments);
        command.env("DATABASE_URL", &wrong);
        let ended = mariadb.ended(&mut command).await.ends(3);
        ended.says("Access denied");
    }
    let mut command = place.command(Program::Stock, &["audit", "verify", "--kms", "nowhere"]);
    place
        .ended(&mut command)
        .await
        .ends(2)
        .says("`kms` (from --kms) is to be `local:`");
}

#[tokio::test]
async fn help_shows_no_value_of_the_environment() {
    let place = Place::empty(Kind::Sqlite).await;
    for arguments in [
        &["--help"][..],
        &["keys", "rotate", "--help"],
        &["help", "sweep"],
    ] {
        let mut command = place.command(Program::Stock, arguments);
        command.env("DATABASE_URL", format!("postgres://ops:{PASSWORD}@h/app"));
        place.ended(&mut command).await.ends(0);
    }
    place
        .stock(&["--version"])
        .await
        .ends(0)
        .says("ophie-crypt 0.");
    place.stock(&[]).await.ends(2);
}

/// Counting rows of one installation for the keys of another would find none, and destroy them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_named_elsewhere_are_not_met_with_whatever_database_url_says() {
    let place = Place::new(Kind::Postgres).await;
    for arguments in [
        &[
            "keys",
            "rotate",
            "--owner",
            "int:7",
            "--reason",
            "x",
            "--keys-url",
            place.url(),
        ][..],
        &[
            "keys",
            "destroy",
            "--owner",
            "int:7",
            "--reason",
            "x",
            "--yes-destroy",
            "int:7",
            "--keys-url",
            place.url(),
        ],
        &["sweep", "--keys-url", place.url()],
    ] {
        let ended = place.run(arguments).await;
        ended.ends(2).says("`keys_url` from --keys-url");
    }
}
