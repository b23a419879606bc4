//! Blind indexes: look-up, joins, uniqueness, and whose fingerprint it is.

use ophie_crypt::{Error, FingerprintError, NoSession};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner};
use uuid::Uuid;

use super::{
    models::{NAME_FP, PersonLink, memory, person_link},
    world::{ALICE, BOB, CALL, INSERT_LINK, World, bound},
};
use crate::db::{Db, sql};

type NameFp = BlindIndex<String, person_link::name_fp>;

#[tokio::test]
async fn equal_to_the_normaliser_is_found() {
    let world = World::new().await;
    world.link(&world.alice, "  Müller  ANNA ").await;
    world.link(&world.alice, "Miller Anna").await;
    let run = async {
        for spelling in ["müller anna", "MÜLLER ANNA", "Mu\u{308}ller\u{a0}Anna"] {
            let found: Vec<PersonLink> =
                sqlx::query_as(sql("SELECT * FROM people_links WHERE name_fp = $1"))
                    .bind(person_link::name_fp(spelling).unwrap())
                    .fetch_all(world.pool())
                    .await
                    .unwrap();
            assert_eq!(found.len(), 1, "{spelling}");
            assert_eq!(found[0].name.expose_secret(), "  Müller  ANNA ");
            assert_eq!(found[0].name_fp, person_link::name_fp(spelling).unwrap());
        }
    };
    world.alice.scope(run).await;
}

#[tokio::test]
async fn exact_means_exact() {
    let world = World::new().await;
    world.memory(&world.alice, "Lisbon").await;
    let count = async |text: &str| {
        sqlx::query_scalar::<_, i64>(sql("SELECT COUNT(*) FROM memories WHERE text_fp = $1"))
            .bind(memory::text_fp(text).unwrap())
            .fetch_one(world.pool())
            .await
            .unwrap()
    };
    let run = async {
        assert_eq!(count("Lisbon").await, 1);
        assert_eq!(count("lisbon").await, 0);
        assert_eq!(count("Lisbon ").await, 0);
    };
    world.alice.scope(run).await;
}

#[tokio::test]
async fn owners_have_fingerprints_of_their_own() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    world.link(&world.bob, "Mom").await;
    let stored = world.stored("SELECT name_fp FROM people_links").await;
    assert_ne!(stored[0], stored[1]);
    let find = async {
        sqlx::query_scalar::<_, i64>(sql("SELECT COUNT(*) FROM people_links WHERE name_fp = $1"))
            .bind(person_link::name_fp("Mom").unwrap())
            .fetch_one(world.pool())
            .await
    };
    assert_eq!(world.bob.scope(find).await.unwrap(), 1);
}

#[tokio::test]
async fn columns_have_fingerprints_of_their_own() {
    let world = World::new().await;
    world.alice.scope_sync(|| {
        let (name, text) = (
            person_link::name_fp("mom").unwrap(),
            memory::text_fp("mom").unwrap(),
        );
        assert_ne!(name.as_bytes(), text.as_bytes());
    });
}

#[tokio::test]
async fn a_join_on_the_index_finds_the_same_person_in_two_calls() {
    let world = World::new().await;
    let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
    for (call, name) in [
        (first, "Mom"),
        (first, "Dad"),
        (second, "MOM"),
        (second, "Ada"),
    ] {
        world.link_from(&world.alice, call, name).await;
    }
    world.link_from(&world.bob, second, "Dad").await;
    type Name = Encrypted<String, person_link::name>;
    let read = async {
        sqlx::query_as::<_, (Name, Name)>(
            sql("SELECT a.name, b.name FROM people_links AS a JOIN people_links AS b ON a.name_fp = b.name_fp \
             WHERE a.session_id = $1 AND b.session_id = $2 AND a.user_id = $3"),
        )
        .bind(first)
        .bind(second)
        .bind(Owner(ALICE))
        .fetch_all(world.pool())
        .await
    };
    let pairs = world.alice.scope(read).await.unwrap();
    assert_eq!(pairs.len(), 1);
    assert_eq!(
        (
            pairs[0].0.expose_secret().as_str(),
            pairs[0].1.expose_secret().as_str()
        ),
        ("Mom", "MOM")
    );
}

