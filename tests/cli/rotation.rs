//! `keys rotate|destroy`, Ctrl-C in the middle, kill -9, and who may not.

use std::time::Duration;

use tokio::{process::Child, time::timeout};

use crate::{
    on_each_database,
    place::{Kind, Place, Program},
    soaking::stopped::{interrupt, stopped_at},
};

on_each_database! {
    a_rotation_goes_through_its_states
    ctrl_c_stops_between_batches_and_the_next_call_goes_on
}

const WHY: [&str; 2] = ["--reason", "yearly"];
const ROTATE: [&str; 4] = ["keys", "rotate", "--owner", "int:7"];

/// The two minutes of the announcement are over.
async fn announced_long_ago(place: &Place) {
    long_ago(place, "announced_at", 2).await;
}

/// How many values are sealed anew until nothing is waited for but others' transactions, of which the servers of the tests
/// have some.
async fn to_the_end(place: &Place, rotate: &[&str]) -> u64 {
    let mut resealed = 0;
    loop {
        let call = place.run(rotate).await;
        let owner = call.json()["owners"][0].clone();
        resealed += owner["resealed"].as_u64().unwrap();
        if call.code == 0 {
            return resealed;
        }
        assert_eq!(owner["waits_for"], "transactions", "{call:?}");
    }
}

/// Nobody seals under the first generation any more.
async fn leases_are_over(place: &Place) {
    long_ago(place, "leased_until", 1).await;
}

async fn long_ago(place: &Place, column: &str, generation: u32) {
    let past = match place.kind {
        Kind::Sqlite => "1577836800000000",
        _ => "'2020-01-01 00:00:00'",
    };
    let sql =
        format!("UPDATE ophie_crypt_budgets SET {column} = {past} WHERE generation = {generation}");
    place.execute_on_keys(&sql).await;
}

async fn states(place: &Place) -> Vec<String> {
    let listed = place
        .stock(&["keys", "list", "--owner", "int:7", "--json"])
        .await
        .ends(0)
        .json();
    let generations = listed["owners"][0]["generations"]
        .as_array()
        .unwrap()
        .iter();
    generations
        .map(|generation| generation["state"].as_str().unwrap().to_owned())
        .collect()
}

async fn a_rotation_goes_through_its_states(kind: Kind) {
    let place = Place::new(kind).await;
    place.fill(7, 450).await;
    let refused = place.stock(&[&ROTATE[..], &WHY].concat()).await.ends(4);
    refused.says("ophie_crypt_cli::main(Models::new().with::<your_application::Note>())");
    place.run(&ROTATE).await.ends(2).says("--reason");
    let dry = place
        .run(&[&ROTATE[..], &["--dry-run", "--json"]].concat())
        .await
        .ends(0)
        .json();
    assert_eq!(
        (&dry["begin"][0], &dry["go_on"]),
        (&"int:7".into(), &serde_json::json!([]))
    );
    assert_eq!(states(&place).await, ["sealing"]);

    let rotate = [&ROTATE[..], &WHY, &["--json"]].concat();
    let begun = place.run(&rotate).await.ends(5).json();
    assert_eq!(begun["owners"][0]["waits_for"], "announcement");
    assert_eq!(states(&place).await, ["announced", "sealing"]);
    announced_long_ago(&place).await;
    let sealed = place.run(&rotate).await.ends(5).json();
    assert_eq!(sealed["owners"][0]["resealed"], 450);
    assert_eq!(sealed["owners"][0]["waits_for"], "leases");
    leases_are_over(&place).await;
    assert_eq!(to_the_end(&place, &rotate).await, 0);
    assert_eq!(states(&place).await, ["sealing", "retired"]);
    assert_eq!(place.readable(7).await, 450);

    let destroy = ["keys", "destroy", "--owner", "int:7", "--retired-days", "0"];
    let destroy = [&destroy[..], &WHY].concat();
    place
        .stock(&destroy)
        .await
        .ends(4)
        .says("ophie_crypt_cli::main");
    let confirmed = [&destroy[..], &["--yes-destroy", "int:7"]].concat();
    let mut unsaid = place.command(Program::Application, &confirmed);
    unsaid.env("TEST_SIDECARS", "unsaid");
    let unsaid = place.ended(&mut unsaid).await;
    unsaid.ends(4).says("without_sidecars");
    place
        .run(&destroy)
        .await
        .ends(4)
        .says("--yes-destroy int:7");
    place
        .run(&[&destroy[..], &["--yes-destroy", "int:8"]].concat())
        .await
        .ends(4);
    place
        .run(&[&destroy[..], &["--dry-run"]].concat())
        .await
        .ends(0)
        .says("[1]");
    assert_eq!(states(&place).await, ["sealing", "retired"]);
    let early = [
        "keys",
        "destroy",
        "--owner",
        "int:7",
        "--yes-destroy",
        "int:7",
        "--json",
    ];
    let early = place.run(&[&early[..], &WHY].concat()).await.ends(5).json();
    assert_eq!(
        (&early["destroyed"], &early["waits_for"]),
        (&0.into(), &"horizon".into())
    );
    let confirmed = [&destroy[..], &["--yes-destroy", "int:7"]].concat();
    if kind == Kind::Postgres {
        stopped_at(&place, "notes", &confirmed).await;
        assert_eq!(states(&place).await, ["sealing", "retired"]);
    }
    let destroy = [&confirmed[..], &["--json"]].concat();
    loop {
        let gone = place.run(&destroy).await;
        if gone.code != 5 || gone.json()["waits_for"] != "transactions" {
            assert_eq!(gone.ends(0).json()["destroyed"], 1);
            break;
        }
    }
    assert_eq!(states(&place).await, ["sealing"]);
    assert_eq!(place.readable(7).await, 450);
}

