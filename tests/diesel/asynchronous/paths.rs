//! Each kind of statement once: what it is made of does not differ from `paths/`, what runs it does.

use diesel::{
    prelude::*,
    sql_types::{BigInt, Binary},
};
use diesel_async::{RunQueryDsl, SaveChangesDsl};
use ophie_crypt::Session;
use ophie_crypt_diesel::{Ciphertext, Encrypted, Owner, Sealed};

use super::connect;
use crate::{
    Asynchronous,
    paths::{
        models::{Mention, PersonLink, mention, mentions, new_link, people_links, person_link},
        world::{ALICE, World, ours},
    },
};

#[derive(AsChangeset, Identifiable)]
#[diesel(table_name = people_links)]
struct Change {
    id: i64,
    name: Option<Encrypted<String, person_link::name>>,
    relation: Option<Option<Encrypted<String, person_link::relation>>>,
}

async fn world() -> (World, Asynchronous, Session) {
    let world = World::new().await;
    let db = connect(&world.database).await;
    let alice = world.alice.clone();
    (world, db, alice)
}

async fn names(db: &mut Asynchronous) -> QueryResult<Vec<String>> {
    let links = people_links::table
        .order(people_links::id)
        .select(PersonLink::as_select())
        .load(db)
        .await?;
    Ok(found(&links))
}

fn found(links: &[PersonLink]) -> Vec<String> {
    let names = links.iter().map(|link| link.name.expose_secret().clone());
    names.collect()
}

#[tokio::test]
async fn structs_are_written_sealed_and_read_opened() {
    let (mut world, mut db, alice) = world().await;
    let run = async {
        diesel::insert_into(people_links::table)
            .values(&new_link(ALICE, "Mom"))
            .execute(&mut db)
            .await?;
        names(&mut db).await
    };
    assert_eq!(alice.scope(run).await.unwrap(), ["Mom"]);
    let stored = world.stored("SELECT name AS bytes FROM people_links");
    assert_eq!(stored[0].as_ref().map(Vec::len), Some(45 + 3));
}

#[tokio::test]
async fn columns_and_changes_are_written() {
    let (mut world, mut db, alice) = world().await;
    let id = world.link("Mom");
    let run = async {
        diesel::update(people_links::table.find(id))
            .set(people_links::relation.eq(Some(person_link::relation("mother"))))
            .execute(&mut db)
            .await?;
        let change = Change {
            id,
            name: Some(person_link::name("Mum")),
            relation: None,
        };
        diesel::update(people_links::table.find(id))
            .set(&change)
            .execute(&mut db)
            .await?;
        let change = Change {
            id,
            name: Some(person_link::name("Ma")),
            relation: Some(None),
        };
        let saved: PersonLink = change.save_changes(&mut db).await?;
        assert_eq!(saved.name.expose_secret(), "Ma");
        assert!(saved.relation.is_none());
        let mom = people_links::name_fp.eq(person_link::name_fp("mom")?);
        diesel::delete(people_links::table.filter(mom))
            .execute(&mut db)
            .await
    };
    assert_eq!(alice.scope(run).await, Ok(1));
    assert_eq!(world.links(), 0);
}

#[tokio::test]
async fn an_upsert_updates_by_the_fingerprint() {
    let (mut world, mut db, alice) = world().await;
    let run = async {
        for name in ["Mom", "  MOM "] {
            let link = new_link(ALICE, name);
            diesel::insert_into(people_links::table)
                .values(&link)
                .on_conflict(crate::UNIQUE_NAME)
                .do_update()
                .set(people_links::name.eq(&link.name))
                .execute(&mut db)
                .await?;
        }
        names(&mut db).await
    };
    assert_eq!(alice.scope(run).await.unwrap(), ["  MOM "]);
    assert_eq!(world.links(), 1);
}

