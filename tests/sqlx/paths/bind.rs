//! `bind`, `try_bind`, `query_as`, `query_scalar`, raw rows, `RETURNING`.

use ophie_crypt::{Envelope, Error, NoSession, OpenError, OwnerError, SealError};
use ophie_crypt_sqlx::{Encrypted, Owner, find_error};
use sqlx::{Execute, Executor, Row, SqlSafeStr, Statement};
use uuid::Uuid;

use super::{
    models::{NAME, PersonLink, person_link},
    world::{ALICE, CALL, INSERT_LINK, World, bound, ours},
};
use crate::db::{Db, sql};

#[tokio::test]
async fn bind_writes_an_envelope_and_query_as_reads_it() {
    let world = World::new().await;
    let id = world.link(&world.alice, "Mom of the canary").await;

    let stored = world.stored("SELECT name FROM people_links").await;
    let [Some(bytes)] = stored.as_slice() else {
        panic!("one row")
    };
    let envelope = Envelope::parse(bytes).unwrap();
    assert_eq!(envelope.plaintext_len(), "Mom of the canary".len());
    assert!(!bytes.windows(6).any(|window| window == b"canary"));

    let read = sqlx::query_as::<_, PersonLink>(sql("SELECT * FROM people_links WHERE id = $1"))
        .bind(id)
        .fetch_one(world.pool());
    let link = world.alice.scope(read).await.unwrap();
    assert_eq!(link.name.expose_secret(), "Mom of the canary");
    assert_eq!((link.user_id, link.session_id), (Owner(ALICE), CALL));
    assert!(link.relation.is_none());
    assert!(!format!("{link:?}").contains("canary"));
}

#[tokio::test]
async fn two_writes_of_one_value_differ_but_for_the_fingerprint() {
    let world = World::new().await;
    world.link_from(&world.alice, Uuid::nil(), "Mom").await;
    world.link_from(&world.alice, Uuid::max(), "Mom").await;
    let names = world.stored("SELECT name FROM people_links").await;
    assert_ne!(names[0], names[1]);
    let fingerprints = world.stored("SELECT name_fp FROM people_links").await;
    assert_eq!(fingerprints[0], fingerprints[1]);
}

#[tokio::test]
async fn bind_without_a_session_fails_with_text_only() {
    let world = World::new().await;
    let insert = world.alice.scope_sync(|| {
        sqlx::query(sql(INSERT_LINK))
            .bind(Owner(ALICE))
            .bind(CALL)
            .bind(person_link::name_fp("Mom").unwrap())
    });
    let error = insert
        .bind(person_link::name("canary"))
        .execute(world.pool())
        .await
        .unwrap_err();
    assert!(matches!(error, sqlx::Error::Encode(_)), "{error:?}");
    // SQLx keeps only the text of what `.bind()` met.
    assert_eq!(find_error(&error), None);
    let text = error.to_string();
    assert!(
        text.contains("people_links.name") && text.contains("session.scope"),
        "{text}"
    );
    assert!(!text.contains("canary"), "{text}");
    assert_eq!(world.links().await, 0);
}

#[tokio::test]
async fn try_bind_keeps_the_error() {
    let world = World::new().await;
    let mut query = sqlx::query::<Db>(sql(INSERT_LINK));
    assert_eq!(
        bound(query.try_bind(Owner(ALICE))),
        Error::Owner(OwnerError::NoSession(NoSession::Absent))
    );
    assert_eq!(
        bound(query.try_bind(person_link::name("canary"))),
        Error::Seal(SealError::NoSession {
            column: NAME,
            reason: NoSession::Absent
        })
    );
    world.alice.scope_sync(|| {
        let mut query = sqlx::query::<Db>(sql(INSERT_LINK));
        query.try_bind(Owner(ALICE)).unwrap();
        query.try_bind(person_link::name("Mom")).unwrap();
    });
}

#[tokio::test]
async fn values_are_sealed_at_bind_not_at_execute() {
    let world = World::new().await;
    let built_inside = world.alice.scope_sync(|| {
        sqlx::query(sql(INSERT_LINK))
            .bind(Owner(ALICE))
            .bind(CALL)
            .bind(person_link::name("Mom"))
            .bind(person_link::name_fp("Mom").unwrap())
    });
    built_inside.execute(world.pool()).await.unwrap();

    let built_outside = sqlx::query(sql("SELECT $1")).bind(Owner(ALICE));
    let run = world.alice.scope(built_outside.execute(world.pool())).await;
    assert!(run.unwrap_err().to_string().contains("no session"));
}

#[tokio::test]
async fn bound_arguments_print_no_plaintext() {
    let world = World::new().await;
    world.alice.scope_sync(|| {
        let mut query = sqlx::query::<Db>(sql("SELECT $1")).bind(person_link::name("canary"));
        let arguments = query.take_arguments().unwrap().expect("one argument");
        assert!(!format!("{arguments:?}").contains("canary"));
    });
}

