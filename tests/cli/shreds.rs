//! `sweep` and `restore`: what shreds leave to be done, and a database that was put back.

use ophie_crypt::CanonicalId;

use crate::{
    on_each_database,
    place::{Kind, Place, Program},
};

on_each_database! {
    a_sweep_finishes_shreds_and_deletes_behind_the_horizon
    a_restore_is_replayed_by_name
}

async fn a_sweep_finishes_shreds_and_deletes_behind_the_horizon(kind: Kind) {
    let place = Place::new(kind).await;
    place.fill(7, 5).await;
    place.fill(8, 2).await;
    place
        .stock(&["keys", "shred", "--owner", "int:7", "--yes-shred", "int:7"])
        .await
        .ends(0);
    place
        .stock(&["sweep"])
        .await
        .ends(4)
        .says("ophie_crypt_cli::main");
    let dry = place
        .run(&["sweep", "--dry-run", "--json"])
        .await
        .ends(0)
        .json();
    assert_eq!((&dry["due"], &dry["sweepable"]), (&1.into(), &0.into()));
    let status = place.stock(&["status", "--json"]).await.ends(0).json();
    assert_eq!(
        (&status["shreds"]["undone"], &status["ledger"]["end"]),
        (&1.into(), &0.into())
    );

    let done = place.run(&["sweep", "--json"]).await.ends(0).json();
    assert_eq!(
        (&done["worked"]["done"], &done["swept"]["rows"]),
        (&1.into(), &0.into())
    );
    let status = place.stock(&["status", "--json"]).await.ends(0).json();
    assert_eq!(status["shreds"]["undone"], 0);
    assert!(status["ledger"]["end"].as_u64().unwrap() > 0, "{status}");
    assert_eq!(place.count("SELECT count(*) FROM notes").await, 7);

    // Five weeks later; `--horizon-days 0` is still no less than keys may live in memory.
    let early = place
        .run(&["sweep", "--horizon-days", "0", "--json"])
        .await
        .ends(0)
        .json();
    assert_eq!(early["swept"]["rows"], 0);
    later(&place).await;
    let swept = place.run(&["sweep", "--json"]).await.ends(0).json();
    assert_eq!(
        (&swept["swept"]["owners"], &swept["swept"]["rows"]),
        (&1.into(), &5.into())
    );
    assert_eq!(
        place
            .count("SELECT count(*) FROM notes WHERE owner = 7")
            .await,
        0
    );
    assert_eq!(place.readable(8).await, 2);

    // Whom nobody shredded is wrapped a key only under the guard, once there was a ledger.
    let provision = ["keys", "provision", "--owner", "int:9", "--reason", "x"];
    let mut unguarded = place.command(Program::Stock, &provision);
    unguarded.env_remove("OPHIE_CRYPT_LEDGER");
    let refused = place.ended(&mut unguarded).await;
    refused.ends(2).says("`ledger` is not set");

    // What is to be tried later is not done.
    place.fill(9, 1).await;
    let shred = ["keys", "shred", "--owner", "int:9", "--yes-shred", "int:9"];
    place.stock(&shred).await.ends(0);
    let due =
        |at: &str| format!("UPDATE ophie_crypt_shreds SET due_at = {at} WHERE done_at IS NULL");
    place.execute_on_keys(&due("9000000000000000")).await;
    let later = place.run(&["sweep", "--json"]).await.ends(5).json();
    assert_eq!(
        (&later["undone"], &later["stuck"]),
        (&1.into(), &serde_json::json!([]))
    );
    place.execute_on_keys(&due("0")).await;
    assert_eq!(
        place.run(&["sweep", "--json"]).await.ends(0).json()["undone"],
        0
    );

    // A ledger that is another's stops everything, and says so.
    std::fs::remove_file(place.path("ledger")).unwrap();
    let lost = place.run(&["sweep", "--json"]).await.ends(3).json();
    assert_eq!(lost["error"]["kind"], "ledger");
}

/// As if all shreds had been asked for in 2020. Their time is kept by a trigger, which goes for a moment.
async fn later(place: &Place) {
    let set = "UPDATE ophie_crypt_shreds SET requested_at = 1577836800000000, appended_at = 1577836800000000";
    let sql = match place.kind {
        Kind::Postgres => format!(
            "ALTER TABLE ophie_crypt_shreds DISABLE TRIGGER USER; {set}; ALTER TABLE ophie_crypt_shreds ENABLE TRIGGER USER"
        ),
        Kind::MariaDb | Kind::Sqlite => {
            format!("DROP TRIGGER ophie_crypt_shreds_kept_as_they_were; {set}")
        }
    };
    place.execute_on_keys(&sql).await;
}

async fn a_restore_is_replayed_by_name(kind: Kind) {
    let place = Place::new(kind).await;
    place.fill(7, 1).await;
    place.fill(8, 1).await;
    place
        .stock(&["keys", "shred", "--owner", "int:7", "--yes-shred", "int:7"])
        .await
        .ends(0);
    place.run(&["sweep"]).await.ends(0);
    let status = place.stock(&["status", "--json"]).await.ends(0).json();
    let installation = status["installation"].as_str().unwrap().to_owned();

    place
        .stock(&["restore", "replay"])
        .await
        .ends(4)
        .says(&format!("--yes-restore {installation}"));
    place
        .stock(&["restore", "replay", "--yes-restore", "another"])
        .await
        .ends(4);
    let dry = place
        .stock(&["restore", "replay", "--dry-run", "--json"])
        .await
        .ends(0)
        .json();
    assert_eq!(
        (&dry["epoch"], &dry["destroyed"]),
        (&1.into(), &serde_json::json!(null))
    );
    for epoch in [2, 3] {
        let replay = [
            "restore",
            "replay",
            "--json",
            "--yes-restore",
            &installation,
        ];
        let replay = place.stock(&replay).await.ends(0).json();
        assert_eq!(
            (&replay["epoch"], &replay["destroyed"]),
            (&epoch.into(), &0.into())
        );
    }
    // A ledger that lost what the database knows.
    std::fs::remove_file(place.path("ledger")).unwrap();
    place.stock(&["migrate", "--create-ledger"]).await.ends(0);
    let behind = ["restore", "replay", "--yes-restore", &installation];
    place.stock(&behind).await.ends(3).says("restore_adopt");
    place
        .stock(&["keys", "provision", "--owner", "int:9", "--reason", "new"])
        .await
        .ends(3);
    let adopt = ["restore", "adopt", "--json", "--yes-restore", &installation];
    let adopt = place.stock(&adopt).await.ends(0).json();
    assert_eq!(adopt["epoch"], 4);
    assert_eq!(adopt["installation_before"], *installation);
    assert_ne!(adopt["installation"], adopt["installation_before"]);
    place
        .stock(&["keys", "provision", "--owner", "int:9", "--reason", "new"])
        .await
        .ends(0);
    let seven = place
        .store()
        .await
        .load(&CanonicalId::integer(7))
        .await
        .unwrap()
        .unwrap();
    assert!(seven.is_shredded());
}
