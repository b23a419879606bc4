//! `audit tail|verify`, and what the command itself leaves there.

use crate::{
    on_each_database,
    place::{Kind, Place},
};

on_each_database! {
    what_the_command_unwraps_is_audited_with_who_and_why
    what_was_changed_is_found
}

async fn what_the_command_unwraps_is_audited_with_who_and_why(kind: Kind) {
    let place = Place::new(kind).await;
    place
        .stock(&["audit", "tail"])
        .await
        .ends(0)
        .says("no records");
    let provision = [
        "keys",
        "provision",
        "--owner",
        "int:7",
        "--reason",
        "ticket 4711\u{1b}[2J",
    ];
    place.stock(&provision).await.ends(0);
    let rotate = [
        "keys",
        "rotate",
        "--owner",
        "int:7",
        "--reason",
        "yearly",
        "--actor",
        "rotator@night",
    ];
    place.run(&rotate).await.ends(5);
    let tail = place
        .stock(&["audit", "tail", "--json"])
        .await
        .ends(0)
        .json();
    let records = tail["records"].as_array().unwrap();
    let actors: Vec<_> = records
        .iter()
        .map(|record| record["actor"].as_str().unwrap())
        .collect();
    assert!(
        actors[0].starts_with("ops@") && actors.ends_with(&["rotator@night"]),
        "{actors:?}"
    );
    for record in records {
        assert_eq!(record["owner"], "int:7");
        let reason = record["reason"].as_str().unwrap();
        assert!(
            reason.starts_with("ticket 4711") || reason == "yearly",
            "{record}"
        );
    }
    let operations: Vec<_> = records
        .iter()
        .map(|record| record["operation"].as_str().unwrap())
        .collect();
    assert_eq!(
        operations,
        ["make", "make", "unwrap", "unwrap", "make", "make"]
    );
    // A reason writes on no terminal.
    let text = place
        .stock(&["audit", "tail"])
        .await
        .ends(0)
        .says("ticket 4711");
    assert!(!text.out.contains('\u{1b}'));
    let last = place
        .stock(&["audit", "tail", "--lines", "1", "--json"])
        .await
        .ends(0)
        .json();
    assert_eq!(
        last["records"].as_array().unwrap(),
        &records[records.len() - 1..]
    );
    let nobody = place
        .stock(&["audit", "tail", "--owner", "int:8", "--json"])
        .await
        .ends(0)
        .json();
    assert_eq!(nobody["records"].as_array().unwrap().len(), 0);
}

async fn what_was_changed_is_found(kind: Kind) {
    let place = Place::new(kind).await;
    for owner in ["int:7", "int:8"] {
        place
            .stock(&["keys", "provision", "--owner", owner, "--reason", "new"])
            .await
            .ends(0);
    }
    let well = place
        .stock(&["audit", "verify", "--json"])
        .await
        .ends(0)
        .json();
    assert_eq!(
        (well["writers"].as_array().unwrap().len(), &well["findings"]),
        (2, &serde_json::json!([]))
    );
    for writer in well["writers"].as_array().unwrap() {
        assert_eq!(
            (&writer["records"], &writer["vouched"]),
            (&2.into(), &2.into()),
            "{well}"
        );
    }
    let head = well["ledger"].as_str().unwrap().to_owned();
    place
        .stock(&["audit", "verify", "--known", &head])
        .await
        .ends(0);
    let forged = head.replace(|digit: char| digit.is_ascii_digit(), "7");
    place
        .stock(&["audit", "verify", "--known", &forged])
        .await
        .ends(1)
        .says("FOUND");
    place
        .stock(&["audit", "verify", "--known", "head"])
        .await
        .ends(2)
        .says("no head of a ledger");
    place
        .stock(&["audit", "verify", "--app", "another"])
        .await
        .ends(1)
        .says("another application");
    let set = "UPDATE ophie_crypt_audit_records SET reason = 'old' WHERE seq = 2";
    let sql = match kind {
        Kind::Postgres => {
            format!("ALTER TABLE ophie_crypt_audit_records DISABLE TRIGGER USER; {set}")
        }
        Kind::MariaDb | Kind::Sqlite => {
            format!("DROP TRIGGER ophie_crypt_audit_records_kept_from_update; {set}")
        }
    };
    place.execute_on_keys(&sql).await;
    let found = place
        .stock(&["audit", "verify", "--json"])
        .await
        .ends(1)
        .json();
    assert_eq!(found["findings"].as_array().unwrap().len(), 2, "{found}");
}
