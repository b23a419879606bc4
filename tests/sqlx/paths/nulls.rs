//! NULL both ways: `Option`, typed NULLs, and NULL where a field is no `Option`.

use ophie_crypt::{Error, FingerprintError, Json, OpenError};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner, Sealed};
use uuid::Uuid;

use super::{
    models::{MEMORY, MEMORY_FP, PersonLink, RELATION, Word, memory, person_link, transcript},
    world::{ALICE, CALL, World, ours},
};
use crate::db::sql;

#[tokio::test]
async fn none_is_null_and_null_is_none() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    let run = async {
        sqlx::query(sql("UPDATE people_links SET relation = $1"))
            .bind(Some(person_link::relation("mother")))
            .execute(world.pool())
            .await?;
        assert!(world.stored("SELECT relation FROM people_links").await[0].is_some());
        sqlx::query(sql("UPDATE people_links SET relation = $1"))
            .bind(None::<Encrypted<String, person_link::relation>>)
            .execute(world.pool())
            .await?;
        assert_eq!(
            world.stored("SELECT relation FROM people_links").await,
            [None]
        );
        sqlx::query_as::<_, PersonLink>("SELECT * FROM people_links")
            .fetch_one(world.pool())
            .await
    };
    assert!(world.alice.scope(run).await.unwrap().relation.is_none());
}

#[tokio::test]
async fn the_typed_null_needs_no_session() {
    let world = World::new().await;
    let id = world.transcript(&world.alice, "hello").await;
    let written = sqlx::query(sql("UPDATE transcripts SET words = $1 WHERE id = $2"))
        .bind(transcript::words::NULL)
        .bind(id)
        .execute(world.pool())
        .await
        .unwrap();
    assert_eq!(written.rows_affected(), 1);
    assert_eq!(world.stored("SELECT words FROM transcripts").await, [None]);
}

#[tokio::test]
async fn null_in_a_plain_field_is_our_error() {
    let world = World::new().await;
    sqlx::query("INSERT INTO memories (text) VALUES (NULL)")
        .execute(world.pool())
        .await
        .unwrap();
    let text =
        sqlx::query_scalar::<_, Encrypted<String, memory::text>>("SELECT text FROM memories")
            .fetch_one(world.pool());
    let null = Error::Open(OpenError::Null { column: MEMORY });
    assert_eq!(ours(world.alice.scope(text).await), null);
    assert!(null.to_string().contains("memories.text"), "{null}");

    // Neither of these needs a session, and neither says anything else without one.
    let sealed = sqlx::query_scalar::<_, Sealed<String, memory::text>>("SELECT text FROM memories");
    assert_eq!(ours(sealed.fetch_one(world.pool()).await), null);
    let index = sqlx::query_scalar::<_, BlindIndex<String, memory::text_fp>>(
        "SELECT text_fp FROM memories",
    );
    assert_eq!(
        ours(index.fetch_one(world.pool()).await),
        Error::Fingerprint(FingerprintError::Null { index: MEMORY_FP })
    );
}

#[tokio::test]
async fn null_in_a_model_is_our_error() {
    let world = World::new().await;
    world.memory(&world.alice, "hello").await;
    sqlx::query("UPDATE memories SET text = NULL")
        .execute(world.pool())
        .await
        .unwrap();
    let read = sqlx::query_as::<_, super::models::Memory>("SELECT * FROM memories")
        .fetch_one(world.pool());
    assert_eq!(
        ours(world.alice.scope(read).await),
        Error::Open(OpenError::Null { column: MEMORY })
    );
}

#[tokio::test]
async fn a_null_owner_is_no_owner() {
    let world = World::new().await;
    sqlx::query("INSERT INTO memories (user_id) VALUES (NULL)")
        .execute(world.pool())
        .await
        .unwrap();
    let read = async {
        let optional: Option<Owner<Uuid>> = sqlx::query_scalar("SELECT user_id FROM memories")
            .fetch_one(world.pool())
            .await?;
        assert_eq!(optional, None);
        sqlx::query_scalar::<_, Owner<Uuid>>("SELECT user_id FROM memories")
            .fetch_one(world.pool())
            .await
    };
    let error = world.alice.scope(read).await.unwrap_err();
    assert!(
        matches!(&error, sqlx::Error::ColumnDecode { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_outer_join_reads_missing_rows_as_none() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    type Joined = (
        Encrypted<String, person_link::name>,
        Option<Owner<Uuid>>,
        Option<Encrypted<String, memory::text>>,
        Option<BlindIndex<String, memory::text_fp>>,
        Option<Sealed<String, memory::text>>,
    );
    let read = sqlx::query_as::<_, Joined>(
        "SELECT people_links.name, memories.user_id, memories.text, memories.text_fp, memories.text \
         FROM people_links LEFT JOIN memories ON memories.user_id = people_links.user_id",
    );
    let row = world
        .alice
        .scope(read.fetch_one(world.pool()))
        .await
        .unwrap();
    assert_eq!(row.0.expose_secret(), "Mom");
    assert!(row.1.is_none() && row.2.is_none() && row.3.is_none() && row.4.is_none());

    world.memory(&world.alice, "hello").await;
    let read = sqlx::query_as::<_, Joined>(
        "SELECT people_links.name, memories.user_id, memories.text, memories.text_fp, memories.text \
         FROM people_links LEFT JOIN memories ON memories.user_id = people_links.user_id",
    );
    let row = world
        .alice
        .scope(read.fetch_one(world.pool()))
        .await
        .unwrap();
    assert_eq!(row.1, Some(Owner(ALICE)));
    assert_eq!(row.2.expect("joined").expose_secret(), "hello");
    assert!(row.3.is_some() && row.4.is_some());
}

#[tokio::test]
async fn an_empty_text_is_a_value() {
    let world = World::new().await;
    world.link(&world.alice, "").await;
    let stored = world.stored("SELECT name FROM people_links").await;
    assert_eq!(stored[0].as_ref().map(Vec::len), Some(45));
    assert_eq!(world.alice.scope(world.names(ALICE)).await.unwrap(), [""]);
}

#[tokio::test]
async fn json_null_is_a_value() {
    type Maybe = Json<Option<Vec<Word>>>;
    let world = World::new().await;
    let id = world.transcript(&world.alice, "hello").await;
    let run = async {
        sqlx::query(sql("UPDATE transcripts SET words = $1 WHERE id = $2"))
            .bind(Encrypted::<Maybe, transcript::words>::new(Json(None)))
            .bind(id)
            .execute(world.pool())
            .await?;
        sqlx::query_scalar::<_, Option<Encrypted<Maybe, transcript::words>>>(
            "SELECT words FROM transcripts",
        )
        .fetch_one(world.pool())
        .await
    };
    let read = world.alice.scope(run).await.unwrap().expect("not SQL NULL");
    assert!(read.expose_secret().0.is_none());
}

#[tokio::test]
async fn a_null_does_not_hide_a_missing_session_of_its_neighbours() {
    let world = World::new().await;
    let insert = sqlx::query(
        sql("INSERT INTO people_links (user_id, session_id, name, name_fp, relation) VALUES ($1, $2, $3, $4, $5)"),
    )
    .bind(ALICE)
    .bind(CALL)
    .bind(person_link::name("Mom"))
    .bind(person_link::name("Mom"))
    .bind(person_link::relation::NULL)
    .execute(world.pool());
    insert.await.unwrap_err();
    assert_eq!(world.links().await, 0);
    assert_eq!(RELATION.to_string(), "people_links.relation");
}
