//! KMS down, database down, KMS throttling: what goes on, what fails, and that all mends itself.
//!
//! Absent: the same against a clock that jumps (the keyring's own tests).

use std::{collections::HashMap, time::Duration};

use ophie_crypt::OwnerId;
use ophie_crypt_tests::strict_kms::Fault;
use tokio::time::{Instant, sleep};

use crate::{busy, kms::Service, proxy::Proxy, tell, workers::Place};

/// The minute in real time. One process has the default time to live, the other one that ends within it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minute_without_the_kms_ends_no_open_session_before_its_time_to_live() {
    let minute = Duration::from_secs(60);
    let ttl = Duration::from_secs(20);
    let place = Place::with_kms().await;
    let mut worker = place.worker("serve", "worker", &[]);
    let settings = [("ttl", ttl.as_millis().to_string())];
    let mut short = place.worker("serve", "short", &settings);
    for worker in [&mut worker, &mut short] {
        worker.answers("ready").await;
        worker.told("provision 1", "ok").await;
    }
    worker.told("provision 2", "ok").await;
    worker.told("open 1", "ok").await;
    let opened = Instant::now();
    short.told("open 1", "ok").await;

    let begun = Instant::now();
    let mut waited = Vec::new();
    for (how, until) in [(Service::Silent, minute / 2), (Service::Reset, minute)] {
        place.kms().is(how);
        if waited.is_empty() {
            short.order("read-until-refused 1").await;
        }
        while begun.elapsed() < until {
            // A new session: another owner, whose key is nowhere in the process.
            let answer = worker.ask("open 2").await;
            let after = answer.strip_prefix("kms-unavailable after ");
            let after = after.unwrap_or_else(|| panic!("{how:?}: {answer}"));
            waited.push(after.strip_suffix(" ms").unwrap().parse::<u64>().unwrap());
            worker.told("read 1", "ok").await;
            sleep(Duration::from_secs(1)).await;
        }
    }
    let down = begun.elapsed();
    let refused = short.answer().await;
    assert!(refused.starts_with("Expired "), "{refused}");
    let longest = waited.iter().max().unwrap();
    // The limit is 5 s; what is beyond is the machine's.
    assert!(*longest < 15_000, "{waited:?}");
    let journal = std::fs::read_to_string(place.path("journal")).unwrap();
    let renewals = journal
        .lines()
        .filter(|line| line.starts_with("intent short ") && line.contains(" renew "))
        .count();
    assert!(renewals > 3, "it gave up after {renewals} attempts");

    place.kms().is(Service::Up);
    let open = short.ask("read-until-open 1").await;
    assert!(open.starts_with("ok "), "{open}");
    assert!(opened.elapsed() > ttl, "that was the first key");
    worker.told("open 2", "ok").await;
    worker.told("read 1", "ok").await;
    worker.told("read 2", "ok").await;
    tell(format_args!(
        "KMS down for {} s: {} opens failed, the slowest after {longest} ms; {renewals} attempts to renew; \
         sessions went on until their time to live, and all recovered",
        down.as_secs(),
        waited.len(),
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_database_open_sessions_read_until_their_time_to_live() {
    let ttl = Duration::from_secs(10);
    let place = Place::with_kms().await;
    let proxy = Proxy::to(place.database.url()).await;
    let settings = [
        ("database", proxy.url().to_owned()),
        ("ttl", ttl.as_millis().to_string()),
        ("acquire", "1000".to_owned()),
    ];
    let mut worker = place.worker("serve", "worker", &settings);
    worker.answers("ready").await;
    for owner in 1..=3 {
        worker.told(&format!("provision {owner}"), "ok").await;
    }
    let begun = Instant::now();
    worker.told("open 1", "ok").await;
    worker.told("open 3", "ok").await;
    proxy.cut();
    place.remove(3).await;
    let asked = place.kms().kms.log().len();

    let answer = worker.ask("open 2").await;
    assert!(answer.starts_with("store-unavailable"), "{answer}");
    worker.told("provision 4", "store-unavailable").await;
    worker.told("read 1", "ok").await;
    let refused = worker.ask("read-until-refused 1").await;
    let lived = begun.elapsed();
    let reads = refused
        .strip_prefix("Expired ")
        .expect("nothing else ends it");
    let reads: u64 = reads.parse().unwrap();
    assert!(lived >= ttl, "ended after {lived:?}");
    assert!(reads > 1, "nothing was read while the database was down");
    // Never later, though its key went and the process could not be told.
    let refused = worker.ask("read-until-refused 3").await;
    assert!(refused.starts_with("Expired "), "{refused}");
    assert_eq!(
        place.kms().kms.log().len(),
        asked,
        "renewed without the database"
    );

    proxy.mend();
    let open = worker.ask("read-until-open 1").await;
    assert!(open.starts_with("ok "), "{open}");
    worker.told("open 2", "ok").await;
    let removed = worker.ask("open 3").await;
    assert!(removed.starts_with("shredded"), "{removed}");
    tell(format_args!(
        "database down, time to live {} ms: {reads} reads, until {} ms after the open",
        ttl.as_millis(),
        lived.as_millis()
    ));
}

/// Each third of the owners meets none, one or two throttled attempts: half of all requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_of_all_requests_throttled_and_every_open_succeeds() {
    let _busy = busy().await;
    let place = Place::with_kms().await;
    let mut worker = place.worker("serve", "worker", &[]);
    worker.answers("ready").await;
    for owner in 0..30 {
        worker.told(&format!("provision {owner}"), "ok").await;
    }
    let mut ahead: HashMap<String, i64> = (0..30_i64)
        .map(|owner| (owner.canonical().to_hex(), owner % 3))
        .collect();
    place.kms().plan(move |arrival| {
        let left = ahead.get_mut(&arrival.owner)?;
        *left -= 1;
        (*left >= 0).then_some(Fault::THROTTLE)
    });
    for owner in 0..30 {
        worker.told(&format!("open {owner}"), "ok").await;
    }
    let log = place.kms().kms.log_of("Decrypt");
    let throttled = log.iter().filter(|entry| entry.outcome.is_err()).count();
    assert_eq!((log.len(), throttled), (60, 30));
}
