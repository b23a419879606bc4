//! The lines of a receipt, and the times in them.

use super::*;
use crate::{FileLedger, LocalKms, MemoryKeyStore, shred::Shredder};

/// 2025-12-01T00:00:00Z, in microseconds.
const DECEMBER: i64 = 1_764_547_200_000_000;
const DAY: Duration = Duration::from_secs(24 * 3600);
const DAY_MICROS: i64 = 24 * 3_600_000_000;

fn terms() -> Terms {
    Terms {
        caches: DAY,
        backups: DAY * 3,
        replicas: Some(DAY * 2),
        plaintext_until: Some(DECEMBER + 10 * DAY_MICROS),
        shares: DAY * 5,
    }
}

fn reach(shares: Option<Option<i64>>) -> Reach {
    Reach {
        kept: vec![("invoices".to_owned(), "the law".to_owned())],
        tables: vec!["notes".to_owned(), "people".to_owned()],
        vectors: vec!["memories".to_owned()],
        shares,
    }
}

/// Asked for an hour before the ledger had it.
fn shred() -> Shred {
    let owner = CanonicalId::text("ada");
    Shred {
        tombstoned_at: Some(DECEMBER + 60_000_000),
        emptied_at: None,
        vacuumed_at: Some(DECEMBER + 120_000_000),
        swept_at: Some(DECEMBER + 180_000_000),
        ..Shred::requested(
            owner,
            ShredId::from_bytes([7; 16]),
            DECEMBER - 3_600_000_000,
        )
    }
}

fn receipt(terms: &Terms, reach: Reach) -> Receipt {
    let head = LedgerHead::EMPTY.next("shred", b"");
    Receipt::new(shred(), DECEMBER, 1, head, terms, reach)
}

/// The whole text: a time in another's line, or a line that is missing, is seen.
#[test]
fn each_time_of_a_receipt_stands_in_its_own_line() {
    let receipt = receipt(&terms(), reach(Some(Some(DECEMBER + DAY_MICROS))));
    let head = LedgerHead::EMPTY.next("shred", b"");
    let text = format!(
        "shred    07070707070707070707070707070707
owner    74616461
ledger   entry 1, covered by {head}
live     2025-12-01T00:00:00Z: nothing in the database opens
caches   2025-12-02T00:00:00Z: no process holds a key
replicas 2025-12-03T00:00:00Z: nor a replica or write-ahead log, as configured
backups  2025-12-04T00:00:00Z: nor a backup, as configured
shares   2025-12-07T00:00:00Z: nor does a backup open under a key in two shares, as configured
contract 2025-12-14T00:00:00Z: nor a backup from when columns were plaintext
done     2025-12-02T00:00:00Z: second shares of DEKs destroyed, if there were any
done     2025-12-01T00:01:00Z: rows tombstoned: notes, people
not done vectors deleted, and listed until none was left: memories
done     2025-12-01T00:02:00Z: key tables and the table of second shares vacuumed: DEKs and index keys
done     2025-12-01T00:03:00Z: rows deleted: notes, people
kept     invoices: the law
"
    );
    assert_eq!(times(&receipt.to_string()), times(&text));
}

/// The text, without what is said beside the vacuum, which has no time.
fn times(text: &str) -> Vec<&str> {
    let lines = text.lines();
    lines
        .map(|line| match line.split_once(" vacuumed: ") {
            Some((step, _)) => step,
            None => line,
        })
        .collect()
}

#[test]
fn what_was_not_said_is_taken_for_the_worse() {
    let terms = Terms {
        replicas: None,
        plaintext_until: None,
        ..terms()
    };
    let nothing = Reach {
        kept: Vec::new(),
        tables: Vec::new(),
        vectors: Vec::new(),
        shares: None,
    };
    let receipt = receipt(&terms, nothing);
    assert_eq!(receipt.replicas_from, receipt.backups_from);
    assert_eq!((receipt.plaintext_from, receipt.shares_from), (None, None));
    let text = receipt.to_string();
    assert!(text.contains("\ncontract no column is known to have been plaintext\n"));
    assert!(!text.contains("shares") && !text.contains("kept"), "{text}");
    for line in [
        "not done rows tombstoned: no table was named",
        "not done vectors deleted, and listed until none was left: no vector store was named",
        "done     2025-12-01T00:02:00Z: key tables",
        "not done rows deleted: no table was named",
    ] {
        assert!(times(&text).contains(&line), "{line}: {text}");
    }
}

