//! `max_allowed_packet`, 16 MiB by default: a statement with a longer value is refused as a whole.

use ophie_crypt_sqlx::Owner;

use crate::db::sql;
use crate::paths::{
    models::{person_link, transcript},
    world::{ALICE, CALL, INSERT_LINK, World},
};

#[tokio::test]
async fn a_value_up_to_the_limit_passes_through() {
    let world = World::new().await;
    let text = "lorem ipsum ".repeat((16 << 20) / 12 - 100);
    world.link(&world.alice, &text).await;
    let names = world.alice.scope(world.names(ALICE)).await.unwrap();
    assert!(names == [text], "another text came back");
}

#[tokio::test]
async fn a_value_beyond_the_limit_is_an_error_and_changes_nothing() {
    let world = World::new().await;
    let id = world.link(&world.alice, "Mom").await;
    let before = world.stored("SELECT name FROM people_links").await;
    let long = "lorem ipsum ".repeat((17 << 20) / 12);
    let update = async {
        sqlx::query(sql("UPDATE people_links SET name = $1 WHERE id = $2"))
            .bind(person_link::name(long.as_str()))
            .bind(id)
            .execute(world.pool())
            .await
    };
    let error = world.alice.scope(update).await.unwrap_err();
    let shown = format!("{error} {error:?}");
    // The server answers and closes at once: the answer may be lost with what it had not read.
    assert!(
        shown.contains("max_allowed_packet") || shown.contains("ConnectionReset"),
        "{shown}"
    );
    assert!(!shown.contains("lorem"), "the error shows the value");
    assert_eq!(world.stored("SELECT name FROM people_links").await, before);

    // In a transaction, too: nothing of it stays, and the pool goes on.
    let insert = async {
        let mut tx = world.pool().begin().await.unwrap();
        sqlx::query(sql(INSERT_LINK))
            .bind(Owner(ALICE))
            .bind(CALL)
            .bind(person_link::name("Dad"))
            .bind(person_link::name_fp("Dad").unwrap())
            .execute(&mut *tx)
            .await
            .unwrap();
        let long = sqlx::query(sql(
            "INSERT INTO transcripts (id, user_id, text) VALUES ($1, $2, $3)",
        ))
        .bind(CALL)
        .bind(Owner(ALICE))
        .bind(transcript::text(long.as_str()));
        long.execute(&mut *tx).await.unwrap_err();
        drop(tx); // as `?` would
        world.names(ALICE).await.unwrap()
    };
    assert_eq!(world.alice.scope(insert).await, ["Mom"]);
    assert_eq!(world.count("SELECT COUNT(*) FROM transcripts").await, 0);
}
