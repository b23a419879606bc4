//! Arrays: UNNEST, `= ANY`, and `bytea[]` read as column types.

use ophie_crypt::{Error, FingerprintError, NoSession, OpenError, OwnerError, SealError};
use ophie_crypt_sqlx::{BlindIndex, Encrypted, Owner, Sealed};
use sqlx::Row;
use uuid::Uuid;

use crate::{
    db::Db,
    paths::{
        models::{NAME, NAME_FP, PersonLink, RELATION, person_link},
        world::{ALICE, BOB, CALL, PURPOSE, World, bound, ours},
    },
};

type Name = Encrypted<String, person_link::name>;
type Relation = Encrypted<String, person_link::relation>;
type NameFp = BlindIndex<String, person_link::name_fp>;

const UNNEST: &str = "INSERT INTO people_links (user_id, session_id, name, name_fp, relation) \
    SELECT $1, $2, * FROM UNNEST($3::bytea[], $4::bytea[], $5::bytea[])";

#[tokio::test]
async fn unnest_writes_many_rows() {
    let world = World::new().await;
    let run = async {
        let people: Vec<String> = (0..100).map(|n| format!("Person {n}")).collect();
        let names: Vec<Name> = people
            .iter()
            .map(|name| person_link::name(name.as_str()))
            .collect();
        let indexes: Vec<NameFp> = people
            .iter()
            .map(|name| person_link::name_fp(name.as_str()).unwrap())
            .collect();
        let relations: Vec<Option<Relation>> = (0..100)
            .map(|n| (n % 2 == 0).then(|| person_link::relation("friend")))
            .collect();
        let written = sqlx::query(UNNEST)
            .bind(Owner(ALICE))
            .bind(CALL)
            .bind(&names)
            .bind(&indexes[..])
            .bind(relations)
            .execute(world.pool())
            .await
            .unwrap();
        assert_eq!(written.rows_affected(), 100);
        let links: Vec<PersonLink> = sqlx::query_as("SELECT * FROM people_links ORDER BY id")
            .fetch_all(world.pool())
            .await
            .unwrap();
        assert!(
            links
                .iter()
                .zip(&people)
                .all(|(link, name)| link.name.expose_secret() == name)
        );
        assert_eq!(
            links.iter().filter(|link| link.relation.is_some()).count(),
            50
        );
    };
    world.alice.scope(run).await;
    let mut stored = world.stored("SELECT name FROM people_links").await;
    stored.sort();
    stored.dedup_by_key(|bytes| bytes.as_ref().map(|bytes| bytes[17..29].to_vec()));
    assert_eq!(stored.len(), 100, "a nonce was drawn twice");
}

#[tokio::test]
async fn any_finds_by_fingerprints() {
    let world = World::new().await;
    for name in ["Mom", "Dad", "Ada"] {
        world.link(&world.alice, name).await;
    }
    let run = async {
        let names = |links: Vec<PersonLink>| {
            links
                .into_iter()
                .map(|link| link.name.into_secret())
                .collect::<Vec<_>>()
        };
        let find = || {
            sqlx::query_as::<_, PersonLink>(
                "SELECT * FROM people_links WHERE name_fp = ANY($1) ORDER BY id",
            )
        };
        let pair = [
            person_link::name_fp("ADA").unwrap(),
            person_link::name_fp("mom").unwrap(),
        ];
        let found = find()
            .bind(&pair[..])
            .fetch_all(world.pool())
            .await
            .unwrap();
        assert_eq!(names(found), ["Mom", "Ada"]);
        let found = find()
            .bind(pair.to_vec())
            .fetch_all(world.pool())
            .await
            .unwrap();
        assert_eq!(found.len(), 2);
        let found = find().bind(pair).fetch_all(world.pool()).await.unwrap();
        assert_eq!(found.len(), 2);
        let found = find()
            .bind(Vec::<NameFp>::new())
            .fetch_all(world.pool())
            .await
            .unwrap();
        assert!(found.is_empty());
    };
    world.alice.scope(run).await;
}

#[tokio::test]
async fn arrays_read_as_column_types() {
    let world = World::new().await;
    for name in ["Mom", "Dad"] {
        world.link(&world.alice, name).await;
    }
    let row = sqlx::query(
        "SELECT array_agg(name ORDER BY id), array_agg(name_fp ORDER BY id), array_agg(relation ORDER BY id), \
                array_agg(user_id) FROM people_links",
    )
    .fetch_one(world.pool())
    .await
    .unwrap();
    world.alice.scope_sync(|| {
        let names: Vec<Name> = row.try_get(0).unwrap();
        let names: Vec<_> = names
            .iter()
            .map(|name| name.expose_secret().as_str())
            .collect();
        assert_eq!(names, ["Mom", "Dad"]);
        let sealed: Vec<Sealed<String, person_link::name>> = row.try_get(0).unwrap();
        assert_eq!(sealed[1].open(&world.alice).unwrap().expose_secret(), "Dad");
        let indexes: Vec<NameFp> = row.try_get(1).unwrap();
        assert_eq!(indexes[0], person_link::name_fp("mom").unwrap());
        let relations: Vec<Option<Relation>> = row.try_get(2).unwrap();
        assert!(relations.len() == 2 && relations.iter().all(Option::is_none));
        let owners: Vec<Owner<Uuid>> = row.try_get(3).unwrap();
        assert_eq!(owners, [Owner(ALICE); 2]);
        assert_eq!(
            ours(row.try_get::<Vec<Relation>, _>(2)),
            Error::Open(OpenError::Null { column: RELATION })
        );
    });
    assert_eq!(
        ours(row.try_get::<Vec<Name>, _>(0)),
        Error::Open(OpenError::NoSession {
            column: NAME,
            reason: NoSession::Absent
        })
    );
    assert!(
        world
            .bob
            .scope_sync(|| row.try_get::<Vec<Owner<Uuid>>, _>(3))
            .is_err()
    );
}