#[tokio::test]
async fn rows_are_found_and_joined_by_fingerprints() {
    let (mut world, mut db, alice) = world().await;
    for name in ["Mom", "Dad", "Eve"] {
        world.link(name);
    }
    let other = diesel::alias!(people_links as other);
    let run = async {
        let of = person_link::name_fp::<&str>;
        let any = people_links::name_fp.eq_any(vec![of("dad")?, of("mom")?]);
        let some: Vec<PersonLink> = people_links::table
            .filter(any)
            .order(people_links::id)
            .load(&mut db)
            .await?;
        assert_eq!(found(&some), ["Mom", "Dad"]);
        let eve: PersonLink = people_links::table
            .filter(people_links::user_id.eq(Owner(ALICE)))
            .filter(people_links::name_fp.eq(of(" eve ")?))
            .first(&mut db)
            .await?;
        let by_itself: i64 = people_links::table
            .inner_join(other.on(people_links::name_fp.eq(other.field(people_links::name_fp))))
            .count()
            .get_result(&mut db)
            .await?;
        assert_eq!(by_itself, 3);
        diesel::insert_into(mentions::table)
            .values((
                mentions::user_id.eq(Owner(ALICE)),
                mentions::link_id.eq(eve.id),
                mentions::quote.eq(mention::quote("hello")),
            ))
            .execute(&mut db)
            .await?;
        people_links::table
            .left_join(mentions::table)
            .order(people_links::id)
            .select((PersonLink::as_select(), Option::<Mention>::as_select()))
            .load::<(PersonLink, Option<Mention>)>(&mut db)
            .await
    };
    let rows = alice.scope(run).await.unwrap();
    let quotes = rows.iter().map(|(_, mention)| {
        let quote = mention.as_ref();
        quote.map(|mention| mention.quote.expose_secret().as_str())
    });
    assert_eq!(quotes.collect::<Vec<_>>(), [None, None, Some("hello")]);
}

#[tokio::test]
async fn plain_sql_is_bound_and_read_by_name() {
    let (_world, mut db, alice) = world().await;
    let run = async {
        let insert =
            r#"INSERT INTO people_links (user_id, "call", name, name_fp) VALUES ($1, $2, $3, $4)"#;
        diesel::sql_query(crate::sql(insert))
            .bind::<BigInt, _>(Owner(ALICE))
            .bind::<BigInt, _>(1)
            .bind::<Ciphertext<person_link::name>, _>(person_link::name("Zoe"))
            .bind::<Binary, _>(person_link::name_fp("Zoe")?)
            .execute(&mut db)
            .await?;
        diesel::sql_query("SELECT * FROM people_links")
            .load::<PersonLink>(&mut db)
            .await
    };
    assert_eq!(found(&alice.scope(run).await.unwrap()), ["Zoe"]);
}

#[tokio::test]
async fn ciphertext_moves_without_a_session() {
    let (mut world, mut db, alice) = world().await;
    let id = world.link("Mom");
    let row = people_links::table.find(id);
    let sealed: Sealed<String, person_link::name> =
        row.select(people_links::name).first(&mut db).await.unwrap();
    let changed = diesel::update(row)
        .set(people_links::name.eq(&sealed))
        .execute(&mut db)
        .await;
    assert_eq!(changed, Ok(1));
    assert_eq!(sealed.open(&alice).unwrap().expose_secret(), "Mom");
}

#[tokio::test]
async fn rows_under_two_index_keys_are_found_by_both_fingerprints() {
    let (mut world, mut db, alice) = world().await;
    world.link("Mom");
    world.two_index_keys().await;
    let run = async {
        let [_, under_new] = person_link::name_fp("Ann")?.candidates();
        let mut ann = new_link(ALICE, "Ann");
        ann.name_fp = under_new.for_write();
        diesel::insert_into(people_links::table)
            .values(&ann)
            .execute(&mut db)
            .await?;
        for name in ["Mom", "Ann"] {
            let fingerprint = person_link::name_fp(name)?;
            let any = people_links::name_fp.eq_any(fingerprint.candidates());
            let links: Vec<PersonLink> = people_links::table.filter(any).load(&mut db).await?;
            assert_eq!(found(&links), [name]);
            let alone = people_links::table.filter(people_links::name_fp.eq(&fingerprint));
            let alone = ours(alone.load::<PersonLink>(&mut db).await);
            assert!(matches!(
                alone,
                ophie_crypt::Error::Fingerprint(ophie_crypt::FingerprintError::TwoKeys { .. })
            ));
        }
        QueryResult::Ok(())
    };
    alice.scope(run).await.unwrap();
}
