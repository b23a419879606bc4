//! Calls that are stopped by Ctrl-C: in a job, while they wait, and where nothing is half done.

use std::time::Duration;

use ophie_crypt::Models;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::AssertSqlSafe;
use tokio::{process::Child, time::timeout};

use super::{NAME, Person, ROWS, WHY, live, people, said, soak, to, unmet};
use crate::place::{Kind, Place, Program, Rows};

/// It looks at who lives.
const BEATS: &str = "query LIKE '%ophie_crypt_soak_heartbeats%'";

pub(crate) fn interrupt(child: &Child) {
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_stops_a_backfill_between_batches_and_the_next_call_goes_on() {
    let place = Place::new(Kind::Postgres).await;
    people(&place).await;
    to(&place, "dual-write").await;
    let slowly = [
        "soak",
        "backfill",
        NAME,
        "--batch",
        "1",
        "--pause-ms",
        "50",
        "--json",
    ];
    let slowly = [&slowly[..], &WHY].concat();
    let mut child = place
        .command(Program::Release("soaking"), &slowly)
        .spawn()
        .unwrap();
    let sealed = "SELECT count(*) FROM people WHERE name_ct IS NOT NULL";
    until(&place, &mut child, sealed, |count| count >= 3).await;
    interrupt(&child);
    let stopped = place.wait(child).await.ends(130).json();
    assert_eq!(stopped["interrupted"], true);
    let done = place.count(sealed).await;
    assert!(
        done < ROWS && stopped["done"] == done && stopped["left"] == ROWS - done,
        "{stopped}"
    );
    let rest = soak(&place, "backfill", &WHY).await.ends(0).json();
    assert_eq!(
        (&rest["done"], &rest["left"]),
        (&(ROWS - done).into(), &0.into())
    );

    // And who waits for a process that does not look, too.
    let watch = live(&place, Models::new().with::<Person>()).await;
    soak(&place, "verify", &WHY).await.ends(0);
    let waits = ["soak", "soak", NAME, "--wait", "--json"];
    let mut child = place
        .command(Program::Release("soaking"), &waits)
        .spawn()
        .unwrap();
    at_work(&place, &mut child, BEATS).await;
    interrupt(&child);
    let stopped = place.wait(child).await.ends(130).json();
    assert_eq!(
        (unmet(&stopped), &stopped["state"]),
        (vec!["acknowledged"], &"verify".into())
    );
    watch.stop().await.unwrap();
    // For people.
    said(&place, &["plan"], 0)
        .await
        .says("people.name_ct (plaintext people.name): verify")
        .says("next: ophie-crypt soak soak people.name");
    said(&place, &["soak", "retire", "people.name_ct"], 4)
        .await
        .says("`verify`, from which `soak retire` leads nowhere");
    said(&place, &["status"], 0)
        .await
        .says("people.name_ct (plaintext people.name) is in the state verify");
}

/// A process that may be dead is watched for half a minute, in every step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_ends_the_watch_of_who_may_be_dead() {
    let place = Place::new(Kind::Postgres).await;
    people(&place).await;
    to(&place, "verify").await;
    let watch = live(&place, Models::new().with::<Person>()).await;
    place
        .execute("UPDATE ophie_crypt_soak_heartbeats SET beat_at = 1, version = version - 1")
        .await;
    for words in [
        &["soak", "soak", NAME, "--json"][..],
        &["soak", "back", NAME, "--json"],
    ] {
        gone(&place).await;
        let mut child = place
            .command(Program::Release("soaking"), words)
            .spawn()
            .unwrap();
        at_work(&place, &mut child, BEATS).await;
        interrupt(&child);
        let stopped = place.wait(child).await.ends(130).json();
        assert_eq!(
            (unmet(&stopped), &stopped["state"]),
            (vec!["acknowledged"], &"verify".into())
        );
    }
    watch.stop().await.unwrap();
}

