//! Many rows in one statement by diesel-async, which cannot do that on SQLite.

use diesel_async::RunQueryDsl;

use crate::{
    asynchronous::connect,
    paths::{
        models::{NewLink, PersonLink, new_link, people_links, person_link},
        world::{ALICE, World},
    },
};

#[tokio::test]
async fn a_batch_seals_each_value_by_itself() {
    let mut world = World::new().await;
    let mut db = connect(&world.database).await;
    let run = async {
        let batch: Vec<NewLink> = ["Mom", "Dad", "Eve"]
            .map(|name| NewLink {
                relation: Some(person_link::relation("kin")),
                ..new_link(ALICE, name)
            })
            .into();
        let written = diesel::insert_into(people_links::table)
            .values(&batch)
            .execute(&mut db)
            .await?;
        assert_eq!(written, 3);
        people_links::table.load::<PersonLink>(&mut db).await
    };
    assert_eq!(world.alice.scope(run).await.unwrap().len(), 3);
    let mut kin = world.stored("SELECT relation AS bytes FROM people_links");
    kin.sort();
    kin.dedup();
    assert_eq!(kin.len(), 3, "equal values, three nonces");
}
