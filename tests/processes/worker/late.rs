//! Inserts rows of one owner under a key that it holds, until a row is refused or it is told to stop.
//!
//! Absent: whether the owner lives.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use ophie_crypt_sqlx::Owner;

use super::{
    Orders, say,
    setup::{PURPOSE, Settings, note},
};

pub(crate) async fn run(settings: &Settings) {
    let (keyring, pool) = (settings.keyring().await, settings.pool());
    let (owner, writer): (i64, i64) = (settings.number("owner"), settings.number("writer"));
    let session = keyring.open(&owner, PURPOSE).await.expect("a session");
    session.reserve(1_000_000).await.expect("a lease");
    let stop = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let stop = Arc::clone(&stop);
        async move {
            while !stop.load(SeqCst) {
                let insert = session.scope(async {
                    sqlx::query("INSERT INTO notes (owner, writer, text) VALUES ($1, $2, $3)")
                        .bind(Owner(owner))
                        .bind(writer)
                        .bind(note::text("slept badly"))
                        .execute(&pool)
                        .await
                });
                if let Err(error) = insert.await {
                    return error.to_string().replace('\n', " ");
                }
            }
            "never".to_owned()
        }
    });
    say("running");
    let mut orders = Orders::new();
    orders.expect("stop").await;
    stop.store(true, SeqCst);
    say(format_args!("refused: {}", writing.await.expect("it ends")));
    let _ = orders.next().await;
}
