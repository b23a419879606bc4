//! `QueryBuilder`: `push_bind`, `push_values`, `push_tuples`, `separated`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ophie_crypt_sqlx::{Encrypted, Owner};
use sqlx::QueryBuilder;

use super::{
    models::{PersonLink, person_link},
    world::{ALICE, BOB, CALL, World},
};
use crate::db::Db;

#[tokio::test]
async fn push_values_writes_many_rows() {
    let world = World::new().await;
    let run = async {
        let names: Vec<String> = (0..100).map(|n| format!("Person {n}")).collect();
        let rows: Vec<_> = names
            .iter()
            .map(|name| {
                (
                    person_link::name(name.as_str()),
                    person_link::name_fp(name.as_str()).unwrap(),
                )
            })
            .collect();
        let mut insert = QueryBuilder::<Db>::new(
            "INSERT INTO people_links (user_id, session_id, name, name_fp) ",
        );
        insert.push_values(rows, |mut row, (name, fingerprint)| {
            row.push_bind(Owner(ALICE))
                .push_bind(CALL)
                .push_bind(name)
                .push_bind(fingerprint);
        });
        insert.build().execute(world.pool()).await.unwrap();
        assert_eq!(world.names(ALICE).await.unwrap(), names);
    };
    world.alice.scope(run).await;
}

#[tokio::test]
async fn push_bind_and_separated_find_by_fingerprint() {
    let world = World::new().await;
    for name in ["Mom", "Dad", "Ada"] {
        world.link(&world.alice, name).await;
    }
    let run = async {
        let mut select = QueryBuilder::<Db>::new("SELECT * FROM people_links WHERE user_id = ");
        select.push_bind(Owner(ALICE)).push(" AND name_fp IN (");
        let mut list = select.separated(", ");
        for name in ["ada", "mom", "nobody"] {
            list.push_bind(person_link::name_fp(name).unwrap());
        }
        select.push(") ORDER BY id");
        let links: Vec<PersonLink> = select
            .build_query_as()
            .fetch_all(world.pool())
            .await
            .unwrap();
        let names: Vec<_> = links.iter().map(|link| link.name.expose_secret()).collect();
        assert_eq!(names, ["Mom", "Ada"]);
    };
    world.alice.scope(run).await;
}

#[tokio::test]
async fn push_tuples_finds_pairs() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    world.link(&world.alice, "Dad").await;
    let run = async {
        let mut select =
            QueryBuilder::<Db>::new("SELECT name FROM people_links WHERE (user_id, name_fp) IN ");
        // SQLite takes a list of row values only as VALUES.
        if std::any::type_name::<Db>().contains("sqlite") {
            select.push("(VALUES ");
            let mut pairs = select.separated(", ");
            pairs.push("(");
            pairs.push_bind_unseparated(Owner(ALICE));
            pairs.push_unseparated(", ");
            pairs.push_bind_unseparated(person_link::name_fp("dad").unwrap());
            pairs.push_unseparated("))");
        } else {
            let pair = (Owner(ALICE), person_link::name_fp("dad").unwrap());
            select.push_tuples([pair], |mut row, (owner, fingerprint)| {
                row.push_bind(owner).push_bind(fingerprint);
            });
        }
        let names: Vec<Encrypted<String, person_link::name>> = select
            .build_query_scalar()
            .fetch_all(world.pool())
            .await
            .unwrap();
        assert_eq!(names.len(), 1);
        assert_eq!(names[0].expose_secret(), "Dad");
    };
    world.alice.scope(run).await;
}

/// SQLx's own habit, which the crate's docs name: make a fingerprint first, it fails early.
#[tokio::test]
async fn push_bind_without_a_session_panics_and_shows_no_value() {
    let panic = catch_unwind(AssertUnwindSafe(|| {
        QueryBuilder::<Db>::new("SELECT ").push_bind(person_link::name("canary"));
    }))
    .unwrap_err();
    let text = panic.downcast_ref::<String>().expect("a formatted message");
    assert!(
        text.contains("cannot seal people_links.name") && text.contains("session.scope"),
        "{text}"
    );
    assert!(!text.contains("canary"), "{text}");
    person_link::name_fp("Mom").unwrap_err();
}

#[tokio::test]
async fn one_foreign_owner_among_many_rows_writes_none() {
    let world = World::new().await;
    let built = world.alice.scope_sync(|| {
        catch_unwind(|| {
            let mut insert = QueryBuilder::<Db>::new("INSERT INTO people_links (user_id) ");
            insert.push_values([ALICE, BOB], |mut row, owner| {
                row.push_bind(Owner(owner));
            });
        })
    });
    let text = built.unwrap_err();
    let text = text.downcast_ref::<String>().expect("a formatted message");
    assert!(text.contains("another owner"), "{text}");
    assert_eq!(world.links().await, 0);
}