/// How many values stand under the newest generation.
async fn under_newest(place: &Place) -> i64 {
    let owner = ophie_crypt::CanonicalId::integer(7);
    let record = place.store().await.load(&owner).await.unwrap().unwrap();
    let new = record.newest().unwrap().key_id().to_string();
    let key_id = match place.kind {
        Kind::Postgres => format!("substr(text, 2, 16) = '\\x{new}'"),
        _ => format!("substr(text, 2, 16) = x'{new}'"),
    };
    let sql = format!("SELECT count(*) FROM notes WHERE {key_id}");
    place.count(&sql).await
}

/// So many values are sealed anew; the process goes on.
async fn resealed(place: &Place, child: &mut Child, least: i64) {
    let seen = timeout(Duration::from_secs(60), async {
        while under_newest(place).await < least {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended before {least} were sealed anew");
        }
    });
    seen.await.unwrap();
}

async fn ctrl_c_stops_between_batches_and_the_next_call_goes_on(kind: Kind) {
    const ROWS: usize = 1500;
    let place = Place::new(kind).await;
    place.fill(7, ROWS).await;
    let rotate = [&ROTATE[..], &WHY, &["--batch", "10", "--json"]].concat();
    place.run(&rotate).await.ends(5);
    announced_long_ago(&place).await;

    let mut child = place
        .command(Program::Application, &rotate)
        .spawn()
        .unwrap();
    resealed(&place, &mut child, 30).await;
    interrupt(&child);
    let stopped = place.wait(child).await.ends(130).json();
    assert_eq!(stopped["interrupted"], true);
    assert!(under_newest(&place).await < i64::try_from(ROWS).unwrap());
    assert_eq!(place.readable(7).await, ROWS);

    let mut child = place
        .command(Program::Application, &rotate)
        .spawn()
        .unwrap();
    resealed(&place, &mut child, 200).await;
    child.start_kill().unwrap();
    place.wait(child).await.ends(-9);
    assert_eq!(place.readable(7).await, ROWS);

    leases_are_over(&place).await;
    let rest = [&ROTATE[..], &WHY, &["--json"]].concat();
    let resealed = to_the_end(&place, &rest).await;
    let all = u64::try_from(ROWS).unwrap();
    assert!(resealed > 0 && resealed < all - 100, "{resealed}");
    assert_eq!(states(&place).await, ["sealing", "retired"]);
    assert_eq!(place.readable(7).await, ROWS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_are_due_are_rotated_and_what_does_not_open_is_said() {
    let place = Place::new(Kind::Sqlite).await;
    for owner in [7, 8] {
        place.fill(owner, 3).await;
    }
    let due = [
        "keys",
        "rotate",
        "--due",
        "--older-than-days",
        "0",
        "--json",
    ];
    let due = [&due[..], &WHY].concat();
    let begun = place.run(&due).await.ends(5).json();
    assert_eq!(
        (begun["owners"].as_array().unwrap().len(), &begun["waiting"]),
        (2, &2.into())
    );
    announced_long_ago(&place).await;
    // One bit of one value.
    place
        .execute("UPDATE notes SET text = CAST(substr(text, 1, 60) || x'00' AS BLOB) WHERE id = 1")
        .await;
    let found = ["keys", "rotate", "--due", "--json"];
    let found = place.run(&[&found[..], &WHY].concat()).await.ends(1).json();
    let of = |owner: &str| {
        let mut owners = found["owners"].as_array().unwrap().iter();
        owners
            .find(|entry| entry["owner"] == owner)
            .cloned()
            .unwrap()
    };
    assert_eq!(
        (&of("int:7")["failed"], &of("int:7")["resealed"]),
        (&1.into(), &2.into())
    );
    assert_eq!(
        (&of("int:8")["failed"], &of("int:8")["resealed"]),
        (&0.into(), &3.into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_ctrl_c_ends_it_at_once() {
    let place = Place::new(Kind::Postgres).await;
    place.fill(7, 3).await;
    let rotate = [&ROTATE[..], &WHY].concat();
    place.run(&rotate).await.ends(5);
    announced_long_ago(&place).await;
    let rows = place.locked().await; // the batch does not end
    let mut child = place
        .command(Program::Application, &rotate)
        .spawn()
        .unwrap();
    let waiting = "SELECT count(*) FROM pg_stat_activity \
         WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let stopped = timeout(Duration::from_secs(60), async {
        while place.count(waiting).await == 0 {
            assert!(child.try_wait().unwrap().is_none());
        }
        while child.try_wait().unwrap().is_none() {
            interrupt(&child);
            tokio::time::sleep(Duration::from_millis(20)).await; // two at once would be one
        }
    });
    stopped.await.unwrap();
    let ended = place.wait(child).await.ends(130);
    assert!(ended.out.is_empty(), "{ended:?}");
    rows.rollback().await.unwrap();
    assert_eq!(place.readable(7).await, 3);
}
