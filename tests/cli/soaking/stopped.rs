//! `soak` stopped by Ctrl-C: in a job, and while it waits.

use std::time::Duration;

use ophie_crypt::Models;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

use super::{NAME, Person, ROWS, WHY, live, people, soak, to, unmet};
use crate::place::{Kind, Place, Program};

fn interrupt(child: &tokio::process::Child) {
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
    let seen = timeout(Duration::from_secs(60), async {
        while place.count(sealed).await < 3 {
            assert!(child.try_wait().unwrap().is_none(), "it ended before");
        }
    });
    seen.await.unwrap();
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
    let child = place
        .command(Program::Release("soaking"), &waits)
        .spawn()
        .unwrap();
    let here = "SELECT count(*) FROM pg_stat_activity \
                WHERE datname = current_database() AND application_name = 'ophie-crypt'";
    let seen = timeout(Duration::from_secs(60), async {
        while place.count(here).await == 0 {}
    });
    seen.await.unwrap();
    interrupt(&child);
    let stopped = place.wait(child).await.ends(130).json();
    assert_eq!(
        (unmet(&stopped), &stopped["state"]),
        (vec!["acknowledged"], &"verify".into())
    );
    watch.stop().await.unwrap();
    // For people.
    let said = |words: &'static [&'static str]| {
        let mut command = place.command(Program::Release("soaking"), words);
        let place = &place;
        async move { place.ended(&mut command).await }
    };
    said(&["plan"])
        .await
        .ends(0)
        .says("people.name_ct (plaintext people.name): verify")
        .says("next: ophie-crypt soak soak people.name");
    said(&["soak", "retire", "people.name_ct"])
        .await
        .ends(4)
        .says("`verify`, from which `soak retire` leads nowhere");
    said(&["status"])
        .await
        .ends(0)
        .says("people.name_ct (plaintext people.name) is in the state verify");
}
