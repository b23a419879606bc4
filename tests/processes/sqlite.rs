//! Key store and applications on SQLite: leases while an application's write transaction is open.

use crate::workers::Place;

/// Beyond the first lease of a session, 4,096, so that further ones are taken in the transaction.
const NOTES: u32 = 6_000;

/// Each process has one connection to its application's file, which its transaction holds; to the key
/// store's file, which all share, one or several.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_within_write_transactions_and_with_pools_of_one_meet_no_lock() {
    let place = Place::new().await;
    let keys = place.path("keys.db");
    ophie_crypt_sqlx::SqliteKeyStore::open(&keys).await.unwrap();
    let mut workers: Vec<_> = (0..4)
        .map(|n| {
            let application = place.path(&format!("application-{n}.db"));
            let mut settings = vec![
                ("keys", keys.to_string_lossy().into_owned()),
                ("application", application.to_string_lossy().into_owned()),
                ("owner", "7".to_owned()),
                ("notes", NOTES.to_string()),
            ];
            if n % 2 == 1 {
                settings.push(("one", "yes".to_owned())); // the others as `open` sets them
            }
            if n >= 2 {
                settings.push(("reserve", "yes".to_owned())); // the others are refilled in the background
            }
            place.worker("imports", &format!("imports-{n}"), &settings)
        })
        .collect();
    for worker in &mut workers {
        worker.answers("ready").await;
    }
    for worker in &mut workers {
        worker.order("import").await;
    }
    for worker in &mut workers {
        worker.answers(&format!("imported {NOTES}")).await;
    }
}
