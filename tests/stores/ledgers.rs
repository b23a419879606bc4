//! The contract of ledgers: in a file, and in a table of each driver's.

use std::sync::Arc;

use ophie_crypt::{Ledger, LedgerEntry, LedgerError, LedgerHead};

use crate::world::{Database, Kind, Table};

every_store!(
    what_is_added_is_read_by_another,
    only_behind_the_head_that_is_known,
    many_add_at_once_and_each_has_a_place,
    only_kinds_and_payloads_that_every_ledger_takes,
);
every_database!(
    a_table_that_is_missing_is_an_error,
    what_was_changed_or_taken_away_is_found,
    a_table_is_made_once_by_many,
);

async fn table(kind: Kind) -> (Database, Arc<dyn Table>) {
    let database = Database::create(kind).await;
    let ledger = database.ledger(kind).await;
    ledger.create().await.unwrap();
    (database, ledger)
}

/// Three entries, and their heads.
async fn filled(ledger: &dyn Ledger) -> Vec<LedgerHead> {
    let mut heads = vec![LedgerHead::EMPTY];
    for payload in [&b"one"[..], b"", b"three\0'\xff"] {
        let head = ledger.append(heads.last().unwrap(), "note", payload).await;
        heads.push(head.unwrap());
    }
    heads
}

async fn what_is_added_is_read_by_another(kind: Kind) {
    let (database, ledger) = table(kind).await;
    assert_eq!(ledger.head().await.unwrap(), LedgerHead::EMPTY);
    assert!(ledger.read(0, 10).await.unwrap().is_empty());
    let heads = filled(&*ledger).await;
    let other = match kind {
        Kind::Memory => ledger,
        _ => database.ledger(kind).await,
    };
    assert_eq!(other.head().await.unwrap(), heads[3]);
    let entries = other.read(0, 10).await.unwrap();
    assert_eq!(entries.len(), 3);
    for (entry, pair) in entries.iter().zip(heads.windows(2)) {
        assert!(entry.follows(&pair[0]) && *entry.head() == pair[1]);
    }
    assert_eq!(entries[2].payload(), b"three\0'\xff");
    for (after, limit, positions) in [
        (0, 2, vec![1, 2]),
        (2, 2, vec![3]),
        (3, 2, vec![]),
        (1, 1, vec![2]),
        (9, 1, vec![]),
        (0, 0, vec![]),
    ] {
        let page = other.read(after, limit).await.unwrap();
        let found: Vec<_> = page.iter().map(|entry| entry.head().position()).collect();
        assert_eq!(found, positions, "{limit} after {after}");
    }
}

async fn only_behind_the_head_that_is_known(kind: Kind) {
    let (_database, ledger) = table(kind).await;
    let heads = filled(&*ledger).await;
    for old in [heads[0], heads[2], heads[3].next("note", b"")] {
        let moved = ledger.append(&old, "note", b"late").await;
        assert!(
            matches!(moved, Err(LedgerError::Moved { head }) if head == heads[3]),
            "{moved:?}"
        );
    }
    assert_eq!(ledger.read(0, 10).await.unwrap().len(), 3);
}

async fn many_add_at_once_and_each_has_a_place(kind: Kind) {
    let (database, ledger) = table(kind).await;
    let mut tasks = Vec::new();
    for writer in 0..4_u8 {
        let ledger = match kind {
            Kind::Memory => Arc::clone(&ledger),
            _ => database.ledger(kind).await,
        };
        tasks.push(tokio::spawn(async move {
            let mut head = LedgerHead::EMPTY;
            for number in 0..8 {
                loop {
                    match ledger.append(&head, "note", &[writer, number]).await {
                        Ok(now) => break head = now,
                        Err(LedgerError::Moved { head: now }) => head = now,
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let entries = ledger.read(0, 100).await.unwrap();
    let mut payloads: Vec<_> = entries.iter().map(LedgerEntry::payload).collect();
    payloads.sort_unstable();
    payloads.dedup();
    assert_eq!((entries.len(), payloads.len()), (32, 32));
    assert_eq!(ledger.head().await.unwrap(), *entries[31].head());
}

async fn only_kinds_and_payloads_that_every_ledger_takes(kind: Kind) {
    let (_database, ledger) = table(kind).await;
    for (kind, length) in [("", 0), ("two words", 0), ("Upper", 0), ("k", 65_537)] {
        let added = ledger
            .append(&LedgerHead::EMPTY, kind, &vec![7; length])
            .await;
        assert!(matches!(added, Err(LedgerError::Invalid)), "{kind}");
    }
}

async fn a_table_that_is_missing_is_an_error(kind: Kind) {
    let database = Database::create(kind).await;
    let head = database.ledger(kind).await.head().await;
    assert!(
        matches!(head, Err(LedgerError::Unavailable { .. })),
        "{head:?}"
    );
}

async fn a_table_is_made_once_by_many(kind: Kind) {
    let database = Database::create(kind).await;
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let ledger = database.ledger(kind).await;
        tasks.push(tokio::spawn(async move { ledger.create().await }));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
}

async fn what_was_changed_or_taken_away_is_found(kind: Kind) {
    let (database, ledger) = table(kind).await;
    let heads = filled(&*ledger).await;
    for refused in [
        "UPDATE ophie_crypt_ledger SET kind = 'other' WHERE entry = 2",
        "DELETE FROM ophie_crypt_ledger WHERE entry = 3",
    ] {
        database.run_plain(refused).await.unwrap_err();
    }
    // Its owner can do it all the same.
    let triggers = match kind {
        Kind::SqlxPostgres | Kind::DieselPostgres | Kind::AsyncPostgres => {
            "DROP TRIGGER ophie_crypt_ledger_kept ON ophie_crypt_ledger"
        }
        _ => {
            "DROP TRIGGER ophie_crypt_ledger_kept_from_update; \
             DROP TRIGGER ophie_crypt_ledger_kept_from_delete"
        }
    };
    database.run_plain(triggers).await.unwrap();
    let shorter = "DELETE FROM ophie_crypt_ledger WHERE entry = 3";
    database.run_plain(shorter).await.unwrap();
    let head = ledger.head().await;
    assert!(
        matches!(head, Err(LedgerError::Forked { position: 3 })),
        "{head:?}"
    );
    let added = ledger.append(&heads[3], "note", b"").await;
    assert!(
        matches!(added, Err(LedgerError::Forked { .. })),
        "{added:?}"
    );

    let changed = "UPDATE ophie_crypt_ledger SET kind = 'other' WHERE entry = 2";
    database.run_plain(changed).await.unwrap();
    let fresh = database.ledger(kind).await;
    let head = fresh.head().await;
    assert!(
        matches!(head, Err(LedgerError::Damaged { position: 2 })),
        "{head:?}"
    );
    assert_eq!(
        fresh.read(0, 10).await.unwrap().len(),
        1,
        "what stands before it is told"
    );
    let read = fresh.read(1, 10).await;
    assert!(
        matches!(read, Err(LedgerError::Damaged { position: 2 })),
        "{read:?}"
    );
    let gap = "DELETE FROM ophie_crypt_ledger WHERE entry = 1";
    database.run_plain(gap).await.unwrap();
    let head = database.ledger(kind).await.head().await;
    assert!(
        matches!(head, Err(LedgerError::Damaged { position: 1 })),
        "{head:?}"
    );
}
