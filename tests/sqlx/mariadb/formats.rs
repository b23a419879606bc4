//! What MariaDB has beside a prepared statement on a table: text format, views, routines, error texts.

use ophie_crypt::{Error, OpenError, OwnerError};
use ophie_crypt_sqlx::{Encrypted, Owner, Sealed};
use sqlx::{FromRow, Row};
use uuid::Uuid;

use crate::db::sql;
use crate::paths::{
    models::{NAME, PersonLink, person_link},
    world::{ALICE, BOB, CALL, INSERT_LINK, World, ours},
};

type Name = Encrypted<String, person_link::name>;

/// `raw_sql` sends no parameters and reads the text format.
#[tokio::test]
async fn the_text_format() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    world.link(&world.bob, "Dad").await;
    let rows = sqlx::raw_sql("SELECT * FROM people_links ORDER BY id")
        .fetch_all(world.pool())
        .await
        .unwrap();
    world.alice.scope_sync(|| {
        let link = PersonLink::from_row(&rows[0]).unwrap();
        assert_eq!(link.name.expose_secret(), "Mom");
        assert_eq!(link.name_fp, person_link::name_fp("mom").unwrap());
        assert!(link.relation.is_none());
        assert_eq!(
            ours(PersonLink::from_row(&rows[1])),
            Error::Owner(OwnerError::OtherOwner)
        );
        assert_eq!(
            ours(rows[1].try_get::<Name, _>("name")),
            Error::Open(OpenError::UnknownKey { column: NAME })
        );
    });
    let sealed: Sealed<String, person_link::name> = rows[0].try_get("name").unwrap();
    assert_eq!(sealed.open(&world.alice).unwrap().expose_secret(), "Mom");
}

#[tokio::test]
async fn expressions_views_and_routines() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    sqlx::raw_sql(
        "CREATE VIEW names AS SELECT user_id, name FROM people_links;
         CREATE FUNCTION by_fp(fp VARBINARY(17)) RETURNS LONGBLOB READS SQL DATA
             RETURN (SELECT name FROM people_links WHERE name_fp = fp);
         CREATE PROCEDURE all_names() SELECT name FROM people_links",
    )
    .execute(world.pool())
    .await
    .unwrap();
    let run = async {
        let (owner, name): (Owner<Uuid>, Name) = sqlx::query_as("SELECT * FROM names")
            .fetch_one(world.pool())
            .await
            .unwrap();
        assert_eq!(
            (owner, name.expose_secret().as_str()),
            (Owner(ALICE), "Mom")
        );
        let name: Name = sqlx::query_scalar("SELECT by_fp(?)")
            .bind(person_link::name_fp("mom").unwrap())
            .fetch_one(world.pool())
            .await
            .unwrap();
        assert_eq!(name.expose_secret(), "Mom");
        for text in [
            "CALL all_names()",
            "SELECT COALESCE(relation, name) FROM people_links",
            "SELECT IF(id > 0, name, '') FROM people_links",
            "SELECT MAX(name) FROM people_links",
            "SELECT name FROM people_links UNION ALL SELECT name FROM people_links WHERE id < 0",
            "WITH them AS (SELECT name FROM people_links) SELECT name FROM them",
        ] {
            let name: Name = sqlx::query_scalar(text)
                .fetch_one(world.pool())
                .await
                .unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(name.expose_secret(), "Mom", "{text}");
        }
    };
    world.alice.scope(run).await;
}

/// MariaDB prints the key of a row that is there already: it must be a fingerprint.
#[tokio::test]
async fn an_error_of_the_database_holds_no_plaintext() {
    let world = World::new().await;
    world.link(&world.bob, "canary").await;
    let twice = async {
        sqlx::query(sql(INSERT_LINK))
            .bind(Owner(BOB))
            .bind(CALL)
            .bind(person_link::name("canary"))
            .bind(person_link::name_fp("canary").unwrap())
            .execute(world.pool())
            .await
    };
    let error = world.bob.scope(twice).await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("Duplicate entry"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
}
