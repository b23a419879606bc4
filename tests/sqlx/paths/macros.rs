//! `query!`, `query_as!`, `query_scalar!` with overrides: the data in `tests/.sqlx` stands for a database.

use ophie_crypt::{Error, NoSession, OpenError, OwnerError, SealError};
use ophie_crypt_sqlx::{Encrypted, Owner};
use uuid::Uuid;

use super::{
    models::{NAME, PersonLink, RELATION, person_link, transcript},
    world::{ALICE, BOB, CALL, World, ours},
};

/// Writes by `query!`, so that its error type is seen as well.
async fn insert(world: &World, name: &str, relation: Option<&str>) -> Result<(), sqlx::Error> {
    let fingerprint = person_link::name_fp(name)?;
    query!(
        "INSERT INTO people_links (user_id, session_id, name, name_fp, relation) VALUES (" ["$1"] ", " ["$2"] ", " ["$3"] ", " ["$4"] ", " ["$5"] ")",
        Owner(ALICE) as _,
        CALL,
        person_link::name(name) as _,
        fingerprint as _,
        relation.map(person_link::relation) as _,
    )
    .execute(world.pool())
    .await?;
    Ok(())
}

#[tokio::test]
async fn query_writes_and_query_as_reads() {
    let world = World::new().await;
    let run = async {
        insert(&world, "Mom", Some("mother")).await.unwrap();
        insert(&world, "Dad", None).await.unwrap();
        let fingerprint = person_link::name_fp(" MOM ").unwrap();
        let mom = query_as!(
            PersonLink,
            r#"SELECT id AS "id!", user_id AS "user_id: _", session_id AS "session_id: _", name AS "name: _",
                      name_fp AS "name_fp: _", relation AS "relation: _"
               FROM people_links WHERE user_id = "# ["$1"] " AND name_fp = " ["$2"],
            Owner(ALICE) as _,
            fingerprint as _,
        )
        .fetch_one(world.pool())
        .await
        .unwrap();
        assert_eq!(mom.name.expose_secret(), "Mom");
        let relation = mom.relation.expect("it was given");
        assert_eq!(relation.expose_secret(), "mother");
    };
    world.alice.scope(run).await;
}

#[tokio::test]
async fn query_as_reads_null_as_none() {
    let world = World::new().await;
    let run = async {
        insert(&world, "Dad", None).await.unwrap();
        let dad = query_as!(
            PersonLink,
            r#"SELECT id AS "id!", user_id AS "user_id: _", session_id AS "session_id: _", name AS "name: _",
                      name_fp AS "name_fp: _", relation AS "relation: _" FROM people_links"#,
        )
        .fetch_one(world.pool())
        .await
        .unwrap();
        assert!(dad.relation.is_none());
    };
    world.alice.scope(run).await;
}

#[tokio::test]
async fn query_reads_anonymous_records() {
    let world = World::new().await;
    let run = async {
        insert(&world, "Mom", Some("mother")).await.unwrap();
        let row = query!(
            r#"SELECT user_id AS "owner: Owner<Uuid>", name AS "name: Encrypted<String, person_link::name>",
                      relation AS "relation: Encrypted<String, person_link::relation>" FROM people_links"#
        )
        .fetch_one(world.pool())
        .await
        .unwrap();
        assert_eq!(
            (row.owner.0, row.name.expose_secret().as_str()),
            (ALICE, "Mom")
        );
        let relation = row.relation.expect("it was given");
        assert_eq!(relation.expose_secret(), "mother");
    };
    world.alice.scope(run).await;
}

#[tokio::test]
async fn query_scalar_reads_one_column() {
    let world = World::new().await;
    let id = world.transcript(&world.alice, "hello").await;
    let read = query_scalar!(
        r#"SELECT text AS "text: Encrypted<String, transcript::text>" FROM transcripts WHERE id = "#
            ["$1"],
        id,
    )
    .fetch_one(world.pool());
    let text = world.alice.scope(read).await.unwrap();
    assert_eq!(text.expose_secret(), "hello");
}

#[tokio::test]
async fn query_keeps_the_error_of_a_bind() {
    let world = World::new().await;
    let update = query!(
        "UPDATE people_links SET relation = "["$1"],
        person_link::relation("canary") as _
    );
    assert_eq!(
        ours(update.execute(world.pool()).await),
        Error::Seal(SealError::NoSession {
            column: RELATION,
            reason: NoSession::Absent
        })
    );
    let delete = world.alice.scope_sync(|| {
        query!(
            "DELETE FROM people_links WHERE user_id = "["$1"],
            Owner(BOB) as _
        )
    });
    assert_eq!(
        ours(delete.execute(world.pool()).await),
        Error::Owner(OwnerError::OtherOwner)
    );
}

#[tokio::test]
async fn query_keeps_the_error_of_a_read() {
    let world = World::new().await;
    world.link(&world.bob, "canary").await;
    let read = || {
        query!(r#"SELECT name AS "name: Encrypted<String, person_link::name>" FROM people_links"#)
            .fetch_one(world.pool())
    };
    assert_eq!(
        ours(read().await),
        Error::Open(OpenError::NoSession {
            column: NAME,
            reason: NoSession::Absent
        })
    );
    assert_eq!(
        ours(world.alice.scope(read()).await),
        Error::Open(OpenError::UnknownKey { column: NAME })
    );
}
