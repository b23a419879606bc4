//! Processes that shred and are killed, at any step.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ophie_crypt::{
    FileLedger, KeyStore, Keyring, Ledger, LocalKms, Models, OwnerId, Purpose, Shred, ShredStore,
    Shredder, Shreds, TwoShareKms,
};
use ophie_crypt_sqlx::{
    BlindIndex, Encrypted, Owner, PgVectors, PostgresKeyStore, PostgresModels, PostgresShares,
    Sealed,
};
use ophie_crypt_tests::postgres;
use sqlx::AssertSqlSafe;
use tokio::time::{Instant, sleep};

use crate::{busy, tell, workers::Place};

/// For each a process that is killed: so many, and some of the rest if those met not every step.
const KILLS: i64 = 210;
const OWNERS: i64 = 270;
/// They live on.
const OTHERS: i64 = 5;
const ROWS: i64 = 20;
const PURPOSE: Purpose = Purpose::new("tests");
/// Where a shred may stand.
const STEPS: [&str; 8] = [
    "nothing",
    "requested",
    "appended",
    "tombstoned",
    "emptied",
    "vacuumed",
    "done",
    "swept",
];

#[derive(ophie_crypt::EncryptedModel)]
#[crypt(table = "notes")]
#[expect(dead_code, reason = "its marker and its model are what the test uses")]
struct Note {
    owner: Owner<i64>,
    #[crypt(plain)]
    writer: i64,
    text: Encrypted<String, note::text>,
    #[crypt(index_of = "text", normalize = "exact")]
    text_fp: BlindIndex<String, note::text_fp>,
}

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
    // All of long ago, so that rows are swept at once; and the two last notes take so long that a kill can meet them.
    let slowly = "ALTER TABLE ophie_crypt_shreds ALTER COLUMN requested_at SET DEFAULT 1000000; \
                  CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS \
                      'BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END'; \
                  CREATE TRIGGER slowly BEFORE UPDATE OF done_at, swept_at ON ophie_crypt_shreds \
                      FOR EACH ROW EXECUTE FUNCTION slowly(); \
                  CREATE TABLE vectors (owner bigint, text text)";
    sqlx::raw_sql(slowly).execute(pool).await.unwrap();
    for owner in 0..=OWNERS + OTHERS {
        let session = keyring.open_or_provision(&owner, PURPOSE).await.unwrap();
        let mut texts = Vec::new();
        for row in 0..ROWS {
            let text = note::text(format!("row {row} of {owner}")).seal(&session);
            texts.push(text.unwrap().into_bytes());
        }
        let note = "INSERT INTO notes (owner, writer, text) SELECT $1, g, t \
                    FROM unnest($2::bytea[]) WITH ORDINALITY AS row (t, g)";
        let note = sqlx::query(note).bind(owner).bind(texts);
        note.execute(pool).await.unwrap();
        let vectors = "INSERT INTO vectors (owner) SELECT $1 FROM generate_series(1, $2)";
        let vectors = sqlx::query(vectors).bind(owner).bind(ROWS);
        vectors.execute(pool).await.unwrap();
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

    let rows = PostgresModels::new(pool.clone(), Models::new().with::<Note>());
    let shredder = Shredder::builder(store.clone(), ledger.clone())
        .rows(rows)
        .vectors("vectors", PgVectors::new(pool.clone(), "vectors", "owner"))
        .shares(shares, Duration::ZERO)
        .build();
    let mut stood: BTreeMap<&str, u32> = BTreeMap::new();
    for owner in 1..=OWNERS {
        if owner > KILLS && stood.len() == STEPS.len() {
            break;
        }
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
        let (worked, swept) = (shredder.work().await, shredder.sweep().await);
        assert_eq!((worked.unwrap().failed, swept.unwrap().failed), (0, 0));
    }
    let kills: u32 = stood.values().sum();
    tell(format_args!("{kills} kills left shreds at {stood:?}"));
    let met: BTreeSet<_> = stood.keys().copied().collect();
    assert_eq!(met, STEPS.into(), "{stood:?}");

    // Some died before they began.
    for owner in 1..=OWNERS {
        store.shred(&owner.canonical()).await.unwrap().unwrap();
    }
    assert_eq!(shredder.work().await.unwrap().failed, 0);
    assert_eq!(shredder.sweep().await.unwrap().failed, 0);
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
    for gone in ["notes", "vectors"] {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {gone} WHERE owner <= $1"));
        let left: i64 = sqlx::query_scalar(sql)
            .bind(OWNERS)
            .fetch_one(pool)
            .await
            .unwrap();
        assert_eq!(left, 0, "{gone}");
    }
    let vectors: i64 = sqlx::query_scalar("SELECT count(*) FROM vectors")
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(vectors, OTHERS * ROWS);
    for owner in OWNERS + 1..=OWNERS + OTHERS {
        let session = keyring.open(&owner, PURPOSE).await.unwrap();
        let rows = "SELECT text FROM notes WHERE owner = $1 ORDER BY writer";
        let rows: Vec<Vec<u8>> = sqlx::query_scalar(rows)
            .bind(owner)
            .fetch_all(pool)
            .await
            .unwrap();
        let read = rows.into_iter().map(|text| {
            let text = Sealed::<String, note::text>::from_bytes(text).open(&session);
            text.unwrap().expose_secret().clone()
        });
        let expected = (0..ROWS).map(|row| format!("row {row} of {owner}"));
        assert!(read.eq(expected), "{owner}");
    }
}

/// Where a shred stands.
fn step(shred: Option<&Shred>) -> &'static str {
    match shred {
        None => "nothing",
        Some(shred) if shred.swept_at.is_some() => "swept",
        Some(shred) if shred.done_at.is_some() => "done",
        Some(shred) if shred.vacuumed_at.is_some() => "vacuumed",
        Some(shred) if shred.emptied_at.is_some() => "emptied",
        Some(shred) if shred.tombstoned_at.is_some() => "tombstoned",
        Some(shred) if shred.appended_at.is_some() => "appended",
        Some(_) => "requested",
    }
}
