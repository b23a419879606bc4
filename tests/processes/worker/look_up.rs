//! Writes rows of one owner and looks them up by their fingerprints, each task its own, until it is told to stop.
//!
//! Invariant: a look-up finds the one row that holds its value, or the process ends with an error.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use ophie_crypt::Keyring;
use ophie_crypt_sqlx::Owner;
use sqlx::PgPool;

use super::{
    Orders, say,
    setup::{Note, PURPOSE, Settings, note},
};

#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    look_ups: AtomicU64,
    writes: AtomicU64,
}

pub(crate) async fn run(settings: &Settings) {
    let (keyring, pool) = (settings.keyring().await, settings.pool());
    let (owner, rows): (i64, i64) = (settings.number("owner"), settings.number("rows"));
    let (first, tasks): (i64, i64) = (settings.number("first"), settings.number("tasks"));
    let counts = Arc::new(Counts::default());
    let tasks: Vec<_> = (first..first.saturating_add(tasks))
        .map(|row| {
            let (keyring, pool) = (keyring.clone(), pool.clone());
            tokio::spawn(task(keyring, pool, owner, (row, rows), Arc::clone(&counts)))
        })
        .collect();
    say("running");
    let mut orders = Orders::new();
    orders.expect("stop").await;
    counts.stop.store(true, SeqCst);
    for task in tasks {
        task.await.expect("a task of which no look-up missed");
    }
    let (look_ups, writes) = (counts.look_ups.load(SeqCst), counts.writes.load(SeqCst));
    say(format_args!("stopped {look_ups} {writes}"));
    let _ = orders.next().await;
}

/// Its sessions come and go, as those of requests do. Its own row it changes; others, which nobody changes but the
/// rotation, it looks up.
async fn task(
    keyring: Keyring,
    pool: PgPool,
    owner: i64,
    (own, rows): (i64, i64),
    counts: Arc<Counts>,
) {
    let (mut text, mut turn) = (format!("row {own}"), 0_i64);
    while !counts.stop.load(SeqCst) {
        let session = keyring.open(&owner, PURPOSE).await.expect("a session");
        let rounds = async {
            for _ in 0..20 {
                turn = turn.saturating_add(1);
                assert_eq!(find(&pool, owner, &text).await, own, "{text}");
                let other = turn.saturating_mul(7_919).checked_rem(rows).expect("rows");
                if other >= 6 {
                    assert_eq!(find(&pool, owner, &format!("row {other}")).await, other);
                    counts.look_ups.fetch_add(1, SeqCst);
                }
                text = format!("row {own}, change {turn}");
                let changed = sqlx::query(
                    "UPDATE notes SET text = $1, text_fp = $2 WHERE owner = $3 AND writer = $4",
                )
                .bind(note::text(text.as_str()))
                .bind(
                    note::text_fp(text.as_str())
                        .expect("a fingerprint")
                        .for_write(),
                )
                .bind(Owner(owner))
                .bind(own)
                .execute(&pool)
                .await;
                assert_eq!(changed.expect("a change").rows_affected(), 1);
                counts.writes.fetch_add(1, SeqCst);
                counts.look_ups.fetch_add(1, SeqCst);
            }
        };
        session.scope(rounds).await;
    }
    let session = keyring.open(&owner, PURPOSE).await.expect("a session");
    let found = session.scope(find(&pool, owner, &text)).await;
    assert_eq!(found, own, "{text}");
}

/// The only row that holds this text.
async fn find(pool: &PgPool, owner: i64, text: &str) -> i64 {
    let fingerprint = note::text_fp(text).expect("a fingerprint");
    let found: Vec<Note> =
        sqlx::query_as("SELECT * FROM notes WHERE owner = $1 AND text_fp = ANY($2)")
            .bind(Owner(owner))
            .bind(fingerprint.candidates())
            .fetch_all(pool)
            .await
            .expect("rows that open");
    let [note] = found.as_slice() else {
        panic!("{} rows hold {text:?}", found.len())
    };
    assert_eq!(note.text.expose_secret(), text);
    assert!(fingerprint.matches(&note.text_fp));
    note.writer
}
