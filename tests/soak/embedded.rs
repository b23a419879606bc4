//! The field under Diesel in every state: what is written is read again, and found by its fingerprint.

use diesel::prelude::*;
use ophie_crypt::soak::SoakState;
use ophie_crypt_diesel::{Owner, Soak};

use super::{
    diesel_writer::{Diesel, Embedded, embedded, people},
    world::World,
};

const OWNER: i64 = 7;

/// What a reader is given.
fn read(diesel: &mut Diesel) -> Vec<(i32, Option<String>)> {
    let rows = people::table.order(people::id).select(Embedded::as_select());
    let rows: Vec<Embedded> = rows.load(diesel.connection()).unwrap();
    let served = |row: Embedded| (row.id, row.name.expose_secret().cloned());
    rows.into_iter().map(served).collect()
}

/// Ids of the rows that a look-up finds: pending ones by their plaintext.
fn found(diesel: &mut Diesel, name: &str) -> Vec<i32> {
    let pending = people::name_fp.is_null().and(people::name.eq(embedded::name(name).twin()));
    let is = people::name_fp.eq(embedded::name_fp(name).unwrap());
    let rows = people::table.filter(is.or(pending)).order(people::id).select(people::id);
    rows.load(diesel.connection()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_struct_in_every_state() {
    let world = World::new().await;
    world.run("INSERT INTO people (id, user_id, name) VALUES (1, 7, 'before'), (2, 7, ''), (3, 7, NULL)").await.unwrap();
    let (soaker, process) = (world.soaker(), world.process());
    soaker.expand("people", "name_ct").await.unwrap();
    process.watch.beat().await.unwrap();
    let session = process.session(OWNER).await.unwrap();
    let mut diesel = Diesel::new(world.database.url());
    let mut expected = vec![(1, Some("before".to_owned())), (2, Some(String::new())), (3, None)];
    let mut id = 10;
    loop {
        let state = world.state().await;
        let edited = format!("edited in {state}");
        session.scope_sync(|| {
            for (name, change) in [(Some("new"), None), (Some("x"), Some(Some(&*edited))), (Some(""), Some(None))] {
                diesel.write(id, OWNER, name, false).unwrap();
                if let Some(change) = change {
                    diesel.write(id, OWNER, change, true).unwrap();
                }
                expected.push((id, change.unwrap_or(name).map(str::to_owned)));
                id += 1;
            }
            // By value, and not by reference.
            let null = Embedded {
                id,
                user_id: Owner(OWNER),
                name: Soak::null(),
                name_fp: None,
            };
            diesel::insert_into(people::table).values(null).execute(diesel.connection()).unwrap();
            expected.push((id, None));
            id += 1;
            assert_eq!(read(&mut diesel), expected, "{state}");
            for name in ["before", "", "new", &edited, "x"] {
                let ids = expected.iter().filter(|(_, value)| value.as_deref() == Some(name));
                let ids: Vec<i32> = ids.map(|(id, _)| *id).collect();
                assert_eq!(found(&mut diesel, name), ids, "{name} in {state}");
            }
        });
        let rows = people::table.filter(people::name.is_not_null()).count();
        let plain: i64 = rows.get_result(diesel.connection()).unwrap();
        let rows = people::table.filter(people::name_ct.is_not_null()).count();
        let sealed: i64 = rows.get_result(diesel.connection()).unwrap();
        let values = expected.iter().filter(|(_, name)| name.is_some()).count();
        let values = i64::try_from(values).unwrap();
        assert_eq!(plain == values, state.writes_twin(), "{state}");
        assert_eq!(sealed > 0, state.writes_sealed(), "{state}");
        let Some(next) = state.next().filter(|next| *next < SoakState::Dropped) else {
            break;
        };
        process.go_on(&soaker, state, next).await;
    }
    soaker.null_out("people", "name_ct").await.unwrap();
    session.scope_sync(|| assert_eq!(read(&mut diesel), expected, "without plaintext"));
    assert_eq!(process.watch.counts(&world.soak.column()), Default::default());
}