#[tokio::test]
async fn another_table_refers_to_a_row_by_its_fingerprint() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    let transcript = world.transcript(&world.alice, "Mom called").await;
    let run = async {
        sqlx::query(sql(
            "INSERT INTO mentions (transcript_id, person_fp) VALUES ($1, $2)",
        ))
        .bind(transcript)
        .bind(person_link::name_fp("mom").unwrap())
        .execute(world.pool())
        .await?;
        sqlx::query_as::<_, (Uuid, Encrypted<String, person_link::name>, NameFp)>(
            "SELECT transcript_id, name, person_fp FROM mentions JOIN people_links ON name_fp = person_fp",
        )
        .fetch_one(world.pool())
        .await
    };
    let (found, name, fingerprint) = world.alice.scope(run).await.unwrap();
    assert_eq!((found, name.expose_secret().as_str()), (transcript, "Mom"));
    assert_eq!(fingerprint.as_bytes().len(), 17);
}

#[tokio::test]
async fn a_fingerprint_groups_and_counts() {
    let world = World::new().await;
    for (call, name) in [(1, "Mom"), (2, "mom"), (3, "Dad")] {
        world
            .link_from(&world.alice, Uuid::from_u128(call), name)
            .await;
    }
    let counts: Vec<(NameFp, i64)> =
        sqlx::query_as("SELECT name_fp, COUNT(*) FROM people_links GROUP BY name_fp ORDER BY 2")
            .fetch_all(world.pool())
            .await
            .unwrap();
    assert_eq!(
        counts.iter().map(|(_, count)| *count).collect::<Vec<_>>(),
        [1, 2]
    );
    let mom = BlindIndex::of_in(&world.alice, "Mom").unwrap();
    assert!(counts.contains(&(mom, 2)));
}

#[tokio::test]
async fn a_unique_index_holds_one_value_for_each_owner() {
    let world = World::new().await;
    sqlx::query("CREATE UNIQUE INDEX people_links_name ON people_links (user_id, name_fp)")
        .execute(world.pool())
        .await
        .unwrap();
    world.link(&world.alice, "Mom").await;
    world.link(&world.bob, "Mom").await;
    let twice = async {
        sqlx::query(sql(INSERT_LINK))
            .bind(Owner(ALICE))
            .bind(Uuid::nil())
            .bind(person_link::name(" MOM"))
            .bind(person_link::name_fp(" MOM").unwrap())
            .execute(world.pool())
            .await
    };
    let error = world.alice.scope(twice).await.unwrap_err();
    let error = error.as_database_error().expect("the database refuses");
    assert!(error.is_unique_violation(), "{error:?}");
    assert_eq!(world.links().await, 2);
    assert_eq!(
        world.alice.scope(world.names(ALICE)).await.unwrap(),
        ["Mom"]
    );
}

#[tokio::test]
async fn a_fingerprint_is_not_written_in_a_session_that_has_ended() {
    let world = World::new().await;
    let alices = world
        .alice
        .scope_sync(|| person_link::name_fp("Mom").unwrap());
    let mut query = sqlx::query::<Db>(sql("SELECT $1"));
    let written = world.alice.scope(async {
        world.alice.close(); // whoever logs out, say, while this waits
        tokio::task::yield_now().await;
        bound(query.try_bind(&alices))
    });
    let reason = NoSession::Closed;
    let index = NAME_FP;
    assert_eq!(
        written.await,
        Error::Fingerprint(FingerprintError::NoSession { index, reason })
    );
}

#[tokio::test]
async fn a_fingerprint_of_another_owners_session_is_not_written() {
    let world = World::new().await;
    let alices = world
        .alice
        .scope_sync(|| person_link::name_fp("Mom").unwrap());
    let run = async {
        let mut query = sqlx::query::<Db>(sql("SELECT $1"));
        assert_eq!(
            bound(query.try_bind(&alices)),
            Error::Fingerprint(FingerprintError::OtherOwner { index: NAME_FP })
        );
        sqlx::query(sql(INSERT_LINK))
            .bind(Owner(BOB))
            .bind(CALL)
            .bind(person_link::name("Mom"))
            .bind(&alices)
            .execute(world.pool())
            .await
            .unwrap_err();
    };
    world.bob.scope(run).await;
    assert_eq!(world.links().await, 0);
}

