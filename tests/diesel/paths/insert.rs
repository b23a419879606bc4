//! Writing: one struct, many, columns by themselves, upserts.

use diesel::prelude::*;
use ophie_crypt_diesel::{BlindIndex, Encrypted, Owner};

use super::{
    models::{NewLink, PersonLink, new_link, people_links, person_link},
    world::{ALICE, World},
};

const NAMES: &str = "SELECT name AS bytes FROM people_links ORDER BY id";

#[tokio::test]
async fn a_struct_is_written_sealed_and_read_opened() {
    let mut world = World::new().await;
    let alice = world.alice.clone();
    alice.scope_sync(|| {
        let written = diesel::insert_into(people_links::table)
            .values(&new_link(ALICE, "Mom"))
            .execute(&mut world.db);
        assert_eq!(written, Ok(1));
    });
    let stored = world.stored(NAMES);
    assert_eq!(stored[0].as_ref().map(Vec::len), Some(45 + 3));

    let links = alice.scope_sync(|| people_links::table.load::<PersonLink>(&mut world.db));
    assert_eq!(links.unwrap()[0].name.expose_secret(), "Mom");
}

#[tokio::test]
async fn a_struct_by_value_with_an_option() {
    let mut world = World::new().await;
    let alice = world.alice.clone();
    let relations = alice.scope_sync(|| {
        let link = NewLink {
            relation: Some(person_link::relation("mother")),
            ..new_link(ALICE, "Mom")
        };
        diesel::insert_into(people_links::table)
            .values(link)
            .execute(&mut world.db)?;
        diesel::insert_into(people_links::table)
            .values(new_link(ALICE, "Dad"))
            .execute(&mut world.db)?;
        people_links::table
            .order(people_links::id)
            .select(people_links::relation)
            .load::<Option<Encrypted<String, person_link::relation>>>(&mut world.db)
    });
    let relations = relations.unwrap();
    let [Some(mother), None] = relations.as_slice() else {
        panic!("{relations:?}")
    };
    assert_eq!(mother.expose_secret(), "mother");
}

#[tokio::test]
async fn a_batch_seals_each_value_by_itself() {
    let mut world = World::new().await;
    let alice = world.alice.clone();
    let names = alice.scope_sync(|| {
        let links: Vec<NewLink> = ["Mom", "Dad", "Eve"]
            .map(|name| NewLink {
                relation: Some(person_link::relation("kin")),
                ..new_link(ALICE, name)
            })
            .into();
        let written = diesel::insert_into(people_links::table)
            .values(&links)
            .execute(&mut world.db)?;
        assert_eq!(written, 3);
        let owned = vec![new_link(ALICE, "Zoe")];
        diesel::insert_into(people_links::table)
            .values(owned)
            .execute(&mut world.db)?;
        world.names()
    });
    assert_eq!(names.unwrap(), ["Mom", "Dad", "Eve", "Zoe"]);
    let mut relations = world.stored("SELECT relation AS bytes FROM people_links WHERE id < 4");
    relations.sort();
    relations.dedup();
    assert_eq!(relations.len(), 3, "equal values, three nonces");
}

#[tokio::test]
async fn references_and_tuples() {
    #[derive(Insertable)]
    #[diesel(table_name = people_links)]
    struct Borrowed<'a> {
        user_id: &'a Owner<i64>,
        call: i64,
        name: &'a Encrypted<String, person_link::name>,
        name_fp: &'a BlindIndex<String, person_link::name_fp>,
        relation: Option<&'a Encrypted<String, person_link::relation>>,
    }
    let mut world = World::new().await;
    let alice = world.alice.clone();
    let names = alice.scope_sync(|| {
        let link = new_link(ALICE, "Mom");
        let borrowed = Borrowed {
            user_id: &link.user_id,
            call: 1,
            name: &link.name,
            name_fp: &link.name_fp,
            relation: link.relation.as_ref(),
        };
        diesel::insert_into(people_links::table)
            .values(&borrowed)
            .execute(&mut world.db)?;
        diesel::insert_into(people_links::table)
            .values((
                people_links::user_id.eq(Owner(ALICE)),
                people_links::call.eq(1),
                people_links::name.eq(Encrypted::<String, _>::new("Dad")), // the column says the marker
                people_links::name_fp.eq(&person_link::name_fp("Dad")?),
                people_links::relation.eq(person_link::relation("father")),
            ))
            .execute(&mut world.db)?;
        world.names()
    });
    assert_eq!(names.unwrap(), ["Mom", "Dad"]);
}

#[tokio::test]
async fn an_empty_text_is_a_value() {
    let mut world = World::new().await;
    world.link("");
    assert_eq!(world.stored(NAMES)[0].as_ref().map(Vec::len), Some(45));
    let alice = world.alice.clone();
    assert_eq!(alice.scope_sync(|| world.names()).unwrap(), [""]);
}

#[tokio::test]
async fn an_upsert_updates_by_the_fingerprint() {
    let mut world = World::new().await;
    let alice = world.alice.clone();
    alice
        .scope_sync(|| {
            for (name, call) in [("Mom", 1), ("  MOM ", 2)] {
                let link = NewLink {
                    call,
                    ..new_link(ALICE, name)
                };
                diesel::insert_into(people_links::table)
                    .values(&link)
                    .on_conflict(crate::UNIQUE_NAME)
                    .do_update()
                    .set((
                        people_links::name.eq(&link.name),
                        people_links::call.eq(link.call),
                        people_links::relation.eq(person_link::relation("met again")),
                    ))
                    .execute(&mut world.db)?;
            }
            diesel::insert_into(people_links::table)
                .values(&new_link(ALICE, "mom"))
                .on_conflict_do_nothing()
                .execute(&mut world.db)?;
            let link: PersonLink = people_links::table.get_result(&mut world.db)?;
            assert_eq!(
                (link.name.expose_secret().as_str(), link.call),
                ("  MOM ", 2)
            );
            assert_eq!(link.relation.expect("set").expose_secret(), "met again");
            QueryResult::Ok(())
        })
        .unwrap();
    assert_eq!(world.links(), 1);
}
