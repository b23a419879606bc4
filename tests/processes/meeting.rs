//! Many processes provision and open the same owners at once.

use crate::{busy, journal::join, tell, workers::Place};

const PROCESSES: i64 = 16;
const OWNERS: i64 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_processes_and_two_hundred_new_owners_end_with_two_hundred_keys() {
    let _busy = busy().await;
    let place = Place::with_kms().await;
    let mut workers: Vec<_> = (0..PROCESSES)
        .map(|n| {
            let settings = [("owners", OWNERS.to_string()), ("writer", n.to_string())];
            place.worker("meet", &format!("meet-{n}"), &settings)
        })
        .collect();
    for worker in &mut workers {
        worker.answers("ready").await;
    }
    // No key is made before many have been asked for: there is a race.
    place.kms().gather(32);
    for worker in &mut workers {
        worker.order("write").await;
    }
    for worker in &mut workers {
        worker.answers("wrote").await;
    }

    let count = async |sql: &'static str| -> i64 {
        let count = sqlx::query_scalar(sql).fetch_one(place.database.pool());
        count.await.unwrap()
    };
    assert_eq!(count("SELECT count(*) FROM ophie_crypt_deks").await, OWNERS);
    let rows = PROCESSES * OWNERS;
    assert_eq!(count("SELECT count(*) FROM notes").await, rows);
    // Bytes 1 to 16 of an envelope are the id of its key.
    let of_the_store =
        "SELECT count(*) FROM notes JOIN ophie_crypt_deks ON key_id = substr(text, 2, 16)";
    assert_eq!(count(of_the_store).await, rows);
    let disagreements = "SELECT count(*) FROM (SELECT owner FROM notes GROUP BY owner \
         HAVING count(DISTINCT substr(text, 2, 16)) > 1 OR count(DISTINCT text_fp) > 1) AS several";
    assert_eq!(count(disagreements).await, 0);

    for worker in &mut workers {
        worker.order("read").await;
    }
    for worker in &mut workers {
        worker.answers(&format!("read {rows}")).await;
    }

    let joined = join(&place);
    assert!(joined.cut_short.is_empty(), "{:?}", joined.cut_short);
    let made = place.kms().kms.log_of("GenerateDataKey").len();
    assert!(made > 200, "there was no race");
    tell(format_args!(
        "{PROCESSES} processes, {OWNERS} owners: {OWNERS} keys of {made} made, {rows} rows read by each; \
         {} KMS requests, {} intents",
        joined.requests, joined.intents
    ));
}
