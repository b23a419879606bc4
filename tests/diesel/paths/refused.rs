//! What is refused: no session, another owner's session or row, another column's value, bad bytes.

use diesel::{prelude::*, sql_types::Binary};
use ophie_crypt::{Error, FingerprintError, NoSession, OpenError, OwnerError, SealError};
use ophie_crypt_diesel::{BlindIndex, Encrypted, Owner, Sealed, find_error};

use super::{
    models::{
        MEMORY, Memory, NAME, NAME_FP, PersonLink, RELATION, memories, memory, new_link,
        people_links, person_link,
    },
    world::{ALICE, BOB, World, ours},
};

type Name = Encrypted<String, person_link::name>;

fn name(world: &mut World) -> QueryResult<Name> {
    people_links::table
        .select(people_links::name)
        .first(&mut world.db)
}

fn put(world: &mut World, column: &str, bytes: &[u8]) {
    let update = format!("UPDATE people_links SET {column} = $1");
    diesel::sql_query(crate::sql(&update))
        .bind::<Binary, _>(bytes)
        .execute(&mut world.db)
        .unwrap();
}

#[tokio::test]
async fn without_a_session_nothing_is_written() {
    let mut world = World::new().await;
    let fingerprint = world
        .alice
        .scope_sync(|| person_link::name_fp("Mom"))
        .unwrap();
    let owner = diesel::insert_into(people_links::table)
        .values(people_links::user_id.eq(Owner(ALICE)))
        .execute(&mut world.db);
    let absent = NoSession::Absent;
    assert_eq!(ours(owner), Error::Owner(OwnerError::NoSession(absent)));
    let value = diesel::insert_into(people_links::table)
        .values((
            people_links::user_id.eq(ALICE),
            people_links::call.eq(1),
            people_links::name.eq(person_link::name("Mom")),
            people_links::name_fp.eq(fingerprint),
        ))
        .execute(&mut world.db);
    let column = NAME;
    let reason = NoSession::Absent;
    assert_eq!(
        ours(value),
        Error::Seal(SealError::NoSession { column, reason })
    );
    assert_eq!(world.links(), 0);
}

#[tokio::test]
async fn without_a_session_only_ciphertext_is_read() {
    let mut world = World::new().await;
    world.link("Mom");
    let whole = people_links::table.first::<PersonLink>(&mut world.db);
    let reason = NoSession::Absent;
    assert_eq!(ours(whole), Error::Owner(OwnerError::NoSession(reason)));
    let (column, reason) = (NAME, NoSession::Absent);
    assert_eq!(
        ours(name(&mut world)),
        Error::Open(OpenError::NoSession { column, reason })
    );
    let row: (
        Sealed<String, person_link::name>,
        BlindIndex<String, person_link::name_fp>,
    ) = people_links::table
        .select((people_links::name, people_links::name_fp))
        .first(&mut world.db)
        .unwrap();
    assert_eq!(row.0.as_bytes().len(), 45 + 3);
    assert_eq!(row.1.as_bytes().len(), 17);
}

#[tokio::test]
async fn a_closed_session_does_nothing() {
    let mut world = World::new().await;
    world.link("Mom");
    let alice = world.alice.clone();
    alice.close();
    let error = ours(alice.scope_sync(|| name(&mut world)));
    let (column, reason) = (NAME, NoSession::Closed);
    assert_eq!(error, Error::Open(OpenError::NoSession { column, reason }));
}

#[tokio::test]
async fn another_owners_session_reads_nothing() {
    let mut world = World::new().await;
    world.link("Mom");
    let bob = world.bob.clone();
    let whole = bob.scope_sync(|| people_links::table.first::<PersonLink>(&mut world.db));
    assert_eq!(ours(whole), Error::Owner(OwnerError::OtherOwner));
    let by_name = bob.scope_sync(|| {
        diesel::sql_query("SELECT * FROM people_links").get_result::<PersonLink>(&mut world.db)
    });
    assert_eq!(ours(by_name), Error::Owner(OwnerError::OtherOwner));
    let value = bob.scope_sync(|| name(&mut world));
    assert_eq!(
        ours(value),
        Error::Open(OpenError::UnknownKey { column: NAME })
    );
}

#[tokio::test]
async fn another_owners_row_is_not_written() {
    let mut world = World::new().await;
    let bob = world.bob.clone();
    let link = world.alice.scope_sync(|| new_link(ALICE, "Mom"));
    let whole = bob.scope_sync(|| {
        diesel::insert_into(people_links::table)
            .values(&link)
            .execute(&mut world.db)
    });
    assert_eq!(ours(whole), Error::Owner(OwnerError::OtherOwner));
    let by_owner = bob.scope_sync(|| {
        people_links::table
            .filter(people_links::user_id.eq(Owner(ALICE)))
            .count()
            .get_result::<i64>(&mut world.db)
    });
    assert_eq!(ours(by_owner), Error::Owner(OwnerError::OtherOwner));
    let by_fingerprint = bob.scope_sync(|| {
        people_links::table
            .filter(people_links::name_fp.eq(&link.name_fp))
            .count()
            .get_result::<i64>(&mut world.db)
    });
    let other = FingerprintError::OtherOwner { index: NAME_FP };
    assert_eq!(ours(by_fingerprint), Error::Fingerprint(other));
    assert_eq!(world.links(), 0);
}

