//! Writing: one struct, many, columns by themselves, and what a statement returns.

use diesel::prelude::*;

use super::{
    models::{PersonLink, new_link, people_links},
    world::{ALICE, World},
};

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
    let stored = world.stored("SELECT name AS bytes FROM people_links");
    assert_eq!(stored[0].as_ref().map(Vec::len), Some(45 + 3));

    let links = alice.scope_sync(|| people_links::table.load::<PersonLink>(&mut world.db));
    assert_eq!(links.unwrap()[0].name.expose_secret(), "Mom");
}
