//! `RETURNING` where MariaDB has none: of an UPDATE, and of an INSERT under the macros, which ask for a prepared
//! statement's columns.

use ophie_crypt_sqlx::{Encrypted, Owner};
use uuid::Uuid;

use crate::db::sql;
use crate::paths::{
    models::{Transcript, Word, person_link, transcript},
    world::{ALICE, World},
};

#[tokio::test]
async fn update_returns_what_it_touched() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    world.link(&world.bob, "Mom").await;
    let update = async {
        sqlx::query_as::<_, (Encrypted<String, person_link::relation>,)>(sql(
            "UPDATE people_links SET relation = $1 WHERE user_id = $2 AND name_fp = $3 RETURNING relation",
        ))
        .bind(person_link::relation("mother"))
        .bind(Owner(ALICE))
        .bind(person_link::name_fp("mom").unwrap())
        .fetch_all(world.pool())
        .await
    };
    let updated = world.alice.scope(update).await.unwrap();
    assert_eq!(updated.len(), 1);
    assert_eq!(updated[0].0.expose_secret(), "mother");
}

#[tokio::test]
async fn query_as_returns_what_it_inserts() {
    let world = World::new().await;
    let id = Uuid::new_v4();
    let words = vec![Word {
        text: "hello".into(),
        start_ms: 120,
    }];
    let insert = async {
        query_as!(
            Transcript,
            "INSERT INTO transcripts (id, user_id, text, words) VALUES (" ["$1"] ", " ["$2"] ", " ["$3"] ", " ["$4"] r#")
               RETURNING id AS "id: _", user_id AS "user_id: _", text AS "text: _", words AS "words: _""#,
            id,
            Owner(ALICE) as _,
            transcript::text("hello") as _,
            Some(transcript::words(words.clone())) as _,
        )
        .fetch_one(world.pool())
        .await
    };
    let stored = world.alice.scope(insert).await.unwrap();
    assert_eq!(
        (stored.id, stored.text.expose_secret().as_str()),
        (id, "hello")
    );
    assert_eq!(
        stored.words.expect("they were given").expose_secret().0,
        words
    );
}