/// The step to `plain` empties in batches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_stops_the_step_to_plain_between_batches() {
    let place = Place::new(Kind::Postgres).await;
    people(&place).await;
    to(&place, "backfill").await;
    for _ in ["dual-write", "expand"] {
        soak(&place, "back", &[]).await.ends(0);
    }
    let slowly = [
        "soak",
        "back",
        NAME,
        "--batch",
        "1",
        "--pause-ms",
        "50",
        "--json",
    ];
    let mut child = place
        .command(Program::Release("soaking"), &slowly)
        .spawn()
        .unwrap();
    let sealed = "SELECT count(*) FROM people WHERE name_ct IS NOT NULL";
    until(&place, &mut child, sealed, |count| count <= ROWS - 3).await;
    interrupt(&child);
    let stopped = place.wait(child).await.ends(130).json();
    assert_eq!(
        (&stopped["interrupted"], &stopped["state"]),
        (&true.into(), &"expand".into())
    );
    assert!(place.count(sealed).await > 0);
    let back = soak(&place, "back", &[]).await.ends(0).json();
    assert_eq!(back["state"], "plain");
    assert_eq!(place.count(sealed).await, 0);
}

/// What only reads, or may be left anywhere, ends at once: here while it waits for a table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_ends_at_once_what_may_be_left() {
    let place = Place::new(Kind::Postgres).await;
    place.fill(7, 1).await;
    let shred = ["keys", "shred", "--owner", "int:8", "--yes-shred", "int:8"];
    let provision = ["keys", "provision", "--owner", "int:8", "--reason", "x"];
    place.run(&provision).await.ends(0); // by which there are records
    place.run(&shred).await.ends(0);
    place.run(&["sweep"]).await.ends(0);
    let status = place.stock(&["status", "--json"]).await.ends(0).json();
    let installation = status["installation"].as_str().unwrap();
    let plan = ["index", "plan", "notes", "plain", "--owner-column", "owner"];
    let replay = ["restore", "replay", "--yes-restore", installation];
    for (table, words) in [
        ("ophie_crypt_audit_records", &["audit", "verify"][..]),
        ("ophie_crypt_audit_records", &["audit", "tail"]),
        ("ophie_crypt_audit_records", &["report"]),
        ("ophie_crypt_shreds", &["status"]),
        ("ophie_crypt_shreds", &replay),
        ("notes", &plan),
    ] {
        stopped_at(&place, table, words).await;
    }
    let after = place.stock(&["status", "--json"]).await.ends(0).json();
    assert_eq!(after["epoch"], status["epoch"]);
}

/// A call that was stopped while it waited for this table, on PostgreSQL.
pub(crate) async fn stopped_at(place: &Place, table: &str, words: &[&str]) {
    let Rows::Postgres(rows) = &place.rows else {
        panic!("only PostgreSQL's are locked")
    };
    let mut tx = rows.pool().begin().await.unwrap();
    let lock = format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
    sqlx::raw_sql(AssertSqlSafe(lock))
        .execute(&mut *tx)
        .await
        .unwrap();
    let words = [words, &["--json"]].concat();
    let mut child = place.command(Program::Application, &words).spawn().unwrap();
    at_work(place, &mut child, "wait_event_type = 'Lock'").await;
    interrupt(&child);
    // It would wait for as long as the table is locked.
    let ended = timeout(Duration::from_secs(60), place.wait(child)).await;
    let stopped = ended.unwrap().ends(130).json();
    assert_eq!(stopped["error"]["kind"], "interrupted", "{words:?}");
    tx.rollback().await.unwrap();
    gone(place).await;
}

/// Until this holds of a connection of the command's.
async fn at_work(place: &Place, child: &mut Child, what: &str) {
    let here = format!("{HERE} AND {what}");
    until(place, child, &here, |count| count > 0).await;
}

/// Until this is counted, while the command runs.
async fn until(place: &Place, child: &mut Child, sql: &str, is_so: impl Fn(i64) -> bool) {
    let seen = timeout(Duration::from_secs(60), async {
        while !is_so(place.count(sql).await) {
            assert!(child.try_wait().unwrap().is_none(), "it ended before");
        }
    });
    seen.await.unwrap();
}

/// Until it has none. A server that waits for a lock does not see that nobody waits for it.
async fn gone(place: &Place) {
    let gone = timeout(Duration::from_secs(60), async {
        while place.count(HERE).await > 0 {}
    });
    gone.await.unwrap();
}

const HERE: &str = "SELECT count(*) FROM pg_stat_activity \
                    WHERE datname = current_database() AND application_name = 'ophie-crypt'";
