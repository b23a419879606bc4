//! `report`: what it counts, and what it leaves out.

use std::{sync::Arc, time::SystemTime};

use ophie_crypt::{ChainedAudit, FileLedger, KeyStore, Keyring, LocalKms, Purpose};
use serde_json::json;

use crate::{
    on_each_database,
    place::{Ended, Kind, Place, hex},
};

on_each_database! {
    what_is_there_is_counted_and_owners_are_not_named
}

/// Elements of the page; a name that got out of its quotes would make others.
const ELEMENTS: [&str; 41] = [
    "a",
    "bdi",
    "body",
    "caption",
    "dd",
    "div",
    "dl",
    "dt",
    "figcaption",
    "figure",
    "g",
    "h1",
    "h2",
    "head",
    "header",
    "html",
    "li",
    "line",
    "main",
    "meta",
    "p",
    "rect",
    "section",
    "span",
    "style",
    "svg",
    "table",
    "tbody",
    "td",
    "text",
    "th",
    "thead",
    "title",
    "tr",
    "ul",
    "!DOCTYPE",
    "code",
    "br",
    "h3",
    "b",
    "i",
];

/// Of these days from Monday on, seen from today.
#[expect(
    clippy::disallowed_methods,
    reason = "which day it is for the command too"
)]
fn days(from: u64, to: u64) -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / 86_400 + 3;
    let name = |off| {
        ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][usize::try_from((now + off) % 7).unwrap()]
    };
    format!("{}-{}", name(from), name(to))
}

/// The page of the same report, looked through: every element is one of ours, and nothing runs or is fetched.
pub(crate) fn page(ended: Ended) -> String {
    let html = ended.out;
    assert!(html.starts_with("<!DOCTYPE html>") && html.trim_end().ends_with("</html>"));
    for tag in html.split('<').skip(1) {
        let name = tag.trim_start_matches('/');
        let name = &name[..name
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '!')
            .unwrap()];
        assert!(ELEMENTS.contains(&name), "<{tag}");
        let inside = tag.split('>').next().unwrap().to_lowercase();
        for word in [" on", "javascript:", " src", "url(", " style="] {
            assert!(!inside.contains(word), "<{inside}>");
        }
        assert!(
            !inside.contains(" href=\"") || inside.contains("href=\"#"),
            "<{inside}>"
        );
    }
    for begun in ["table", "section", "svg", "bdi", "td", "div"] {
        let count = |text: &str| html.matches(text).count();
        assert_eq!(
            count(&format!("<{begun}>")) + count(&format!("<{begun} ")),
            count(&format!("</{begun}>")),
            "{begun}"
        );
    }
    assert!(!html.contains("://") && !html.contains("@import"));
    html
}

/// Two owners' sessions on record, one of them shredded and its deletion done.
async fn lived(place: &Place) {
    place.fill(7, 3).await;
    place.fill(8, 2).await;
    let store: Arc<dyn KeyStore> = place.store().await;
    let kms = Arc::new(LocalKms::open(place.path("master.key")).unwrap());
    let audit = ChainedAudit::builder(place.audit().await, kms.clone())
        .ledger(FileLedger::open(place.path("ledger")).unwrap());
    let audit = audit.start().await.unwrap();
    let keyring = Keyring::builder()
        .kms(kms)
        .key_store(store)
        .actor("worker-1")
        .audit(audit.clone());
    let keyring = keyring.build().unwrap();
    let mut held = Vec::new();
    for (owner, purpose) in [(7, "voice-agent"), (8, "voice-agent"), (8, "export")] {
        let session = keyring.open(&owner, Purpose::new(purpose)).await.unwrap();
        held.push(session); // the last one shares the keys of the one before
    }
    audit.checkpoint().await.unwrap();
    let provision = [
        "keys",
        "provision",
        "--owner",
        "int:9",
        "--reason",
        "ticket 4711 of Ada",
    ];
    place.stock(&provision).await.ends(0);
    place
        .stock(&["keys", "shred", "--owner", "int:7", "--yes-shred", "int:7"])
        .await
        .ends(0);
    place.run(&["sweep"]).await.ends(0);
    // Or it would be a finding.
    place
        .execute("CREATE INDEX notes_fp ON notes (owner, text_fp)")
        .await;
}

