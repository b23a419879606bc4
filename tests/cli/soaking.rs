//! `soak` and `plan`: a column from plaintext to ciphertext and back, call by call.

pub(crate) mod stopped;

use std::sync::Arc;

use ophie_crypt::{
    EncryptedModel, Models,
    soak::{SoakStore, SoakWatch},
};
use ophie_crypt_sqlx::{
    BlindIndex, Encrypted, MySqlModels, Owner, PostgresModels, Soak, SqliteModels,
};
use serde_json::{Value, json};

use crate::{
    on_each_database,
    place::{CANARY, Ended, Kind, Place, Program, Rows},
    reference::is_documented,
};

on_each_database! {
    a_column_goes_through_all_states
    the_way_back_brings_every_plaintext
}

#[derive(EncryptedModel)]
#[crypt(table = "people")]
#[expect(dead_code, reason = "only its columns are used")]
struct Person {
    owner: Owner<i64>,
    #[crypt(column = "name_ct", soak(twin = "name", floor = "expand"))]
    name: Soak<Option<String>, person::name>,
    #[crypt(index_of = "name", normalize = "name")]
    name_fp: Option<BlindIndex<String, person::name_fp>>,
}

mod after {
    use super::{BlindIndex, Encrypted, EncryptedModel, Owner};

    /// The release without the attribute.
    #[derive(EncryptedModel)]
    #[crypt(table = "people")]
    #[expect(dead_code, reason = "only its columns are used")]
    pub(super) struct Person {
        owner: Owner<i64>,
        #[crypt(column = "name_ct")]
        name: Option<Encrypted<String, person::name>>,
        #[crypt(index_of = "name", normalize = "name")]
        name_fp: Option<BlindIndex<String, person::name_fp>>,
    }
}

/// Rows with plaintext; beside them one with NULL.
pub(crate) const ROWS: i64 = 40;
const NAME: &str = "people.name";
const WHY: [&str; 2] = ["--reason", "ticket 4711"];

/// People of two owners, one of them with an empty name. Key and owner have names that the library's statements use, too.
pub(crate) async fn people(place: &Place) {
    let text = match place.kind {
        Kind::MariaDb => "varchar(80)",
        _ => "text",
    };
    let sql =
        format!("CREATE TABLE people (k integer PRIMARY KEY, owner bigint NOT NULL, name {text})");
    place.execute(&sql).await;
    let rows: Vec<_> = (1..=ROWS)
        .map(|id| match id {
            2 => format!("({id}, 7, '')"),
            _ => format!("({id}, {}, '{CANARY} {id}')", 7 + id % 2),
        })
        .collect();
    place
        .execute(&format!(
            "INSERT INTO people VALUES {}, (0, 7, NULL)",
            rows.join(", ")
        ))
        .await;
}

/// A process of a release, which lives.
async fn live(place: &Place, models: Models) -> SoakWatch {
    let store: Arc<dyn SoakStore> = match &place.rows {
        Rows::MariaDb(rows) => Arc::new(MySqlModels::new(rows.pool().clone(), models)),
        Rows::Postgres(rows) => Arc::new(PostgresModels::new(rows.pool().clone(), models)),
        Rows::Sqlite(rows) => Arc::new(SqliteModels::new(rows.pool().clone(), models)),
    };
    let watch = SoakWatch::new(store).unwrap();
    watch.beat().await.unwrap();
    watch
}

async fn run(place: &Place, release: &'static str, words: &[&str]) -> Ended {
    let words = [words, &["--json"]].concat();
    let mut command = place.command(Program::Release(release), &words);
    place.ended(&mut command).await
}

/// One call, of the release that soaks. What it prints is what the reference says.
async fn soak(place: &Place, word: &str, more: &[&str]) -> Ended {
    let ended = run(place, "soaking", &[&["soak", word, NAME], more].concat()).await;
    if ended.code < 2 {
        is_documented(&format!("soak {word}"), &ended.json());
    }
    ended
}

/// What it says to people.
pub(crate) async fn said(place: &Place, words: &[&str], code: i32) -> Ended {
    let mut command = place.command(Program::Release("soaking"), words);
    place.ended(&mut command).await.ends(code)
}