#[tokio::test]
async fn a_fingerprint_needs_a_session_to_make_but_none_to_use() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    let missing = FingerprintError::NoSession {
        index: NAME_FP,
        reason: NoSession::Absent,
    };
    assert_eq!(
        person_link::name_fp("Mom").unwrap_err().get(),
        &Error::Fingerprint(missing)
    );
    let made = NameFp::of_in(&world.alice, "mom").unwrap();
    let found: i64 =
        sqlx::query_scalar(sql("SELECT COUNT(*) FROM people_links WHERE name_fp = $1"))
            .bind(made)
            .fetch_one(world.pool())
            .await
            .unwrap();
    assert_eq!(found, 1);
}

/// "Mom" under the old key, "Ann" under the new.
async fn two_keys() -> World {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    world.two_index_keys().await;
    let add = async {
        let [_, under_new] = person_link::name_fp("Ann").unwrap().candidates();
        insert(&world, "Ann", under_new.for_write()).await.unwrap();
    };
    world.alice.scope(add).await;
    world
}

async fn insert(world: &World, name: &str, fingerprint: NameFp) -> Result<(), sqlx::Error> {
    let insert = sqlx::query(sql(INSERT_LINK))
        .bind(Owner(ALICE))
        .bind(CALL)
        .bind(person_link::name(name))
        .bind(fingerprint);
    insert.execute(world.pool()).await.map(drop)
}

async fn find(world: &World, name: &str) -> Vec<PersonLink> {
    let [one, other] = person_link::name_fp(name).unwrap().candidates();
    let text = "SELECT * FROM people_links WHERE user_id = $1 AND name_fp IN ($2, $3)";
    let found = sqlx::query_as(sql(text))
        .bind(Owner(ALICE))
        .bind(one)
        .bind(other)
        .fetch_all(world.pool());
    found.await.unwrap()
}

const TWO_KEYS: Error = Error::Fingerprint(FingerprintError::TwoKeys { index: NAME_FP });

#[tokio::test]
async fn rows_under_two_keys_are_found_by_both_fingerprints() {
    let world = two_keys().await;
    let run = async {
        for name in ["MOM", "ann"] {
            let found = find(&world, name).await;
            assert_eq!(found.len(), 1, "{name}");
            let fingerprint = person_link::name_fp(name).unwrap();
            assert!(fingerprint.matches(&found[0].name_fp));
            // One alone would miss a row, as would one that was read.
            for alone in [&fingerprint, &found[0].name_fp] {
                let mut query = sqlx::query::<Db>(sql("SELECT $1"));
                assert_eq!(bound(query.try_bind(alone)), TWO_KEYS);
            }
        }
        assert!(find(&world, "Eve").await.is_empty());
    };
    world.alice.scope(run).await;
    // Bob has one key, and the statement is the same.
    let [one, other] = NameFp::of_in(&world.bob, "Mom").unwrap().candidates();
    assert_eq!(one, other);
}

#[tokio::test]
async fn a_write_says_that_it_is_one_while_there_are_two_keys() {
    let world = two_keys().await;
    let run = async {
        let plain = person_link::name_fp("Dad").unwrap();
        let refused = insert(&world, "Dad", plain).await.unwrap_err();
        assert!(refused.to_string().contains(".for_write()"), "{refused}");
        let fingerprint = person_link::name_fp("Dad").unwrap().for_write();
        insert(&world, "Dad", fingerprint).await.unwrap();
        assert_eq!(find(&world, "dad").await.len(), 1);
    };
    world.alice.scope(run).await;
    assert_eq!(world.links().await, 3);
}

/// A unique index knows of one key only: a statement that leans on it is refused, unless it says otherwise.
#[tokio::test]
async fn an_upsert_on_a_fingerprint_fails_while_there_are_two_keys() {
    let world = two_keys().await;
    let upsert = format!("{INSERT_LINK} {}", crate::OR_NOTHING);
    let add = |fingerprint: NameFp| {
        sqlx::query(sql(&upsert))
            .bind(Owner(ALICE))
            .bind(CALL)
            .bind(person_link::name("Ann"))
            .bind(fingerprint)
            .execute(world.pool())
    };
    let run = async {
        let plain = person_link::name_fp("Ann").unwrap();
        let refused = add(plain).await.unwrap_err().to_string();
        assert!(refused.contains("two keys"), "{refused}");
        assert_eq!(find(&world, "Ann").await.len(), 1);
        // It asserts what does not hold, and both are found.
        let asserted = person_link::name_fp("Ann").unwrap().for_write();
        add(asserted).await.unwrap();
        assert_eq!(find(&world, "Ann").await.len(), 2);
    };
    world.alice.scope(run).await;
}