#[tokio::test]
async fn references_bind_as_values_do() {
    let world = World::new().await;
    let (name, owner) = (person_link::name("Mom"), Owner(ALICE));
    let insert = async {
        let fingerprint = person_link::name_fp("Mom").unwrap();
        sqlx::query(sql(INSERT_LINK))
            .bind(owner)
            .bind(CALL)
            .bind(&name)
            .bind(&fingerprint)
            .execute(world.pool())
            .await
            .unwrap();
        world.names(ALICE).await
    };
    assert_eq!(world.alice.scope(insert).await.unwrap(), ["Mom"]);
    assert_eq!(name.expose_secret(), "Mom");
}

#[tokio::test]
async fn returning_reads_the_row_back() {
    let world = World::new().await;
    let insert = async {
        sqlx::query_as::<_, PersonLink>(sql(
            "INSERT INTO people_links (user_id, session_id, name, name_fp, relation) \
             VALUES ($1, $2, $3, $4, $5) RETURNING *",
        ))
        .bind(Owner(ALICE))
        .bind(CALL)
        .bind(person_link::name("Mom"))
        .bind(person_link::name_fp("Mom").unwrap())
        .bind(Some(person_link::relation("mother")))
        .fetch_one(world.pool())
        .await
    };
    let link = world.alice.scope(insert).await.unwrap();
    assert_eq!(link.name.expose_secret(), "Mom");
    let relation = link.relation.expect("it was given");
    assert_eq!(relation.expose_secret(), "mother");
}

#[tokio::test]
async fn delete_returns_what_it_touched() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    world.link(&world.alice, "Dad").await;
    world.link(&world.bob, "Mom").await;
    let delete = async {
        sqlx::query_scalar::<_, Encrypted<String, person_link::name>>(sql(
            "DELETE FROM people_links WHERE user_id = $1 AND name_fp = $2 RETURNING name",
        ))
        .bind(Owner(ALICE))
        .bind(person_link::name_fp("MOM").unwrap())
        .fetch_all(world.pool())
        .await
    };
    let deleted = world.alice.scope(delete).await.unwrap();
    assert_eq!(deleted.len(), 1);
    assert_eq!(deleted[0].expose_secret(), "Mom");
    assert_eq!(world.links().await, 2);
}

#[tokio::test]
async fn single_columns_tuples_and_optional_rows() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    let read = async {
        let name: Encrypted<String, person_link::name> =
            sqlx::query_scalar("SELECT name FROM people_links")
                .fetch_one(world.pool())
                .await?;
        assert_eq!(name.expose_secret(), "Mom");
        let (owner, name): (Owner<Uuid>, Encrypted<String, person_link::name>) =
            sqlx::query_as("SELECT user_id, name FROM people_links")
                .fetch_one(world.pool())
                .await?;
        assert_eq!((owner.0, name.into_secret()), (ALICE, "Mom".to_owned()));
        sqlx::query_as::<_, PersonLink>(sql("SELECT * FROM people_links WHERE name_fp = $1"))
            .bind(person_link::name_fp("Dad").unwrap())
            .fetch_optional(world.pool())
            .await
    };
    assert!(world.alice.scope(read).await.unwrap().is_none());
}

#[tokio::test]
async fn raw_rows_are_opened_at_try_get() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    let row = sqlx::query("SELECT name, user_id FROM people_links")
        .fetch_one(world.pool())
        .await
        .unwrap();
    let get = || row.try_get::<Encrypted<String, person_link::name>, _>("name");
    assert_eq!(
        ours(get()),
        Error::Open(OpenError::NoSession {
            column: NAME,
            reason: NoSession::Absent
        })
    );
    assert_eq!(
        ours(row.try_get::<Owner<Uuid>, _>("user_id")),
        Error::Owner(OwnerError::NoSession(NoSession::Absent))
    );
    let name = world.alice.scope_sync(get).unwrap();
    assert_eq!(name.expose_secret(), "Mom");
}

#[tokio::test]
async fn prepared_statements_take_column_types() {
    let world = World::new().await;
    let mut connection = world.pool().acquire().await.unwrap();
    let run = async {
        let statement = (&mut *connection)
            .prepare(sql(INSERT_LINK).into_sql_str())
            .await?;
        statement
            .query()
            .bind(Owner(ALICE))
            .bind(CALL)
            .bind(person_link::name("Mom"))
            .bind(person_link::name_fp("Mom").unwrap())
            .execute(&mut *connection)
            .await?;
        world.names(ALICE).await
    };
    assert_eq!(world.alice.scope(run).await.unwrap(), ["Mom"]);
}

#[tokio::test]
async fn our_errors_become_sqlx_errors_by_question_mark() {
    let world = World::new().await;
    let outside = async {
        let fingerprint = person_link::name_fp("Mom")?;
        sqlx::query(sql("SELECT $1"))
            .bind(fingerprint)
            .execute(world.pool())
            .await
    };
    let error = ours(outside.await);
    assert!(matches!(error, Error::Fingerprint(_)), "{error:?}");
}
