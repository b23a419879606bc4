//! Reads and changes rows of one owner, each task its own, until it is told to stop.
//!
//! Invariant: a task reads back what it wrote last, or the process ends with an error.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use ophie_crypt::{Keyring, Session};
use ophie_crypt_sqlx::Owner;
use sqlx::PgPool;

use super::{
    Orders, say,
    setup::{Note, PURPOSE, Settings, note},
};

pub(crate) async fn run(settings: &Settings) {
    let (keyring, pool) = (settings.keyring().await, settings.pool());
    let (owner, first, tasks): (i64, i64, i64) = (
        settings.number("owner"),
        settings.number("first"),
        settings.number("tasks"),
    );
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let tasks: Vec<_> = (first..first.saturating_add(tasks))
        .map(|row| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(task(keyring.clone(), pool.clone(), owner, row, stop, done))
        })
        .collect();
    say("running");
    let mut orders = Orders::new();
    while let Some(order) = orders.next().await {
        match order.as_str() {
            "count" => say(done.load(SeqCst)),
            "stop" => break,
            other => panic!("no order {other}"),
        }
    }
    stop.store(true, SeqCst);
    for task in tasks {
        task.await.expect("a task of which no read failed");
    }
    say(format_args!("stopped {}", done.load(SeqCst)));
    let _ = orders.next().await;
}

/// Its sessions come and go, as those of requests do.
async fn task(
    keyring: Keyring,
    pool: PgPool,
    owner: i64,
    row: i64,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
) {
    let mut last = format!("row {row}");
    let mut turn: u64 = 0;
    while !stop.load(SeqCst) {
        let session: Session = keyring.open(&owner, PURPOSE).await.expect("a session");
        let rounds = async {
            for _ in 0..20 {
                let read: Note =
                    sqlx::query_as("SELECT * FROM notes WHERE owner = $1 AND writer = $2")
                        .bind(Owner(owner))
                        .bind(row)
                        .fetch_one(&pool)
                        .await
                        .expect("a row that opens");
                assert_eq!(*read.text.expose_secret(), last, "a write was lost");
                turn = turn.saturating_add(1);
                last = format!("row {row}, change {turn}");
                let changed =
                    sqlx::query("UPDATE notes SET text = $1 WHERE owner = $2 AND writer = $3")
                        .bind(note::text(last.as_str()))
                        .bind(Owner(owner))
                        .bind(row)
                        .execute(&pool)
                        .await;
                assert_eq!(changed.expect("a change").rows_affected(), 1);
                done.fetch_add(1, SeqCst);
            }
        };
        session.scope(rounds).await;
    }
    let session = keyring.open(&owner, PURPOSE).await.expect("a session");
    let read = session.scope(async {
        let read: Note = sqlx::query_as("SELECT * FROM notes WHERE owner = $1 AND writer = $2")
            .bind(Owner(owner))
            .bind(row)
            .fetch_one(&pool)
            .await
            .expect("a row that opens");
        read.text.expose_secret().clone()
    });
    assert_eq!(read.await, last, "a write was lost");
}
