//! What PostgreSQL has beside a plain BYTEA: text format, domains, views, prepared plans, COPY.

use ophie_crypt::{Envelope, Error, OpenError, OwnerError};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner, Sealed};
use sqlx::{FromRow, Row};
use uuid::Uuid;

use crate::paths::{
    models::{NAME, PersonLink, person_link},
    world::{ALICE, BOB, CALL, INSERT_LINK, World, ours},
};

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
            ours(rows[1].try_get::<Encrypted<String, person_link::name>, _>("name")),
            Error::Open(OpenError::UnknownKey { column: NAME })
        );
    });
    let sealed: Sealed<String, person_link::name> = rows[0].try_get("name").unwrap();
    assert_eq!(sealed.open(&world.alice).unwrap().expose_secret(), "Mom");
}

#[tokio::test]
async fn the_text_format_of_arrays() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    let row = sqlx::raw_sql("SELECT array_agg(name), array_agg(user_id) FROM people_links")
        .fetch_one(world.pool())
        .await
        .unwrap();
    world.alice.scope_sync(|| {
        let names: Vec<Encrypted<String, person_link::name>> = row.try_get(0).unwrap();
        assert_eq!(names[0].expose_secret(), "Mom");
        let owners: Vec<Owner<Uuid>> = row.try_get(1).unwrap();
        assert_eq!(owners, [Owner(ALICE)]);
    });
}

#[tokio::test]
async fn a_domain_over_bytea() {
    let world = World::new().await;
    sqlx::raw_sql(
        "CREATE DOMAIN envelope AS bytea CHECK (octet_length(VALUE) >= 45 AND get_byte(VALUE, 0) BETWEEN 250 AND 253);
         CREATE DOMAIN fingerprint AS bytea CHECK (octet_length(VALUE) = 17);
         ALTER TABLE people_links ALTER name TYPE envelope, ALTER relation TYPE envelope, ALTER name_fp TYPE fingerprint",
    )
    .execute(world.pool())
    .await
    .unwrap();
    world.link(&world.alice, "Mom").await;
    let run = async {
        let link: PersonLink = sqlx::query_as("SELECT * FROM people_links WHERE name_fp = $1")
            .bind(person_link::name_fp("mom").unwrap())
            .fetch_one(world.pool())
            .await
            .unwrap();
        assert_eq!(link.name.expose_secret(), "Mom");
        sqlx::query("UPDATE people_links SET relation = $1")
            .bind(Some(person_link::relation("mother")))
            .execute(world.pool())
            .await
            .unwrap();
    };
    world.alice.scope(run).await;
    // The domain keeps plaintext out, whoever writes.
    let plaintext = sqlx::query("UPDATE people_links SET name = 'Mom'::bytea")
        .execute(world.pool())
        .await;
    let error = plaintext.unwrap_err();
    assert!(
        error
            .as_database_error()
            .expect("the database refuses")
            .is_check_violation()
    );
}

#[tokio::test]
async fn a_view_and_a_function() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    sqlx::raw_sql(
        "CREATE VIEW names AS SELECT user_id, name FROM people_links;
         CREATE FUNCTION by_fp(bytea) RETURNS SETOF bytea LANGUAGE sql AS 'SELECT name FROM people_links WHERE name_fp = $1'",
    )
    .execute(world.pool())
    .await
    .unwrap();
    type Name = Encrypted<String, person_link::name>;
    let run = async {
        let (_, name): (Owner<Uuid>, Name) = sqlx::query_as("SELECT * FROM names")
            .fetch_one(world.pool())
            .await
            .unwrap();
        assert_eq!(name.expose_secret(), "Mom");
        let name: Name = sqlx::query_scalar("SELECT * FROM by_fp($1)")
            .bind(person_link::name_fp("mom").unwrap())
            .fetch_one(world.pool())
            .await
            .unwrap();
        assert_eq!(name.expose_secret(), "Mom");
    };
    world.alice.scope(run).await;
}

/// COPY knows no hooks: values are sealed before.
#[tokio::test]
async fn copy_takes_sealed_values() {
    let world = World::new().await;
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let lines: String = ["Mom", "Dad"]
        .map(|name| {
            let sealed = person_link::name(name).seal(&world.alice).unwrap();
            let index =
                BlindIndex::<String, person_link::name_fp>::of_in(&world.alice, name).unwrap();
            format!(
                "{ALICE}\t{CALL}\t\\\\x{}\t\\\\x{}\n",
                hex(sealed.as_bytes()),
                hex(index.as_bytes())
            )
        })
        .concat();
    let mut connection = world.pool().acquire().await.unwrap();
    let mut copy = connection
        .copy_in_raw("COPY people_links (user_id, session_id, name, name_fp) FROM STDIN")
        .await
        .unwrap();
    copy.send(lines.as_bytes()).await.unwrap();
    assert_eq!(copy.finish().await.unwrap(), 2);
    drop(connection);
    assert_eq!(
        world.alice.scope(world.names(ALICE)).await.unwrap(),
        ["Mom", "Dad"]
    );
    let stored = world.stored("SELECT name FROM people_links").await;
    assert!(
        stored
            .iter()
            .flatten()
            .all(|bytes| Envelope::parse(bytes).is_ok())
    );
}

/// PostgreSQL prints the parameters of a failing statement: they must be ciphertext.
#[tokio::test]
async fn an_error_of_the_database_holds_no_plaintext() {
    let world = World::new().await;
    world.link(&world.bob, "canary").await;
    let twice = async {
        sqlx::query(INSERT_LINK)
            .bind(Owner(BOB))
            .bind(CALL)
            .bind(person_link::name("canary"))
            .bind(person_link::name_fp("canary").unwrap())
            .execute(world.pool())
            .await
    };
    let error = world.bob.scope(twice).await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(
        shown.contains("people_links_user_id_session_id_name_fp_key"),
        "{shown}"
    );
    assert!(!shown.contains("canary"), "{shown}");
}
