//! `Owner` refuses both ways, and a ciphertext opens in its own slot only.

use ophie_crypt::{Error, OpenError, OwnerError};
use ophie_crypt_sqlx::{Encrypted, Owner, Sealed};
use uuid::Uuid;

use super::{
    models::{NAME, PersonLink, RELATION, TRANSCRIPT, person_link, transcript},
    world::{ALICE, BOB, PURPOSE, World, bound, ours},
};
use crate::db::{Db, sql};

#[tokio::test]
async fn another_owner_is_not_written() {
    let world = World::new().await;
    let run = async {
        let mut query = sqlx::query::<Db>(sql("UPDATE people_links SET user_id = $1"));
        assert_eq!(
            bound(query.try_bind(Owner(BOB))),
            Error::Owner(OwnerError::OtherOwner)
        );
        let mut optional = sqlx::query::<Db>(sql("UPDATE people_links SET user_id = $1"));
        assert_eq!(
            bound(optional.try_bind(Some(Owner(BOB)))),
            Error::Owner(OwnerError::OtherOwner)
        );
    };
    world.alice.scope(run).await;
}

#[tokio::test]
async fn another_owners_row_is_not_read() {
    let world = World::new().await;
    world.link(&world.bob, "canary").await;
    let read =
        || sqlx::query_as::<_, PersonLink>("SELECT * FROM people_links").fetch_all(world.pool());
    let error = world.alice.scope(read()).await;
    assert_eq!(ours(error), Error::Owner(OwnerError::OtherOwner));
    assert_eq!(world.bob.scope(read()).await.unwrap().len(), 1);

    // Without the owner's column it is the key that refuses.
    let name = sqlx::query_scalar::<_, Encrypted<String, person_link::name>>(
        "SELECT name FROM people_links",
    )
    .fetch_one(world.pool());
    assert_eq!(
        ours(world.alice.scope(name).await),
        Error::Open(OpenError::UnknownKey { column: NAME })
    );
}

#[tokio::test]
async fn owners_are_integers_and_texts_as_well() {
    let world = World::new().await;
    let session = world
        .keyring
        .open_or_provision(&7_i64, PURPOSE)
        .await
        .unwrap();
    let run = async {
        let read: Owner<i64> = sqlx::query_scalar(sql("SELECT COUNT(*) + $1 FROM people_links"))
            .bind(Owner(7_i64))
            .fetch_one(world.pool())
            .await
            .unwrap();
        assert_eq!(read, Owner(7));
        let other = sqlx::query_scalar::<_, Owner<i64>>("SELECT COUNT(*) + 8 FROM people_links")
            .fetch_one(world.pool());
        assert_eq!(ours(other.await), Error::Owner(OwnerError::OtherOwner));
        let mut text = sqlx::query::<Db>(sql("SELECT $1"));
        assert_eq!(
            bound(text.try_bind(Owner("7".to_owned()))),
            Error::Owner(OwnerError::OtherOwner)
        );
    };
    session.scope(run).await;

    let session = world
        .keyring
        .open_or_provision("ada", PURPOSE)
        .await
        .unwrap();
    let run = sqlx::query_scalar::<_, Owner<String>>("SELECT 'ada'").fetch_one(world.pool());
    assert_eq!(session.scope(run).await.unwrap().0, "ada");
}

#[tokio::test]
async fn a_ciphertext_copied_into_another_owners_row_does_not_open() {
    let world = World::new().await;
    let bobs = world.link(&world.bob, "Dad").await;
    world.link(&world.alice, "canary").await;
    sqlx::query(sql("UPDATE people_links SET name = (SELECT name FROM people_links WHERE user_id = $1) WHERE id = $2"))
        .bind(ALICE)
        .bind(bobs)
        .execute(world.pool())
        .await
        .unwrap();
    let read = sqlx::query_as::<_, PersonLink>(sql("SELECT * FROM people_links WHERE id = $1"))
        .bind(bobs)
        .fetch_one(world.pool());
    assert_eq!(
        ours(world.bob.scope(read).await),
        Error::Open(OpenError::UnknownKey { column: NAME })
    );
}

#[tokio::test]
async fn a_ciphertext_of_another_column_or_table_does_not_open() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    world.transcript(&world.alice, "Mom").await;
    sqlx::raw_sql("UPDATE people_links SET relation = name; UPDATE transcripts SET text = (SELECT name FROM people_links)")
        .execute(world.pool())
        .await
        .unwrap();
    let run = async {
        let column = sqlx::query_scalar::<_, Encrypted<String, person_link::relation>>(
            "SELECT relation FROM people_links",
        );
        assert_eq!(
            ours(column.fetch_one(world.pool()).await),
            Error::Open(OpenError::Rejected { column: RELATION })
        );
        let table = sqlx::query_scalar::<_, Encrypted<String, transcript::text>>(
            "SELECT text FROM transcripts",
        );
        assert_eq!(
            ours(table.fetch_one(world.pool()).await),
            Error::Open(OpenError::Rejected { column: TRANSCRIPT })
        );
        // What stands in its own slot is not harmed.
        let own = sqlx::query_scalar::<_, Encrypted<String, person_link::name>>(
            "SELECT name FROM people_links",
        );
        assert_eq!(
            own.fetch_one(world.pool()).await.unwrap().expose_secret(),
            "Mom"
        );
    };
    world.alice.scope(run).await;
}

#[tokio::test]
async fn a_ciphertext_of_another_codec_does_not_open() {
    let world = World::new().await;
    world.link(&world.alice, "1234").await;
    let read = sqlx::query_scalar::<_, Encrypted<Vec<u8>, person_link::name>>(
        "SELECT name FROM people_links",
    )
    .fetch_one(world.pool());
    assert_eq!(
        ours(world.alice.scope(read).await),
        Error::Open(OpenError::Rejected { column: NAME })
    );
}

#[tokio::test]
async fn several_owners_rows_are_read_sealed() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    world.link(&world.bob, "Dad").await;
    let rows: Vec<(Uuid, Sealed<String, person_link::name>)> =
        sqlx::query_as("SELECT user_id, name FROM people_links ORDER BY id")
            .fetch_all(world.pool())
            .await
            .unwrap();
    let opened: Vec<_> = rows
        .iter()
        .map(|(owner, sealed)| {
            let session = if *owner == ALICE {
                &world.alice
            } else {
                &world.bob
            };
            sealed.open(session).unwrap().into_secret()
        })
        .collect();
    assert_eq!(opened, ["Mom", "Dad"]);
    assert_eq!(
        rows[0].1.open(&world.bob).unwrap_err().get(),
        &Error::Open(OpenError::UnknownKey { column: NAME })
    );
}
