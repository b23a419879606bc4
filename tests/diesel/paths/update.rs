//! Changing rows: single columns, change sets, `save_changes`, deletion.

use diesel::prelude::*;
use ophie_crypt_diesel::{Encrypted, Sealed};

use super::{
    models::{PersonLink, people_links, person_link, user, users},
    world::{ALICE, World},
};

/// `None` leaves the column alone, `Some(None)` sets NULL.
#[derive(AsChangeset)]
#[diesel(table_name = people_links)]
struct Change {
    name: Option<Encrypted<String, person_link::name>>,
    relation: Option<Option<Encrypted<String, person_link::relation>>>,
}

#[derive(AsChangeset, Identifiable)]
#[diesel(table_name = people_links)]
struct Renamed {
    id: i64,
    name: Encrypted<String, person_link::name>,
}

fn relation(world: &mut World) -> QueryResult<Option<String>> {
    let link: PersonLink = people_links::table.first(&mut world.db)?;
    Ok(link
        .relation
        .map(|relation| relation.expose_secret().clone()))
}

#[tokio::test]
async fn a_column_is_set_and_set_to_null() {
    let mut world = World::new().await;
    let (id, alice) = (world.link("Mom"), world.alice.clone());
    let run = || {
        let row = people_links::table.find(id);
        diesel::update(row)
            .set(people_links::relation.eq(Some(person_link::relation("mother"))))
            .execute(&mut world.db)?;
        assert_eq!(relation(&mut world)?.as_deref(), Some("mother"));
        diesel::update(row)
            .set(people_links::relation.eq(None::<Encrypted<String, person_link::relation>>))
            .execute(&mut world.db)?;
        assert_eq!(relation(&mut world)?, None);
        QueryResult::Ok(())
    };
    alice.scope_sync(run).unwrap();
}

#[tokio::test]
async fn the_typed_null_needs_no_session() {
    let mut world = World::new().await;
    world.link("Mom");
    let written = diesel::update(people_links::table)
        .set(people_links::relation.eq(person_link::relation::NULL))
        .execute(&mut world.db);
    assert_eq!(written, Ok(1));
}

#[tokio::test]
async fn a_change_set_changes_what_it_holds() {
    let mut world = World::new().await;
    let (id, alice) = (world.link("Mom"), world.alice.clone());
    let run = || {
        let mut set = |name: Option<&str>, relation: Option<Option<&str>>| {
            let change = Change {
                name: name.map(person_link::name),
                relation: relation.map(|relation| relation.map(person_link::relation)),
            };
            diesel::update(people_links::table.find(id))
                .set(&change)
                .execute(&mut world.db)?;
            people_links::table
                .find(id)
                .first::<PersonLink>(&mut world.db)
        };
        let link = set(None, Some(Some("mother")))?;
        assert_eq!(link.name.expose_secret(), "Mom");
        assert_eq!(link.relation.expect("set").expose_secret(), "mother");
        let link = set(Some("Mum"), None)?;
        assert_eq!(link.name.expose_secret(), "Mum");
        assert!(link.relation.is_some());
        assert!(set(None, Some(None))?.relation.is_none());
        QueryResult::Ok(())
    };
    alice.scope_sync(run).unwrap();
}

#[tokio::test]
async fn save_changes_returns_the_row_opened() {
    let mut world = World::new().await;
    let (id, alice) = (world.link("Mom"), world.alice.clone());
    let renamed = Renamed {
        id,
        name: person_link::name("Mum"),
    };
    let saved: PersonLink = alice
        .scope_sync(|| renamed.save_changes(&mut world.db))
        .unwrap();
    assert_eq!(saved.name.expose_secret(), "Mum");
}

#[tokio::test]
async fn ciphertext_moves_without_a_session() {
    let mut world = World::new().await;
    let id = world.link("Mom");
    let sealed: Sealed<String, person_link::name> = people_links::table
        .find(id)
        .select(people_links::name)
        .first(&mut world.db)
        .unwrap();
    let changed = diesel::update(people_links::table.find(id))
        .set(people_links::name.eq(&sealed))
        .execute(&mut world.db);
    assert_eq!(changed, Ok(1));
    let opened = sealed.open(&world.alice).unwrap();
    assert_eq!(opened.expose_secret(), "Mom");
    let alice = world.alice.clone();
    assert_eq!(alice.scope_sync(|| world.names()).unwrap(), ["Mom"]);
}

#[tokio::test]
async fn rows_are_deleted_by_fingerprint() {
    let mut world = World::new().await;
    world.link("Mom");
    world.link("Dad");
    let alice = world.alice.clone();
    let run = || {
        let mom = people_links::name_fp.eq(person_link::name_fp("mom")?);
        diesel::delete(people_links::table.filter(mom)).execute(&mut world.db)?;
        world.names()
    };
    assert_eq!(alice.scope_sync(run).unwrap(), ["Dad"]);
}

#[tokio::test]
async fn a_model_keyed_by_its_owner() {
    let mut world = World::new().await;
    let alice = world.alice.clone();
    let run = || {
        let ada = super::models::User {
            id: ophie_crypt_diesel::Owner(ALICE),
            name: user::name("Ada"),
        };
        diesel::insert_into(users::table)
            .values(&ada)
            .execute(&mut world.db)?;
        diesel::update(&ada)
            .set(users::name.eq(user::name("Ada L.")))
            .execute(&mut world.db)?;
        users::table
            .find(ophie_crypt_diesel::Owner(ALICE))
            .first::<super::models::User>(&mut world.db)
    };
    assert_eq!(
        alice.scope_sync(run).unwrap().name.expose_secret(),
        "Ada L."
    );
}
