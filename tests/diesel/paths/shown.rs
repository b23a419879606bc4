//! What Diesel shows of a query: canaries in `debug_query`, instrumentation and errors; and our error,
//! found inside Diesel's.

use std::sync::{Arc, Mutex};

use diesel::{
    connection::{Connection as _, InstrumentationEvent},
    debug_query,
    prelude::*,
};
use ophie_crypt_diesel::{Owner, find_error};

use super::{
    models::{NewLink, PersonLink, new_link, people_links, person_link},
    world::{ALICE, World},
};

const CANARY: &str = "canary-4711";

fn link() -> NewLink {
    NewLink {
        relation: Some(person_link::relation(CANARY)),
        ..new_link(ALICE, CANARY)
    }
}

#[tokio::test]
async fn debug_query_shows_the_statement_and_no_value() {
    let world = World::new().await;
    world.alice.scope_sync(|| {
        let link = link();
        let links = [link];
        let insert = diesel::insert_into(people_links::table).values(&links[0]);
        let batch = diesel::insert_into(people_links::table).values(&links);
        let update = diesel::update(people_links::table)
            .set(people_links::name.eq(person_link::name(CANARY)));
        let select = people_links::table
            .filter(people_links::user_id.eq(Owner(ALICE)))
            .filter(people_links::name_fp.eq_any([person_link::name_fp(CANARY).unwrap()]));
        let shown = [
            debug_query::<crate::Backend, _>(&insert).to_string(),
            format!("{:?}", debug_query::<crate::Backend, _>(&insert)),
            debug_query::<crate::Backend, _>(&batch).to_string(),
            debug_query::<crate::Backend, _>(&update).to_string(),
            debug_query::<crate::Backend, _>(&select).to_string(),
            debug_query::<diesel::mysql::Mysql, _>(&update).to_string(),
            debug_query::<diesel::mysql::Mysql, _>(&insert).to_string(),
            format!("{insert:?} {update:?} {select:?}"),
        ];
        for shown in &shown {
            assert!(!shown.contains("canary"), "{shown}");
            assert!(shown.contains("people_links"), "{shown}");
        }
        assert!(shown[0].contains("[REDACTED]"), "{}", shown[0]);
        assert!(shown[4].contains("BlindIndex(..)"), "{}", shown[4]);
        assert!(shown[4].contains("Owner(..)"), "{}", shown[4]);
    });
}

#[tokio::test]
async fn instrumentation_sees_no_value() {
    let mut world = World::new().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    world
        .db
        .set_instrumentation(move |event: InstrumentationEvent<'_>| {
            sink.lock().unwrap().push(format!("{event:?}"));
        });
    let alice = world.alice.clone();
    alice.scope_sync(|| {
        diesel::insert_into(people_links::table)
            .values(&link())
            .execute(&mut world.db)
            .unwrap();
        // The second breaks the unique index: the database's own message is shown too.
        let twice = diesel::insert_into(people_links::table)
            .values(&link())
            .execute(&mut world.db)
            .unwrap_err();
        assert!(
            !format!("{twice} {twice:?}").contains("canary"),
            "{twice:?}"
        );
        people_links::table
            .filter(people_links::name_fp.eq(person_link::name_fp(CANARY).unwrap()))
            .first::<PersonLink>(&mut world.db)
            .unwrap();
    });
    let seen = seen.lock().unwrap();
    assert!(
        seen.iter().any(|event| event.contains("INSERT INTO")),
        "{seen:?}"
    );
    for event in seen.iter() {
        assert!(!event.contains("canary"), "{event}");
    }
}

/// Diesel says where it failed to read, and only the search says why.
#[tokio::test]
async fn what_a_failed_read_says() {
    let mut world = World::new().await;
    world.link(CANARY);
    let error = people_links::table
        .first::<PersonLink>(&mut world.db)
        .unwrap_err();
    assert_eq!(error.to_string(), "Error deserializing field 'user_id'");
    assert_eq!(
        find_error(&error).expect("ours").to_string(),
        "cannot check the row's owner: no session is current in this task; run the query inside \
         `session.scope(..)`, give spawned tasks, streams and WebSocket tasks `.in_session(&session)`, and \
         threads `session.scope_sync(..)`"
    );
}