/// Shares that are still there, and a column that was dropped long before.
#[test]
fn times_count_from_the_later_of_two() {
    let early = Terms {
        plaintext_until: Some(DECEMBER - 10 * DAY_MICROS),
        ..terms()
    };
    let receipt_of = |shares| receipt(&early, reach(Some(shares)));
    let there = receipt_of(None);
    assert_eq!(there.plaintext_from, Some(DECEMBER + 3 * DAY_MICROS));
    assert_eq!((there.shares_destroyed_at, there.shares_from), (None, None));
    let line = "\nnot done second shares of DEKs destroyed, if there were any\n";
    assert!(there.to_string().contains(line), "{there}");
    let before = receipt_of(Some(DECEMBER - DAY_MICROS));
    assert_eq!(before.shares_from, Some(DECEMBER + 5 * DAY_MICROS));
}

#[test]
fn what_the_operator_says_is_what_the_receipt_counts_by() {
    let path = std::env::temp_dir().join(format!("ophie-crypt-terms-{}", std::process::id()));
    let ledger = FileLedger::open_or_create(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    let shredder = Shredder::builder(MemoryKeyStore::new(), ledger)
        .horizon(DAY * 3)
        .replicas_and_wal(DAY * 2)
        .plaintext_until(5)
        .build();
    let terms = &shredder.0.terms;
    assert_eq!((terms.backups, terms.replicas), (DAY * 3, Some(DAY * 2)));
    assert_eq!(terms.plaintext_until, Some(5));
    // Swept when no backup could bring a row back, and no process could seal one.
    let short = |backups| {
        Terms {
            backups,
            ..terms.clone()
        }
        .horizon()
    };
    assert_eq!((short(DAY), short(Duration::ZERO)), (DAY, terms.caches));
}

#[tokio::test]
async fn a_signed_receipt_shows_text_key_and_signature() {
    let kms = LocalKms::ephemeral().unwrap();
    let receipt = receipt(&terms(), reach(None));
    let signed = receipt.sign(&kms, "ophie-crypt").await.unwrap();
    let (key, mac) = (to_hex(signed.wrapped.as_bytes()), to_hex(&signed.mac));
    let kek = signed.wrapped.kek();
    let shown = format!("{receipt}\nkey      {kek} {key}\nmac      {mac}");
    assert_eq!(signed.to_string(), shown);
    assert!(signed.verify(&kms, "ophie-crypt").await.unwrap());
    let other = SignedReceipt {
        text: format!("{} ", signed.text),
        ..signed
    };
    assert!(!other.verify(&kms, "ophie-crypt").await.unwrap());
}

#[test]
fn times_are_written_in_utc() {
    for (seconds, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (68_169_599, "1972-02-28T23:59:59Z"),
        (68_169_600, "1972-02-29T00:00:00Z"),
        (951_825_600, "2000-02-29T12:00:00Z"),
        (951_868_800, "2000-03-01T00:00:00Z"),
        (1_764_547_199, "2025-11-30T23:59:59Z"),
        (1_767_225_599, "2025-12-31T23:59:59Z"),
        (4_107_542_399, "2100-02-28T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
        (4_133_980_799, "2100-12-31T23:59:59Z"),
        (4_133_980_800, "2101-01-01T00:00:00Z"),
        (13_574_563_200, "2400-02-29T00:00:00Z"),
    ] {
        assert_eq!(Time(seconds * 1_000_000).to_string(), text);
    }
    assert_eq!(Time(-1).to_string(), "1970-01-01T00:00:00Z");
}
