//! Processes that shred and are killed, at any step.

use std::{collections::HashMap, time::Duration};

use ophie_crypt::{
    FileLedger, KeyStore, Keyring, Ledger, LocalKms, OwnerId, Purpose, Shred, ShredStore, Shredder,
    Shreds, TwoShareKms,
};
use ophie_crypt_sqlx::{PostgresKeyStore, PostgresShares};
use ophie_crypt_tests::postgres;
use tokio::time::{Instant, sleep};

use crate::{busy, tell, workers::Place};

/// For each a process that is killed.
const OWNERS: i64 = 210;
/// They live on.
const OTHERS: i64 = 5;

/// A process dies after so long, and the next takes its work on. What it was at is anything from its start to its end;
/// the test shows where each shred stood. Keys are in two shares, the second in another database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_kills_lose_no_shred_and_touch_nobody_else() {
    let _alone = busy().await;
    let place = Place::new().await;
    let pool = place.database.pool();
    let keys = sqlx::raw_sql("ALTER TABLE notes ADD PRIMARY KEY (owner, writer)");
    keys.execute(pool).await.unwrap();
    let store = PostgresKeyStore::new(pool.clone());
    let second = postgres::Database::create().await;
    let shares = PostgresShares::new(second.pool().clone(), "tests");
    shares.create().await.unwrap();
    let local = LocalKms::open(place.path("master.key")).unwrap();
    let keyring = Keyring::builder()
        .kms(TwoShareKms::new(local, shares.clone()))
        .key_store(store.clone())
        .build()
        .unwrap();
    for owner in 0..=OWNERS + OTHERS {
        keyring.provision(&owner).await.unwrap();
        let note =
            "INSERT INTO notes (owner, writer) SELECT $1, g FROM generate_series(1, 20) AS g";
        sqlx::query(note).bind(owner).execute(pool).await.unwrap();
    }
    let ledger_path = place.path("ledger");
    let ledger = FileLedger::open_or_create(&ledger_path).unwrap();

    let settings = |owner: i64| {
        [
            ("ledger", ledger_path.to_string_lossy().into_owned()),
            ("shares", second.url().to_owned()),
            ("first", owner.to_string()),
            ("last", owner.to_string()),
        ]
    };
    // How long a whole shred takes here and now.
    let mut worker = place.worker("shred", "first", &settings(0));
    worker.answers("ready").await;
    let begun = Instant::now();
    worker.answers("0").await;
    let whole = begun.elapsed();
    drop(worker);

    let shredder = Shredder::builder(store.clone(), ledger.clone());
    let shredder = shredder.shares(shares, Duration::ZERO).build();
    let mut stood: HashMap<&str, u32> = HashMap::new();
    for owner in 1..=OWNERS {
        let mut worker = place.worker("shred", &format!("worker-{owner}"), &settings(owner));
        worker.answers("ready").await;
        // From at once to later than it would be done.
        let part = u32::try_from(owner * 17 % 67).unwrap();
        sleep(whole * part / 50).await;
        worker.kill().await;
        let shred = store.shreds_of(&[owner.canonical()]).await.unwrap();
        *stood.entry(step(shred.first())).or_default() += 1;
        // A claim of the dead would hold it for a minute. Another finishes.
        let free = "UPDATE ophie_crypt_shreds SET due_at = 0";
        sqlx::raw_sql(free).execute(pool).await.unwrap();
        let worked = shredder.work().await.unwrap();
        assert_eq!(worked.failed, 0);
    }
    tell(format_args!("{OWNERS} kills left shreds at {stood:?}"));
    assert!(stood.len() >= 4, "the kills met too few steps: {stood:?}");

    // Some died before they began.
    for owner in 1..=OWNERS {
        store.shred(&owner.canonical()).await.unwrap().unwrap();
    }
    shredder.work().await.unwrap();
    assert!(
        store
            .shreds(Shreds::Due, None, 100)
            .await
            .unwrap()
            .is_empty()
    );
    let entries = ledger.read(0, 1000).await.unwrap();
    let mut named: Vec<_> = entries
        .iter()
        .map(|entry| entry.payload()[40..].to_vec())
        .collect();
    named.sort();
    named.dedup();
    let owners = usize::try_from(OWNERS).unwrap() + 1;
    assert_eq!(
        (entries.len(), named.len()),
        (owners, owners),
        "one entry for each"
    );
    for owner in 1..=OWNERS {
        let record = store.load(&owner.canonical()).await.unwrap().unwrap();
        assert!(record.is_shredded());
        let receipt = shredder.receipt(&owner).await.unwrap();
        assert!(receipt.shares_destroyed_at.is_some());
    }
    let left = "SELECT count(*) FROM ophie_crypt_shares";
    let left: i64 = sqlx::query_scalar(left)
        .fetch_one(second.pool())
        .await
        .unwrap();
    assert_eq!(left, OTHERS, "the second shares of all others");
    for owner in OWNERS + 1..=OWNERS + OTHERS {
        keyring.open(&owner, Purpose::new("tests")).await.unwrap();
    }
    let others = "SELECT count(*) FROM notes WHERE owner > $1";
    let rows: i64 = sqlx::query_scalar(others)
        .bind(OWNERS)
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(rows, OTHERS * 20);
}

/// Where a shred stands.
fn step(shred: Option<&Shred>) -> &'static str {
    match shred {
        None => "nothing",
        Some(shred) if shred.done_at.is_some() => "done",
        Some(shred) if shred.vacuumed_at.is_some() => "vacuumed",
        Some(shred) if shred.emptied_at.is_some() => "emptied",
        Some(shred) if shred.tombstoned_at.is_some() => "tombstoned",
        Some(shred) if shred.appended_at.is_some() => "appended",
        Some(_) => "requested",
    }
}
