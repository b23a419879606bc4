//! The explicit path: `Sealed`, `seal`, `open`, `seal_many`, and values bound to their row.

use ophie_crypt::{Error, NoSession, OpenError, SealError};
use ophie_crypt_sqlx::{Encrypted, Owner, Sealed};
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::{
    models::{NAME, TRANSCRIPT, person_link, transcript},
    world::{ALICE, CALL, World, ours},
};
use crate::db::{Db, sql};

type Text = Encrypted<String, transcript::text>;
type SealedText = Sealed<String, transcript::text>;

#[tokio::test]
async fn sealed_values_load_and_move_without_a_session() {
    let world = World::new().await;
    let id = world.transcript(&world.alice, "hello").await;
    let sealed: SealedText = sqlx::query_scalar("SELECT text FROM transcripts")
        .fetch_one(world.pool())
        .await
        .unwrap();
    let copy = Uuid::new_v4();
    sqlx::query(sql(
        "INSERT INTO transcripts (id, user_id, text) VALUES ($1, $2, $3)",
    ))
    .bind(copy)
    .bind(ALICE)
    .bind(&sealed)
    .execute(world.pool())
    .await
    .unwrap();
    let stored = world.stored("SELECT text FROM transcripts").await;
    assert_eq!(stored[0], stored[1]);
    assert!(!format!("{sealed:?}").contains("hello"));
    let read = sqlx::query_as::<_, (Uuid, Text)>("SELECT id, text FROM transcripts")
        .fetch_all(world.pool());
    let read = world.alice.scope(read).await.unwrap();
    assert!(read.iter().all(|(_, text)| text.expose_secret() == "hello"));
    assert!(read.iter().any(|row| row.0 == id) && read.iter().any(|row| row.0 == copy));
}

#[tokio::test]
async fn seal_and_open_need_no_current_session() {
    let world = World::new().await;
    let sealed = transcript::text("hello").seal(&world.alice).unwrap();
    let id = Uuid::new_v4();
    sqlx::query(sql(
        "INSERT INTO transcripts (id, user_id, text) VALUES ($1, $2, $3)",
    ))
    .bind(id)
    .bind(ALICE)
    .bind(sealed)
    .execute(world.pool())
    .await
    .unwrap();
    let loaded: SealedText = sqlx::query_scalar("SELECT text FROM transcripts")
        .fetch_one(world.pool())
        .await
        .unwrap();
    assert_eq!(loaded.open(&world.alice).unwrap().expose_secret(), "hello");
    assert_eq!(
        loaded.open(&world.bob).unwrap_err().get(),
        &Error::Open(OpenError::UnknownKey { column: TRANSCRIPT })
    );
}

#[tokio::test]
async fn the_session_given_counts_not_the_current_one() {
    let world = World::new().await;
    let sealed = world
        .bob
        .scope_sync(|| transcript::text("hello").seal(&world.alice).unwrap());
    assert!(sealed.open(&world.alice).is_ok());
    assert!(sealed.open(&world.bob).is_err());
}

#[tokio::test]
async fn a_closed_session_neither_seals_nor_opens() {
    let world = World::new().await;
    let sealed = transcript::text("hello").seal(&world.alice).unwrap();
    world.alice.close();
    assert_eq!(
        transcript::text("hello")
            .seal(&world.alice)
            .unwrap_err()
            .get(),
        &Error::Seal(SealError::NoSession {
            column: TRANSCRIPT,
            reason: NoSession::Closed
        })
    );
    assert_eq!(
        sealed.open(&world.alice).unwrap_err().get(),
        &Error::Open(OpenError::NoSession {
            column: TRANSCRIPT,
            reason: NoSession::Closed
        })
    );
}