/// The one column of the plan.
async fn planned(place: &Place) -> Value {
    let plan = run(place, "soaking", &["plan"]).await.ends(0).json();
    is_documented("plan", &plan);
    assert_eq!(plan["columns"].as_array().unwrap().len(), 1, "{plan}");
    plan["columns"][0].clone()
}

fn unmet(json: &Value) -> Vec<&str> {
    let gates = json["unmet"].as_array().unwrap().iter();
    gates.map(|gate| gate["gate"].as_str().unwrap()).collect()
}

/// What the next call is, and then its state.
async fn next(place: &Place, word: &str, more: &[&str], state: &str) -> Value {
    let plan = planned(place).await;
    let call = plan["call"].as_str().unwrap();
    assert!(
        call.starts_with(&format!("ophie-crypt soak {word} {NAME}")),
        "{plan}"
    );
    let done = soak(place, word, more).await.ends(0).json();
    assert_eq!(done["state"], state, "{done}");
    done
}

async fn a_column_goes_through_all_states(kind: Kind) {
    let place = Place::new(kind).await;
    people(&place).await;
    place
        .stock(&["plan"])
        .await
        .ends(4)
        .says("ophie_crypt_cli::main");
    run(&place, "soaking", &["soak", "expand", "people.nam"])
        .await
        .ends(4)
        .says("people.nam");
    soak(&place, "dual-write", &[])
        .await
        .ends(4)
        .says("`plain`");
    let dry = soak(&place, "expand", &["--dry-run"]).await.ends(0).json();
    assert_eq!(
        (&dry["state"], &dry["dry_run"]),
        (&"plain".into(), &true.into())
    );
    next(&place, "expand", &[], "expand").await;
    soak(&place, "expand", &[]).await.ends(0); // it is there
    let status = place.stock(&["status", "--json"]).await.ends(0).json();
    assert_eq!(status["soaks"][0]["state"], "expand", "{status}");

    let watch = live(&place, Models::new().with::<Person>()).await;
    next(&place, "dual-write", &[], "dual-write").await;
    // One step at a time: who lives goes by the state before yet.
    let early = soak(&place, "backfill", &WHY).await.ends(5).json();
    assert_eq!(
        (unmet(&early), &early["state"]),
        (vec!["acknowledged"], &"dual-write".into())
    );
    let (waiting, _) = tokio::join!(
        soak(
            &place,
            "backfill",
            &["--wait", "--batch", "7", "--reason", "x"]
        ),
        watch.beat()
    );
    let filled = waiting.ends(0).json();
    assert_eq!(
        (&filled["done"], &filled["left"]),
        (&ROWS.into(), &0.into())
    );

    // A binary of before writes on, and the guard makes its row pending.
    place
        .execute(&format!(
            "UPDATE people SET name = '{CANARY} again' WHERE k = 1"
        ))
        .await;
    watch.beat().await.unwrap();
    let held = soak(&place, "verify", &WHY).await.ends(4).json();
    assert_eq!(unmet(&held), ["nothing-pending"]);
    assert_eq!(planned(&place).await["rows"], 1);
    next(&place, "backfill", &WHY, "backfill").await;
    let dry = soak(&place, "verify", &["--dry-run"]).await.ends(0).json();
    assert_eq!((unmet(&dry).len(), &dry["state"]), (0, &"backfill".into()));
    next(&place, "verify", &WHY, "verify").await;

    // The ciphertext of a neighbour is named, by the row's key.
    let other = "(SELECT ct FROM (SELECT name_ct AS ct FROM people WHERE k = 3) AS other)";
    place
        .execute(&format!("UPDATE people SET name_ct = {other} WHERE k = 5"))
        .await;
    let found = soak(&place, "verify", &WHY).await.ends(1).json();
    assert_eq!(
        (&found["wrong_rows"], &found["wrong"][0]["key"]),
        (&1.into(), &"5".into()),
        "{found}"
    );
    place
        .execute(&format!(
            "UPDATE people SET name = '{CANARY} anew' WHERE k = 5"
        ))
        .await;
    watch.beat().await.unwrap();
    let workers = [&WHY[..], &["--workers", "2"]].concat();
    soak(&place, "backfill", &workers).await.ends(0);
    // In pages, whose order is the key's and not that of what the library calls `k` too.
    let pages = [&WHY[..], &["--batch", "6"]].concat();
    assert_eq!(
        soak(&place, "verify", &pages).await.ends(0).json()["done"],
        ROWS
    );
    next(&place, "soak", &[], "soak").await;
    watch.beat().await.unwrap();
    reported(&place, ("soak", true)).await;
    next(&place, "seal", &[], "sealed").await;
    watch.beat().await.unwrap();

    for more in [&["--dry-run"][..], &[]] {
        let held = soak(&place, "retire", more).await.ends(4).json();
        assert_eq!(unmet(&held), ["no-old-binaries", "verified"]);
    }
    next(&place, "refuse-old", &[], "sealed").await;
    watch.beat().await.unwrap();
    next(&place, "verify", &WHY, "sealed").await;
    let dry = soak(&place, "retire", &["--dry-run"]).await.ends(0).json();
    assert_eq!(
        (&dry["left"], &dry["state"]),
        (&ROWS.into(), &"sealed".into())
    );
    // The process does not know yet, and writes plaintext.
    let held = soak(&place, "retire", &[]).await.ends(5).json();
    assert_eq!(
        (&held["state"], &held["left"]),
        (&"retired".into(), &ROWS.into())
    );
    assert_eq!(unmet(&held), ["acknowledged"]);
    watch.beat().await.unwrap();
    let emptied = next(&place, "retire", &["--batch", "9"], "retired").await;
    assert_eq!(
        (&emptied["done"], &emptied["left"]),
        (&ROWS.into(), &0.into())
    );
    assert_eq!(
        place
            .count("SELECT count(*) FROM people WHERE name IS NOT NULL")
            .await,
        0
    );

    let held = soak(&place, "drop", &["--yes-drop", NAME])
        .await
        .ends(4)
        .json();
    assert_eq!(unmet(&held), ["twin-unknown"]);
    watch.stop().await.unwrap();
    let watch = live(&place, Models::new().with::<after::Person>()).await;
    let last = |more: &'static [&'static str]| {
        let words = [&["soak", "drop", NAME], more].concat();
        let place = &place;
        async move { run(place, "after", &words).await }
    };
    let database = match &place.rows {
        Rows::MariaDb(rows) => format!("/{}, to drop", rows.name()),
        Rows::Postgres(rows) => format!("/{}, to drop", rows.name()),
        Rows::Sqlite(_) => ".db, to drop".to_owned(),
    };
    last(&[])
        .await
        .ends(4)
        .says("--yes-drop people.name")
        .says(&database);
    last(&["--yes-drop", "people.name_ct"])
        .await
        .ends(4)
        .says("nothing was done");
    last(&["--dry-run"]).await.ends(0);
    assert_eq!(
        place
            .count("SELECT count(*) FROM people WHERE name IS NULL")
            .await,
        ROWS + 1
    );
    let dropped = last(&["--yes-drop", NAME]).await.ends(0).json();
    assert_eq!(
        (
            &dropped["state"],
            dropped["residue"].as_array().unwrap().is_empty()
        ),
        (&"dropped".into(), false)
    );
    place.tried("SELECT name FROM people").await.unwrap_err();
    let sealed = "SELECT count(*) FROM people WHERE name_ct IS NOT NULL AND name_fp IS NOT NULL";
    assert_eq!(place.count(sealed).await, ROWS);
    last(&[]).await.ends(0);
    let anew = last(&["--rewrite"]).await.ends(0).json();
    assert_eq!(anew["residue"], dropped["residue"]);
    let plan = run(&place, "after", &["plan"]).await.ends(0).json();
    assert_eq!(
        (&plan["columns"][0]["state"], &plan["columns"][0]["call"]),
        (&"dropped".into(), &Value::Null)
    );
    reported(&place, ("dropped", false)).await;
    run(&place, "after", &["soak", "back", NAME]).await.ends(4);
    watch.stop().await.unwrap();
}