#[tokio::test]
async fn one_foreign_row_fails_the_list() {
    let mut world = World::new().await;
    world.link("Mom");
    let bob = world.bob.clone();
    bob.scope_sync(|| {
        diesel::insert_into(people_links::table)
            .values(&new_link(BOB, "Dad"))
            .execute(&mut world.db)
    })
    .unwrap();
    let alice = world.alice.clone();
    let both = alice.scope_sync(|| world.names());
    assert_eq!(ours(both), Error::Owner(OwnerError::OtherOwner));
}

/// `Binary` does not tell columns apart, and neither does SQL; the read does.
#[tokio::test]
async fn another_columns_value_is_refused_when_it_is_read() {
    let mut world = World::new().await;
    world.link("Mom");
    let alice = world.alice.clone();
    let written = alice.scope_sync(|| {
        diesel::sql_query(crate::sql("UPDATE people_links SET relation = $1"))
            .bind::<Binary, _>(person_link::name("mother"))
            .execute(&mut world.db)
    });
    assert_eq!(written, Ok(1));
    let read = alice.scope_sync(|| people_links::table.first::<PersonLink>(&mut world.db));
    assert_eq!(
        ours(read),
        Error::Open(OpenError::Rejected { column: RELATION })
    );

    let written = alice.scope_sync(|| {
        diesel::insert_into(memories::table)
            .values((
                memories::user_id.eq(Owner(ALICE)),
                memories::text.eq(person_link::name("Mom")),
            ))
            .execute(&mut world.db)
    });
    assert_eq!(written, Ok(1));
    let read = alice.scope_sync(|| memories::table.first::<Memory>(&mut world.db));
    assert_eq!(
        ours(read),
        Error::Open(OpenError::Rejected { column: MEMORY })
    );
}

#[tokio::test]
async fn bytes_cut_at_every_length_are_refused() {
    let mut world = World::new().await;
    world.link("canary");
    let alice = world.alice.clone();
    let stored = world.stored("SELECT name AS bytes FROM people_links");
    let envelope = stored[0].clone().expect("an envelope");
    for len in 0..envelope.len() {
        put(&mut world, "name", &envelope[..len]);
        let error = alice.scope_sync(|| name(&mut world)).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("canary"), "{shown}");
        match find_error(&error) {
            Some(Error::Open(OpenError::NotAnEnvelope {
                column: NAME,
                reason,
            })) => {
                assert_eq!(reason.len(), len);
            }
            Some(Error::Open(OpenError::Rejected { column: NAME })) => assert!(len >= 45, "{len}"),
            other => panic!("{len}: {other:?}"),
        }
    }
    put(&mut world, "name", &envelope);
    assert_eq!(alice.scope_sync(|| world.names()).unwrap(), ["canary"]);
}

#[tokio::test]
async fn plaintext_that_was_already_there_is_refused() {
    let mut world = World::new().await;
    world.link("Mom");
    put(&mut world, "name", b"canary");
    let alice = world.alice.clone();
    let error = alice.scope_sync(|| name(&mut world)).unwrap_err();
    assert_eq!(
        find_error(&error).expect("ours").to_string(),
        "cannot open people_links.name: 6 bytes that are no envelope of a version known to this release; \
         was it written past ophie-crypt, cut short, or by a newer release?"
    );
    assert!(!format!("{error:?}").contains("canary"));
}

#[tokio::test]
async fn no_fingerprint_of_another_length_is_read() {
    let mut world = World::new().await;
    world.link("Mom");
    for len in [0, 16, 18, 48] {
        put(&mut world, "name_fp", &vec![1; len]);
        let read = people_links::table
            .select(people_links::name_fp)
            .first::<BlindIndex<String, person_link::name_fp>>(&mut world.db);
        let index = NAME_FP;
        assert_eq!(
            ours(read),
            Error::Fingerprint(FingerprintError::NotAFingerprint { index, len })
        );
    }
}

/// Diesel's own error, as everywhere in Diesel: `Option<Model>` after a left join knows it.
#[tokio::test]
async fn a_null_that_the_schema_denies_is_diesels_error() {
    let mut world = World::new().await;
    world.run("INSERT INTO memories (user_id, text) VALUES (NULL, NULL)");
    let is_null = |error: diesel::result::Error| {
        let diesel::result::Error::DeserializationError(held) = error else {
            return false;
        };
        held.is::<diesel::result::UnexpectedNullError>()
    };
    let alice = world.alice.clone();
    alice.scope_sync(|| {
        let text = memories::table
            .select(memories::text)
            .first::<Encrypted<String, memory::text>>(&mut world.db);
        assert!(is_null(text.unwrap_err()));
        let owner = memories::table
            .select(memories::user_id)
            .first::<Owner<i64>>(&mut world.db);
        assert!(is_null(owner.unwrap_err()));
    });
}
