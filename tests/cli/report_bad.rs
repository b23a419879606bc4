//! `report` of names that mean harm, and of what cannot be read.

use serde_json::Value;

use crate::{
    on_each_database,
    place::{Kind, PASSWORD, Place, Program},
    report::page,
};

on_each_database! {
    hostile_names_stay_text_and_their_number_is_bounded
    what_cannot_be_read_is_said
}

/// Records by these principals, as somebody would write them who may write to the table.
async fn forge(place: &Place, mut begin: i64, names: &[String]) {
    let (now, zero) = match place.kind {
        Kind::MariaDb => ("utc_timestamp(6)", "unhex(repeat('00', 32))"),
        Kind::Postgres => ("now()", "decode(repeat('00', 32), 'hex')"),
        Kind::Sqlite => (
            "strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z'",
            "zeroblob(32)",
        ),
    };
    let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
    for names in names.chunks(50) {
        let rows = names.iter().zip(begin..).map(|(name, seq)| {
            let name = literal(name);
            format!(
                "SELECT writer, {seq}, {now}, {name}, writer, 1, {name}, {name}, 'joined', {zero} FROM ophie_crypt_audit_writers \
                 WHERE writer = (SELECT min(encoded.writer) FROM ophie_crypt_audit_writers AS encoded)"
            )
        });
        let rows = rows.collect::<Vec<_>>().join(" UNION ALL ");
        let rows = match place.kind {
            // It has no smallest of bytes.
            Kind::Postgres => rows.replace(
                "(SELECT min(encoded.writer) FROM ophie_crypt_audit_writers AS encoded)",
                "(SELECT encoded.writer FROM ophie_crypt_audit_writers AS encoded ORDER BY 1 LIMIT 1)",
            ),
            _ => rows,
        };
        place
            .execute_on_keys(&format!(
                "INSERT INTO ophie_crypt_audit_records (writer, seq, at, actor, owner, generation, purpose, reason, step, mac) {rows}"
            ))
            .await;
        begin += 50;
    }
}

async fn hostile_names_stay_text_and_their_number_is_bounded(kind: Kind) {
    let place = Place::new(kind).await;
    let provision = ["keys", "provision", "--owner", "int:9", "--reason", "new"];
    place.stock(&provision).await.ends(0);
    let mut names: Vec<String> = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "'><svg/onload=alert(1)>",
        "</td></tr></table><h1>all is well</h1>",
        "</title></style><base href=//evil>",
        "&lt;b&gt;&#60;b&#62;",
        "javascript:alert(1)",
        "\u{202e}nimda\u{202c}",
        "\u{2066}a\u{200f}\u{200b}\u{feff}",
        "\u{1b}[2J\u{7}",
    ]
    .map(str::to_owned)
    .into();
    names.push("long".repeat(2_500));
    // The most frequent are the ones that are listed.
    let hostile = [names.clone(), names.clone()].concat();
    forge(&place, 1_000, &hostile).await;
    let others: Vec<_> = (0..90).map(|at| format!("other-{at}")).collect();
    forge(&place, 2_000, &others).await;

    for owners in [false, true] {
        let mut arguments = vec!["report", "--days", "mon-mon", "--hours", "3-4"];
        arguments.extend(owners.then_some("--owners"));
        let html = page(place.stock(&arguments).await.ends(1));
        for text in [
            "&lt;script&gt;alert(1)&lt;/script&gt;",
            "&quot;&gt;&lt;img src=x onerror=alert(1)&gt;",
            "&amp;lt;b&amp;gt;",
            "\\u{202e}nimda",
            "(10000 characters)",
            "52 others",
        ] {
            assert!(html.contains(text), "no {text}");
        }
        let unseen = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{1b}' | '\u{7}');
        assert!(
            !html.contains(unseen) && html.len() < 200_000,
            "{} bytes",
            html.len()
        );
    }
    let report = place.stock(&["report", "--json"]).await.ends(1).json();
    let unwraps = &report["sections"]["unwraps"];
    assert_eq!(
        (
            unwraps["principals"].as_array().unwrap().len(),
            &unwraps["others"]
        ),
        (50, &52.into())
    );
    let listed: i64 = unwraps["principals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["sessions"].as_i64().unwrap())
        .sum();
    assert_eq!(
        (listed, &unwraps["sessions"]),
        (60, &112.into()),
        "{unwraps}"
    );
    // What was written by hand is no part of the chain.
    assert_eq!(report["sections"]["chain"]["state"], "findings");
    assert!(
        report["sections"]["chain"]["findings"]
            .as_array()
            .unwrap()
            .len()
            <= 101
    );
}

async fn what_cannot_be_read_is_said(kind: Kind) {
    let place = Place::empty(kind).await;
    let mut command = place.command(Program::Stock, &["report"]);
    command.env_remove("OPHIE_CRYPT_KEYS_URL"); // a file that is not there would be another error
    let html = page(place.ended(&mut command).await.ends(3));
    assert!(html.contains("run `ophie-crypt migrate`"), "{html}");

    let place = Place::new(kind).await;
    let fine = place.stock(&["report", "--json"]).await.json();
    assert_eq!(
        (
            &fine["whole"],
            &fine["sections"]["keys"]["owners"]["living"]
        ),
        (&true.into(), &0.into())
    );
    page(place.stock(&["report"]).await);
    std::fs::rename(place.path("ledger"), place.path("gone")).unwrap();
    let report = place.stock(&["report", "--json"]).await.ends(3).json();
    assert_eq!(
        (&report["sections"]["chain"]["state"], &report["whole"]),
        (&"failed".into(), &false.into())
    );
    assert_eq!(report["sections"]["keys"]["state"], "ok");
    assert!(page(place.stock(&["report"]).await.ends(3)).contains("ledger"));
    std::fs::rename(place.path("gone"), place.path("ledger")).unwrap();
    let password = format!("postgres://ada:{}@127.0.0.1:1/gone", PASSWORD);
    let report = place
        .stock(&["report", "--json", "--ledger", &password])
        .await
        .ends(3)
        .json();
    assert_eq!(report["sections"]["chain"]["state"], "failed");
    // Without a KMS or a ledger it says that nothing was verified.
    for variable in ["OPHIE_CRYPT_KMS", "OPHIE_CRYPT_LEDGER"] {
        let mut command = place.command(Program::Stock, &["report", "--json"]);
        command.env_remove(variable);
        let report = place.ended(&mut command).await.json();
        assert_eq!(
            report["sections"]["chain"]["state"], "absent",
            "{variable}: {report}"
        );
    }

    place
        .execute_on_keys("UPDATE ophie_crypt_installation SET schema_version = 99")
        .await;
    let report = place.stock(&["report", "--json"]).await.ends(3).json();
    let sections: &Value = &report["sections"];
    assert!(
        sections["installation"]["why"]
            .as_str()
            .unwrap()
            .contains("are at 99"),
        "{report}"
    );
    assert!(sections.get("keys").is_none() && sections.get("configuration").is_some());
    let away = ["report", "--keys-url", "postgres://127.0.0.1:1/gone"];
    place.stock(&away).await.ends(3).says("does not answer");
    for wrong in [
        ["--from", "2026-02-30"],
        ["--to", "1999-01-01"],
        ["--hours", "all"],
        ["--known", "head"],
    ] {
        place.stock(&["report", wrong[0], wrong[1]]).await.ends(2);
    }
    let backwards = ["report", "--from", "2026-02-01", "--to", "2026-01-01"];
    place.stock(&backwards).await.ends(2).says("period");
}
