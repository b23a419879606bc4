//! `migrate`, `status`, `index plan`, completions and the manual page.

use crate::{
    on_each_database,
    place::{CANARY, Kind, Place},
};

on_each_database! {
    the_tables_come_up_once
    an_index_is_planned_by_counts
}

async fn the_tables_come_up_once(kind: Kind) {
    let place = Place::empty(kind).await;
    if kind == Kind::Sqlite {
        // A file that is not there is made by `migrate` only.
        let missing = place.stock(&["status"]).await.ends(3);
        missing.says("`keys_url` does not answer");
        sqlx::SqlitePool::connect(&format!(
            "sqlite:{}?mode=rwc",
            place.path("keys.db").display()
        ))
        .await
        .unwrap();
    }
    place
        .stock(&["status"])
        .await
        .ends(0)
        .says("run `ophie-crypt migrate`");
    let print = place.stock(&["migrate", "--print"]).await.ends(0);
    assert!(print.out.contains("ophie_crypt_owners ("));
    let print = ["migrate", "--print", "--json"];
    let missing = place.stock(&print).await.ends(0).json();
    let first = &missing["missing"][0]["sql"];
    assert!(
        missing["from"] == 0 && first.as_str().unwrap().contains("ophie_crypt_owners ("),
        "{missing}"
    );
    let dry = place
        .stock(&["migrate", "--dry-run", "--json"])
        .await
        .ends(0)
        .json();
    assert_eq!(
        (&dry["from"], &dry["to"], &dry["dry_run"]),
        (&0.into(), &0.into(), &true.into())
    );
    assert!(!dry["migrations"].as_array().unwrap().is_empty());
    let up = place.stock(&["migrate", "--json"]).await.ends(0).json();
    assert_eq!(up["from"], 0);
    assert_eq!(up["migrations"], dry["migrations"]);
    let again = place.stock(&["migrate"]).await.ends(0).says("up to date");
    drop(again);
    assert!(
        place
            .stock(&["migrate", "--print"])
            .await
            .ends(0)
            .out
            .is_empty()
    );
    let missing = place.stock(&print).await.ends(0).json();
    assert_eq!(missing["missing"], serde_json::json!([]));
    let status = place.stock(&["status", "--json"]).await.ends(0).json();
    assert_eq!(status["schema_version"], up["to"]);
    assert_eq!(status["newest_schema_version"], up["to"]);
    assert_eq!(
        (&status["epoch"], &status["owners"]["living"]),
        (&1.into(), &0.into())
    );
    assert_eq!(status["installation"].as_str().unwrap().len(), 32);
    assert_eq!(status["ledger"]["end"], 0);
}

async fn an_index_is_planned_by_counts(kind: Kind) {
    let place = Place::new(kind).await;
    let plan = ["index", "plan", "notes", "plain", "--owner-column", "owner"];
    let recommended = async || {
        let words = [&plan[..], &["--json"]].concat();
        let found = place.stock(&words).await.ends(0).json();
        found["recommended_bits"].clone()
    };
    assert_eq!(recommended().await, serde_json::Value::Null);
    let mut rows = vec![format!("(1, '{CANARY}')"); 6];
    rows.extend(
        [
            "(1, 'Mom')",
            "(1, 'mom')",
            "(2, 'Mom')",
            "(2, NULL)",
            "(3, 'x')",
            "(3, 'x')",
        ]
        .map(String::from),
    );
    place
        .execute(&format!(
            "INSERT INTO notes (owner, plain) VALUES {}",
            rows.join(", ")
        ))
        .await;
    let found = place
        .stock(&[&plan[..], &["--json"]].concat())
        .await
        .ends(0)
        .json();
    for (count, is) in [
        ("rows", 12),
        ("nulls", 1),
        ("owners", 3),
        ("fingerprints", 5),
        ("alone", 3), // `Mom` and `mom`, and the other owner's
        ("uniform_owners", 1),
    ] {
        assert_eq!(found[count], is, "{count} of {found}");
    }
    assert_eq!(found["most_frequent"], serde_json::json!([6, 2, 1, 1, 1]));
    place
        .stock(&plan)
        .await
        .ends(0)
        .says("most frequent, 1: 6 rows (54.5%)")
        .says("do not index it")
        .says("recommended: no index");
    assert_eq!(recommended().await, 0);
    // An expression, if the name were not quoted.
    let quote = match kind {
        Kind::Postgres => "\"",
        Kind::MariaDb | Kind::Sqlite => "`",
    };
    let expression = format!("plain{quote} || {quote}plain");
    for [table, column, owner] in [
        ["notes", &expression, "owner"],
        ["nothing", "plain", "owner"],
        ["notes", "plain", "whose"],
    ] {
        let arguments = ["index", "plan", table, column, "--owner-column", owner];
        place
            .stock(&arguments)
            .await
            .ends(3)
            .says("there is no table");
    }
    assert_eq!(place.count("SELECT count(*) FROM notes").await, 12);
    // Among so many others, that value is one of them.
    let others: Vec<_> = (0..60).map(|at| format!("(1, 'name {at}')")).collect();
    let others = others.join(", ");
    place
        .execute(&format!("INSERT INTO notes (owner, plain) VALUES {others}"))
        .await;
    assert_eq!(recommended().await, 128);
    let said = place.stock(&plan).await.ends(0);
    said.says("most frequent, 1: 6 rows (8.4%)")
        .says("recommended: all 128 bits");
}

#[tokio::test]
async fn completions_and_the_page_need_no_database() {
    let place = Place::empty(Kind::Sqlite).await;
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = place.stock(&["completions", shell]).await.ends(0);
        assert!(
            script.out.contains("yes-shred") || script.out.contains("yes_shred"),
            "{shell}"
        );
    }
    let page = place.stock(&["man"]).await.ends(0);
    assert!(
        page.out.contains(".TH ophie") && page.out.contains("yes\\-shred"),
        "{}",
        page.out
    );
}