/// What an auditor reads of it: the state, whether plaintext stands, and who is alive where the program knows.
async fn reported(place: &Place, (state, stands): (&str, bool)) {
    for (release, processes) in [("soaking", json!(1)), ("", Value::Null)] {
        let mut command = match release {
            "" => place.command(Program::Stock, &["report", "--json"]),
            release => place.command(Program::Release(release), &["report", "--json"]),
        };
        let ended = place.ended(&mut command).await;
        let column = &ended.json()["sections"]["soaks"]["columns"][0];
        let said = ["state", "plaintext_stands", "processes"].map(|field| column[field].clone());
        assert_eq!(said, [json!(state), json!(stands), processes], "{column}");
        assert!(!ended.out.contains(CANARY));
    }
}

/// To this state, with nobody alive.
async fn to(place: &Place, state: &str) {
    let calls: [(&str, &[&str], &str); 10] = [
        ("expand", &[], "expand"),
        ("dual-write", &[], "dual-write"),
        ("backfill", &WHY, "backfill"),
        ("verify", &WHY, "verify"),
        ("soak", &[], "soak"),
        ("seal", &[], "sealed"),
        ("refuse-old", &[], "sealed"),
        ("verify", &WHY, "sealed"),
        ("retire", &[], "retired"),
        ("", &[], ""),
    ];
    for (word, more, reached) in calls {
        let done = soak(place, word, more).await.ends(0).json();
        assert_eq!(done["state"], reached);
        if reached == state && word != "seal" && word != "refuse-old" {
            return;
        }
    }
}