async fn what_is_there_is_counted_and_owners_are_not_named(kind: Kind) {
    let place = Place::new(kind).await;
    lived(&place).await;
    // The servers of the tests print all that they can.
    let code = if kind == Kind::Sqlite { 0 } else { 1 };
    let (usual, unusual) = (days(6, 1), days(3, 4));
    let report = place
        .run(&["report", "--json", "--hours", "0-24", "--days", &usual])
        .await
        .ends(code)
        .json();
    let parts = &report["sections"];
    assert_eq!(
        (&report["whole"], &report["database"]["kind"]),
        (
            &true.into(),
            &match kind {
                Kind::MariaDb => "mysql",
                Kind::Postgres => "postgres",
                Kind::Sqlite => "sqlite",
            }
            .into()
        )
    );
    assert_eq!(
        parts["keys"]["owners"],
        json!({"living": 2, "shredded": 1}),
        "{report}"
    );
    let generations = parts["keys"]["generations"].as_array().unwrap();
    let counted: Vec<_> = generations
        .iter()
        .map(|one| (&one["generation"], &one["state"], &one["keys"]))
        .collect();
    let (one, two) = (json!(1), json!(2));
    assert_eq!(
        counted,
        [
            (&one, &json!("destroyed"), &one),
            (&one, &json!("sealing"), &two)
        ]
    );
    assert_eq!(parts["keys"]["sealing_by_age"][0]["keys"], 2);
    assert_eq!(parts["keys"]["master_keys"][0]["keys"], 2);
    let shares = parts["budget"]["by_share"].as_array().unwrap();
    assert_eq!(
        shares
            .iter()
            .map(|share| share["keys"].as_i64().unwrap())
            .sum::<i64>(),
        2,
        "{report}"
    );
    assert!(parts["budget"]["most_granted"].as_i64().unwrap() >= 4096);
    assert_eq!(parts["rotation"]["keys"]["destroyed"], 1);
    assert_eq!(parts["rotation"]["index_keys"][0]["keys"], 2);

    let unwraps = &parts["unwraps"];
    assert_eq!(
        (
            &unwraps["sessions"],
            &unwraps["unwraps"],
            &unwraps["failed"]
        ),
        (&3.into(), &2.into(), &0.into()),
        "{unwraps}"
    );
    assert_eq!(
        (
            &unwraps["outside_usual_hours"],
            &unwraps["with_reason"],
            &unwraps["others"]
        ),
        (&0.into(), &0.into(), &0.into())
    );
    let of = |purpose: &str| {
        let all = unwraps["principals"].as_array().unwrap();
        all.iter()
            .find(|one| one["purpose"] == purpose)
            .unwrap_or_else(|| panic!("{purpose}: {unwraps}"))
            .clone()
    };
    assert_eq!(
        (
            &of("voice-agent")["principal"],
            &of("voice-agent")["sessions"]
        ),
        (&"worker-1".into(), &2.into())
    );
    assert_eq!(
        (&of("export")["sessions"], &of("provision")["sessions"]),
        (&1.into(), &0.into())
    );
    let today: i64 = unwraps["days"]
        .as_array()
        .unwrap()
        .iter()
        .map(|day| day["unwraps"].as_i64().unwrap())
        .sum();
    assert_eq!(today, 2);
    let late = place
        .run(&["report", "--json", "--hours", "0-24", "--days", &unusual])
        .await
        .json();
    let hours = &late["sections"]["hours"];
    assert_eq!(
        (
            &hours["outside"],
            hours["last_outside"].as_array().unwrap().len()
        ),
        (&3.into(), 3),
        "{hours}"
    );
    assert_eq!(parts["hours"]["outside"], 0);

    let shreds = &parts["shreds"];
    assert_eq!(
        (
            &shreds["all"],
            &shreds["undone"],
            &shreds["swept"],
            &shreds["overdue"]
        ),
        (&1.into(), &0.into(), &0.into(), &0.into())
    );
    for time in ["destroyed", "in_ledger", "done"] {
        assert!(
            shreds["last"][0][time].as_i64().unwrap() > 1_700_000_000_000_000,
            "{time}: {shreds}"
        );
    }
    let chain = &parts["chain"];
    assert_eq!(
        (&chain["records"], &chain["state"]),
        (&chain["vouched"], &"ok".into()),
        "{chain}"
    );
    assert_eq!(chain["records"], 7);
    let head = chain["ledger"].as_str().unwrap();
    let forged = head.replace(|digit: char| digit.is_ascii_digit(), "7");
    let forged = place
        .stock(&["report", "--json", "--known", &forged])
        .await
        .ends(1)
        .json();
    assert_eq!(forged["sections"]["chain"]["state"], "findings");
    assert_eq!(parts["configuration"]["checks"][0]["check"], "database");

    let html = page(place.run(&["report", "--days", &unusual]).await.ends(code));
    for text in ["voice-agent", "worker-1", "1. Keys destroyed", "<svg", head] {
        assert!(html.contains(text), "no {text} in the page");
    }
    let stored = stored(&place).await;
    for printed in [&html, &report.to_string()] {
        let found = stored
            .iter()
            .find(|bytes| printed.to_lowercase().contains(&hex(&bytes[..8])));
        assert!(found.is_none(), "{found:?} in {printed}");
    }
    // As the command writes owners, and as their bytes are.
    let names = [
        "int:7",
        "int:8",
        &hex(ophie_crypt::CanonicalId::integer(8).as_bytes()),
    ];
    for printed in [&html, &late.to_string(), &report.to_string()] {
        for name in names.iter().chain([&"ticket 4711"]) {
            assert!(
                !printed.contains(name) && !printed.contains(&name.to_uppercase()),
                "{name} in {printed}"
            );
        }
    }
    let named = page(
        place
            .run(&["report", "--days", &unusual, "--owners"])
            .await
            .ends(code),
    );
    assert!(named.contains("int:7") && named.contains("int:8"));
}

/// What may not be printed in any form: wrapped keys, sealed ones, their names, MACs.
async fn stored(place: &Place) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for sql in [
        "SELECT wrapped FROM ophie_crypt_deks WHERE wrapped IS NOT NULL",
        "SELECT key_id FROM ophie_crypt_deks",
        "SELECT sealed FROM ophie_crypt_index_keys",
        "SELECT mac FROM ophie_crypt_audit_records",
        "SELECT wrapped FROM ophie_crypt_audit_writers",
    ] {
        let found = place.bytes_of_keys(sql).await;
        assert!(!found.is_empty(), "{sql}");
        all.extend(found);
    }
    all
}
