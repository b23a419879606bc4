//! An insert that meets its own fingerprint: `ON CONFLICT` or `ON DUPLICATE KEY UPDATE`, both arms.

use ophie_crypt_sqlx::{Encrypted, Owner};

use super::{
    models::person_link,
    world::{ALICE, BOB, CALL, INSERT_LINK, World},
};
use crate::db::sql;

type Relation = Encrypted<String, person_link::relation>;

async fn upsert(
    world: &World,
    name: &str,
    relation: &str,
) -> (i64, Encrypted<String, person_link::name>, Relation) {
    let insert = "INSERT INTO people_links (user_id, session_id, name, name_fp, relation) VALUES ($1, $2, $3, $4, $5)";
    sqlx::query_as(sql(&format!(
        "{insert} {} RETURNING id, name, relation",
        crate::OR_UPDATE_RELATION
    )))
    .bind(Owner(ALICE))
    .bind(CALL)
    .bind(person_link::name(name))
    .bind(person_link::name_fp(name).unwrap())
    .bind(person_link::relation(relation))
    .fetch_one(world.pool())
    .await
    .unwrap()
}

#[tokio::test]
async fn update_arm_keeps_the_row_and_takes_the_new_value() {
    let world = World::new().await;
    let run = async {
        let (inserted, name, relation) = upsert(&world, "Mom", "mother").await;
        assert_eq!(
            (
                name.expose_secret().as_str(),
                relation.expose_secret().as_str()
            ),
            ("Mom", "mother")
        );
        let (updated, name, relation) = upsert(&world, " mom", "step-mother").await;
        assert_eq!(inserted, updated);
        assert_eq!(
            (
                name.expose_secret().as_str(),
                relation.expose_secret().as_str()
            ),
            ("Mom", "step-mother")
        );
    };
    world.alice.scope(run).await;
    assert_eq!(world.links().await, 1);
}

#[tokio::test]
async fn nothing_arm_leaves_the_row() {
    let world = World::new().await;
    let add = |name: &'static str| {
        sqlx::query(sql(&format!("{INSERT_LINK} {}", crate::OR_NOTHING)))
            .bind(Owner(ALICE))
            .bind(CALL)
            .bind(person_link::name(name))
            .bind(person_link::name_fp(name).unwrap())
            .execute(world.pool())
    };
    let run = async {
        add("Mom").await.unwrap();
        let before = world.stored("SELECT name FROM people_links").await;
        add("MOM").await.unwrap();
        assert_eq!(world.stored("SELECT name FROM people_links").await, before);
        assert_eq!(world.names(ALICE).await.unwrap(), ["Mom"]);
    };
    world.alice.scope(run).await;
}

#[tokio::test]
async fn another_owners_equal_value_is_no_conflict() {
    let world = World::new().await;
    world.link(&world.bob, "Mom").await;
    world.alice.scope(upsert(&world, "Mom", "mother")).await;
    assert_eq!(world.links().await, 2);
    let names = world.bob.scope(world.names(BOB)).await.unwrap();
    assert_eq!(names, ["Mom"]);
}