async fn the_way_back_brings_every_plaintext(kind: Kind) {
    let place = Place::new(kind).await;
    people(&place).await;
    to(&place, "retired").await;
    for word in ["admit-old", "refuse-old"] {
        for more in [&["--dry-run"][..], &[]] {
            soak(&place, word, more).await.ends(4).says("leads nowhere");
        }
    }
    soak(&place, "back", &[]).await.ends(2).says("--reason");
    assert_eq!(planned(&place).await["state"], "retired");
    let dry = soak(&place, "back", &["--dry-run"]).await.ends(0).json();
    assert_eq!(
        (&dry["left"], &dry["state"]),
        (&ROWS.into(), &"retired".into())
    );
    let back = soak(&place, "back", &WHY).await.ends(0).json();
    assert_eq!(
        (&back["state"], &back["done"], &back["left"]),
        (&"sealed".into(), &ROWS.into(), &0.into())
    );
    for more in [&["--dry-run"][..], &[]] {
        let held = soak(&place, "admit-old", more).await.ends(4).json();
        is_documented("soak admit-old", &held);
        assert_eq!(unmet(&held), ["verified"]);
    }
    soak(&place, "verify", &WHY).await.ends(0);
    said(&place, &["soak", "admit-old", NAME, "--dry-run"], 0)
        .await
        .says("would be admitted");
    assert_eq!(planned(&place).await["admits_old"], false);
    soak(&place, "admit-old", &[]).await.ends(0);
    assert_eq!(planned(&place).await["admits_old"], true);
    said(&place, &["soak", "refuse-old", NAME, "--dry-run"], 0)
        .await
        .says("would be refused");
    assert_eq!(planned(&place).await["admits_old"], true);
    said(&place, &["soak", "admit-old", NAME], 0)
        .await
        .says("are admitted already");
    for state in [
        "soak",
        "verify",
        "backfill",
        "dual-write",
        "expand",
        "plain",
    ] {
        // Old binaries have been about since the verify: it compares once more.
        let back = soak(&place, "back", &WHY).await.ends(0).json();
        assert_eq!(back["state"], state);
    }
    soak(&place, "back", &[]).await.ends(4);
    for (sql, rows) in [
        (
            "SELECT count(*) FROM people WHERE name_ct IS NOT NULL OR name_fp IS NOT NULL",
            0,
        ),
        (
            "SELECT count(*) FROM people WHERE k > 0 AND name IS NOT NULL",
            ROWS,
        ),
        ("SELECT count(*) FROM people WHERE k = 2 AND name = ''", 1),
        (
            "SELECT count(*) FROM people WHERE k = 0 AND name IS NULL",
            1,
        ),
    ] {
        assert_eq!(place.count(sql).await, rows, "{sql}");
    }
    let each =
        format!("SELECT count(*) FROM people WHERE k <> 2 AND name = concat('{CANARY} ', k)");
    assert_eq!(place.count(&each).await, ROWS - 1);
}
