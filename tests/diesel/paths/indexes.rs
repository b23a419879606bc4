//! Look-ups and writes while an owner has two index keys.

use diesel::prelude::*;
use ophie_crypt::{Error, FingerprintError};

use super::{
    models::{NewLink, PersonLink, new_link, people_links, person_link},
    world::{ALICE, World, ours},
};

fn found(links: Vec<PersonLink>) -> Vec<String> {
    let names = links.iter().map(|link| link.name.expose_secret().clone());
    names.collect()
}

/// "Mom" under the old key, "Ann" under the new.
async fn two_keys() -> World {
    let mut world = World::new().await;
    world.link("Mom");
    world.two_index_keys().await;
    let add = || {
        let [_, under_new] = person_link::name_fp("Ann")?.candidates();
        let ann = NewLink {
            name_fp: under_new.for_write(),
            ..new_link(ALICE, "Ann")
        };
        diesel::insert_into(people_links::table)
            .values(&ann)
            .execute(&mut world.db)
    };
    assert_eq!(world.alice.scope_sync(add), Ok(1));
    world
}

fn is_two_keys<T>(result: QueryResult<T>) -> bool {
    matches!(
        ours(result),
        Error::Fingerprint(FingerprintError::TwoKeys { .. })
    )
}

#[tokio::test]
async fn rows_under_two_keys_are_found_by_both_fingerprints() {
    let mut world = two_keys().await;
    let alice = world.alice.clone();
    let run = || {
        let table = || people_links::table.order(people_links::id);
        for name in ["Mom", "Ann"] {
            let fingerprint = person_link::name_fp(name.to_lowercase())?;
            let any = table().filter(people_links::name_fp.eq_any(fingerprint.candidates()));
            assert_eq!(found(any.load(&mut world.db)?), [name]);
            let [one, other] = fingerprint.candidates();
            let either = people_links::name_fp
                .eq(one)
                .or(people_links::name_fp.eq(other));
            let link: PersonLink = table().filter(either).first(&mut world.db)?;
            assert!(fingerprint.matches(&link.name_fp));
            // One alone would miss a row, as would one that was read.
            let alone = table().filter(people_links::name_fp.eq(&fingerprint));
            assert!(is_two_keys(alone.load::<PersonLink>(&mut world.db)));
            let alone = table().filter(people_links::name_fp.eq(&link.name_fp));
            assert!(is_two_keys(alone.load::<PersonLink>(&mut world.db)));
            let some = table().filter(people_links::name_fp.eq_any([&fingerprint]));
            assert!(is_two_keys(some.load::<PersonLink>(&mut world.db)));
        }
        QueryResult::Ok(())
    };
    alice.scope_sync(run).unwrap();
}

#[tokio::test]
async fn a_write_says_that_it_is_one_while_there_are_two_keys() {
    let mut world = two_keys().await;
    let alice = world.alice.clone();
    let run = || {
        let plain = new_link(ALICE, "Dad");
        let insert = diesel::insert_into(people_links::table).values(&plain);
        assert!(is_two_keys(insert.execute(&mut world.db)));
        let change = diesel::update(people_links::table)
            .set(people_links::name_fp.eq(person_link::name_fp("Dad")?));
        assert!(is_two_keys(change.execute(&mut world.db)));
        let dad = NewLink {
            name_fp: person_link::name_fp("Dad")?.for_write(),
            ..new_link(ALICE, "Dad")
        };
        diesel::insert_into(people_links::table)
            .values(&dad)
            .execute(&mut world.db)?;
        diesel::update(people_links::table.filter(people_links::id.eq(1)))
            .set((
                people_links::name.eq(person_link::name("Mum")),
                people_links::name_fp.eq(person_link::name_fp("Mum")?.for_write()),
            ))
            .execute(&mut world.db)?;
        for name in ["Mum", "Ann", "Dad"] {
            let any = person_link::name_fp(name)?.candidates();
            let links = people_links::table.filter(people_links::name_fp.eq_any(any));
            assert_eq!(found(links.load(&mut world.db)?), [name]);
        }
        QueryResult::Ok(())
    };
    alice.scope_sync(run).unwrap();
}
