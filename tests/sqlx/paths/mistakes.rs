//! The mistakes a newcomer makes: each message, word for word, says what to do.
//!
//! The streamed body is in `web.rs`; the plain field does not compile and is in `ui/`.

use ophie_crypt_sqlx::{Encrypted, Owner};
use uuid::Uuid;

use super::{
    models::{PersonLink, person_link},
    world::{ALICE, World},
};
use crate::db::sql;

const WHAT_TO_DO: &str = "no session is current in this task; run the query inside `session.scope(..)`, \
    give spawned tasks, streams and WebSocket tasks `.in_session(&session)`, and threads `session.scope_sync(..)`";

async fn by_id(world: &World, id: i64) -> Result<PersonLink, sqlx::Error> {
    sqlx::query_as(sql("SELECT * FROM people_links WHERE id = $1"))
        .bind(id)
        .fetch_one(world.pool())
        .await
}

#[tokio::test]
async fn no_session_to_write_with() {
    let world = World::new().await;
    let error = sqlx::query(sql("UPDATE people_links SET name = $1"))
        .bind(person_link::name("Mom"))
        .execute(world.pool())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "error occurred while encoding a value: Encoding argument $1 failed: cannot seal people_links.name: {WHAT_TO_DO}"
        )
    );
}

#[tokio::test]
async fn no_session_to_read_with() {
    let world = World::new().await;
    let id = world.link(&world.alice, "Mom").await;
    let error = by_id(&world, id).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "error occurred while decoding column \"user_id\": cannot check the row's owner: {WHAT_TO_DO}"
        )
    );
    let error = sqlx::query_scalar::<_, Encrypted<String, person_link::name>>(
        "SELECT name FROM people_links",
    )
    .fetch_one(world.pool())
    .await
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "error occurred while decoding column 0: cannot open people_links.name: {WHAT_TO_DO}"
        )
    );
}

#[tokio::test]
async fn no_session_to_look_up_with() {
    assert_eq!(
        person_link::name_fp("Mom").unwrap_err().to_string(),
        format!("no fingerprint for people_links.name_fp: {WHAT_TO_DO}")
    );
}

#[tokio::test]
async fn a_spawned_task() {
    let world = World::new().await;
    let pool = world.pool().clone();
    let error = world.alice.scope(async {
        let write = async move {
            sqlx::query(sql("UPDATE people_links SET name = $1"))
                .bind(person_link::name("Mom"))
                .execute(&pool)
                .await
        };
        tokio::spawn(write).await.unwrap().unwrap_err()
    });
    assert_eq!(
        error.await.to_string(),
        format!(
            "error occurred while encoding a value: Encoding argument $1 failed: cannot seal people_links.name: {WHAT_TO_DO}"
        )
    );
}

#[tokio::test]
async fn the_wrong_column() {
    let world = World::new().await;
    let id = world.link(&world.alice, "Mom").await;
    // `.bind(person_link::name(..))` where the relation belongs: SQL knows no difference.
    let write = async {
        sqlx::query(sql("UPDATE people_links SET relation = $1"))
            .bind(person_link::name("mother"))
            .execute(world.pool())
            .await?;
        by_id(&world, id).await
    };
    assert_eq!(
        world.alice.scope(write).await.unwrap_err().to_string(),
        "error occurred while decoding column \"relation\": cannot open people_links.relation: the value was \
         changed, or was sealed for another owner, table, column or type (are the query's binds in the order of its \
         columns?); the row was left as it is"
    );
}

#[tokio::test]
async fn the_wrong_owner() {
    let world = World::new().await;
    let id = world.link(&world.bob, "Dad").await;
    let message = "the row belongs to another owner than the session; restrict the query to the session's owner, \
                   under a collation that tells upper from lower case, or read rows of several owners as `Sealed`";
    let read = world.alice.scope(by_id(&world, id)).await.unwrap_err();
    assert_eq!(
        read.to_string(),
        format!("error occurred while decoding column \"user_id\": {message}")
    );
    let other: Owner<Uuid> = Owner(ALICE);
    let write = sqlx::query(sql("SELECT $1"));
    let write = world
        .bob
        .scope_sync(|| write.bind(other))
        .execute(world.pool())
        .await;
    assert_eq!(
        write.unwrap_err().to_string(),
        format!("error occurred while encoding a value: Encoding argument $1 failed: {message}")
    );
}

#[tokio::test]
async fn plaintext_that_was_already_there() {
    let world = World::new().await;
    let id = world.link(&world.alice, "Mom").await;
    sqlx::query(sql("UPDATE people_links SET name = $1"))
        .bind(b"canary".as_slice())
        .execute(world.pool())
        .await
        .unwrap();
    assert_eq!(
        world
            .alice
            .scope(by_id(&world, id))
            .await
            .unwrap_err()
            .to_string(),
        "error occurred while decoding column \"name\": cannot open people_links.name: 6 bytes that are no envelope \
         of a version known to this release; was it written past ophie-crypt, cut short, or by a newer release?"
    );
}

#[tokio::test]
async fn a_sign_up_without_provision() {
    let world = World::new().await;
    let error = world
        .keyring
        .open("nobody", super::world::PURPOSE)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the owner has no key in this key store; call `provision` at sign-up, and check that this is the right database"
    );
}

/// A text bound past the constructors: what README and quickstart tell users to declare refuses it.
#[tokio::test]
async fn a_plain_text_in_place_of_a_ciphertext() {
    let world = World::new().await;
    sqlx::query(crate::STRICT_TABLE)
        .execute(world.pool())
        .await
        .unwrap();
    let error = sqlx::query(sql("INSERT INTO strict (text) VALUES ($1)"))
        .bind("canary")
        .execute(world.pool())
        .await
        .unwrap_err();
    assert!(matches!(error, sqlx::Error::Database(_)), "{error}");
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM strict")
        .fetch_one(world.pool())
        .await
        .unwrap();
    assert_eq!(rows, 0);
    let sealed = async {
        sqlx::query(sql("INSERT INTO strict (text) VALUES ($1)"))
            .bind(person_link::name("Mom"))
            .execute(world.pool())
            .await
    };
    world.alice.scope(sealed).await.unwrap();
}