#[tokio::test]
async fn one_bad_element_refuses_the_array() {
    let world = World::new().await;
    let alices = world
        .alice
        .scope_sync(|| person_link::name_fp("Mom").unwrap());
    let mut query = sqlx::query::<Db>(UNNEST);
    assert_eq!(
        bound(query.try_bind(vec![person_link::name("Mom")])),
        Error::Seal(SealError::NoSession {
            column: NAME,
            reason: NoSession::Absent
        })
    );
    world.bob.scope_sync(|| {
        let mut query = sqlx::query::<Db>(UNNEST);
        let bobs = person_link::name_fp("Mom").unwrap();
        assert_eq!(
            bound(query.try_bind(vec![bobs, alices])),
            Error::Fingerprint(FingerprintError::OtherOwner { index: NAME_FP })
        );
        let mut query = sqlx::query::<Db>("SELECT $1");
        assert_eq!(
            bound(query.try_bind([Owner(BOB), Owner(ALICE)])),
            Error::Owner(OwnerError::OtherOwner)
        );
    });
}

#[tokio::test]
async fn both_fingerprints_of_a_value_are_one_array() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    world.two_index_keys().await;
    let run = async {
        let mom = person_link::name_fp("Mom").unwrap();
        let any = "SELECT COUNT(*) FROM people_links WHERE name_fp = ANY($1)";
        let found: i64 = sqlx::query_scalar(any)
            .bind(mom.candidates())
            .fetch_one(world.pool())
            .await
            .unwrap();
        assert_eq!(found, 1);
        let mut query = sqlx::query::<Db>(any);
        assert_eq!(
            bound(query.try_bind([mom])),
            Error::Fingerprint(FingerprintError::TwoKeys { index: NAME_FP })
        );
    };
    world.alice.scope(run).await;
}

/// Offline data of arrays is PostgreSQL's alone.
#[tokio::test]
async fn query_macros_take_arrays() {
    let world = World::new().await;
    let run = async {
        let names = [person_link::name("Mom"), person_link::name("Dad")];
        let indexes = ["Mom", "Dad"].map(|name| person_link::name_fp(name).unwrap());
        query!(
            "INSERT INTO people_links (user_id, session_id, name, name_fp) SELECT $1, $2, * FROM UNNEST($3::bytea[], $4::bytea[])",
            Owner(ALICE) as _,
            CALL,
            &names[..] as _,
            &indexes[..] as _,
        )
        .execute(world.pool())
        .await
        .unwrap();
        let found = query_scalar!(
            r#"SELECT name AS "name: Encrypted<String, person_link::name>" FROM people_links WHERE name_fp = ANY($1)"#,
            &indexes[1..] as _,
        )
        .fetch_all(world.pool())
        .await
        .unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].expose_secret(), "Dad");
    };
    world.alice.scope(run).await;
}

/// Both traps are in the docs of the crate.
#[tokio::test]
async fn a_domain_in_an_array_needs_a_cast() {
    let world = World::new().await;
    world.link(&world.alice, "Mom").await;
    sqlx::raw_sql(
        "CREATE DOMAIN sealed AS bytea CHECK (octet_length(VALUE) >= 45); \
         ALTER TABLE people_links ALTER COLUMN name TYPE sealed",
    )
    .execute(world.pool())
    .await
    .unwrap();
    let names = |sql: &'static str| sqlx::query_scalar::<_, Vec<Name>>(sql).fetch_one(world.pool());
    let run = async {
        let found = names("SELECT array_agg(name::bytea) FROM people_links")
            .await
            .unwrap();
        assert_eq!(found[0].expose_secret(), "Mom");
        let refused = names("SELECT array_agg(name) FROM people_links").await;
        assert!(
            matches!(&refused, Err(sqlx::Error::ColumnDecode { .. })),
            "{refused:?}"
        );
    };
    world.alice.scope(run).await;
}

#[tokio::test]
async fn a_padded_owner_is_another_owner() {
    let world = World::new().await;
    let session = world
        .keyring
        .open_or_provision("ada", PURPOSE)
        .await
        .unwrap();
    let run = async {
        for (sql, is_refused) in [
            ("SELECT 'ada'::char(8)", true),
            ("SELECT 'ada'::varchar(8)", false),
        ] {
            let read = sqlx::query_scalar::<_, Owner<String>>(sql)
                .fetch_one(world.pool())
                .await;
            assert_eq!(read.is_err(), is_refused, "{sql}");
            if is_refused {
                assert_eq!(ours(read), Error::Owner(OwnerError::OtherOwner));
            }
        }
    };
    session.scope(run).await;
}
