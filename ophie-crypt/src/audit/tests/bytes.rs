//! The bytes of SPEC.md, and what is printed.

use super::{super::chain::*, *};
use crate::{hazmat::data_key::Dek, hex::to_hex, kms::WrappedDek, ledger::LedgerHead};

fn chain() -> (Chain, AuditWriter) {
    let key = Dek::from_slice(&(0..32).collect::<Vec<u8>>()).unwrap();
    let wrapped = WrappedDek::new("local:00", [1, 2, 3]);
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_000_000);
    Chain::begin(WriterId::from_bytes([0xab; 16]), "ophie", at, &key, wrapped)
}

/// Made in Python from SPEC.md alone, with `hmac`, `hashlib` and `struct`.
#[test]
fn the_bytes_are_those_of_the_specification() {
    let (mut chain, writer) = chain();
    let rows = [
        chain.append(&intent(7)),
        chain.append(&outcome(7)),
        chain.append(&event(AuditStep::Joined)),
    ];
    assert_eq!(
        to_hex(&writer.mac),
        "b6e2ccc11a76bef72a64d413461d2637cf0249b7e0b64bae536d26b97463babd"
    );
    assert_eq!(
        rows.map(|row| to_hex(&row.mac)),
        [
            "633784505c6ca290f860bef3109f2d67bb98af8e77349b3e282325d6991571ca",
            "878ba505d9abf7c2bceac3354dbb685fcba0655acf8c6ecdf19e0de7bb20cbe5",
            "42d1279147fd5a220472e7b74d0f7016cf870e54a4a4be137d0675fd34096076"
        ]
    );
    let first = LedgerHead::EMPTY.next("audit-heads", &[1, 2, 3]);
    let second = first.next("shred", b"");
    assert_eq!(
        second.to_string(),
        "2:e48e705d5bbc57c3283c133ce55ecedf742125779d74456632a3ef114c2534d8"
    );
}

#[test]
fn every_column_is_covered() {
    let (mut chain, writer) = chain();
    let key = Dek::from_slice(&(0..32).collect::<Vec<u8>>()).unwrap();
    let row = chain.append(&outcome(1));
    let fits = |row: &AuditRow| Walk::begin(&writer, &key).0.step(row);
    assert!(fits(&row));
    let changes: [fn(&mut AuditRow); 17] = [
        |row| row.writer = WriterId::from_bytes([1; 16]),
        |row| row.seq = 2,
        |row| row.at += 1,
        |row| row.actor.push(' '),
        |row| row.owner[3] ^= 1,
        |row| row.generation = 1,
        |row| row.purpose.clear(),
        |row| row.reason = None,
        |row| row.reason = Some(String::new()),
        |row| row.step = "intent".into(),
        |row| row.call = None,
        |row| row.attempt = None,
        |row| row.operation = Some("renew".into()),
        |row| row.result = Some("refused".into()),
        |row| row.request_id = None,
        |row| row.took = Some(1),
        |row| row.mac[31] ^= 1,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut changed = row.clone();
        change(&mut changed);
        assert!(!fits(&changed), "change {index} was not noticed");
    }
    let writers: [fn(&mut AuditWriter); 4] = [
        |writer| writer.id = WriterId::from_bytes([1; 16]),
        |writer| writer.app.clear(),
        |writer| writer.started_at += 1,
        |writer| writer.mac[0] ^= 1,
    ];
    assert!(Walk::begin(&writer, &key).1);
    for change in writers {
        let mut changed = writer.clone();
        change(&mut changed);
        assert!(!Walk::begin(&changed, &key).1);
    }
}

/// NULL and no text are not the same.
#[test]
fn a_missing_reason_is_no_empty_reason() {
    let mut events = [intent(1), intent(1)];
    events[0].reason = None;
    events[1].reason = Some("".into());
    let [one, other] = events.map(|event| chain().0.append(&event).mac);
    assert_ne!(one, other);
}

#[test]
fn nothing_prints_an_owner_a_reason_or_a_key() {
    let (mut chain, writer) = chain();
    let event = intent(1);
    let row = chain.append(&event);
    let printed = format!("{chain:?} {writer:?} {event:?} {row:?} {row:#?}");
    for secret in [
        "owner-canary",
        &event.owner.to_hex(),
        &format!("{:?}", event.owner.as_bytes()),
        "reason-canary",
        "0, 1, 2, 3, 4",
    ] {
        assert!(!printed.contains(secret), "{secret}: {printed}");
    }
    for said in [
        "Chain {",
        "AuditWriter { id: WriterId(abab",
        r#"AuditEvent { actor: "api@host", generation: 3"#,
        "call: CallId(0101",
        r#"AuditRow { writer: WriterId(abab"#,
    ] {
        assert!(printed.contains(said), "{said}: {printed}");
    }
}