#[tokio::test]
async fn seal_many_fills_a_table() {
    let world = World::new().await;
    let texts: Vec<Text> = (0..300)
        .map(|n| transcript::text(format!("text {n}")))
        .collect();
    let sealed = Encrypted::seal_many(&texts, &world.alice).unwrap();
    assert_eq!(sealed.len(), 300);
    let mut insert = QueryBuilder::<Db>::new("INSERT INTO transcripts (id, user_id, text) ");
    insert.push_values((0_u128..).zip(&sealed), |mut row, (n, sealed)| {
        row.push_bind(Uuid::from_u128(n))
            .push_bind(ALICE)
            .push_bind(sealed);
    });
    insert.build().execute(world.pool()).await.unwrap();

    let mut stored = world.stored("SELECT text FROM transcripts").await;
    stored.sort();
    stored.dedup_by_key(|bytes| bytes.as_ref().map(|bytes| bytes[17..29].to_vec()));
    assert_eq!(stored.len(), 300, "a nonce was drawn twice");
    let read = sqlx::query_scalar::<_, Text>("SELECT text FROM transcripts ORDER BY id")
        .fetch_all(world.pool());
    let read = world.alice.scope(read).await.unwrap();
    assert!(
        read.iter()
            .zip(&texts)
            .all(|(a, b)| a.expose_secret() == b.expose_secret())
    );
}

/// Two transcripts of one owner, each bound to its row.
async fn two_rows(world: &World) -> [Uuid; 2] {
    let ids = [Uuid::new_v4(), Uuid::new_v4()];
    for (id, text) in ids.iter().zip(["first", "second"]) {
        sqlx::query(sql(
            "INSERT INTO transcripts (id, user_id, text) VALUES ($1, $2, $3)",
        ))
        .bind(id)
        .bind(ALICE)
        .bind(transcript::text(text).seal_row(&world.alice, id).unwrap())
        .execute(world.pool())
        .await
        .unwrap();
    }
    ids
}

async fn text_of(world: &World, id: Uuid) -> SealedText {
    sqlx::query_scalar(sql("SELECT text FROM transcripts WHERE id = $1"))
        .bind(id)
        .fetch_one(world.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn row_bound_values_open_in_their_row() {
    let world = World::new().await;
    let [first, second] = two_rows(&world).await;
    for (id, text) in [(first, "first"), (second, "second")] {
        let opened = text_of(&world, id)
            .await
            .open_row(&world.alice, &id)
            .unwrap();
        assert_eq!(opened.expose_secret(), text);
    }
}

#[tokio::test]
async fn swapped_rows_are_refused() {
    let world = World::new().await;
    let [first, second] = two_rows(&world).await;
    let (a, b) = (text_of(&world, first).await, text_of(&world, second).await);
    for (id, text) in [(first, &b), (second, &a)] {
        sqlx::query(sql("UPDATE transcripts SET text = $1 WHERE id = $2"))
            .bind(text)
            .bind(id)
            .execute(world.pool())
            .await
            .unwrap();
    }
    for id in [first, second] {
        let swapped = text_of(&world, id).await.open_row(&world.alice, &id);
        assert_eq!(
            swapped.unwrap_err().get(),
            &Error::Open(OpenError::Rejected { column: TRANSCRIPT })
        );
    }
}

#[tokio::test]
async fn row_bound_and_unbound_values_are_not_taken_for_each_other() {
    let world = World::new().await;
    let [first, _] = two_rows(&world).await;
    let mismatch = Error::Open(OpenError::RowBinding { column: TRANSCRIPT });
    let hook =
        sqlx::query_scalar::<_, Text>("SELECT text FROM transcripts").fetch_one(world.pool());
    assert_eq!(ours(world.alice.scope(hook).await), mismatch);
    let bound = text_of(&world, first).await;
    assert_eq!(bound.open(&world.alice).unwrap_err().get(), &mismatch);
    let unbound = transcript::text("hello").seal(&world.alice).unwrap();
    assert_eq!(
        unbound.open_row(&world.alice, &first).unwrap_err().get(),
        &mismatch
    );
}

#[tokio::test]
async fn sealed_and_encrypted_mix_in_one_statement() {
    let world = World::new().await;
    let sealed = person_link::name("Mom").seal(&world.alice).unwrap();
    let run = async {
        sqlx::query(sql("INSERT INTO people_links (user_id, session_id, name, name_fp, relation) VALUES ($1, $2, $3, $4, $5)"))
            .bind(Owner(ALICE))
            .bind(CALL)
            .bind(sealed)
            .bind(person_link::name_fp("Mom").unwrap())
            .bind(person_link::relation("mother"))
            .execute(world.pool())
            .await
            .unwrap();
        world.names(ALICE).await
    };
    assert_eq!(world.alice.scope(run).await.unwrap(), ["Mom"]);
    assert_eq!(NAME.to_string(), "people_links.name");
}
