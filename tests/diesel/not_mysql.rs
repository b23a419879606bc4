//! What Diesel has on SQLite and PostgreSQL and not on MySQL: RETURNING, and `excluded` in an upsert.

use diesel::prelude::*;
use ophie_crypt_diesel::{Encrypted, Owner};

use crate::paths::{
    models::{PersonLink, new_link, people_links, person_link},
    world::{ALICE, World},
};

#[tokio::test]
async fn what_an_insert_returns_is_opened() {
    let mut world = World::new().await;
    let alice = world.alice.clone();
    let link: PersonLink = alice
        .scope_sync(|| {
            diesel::insert_into(people_links::table)
                .values(&new_link(ALICE, "Mom"))
                .returning(PersonLink::as_returning())
                .get_result(&mut world.db)
        })
        .unwrap();
    assert_eq!(link.user_id, Owner(ALICE));
    assert_eq!(link.name.expose_secret(), "Mom");
}

#[tokio::test]
async fn what_an_update_returns_is_opened() {
    let mut world = World::new().await;
    let (id, alice) = (world.link("Mom"), world.alice.clone());
    let name: Encrypted<String, person_link::name> = alice
        .scope_sync(|| {
            diesel::update(people_links::table.find(id))
                .set(people_links::name.eq(person_link::name("Mum")))
                .returning(people_links::name)
                .get_result(&mut world.db)
        })
        .unwrap();
    assert_eq!(name.expose_secret(), "Mum");
}

#[tokio::test]
async fn what_a_delete_returns_is_opened() {
    let mut world = World::new().await;
    world.link("Mom");
    world.link("Dad");
    let alice = world.alice.clone();
    let run = || {
        let mom = people_links::name_fp.eq(person_link::name_fp("mom")?);
        let gone: Vec<PersonLink> =
            diesel::delete(people_links::table.filter(mom)).get_results(&mut world.db)?;
        assert_eq!(gone[0].name.expose_secret(), "Mom");
        world.names()
    };
    assert_eq!(alice.scope_sync(run).unwrap(), ["Dad"]);
}

#[tokio::test]
async fn an_upsert_takes_the_ciphertext_that_was_to_be_inserted() {
    let mut world = World::new().await;
    world.link("Mom");
    let alice = world.alice.clone();
    let run = || {
        diesel::insert_into(people_links::table)
            .values(&new_link(ALICE, "  MOM "))
            .on_conflict(crate::UNIQUE_NAME)
            .do_update()
            .set(people_links::name.eq(diesel::upsert::excluded(people_links::name)))
            .execute(&mut world.db)?;
        world.names()
    };
    assert_eq!(alice.scope_sync(run).unwrap(), ["  MOM "]);
}
